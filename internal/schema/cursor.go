package schema

import (
	"strconv"
	"strings"
)

func itoa(n int) string { return strconv.Itoa(n) }

// cursor walks over the tokens of a text.
type cursor struct {
	text    string
	dialect dialect
	toks    []token
	i       int
}

func (c *cursor) done() bool { return c.i >= len(c.toks) }

// raw is the text of the current token, "" at the end.
func (c *cursor) raw() string { return c.at(c.i) }

func (c *cursor) at(i int) string {
	if i < 0 || i >= len(c.toks) {
		return ""
	}
	return c.text[c.toks[i].start:c.toks[i].end]
}

// is tells whether the tokens from here on are these unquoted words or symbols, in any letter case.
func (c *cursor) is(words ...string) bool { return c.isAt(c.i, words...) }

func (c *cursor) isAt(i int, words ...string) bool {
	for n, w := range words {
		if i+n >= len(c.toks) {
			return false
		}
		if k := c.toks[i+n].kind; k != word && k != symbol || !strings.EqualFold(c.at(i+n), w) {
			return false
		}
	}
	return true
}

// accept steps over the words when they come next.
func (c *cursor) accept(words ...string) bool {
	if !c.is(words...) {
		return false
	}
	c.i += len(words)
	return true
}

// name reads an identifier; double quotes are accepted for servers with ANSI_QUOTES.
func (c *cursor) name() (string, bool) {
	if c.done() {
		return "", false
	}
	t := c.toks[c.i]
	raw := c.raw()
	if t.kind != word && t.kind != ident && !(t.kind == str && raw[0] == '"') {
		return "", false
	}
	c.i++
	return unquote(raw), true
}

// group returns the index just behind the parenthesis that closes the one at i, or -1.
func (c *cursor) group(i int) int {
	depth := 0
	for ; i < len(c.toks); i++ {
		switch {
		case c.isAt(i, "("):
			depth++
		case c.isAt(i, ")"):
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// closing is the index of the parenthesis that closes the one at i, or of the last token.
func (c *cursor) closing(i int) int {
	if end := c.group(i); end > 0 {
		return end - 1
	}
	return len(c.toks) - 1
}

// skip returns the first index from i on that does not hold this symbol.
func (c *cursor) skip(i int, symbol string) int {
	for c.isAt(i, symbol) {
		i++
	}
	return i
}
