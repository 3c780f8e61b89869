package schema

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// kind says what a token is.
type kind uint8

const (
	word    kind = iota // keyword, unquoted name or number: anything made of letters, digits, _ and $
	ident               // `quoted name`
	str                 // 'text' or "text"
	symbol              // one character
	hintIn              // "/*!80023": what follows is executed by servers that are new enough
	hintOut             // the "*/" that ends it
)

// token is a piece of SQL: text[start:end].
type token struct {
	kind       kind
	start, end int
}

// lexError says where a text stops being SQL.
type lexError struct {
	line int
	what string
}

func (e *lexError) Error() string { return "line " + itoa(e.line) + ": " + e.what }

// lex splits SQL into tokens the way the server does with an empty sql_mode (manual 11.1, 11.7): comments are dropped, but
// the content of version comments (/*! */) stays, since the server runs it. It judges nothing else: the server is the
// arbiter of what is valid.
func lex(text string) ([]token, error) { return lexAs(text, dialect{}) }

// lexAs is lex in a dialect. With a version, the content of version comments stays or goes by it, as in the server
// (sql/sql_lex.cc), and their marks go.
func lexAs(text string, d dialect) ([]token, error) {
	l := lexer{text: text, dialect: d, toks: make([]token, 0, len(text)/5)}
	for {
		l.space()
		if l.pos >= len(text) {
			break
		}
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	if l.hints > 0 {
		return nil, l.fail(l.hintStart, "version comment /*! is not closed")
	}
	return l.toks, nil
}

type lexer struct {
	text      string
	dialect   dialect
	pos       int
	toks      []token
	hints     int // open version comments
	hintStart int
}

func (l *lexer) fail(at int, what string) error {
	return &lexError{line: 1 + strings.Count(l.text[:at], "\n"), what: what}
}

func (l *lexer) add(k kind, end int) {
	l.toks = append(l.toks, token{kind: k, start: l.pos, end: end})
	l.pos = end
}

func (l *lexer) space() {
	for l.pos < len(l.text) && isSpace(l.text[l.pos]) {
		l.pos++
	}
}

func (l *lexer) next() error {
	rest := l.text[l.pos:]
	switch c := rest[0]; {
	case c == '#', c == '-' && isDashComment(rest):
		if i := strings.IndexByte(rest, '\n'); i >= 0 {
			l.pos += i + 1
		} else {
			l.pos = len(l.text)
		}
	case strings.HasPrefix(rest, "/*!") && l.dialect.version > 0:
		return l.versionComment(rest)
	case strings.HasPrefix(rest, "/*!"):
		l.hints, l.hintStart = l.hints+1, l.pos
		end := l.pos + 3
		for end < len(l.text) && l.text[end] >= '0' && l.text[end] <= '9' {
			end++
		}
		l.add(hintIn, end)
	case l.hints > 0 && strings.HasPrefix(rest, "*/"):
		l.hints--
		if l.dialect.version > 0 {
			l.pos += 2
			return nil
		}
		l.add(hintOut, l.pos+2)
	case strings.HasPrefix(rest, "/*"):
		i := strings.Index(rest[2:], "*/")
		if i < 0 {
			return l.fail(l.pos, "comment /* is not closed")
		}
		l.pos += i + 4
	case c == '`', c == '\'', c == '"':
		return l.quoted(c)
	case isWordByte(c):
		end := l.pos + 1
		for end < len(l.text) && isWordByte(l.text[end]) {
			end++
		}
		l.add(word, end)
	default:
		l.add(symbol, l.pos+1)
	}
	return nil
}

// versionComment steps into a version comment that the server runs, and over one that it does not. The version has five
// digits, or six where a sixth follows; with fewer there is none, and the server runs it.
func (l *lexer) versionComment(rest string) error {
	if l.hints > 0 {
		return l.fail(l.pos, "a version comment /*! within another: write what is meant without it")
	}
	digits := 3
	for digits < len(rest) && digits < 3+6 && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	if digits < 3+5 {
		digits = 3
	}
	if version, err := strconv.Atoi(rest[3:digits]); err == nil && version > l.dialect.version {
		end := strings.Index(rest[3:], "*/")
		if end < 0 {
			return l.fail(l.pos, "version comment /*! is not closed")
		}
		if strings.Contains(rest[3:3+end], "/*") {
			return l.fail(l.pos, "a comment within a version comment /*!: write what is meant without it")
		}
		l.pos += 3 + end + 2
		return nil
	}
	l.hints, l.hintStart = l.hints+1, l.pos
	l.pos += digits
	return nil
}

// quoted reads a quoted name or string. A doubled quote stands for itself in all of them; a backslash escapes in
// strings only.
func (l *lexer) quoted(quote byte) error {
	k := str
	if quote == '`' || quote == '"' && l.dialect.ansiQuotes {
		k = ident
	}
	for i := l.pos + 1; i < len(l.text); i++ {
		switch c := l.text[i]; {
		case c == '\\' && k == str && !l.dialect.noBackslash:
			i++
		case c == quote && i+1 < len(l.text) && l.text[i+1] == quote:
			i++
		case c == quote:
			l.add(k, i+1)
			return nil
		}
	}
	return l.fail(l.pos, "the quote "+string(quote)+" is not closed")
}

// isDashComment tells a comment from two minus signs: the server wants a space or a control character after "--".
func isDashComment(s string) bool {
	return len(s) >= 2 && s[1] == '-' && (len(s) == 2 || s[2] <= ' ')
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// isWordByte holds for what an unquoted name may be made of; bytes of multi-byte characters count.
func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= utf8.RuneSelf
}

// unquote gives the name that a word, an `ident` or a "str" token stands for when it is read as a name.
func unquote(raw string) string {
	if raw == "" || isWordByte(raw[0]) {
		return raw
	}
	q := raw[:1]
	return strings.ReplaceAll(raw[1:len(raw)-1], q+q, q)
}
