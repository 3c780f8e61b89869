package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Form is the normal form of one table: the only thing by which tables are compared.
type Form struct {
	// Text is the server's SHOW CREATE TABLE brought to the normal form. It is valid SQL under an empty sql_mode.
	Text string
	// Hash is the sha256 in hex of Text less the names of CHECK constraints. Equal hashes mean equal tables.
	Hash string
}

// Normalise brings what SHOW CREATE TABLE printed in a session of ShowSession to the normal form. What is taken out is what
// the server prints differently for tables that behave the same, depending on how they came to be; each of these would
// keep an alter from ever being finished:
//
//   - the AUTO_INCREMENT counter: data, not schema;
//   - a column's character set and collation where they equal the table's: printed for ever once somebody wrote them.
//     Where they differ both are printed, and so is the table's collation;
//   - the order of secondary keys: an added key comes last;
//   - USING BTREE, which is what a key is anyhow: printed for ever once somebody wrote it (MEMORY knows another);
//   - TABLESPACE innodb_system: where a server without innodb_file_per_table puts every table, and printed for ever once
//     such a table was altered. Any other tablespace was asked for by somebody and stays;
//   - AUTOEXTEND_SIZE: how the file grows, not what the table is. A draft with it would take that much of the disk;
//   - the character set introducer of literals in expressions: a CHECK over a latin1 column says _utf8mb4'x' when new
//     and _latin1'x' after the next copy;
//   - for the hash, names and order of CHECK constraints: CREATE TABLE ... LIKE gives new names, a name is taken for as
//     long as the original is there, and MySQL cannot rename one. No copy could keep them.
//
// Quoted names, strings and comments are never touched.
func Normalise(showCreate string) (Form, error) {
	toks, err := lex(showCreate)
	if err != nil {
		return Form{}, fmt.Errorf("read SHOW CREATE TABLE: %w", err)
	}
	t, err := split(&cursor{text: showCreate, toks: toks})
	if err != nil {
		return Form{}, fmt.Errorf("read SHOW CREATE TABLE (%s): %w", clip(showCreate), err)
	}
	text := t.String()
	for i := range t.checks {
		t.checks[i] = checkExpr(t.checks[i])
	}
	slices.Sort(t.checks)
	sum := sha256.Sum256([]byte(t.String()))
	return Form{Text: text, Hash: hex.EncodeToString(sum[:])}, nil
}

// parts is a SHOW CREATE TABLE taken apart, each part already in its normal form.
type parts struct {
	head                                string // CREATE TABLE `t`
	columns, primary, keys, fks, checks []string
	options                             string // all behind the closing parenthesis, partitions included
}

// String puts the table together again, laid out as the server does.
func (t *parts) String() string {
	var b strings.Builder
	b.WriteString(t.head + " (\n  ")
	b.WriteString(strings.Join(slices.Concat(t.columns, t.primary, t.keys, t.fks, t.checks), ",\n  "))
	b.WriteString("\n)" + t.options)
	return b.String()
}

var errNotShowCreate = errors.New("not the definition of a base table as the server prints it")

func split(c *cursor) (*parts, error) {
	open := 3 // CREATE TABLE `t` (
	if !c.is("CREATE", "TABLE") || !c.isAt(open, "(") {
		return nil, errNotShowCreate
	}
	end := c.group(open)
	if end < 0 {
		return nil, errNotShowCreate
	}
	t := &parts{head: c.slice(0, open)}
	collation, ok := c.tableCollation(end)
	if !ok {
		return nil, fmt.Errorf("%w: it names no character set", errNotShowCreate)
	}
	t.options = c.options(end)
	for from := open + 1; from < end; {
		to := c.element(from, end-1)
		t.add(c, from, to, collation)
		from = to + 1
	}
	byName := func(a, b string) int { return strings.Compare(a, b) }
	slices.SortFunc(t.keys, func(a, b string) int { return byName(keyName(a), keyName(b)) })
	slices.SortFunc(t.fks, byName)
	slices.SortStableFunc(t.checks, func(a, b string) int { return byName(checkExpr(a), checkExpr(b)) })
	return t, nil
}

// add puts the element of tokens [from, to) where it belongs.
func (t *parts) add(c *cursor, from, to int, collation string) {
	switch {
	case c.toks[from].kind == ident:
		t.columns = append(t.columns, c.column(from, to, collation))
	case c.isAt(from, "PRIMARY"):
		t.primary = append(t.primary, c.keyDef(from, to))
	case c.isAt(from, "CONSTRAINT") && c.isAt(from+2, "CHECK"):
		t.checks = append(t.checks, c.slice(from, to))
	case c.isAt(from, "CONSTRAINT"):
		t.fks = append(t.fks, c.slice(from, to))
	default:
		t.keys = append(t.keys, c.keyDef(from, to))
	}
}

// keyDef is the key of tokens [from, to) less USING BTREE.
func (c *cursor) keyDef(from, to int) string {
	for i := from; i < to; i++ {
		switch {
		case c.isAt(i, "("):
			i = c.closing(i)
		case c.isAt(i, "USING", "BTREE") && !c.memory():
			def := c.slice(from, i)
			if i+2 < to {
				def += " " + c.slice(i+2, to)
			}
			return def
		}
	}
	return c.slice(from, to)
}

// memory tells whether the table is of an engine that has more than one kind of index.
func (c *cursor) memory() bool {
	for i := range c.toks {
		if c.isAt(i, "ENGINE", "=") {
			return c.isAt(i+2, "MEMORY") || c.isAt(i+2, "ndbcluster")
		}
	}
	return false
}

// element returns the index of the comma or parenthesis that ends the element at from.
func (c *cursor) element(from, end int) int {
	for i := from; i < end; i++ {
		switch {
		case c.isAt(i, "("):
			i = c.closing(i)
		case c.isAt(i, ","):
			return i
		}
	}
	return end
}

// slice is the text of tokens [from, to) with the spaces between them, less introducers.
func (c *cursor) slice(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		if i > from {
			b.WriteString(c.text[c.toks[i-1].end:c.toks[i].start])
		}
		if !c.introducer(i) {
			b.WriteString(c.at(i))
		}
	}
	return b.String()
}

// introducer tells whether token i is the _charset of a string literal. _binary stays: it makes other values.
func (c *cursor) introducer(i int) bool {
	if i+1 >= len(c.toks) || c.toks[i].kind != word || c.toks[i+1].kind != str {
		return false
	}
	charset, ok := strings.CutPrefix(c.at(i), "_")
	_, known := defaultCollations[charset]
	return ok && known && charset != "binary"
}

// column is the column definition of tokens [from, to) with its character set and collation in the normal form.
func (c *cursor) column(from, to int, tableCollation string) string {
	var charset, collation string
	first, last := -1, -1 // the tokens that say so: they stand together, behind the type
	for i := from + 1; i < to; i++ {
		switch {
		case c.isAt(i, "("):
			i = c.closing(i)
			continue
		case i+2 < to && c.isAt(i, "CHARACTER", "SET"):
			charset, last = c.at(i+2), i+2
		case i+1 < to && c.isAt(i, "COLLATE"):
			collation, last = c.at(i+1), i+1
		default:
			continue
		}
		if first < 0 {
			first = i
		}
		i = last
	}
	if first < 0 {
		return c.slice(from, to)
	}
	def := c.slice(from, first) // ends with the token before, without a space
	if full := resolveCollation(charset, collation, tableCollation); full != tableCollation {
		if charset == "" {
			charset = charsetOf(full)
		}
		def += " CHARACTER SET " + charset + " COLLATE " + full
	}
	if last+1 < to {
		def += " " + c.slice(last+1, to)
	}
	return def
}

// tableCollation reads DEFAULT CHARSET=x [COLLATE=y] among the options behind the columns.
func (c *cursor) tableCollation(from int) (string, bool) {
	for i := from; i < len(c.toks); i++ {
		if i+3 < len(c.toks) && c.isAt(i, "DEFAULT", "CHARSET", "=") {
			collation := ""
			if c.isAt(i+4, "COLLATE", "=") {
				collation = c.at(i + 6)
			}
			return resolveCollation(c.at(i+3), collation, ""), true
		}
	}
	return "", false
}

// options is everything behind the columns, with the table's collation always, and the AUTO_INCREMENT counter, the system
// tablespace and AUTOEXTEND_SIZE never.
func (c *cursor) options(from int) string {
	counter, charset, extend := -1, -1, -1
	for i := from; i < len(c.toks); i++ {
		switch {
		case c.isAt(i, "("): // of partitions
			i = c.closing(i)
		case charset < 0 && c.autoextendSize(i):
			extend = i
		case charset < 0 && i+2 < len(c.toks) && c.isAt(i, "AUTO_INCREMENT", "="):
			counter = i
		case charset < 0 && i+3 < len(c.toks) && c.isAt(i, "DEFAULT", "CHARSET", "=") && !c.isAt(i+4, "COLLATE", "="):
			charset = i + 3
		}
	}
	// Everything from the closing parenthesis on, which is token from-1.
	rest := func(a, b int) string {
		if a >= b {
			return ""
		}
		return c.text[c.toks[a-1].end:c.toks[a].start] + c.slice(a, b)
	}
	var b strings.Builder
	next := from
	if c.systemTablespace(from) {
		next += 4
	}
	if extend >= 0 {
		b.WriteString(rest(next, extend))
		next = extend + 5
	}
	if counter >= 0 {
		b.WriteString(rest(next, counter))
		next = counter + 3
	}
	if charset >= 0 {
		b.WriteString(rest(next, charset+1) + " COLLATE=" + resolveCollation(c.at(charset), "", ""))
		next = charset + 1
	}
	b.WriteString(rest(next, len(c.toks)))
	return b.String()
}

// systemTablespace tells whether the four tokens at i put the table into InnoDB's system tablespace.
func (c *cursor) systemTablespace(i int) bool {
	return i+3 < len(c.toks) && c.toks[i].kind == hintIn && c.isAt(i+1, "TABLESPACE") &&
		unquote(c.at(i+2)) == "innodb_system" && c.toks[i+3].kind == hintOut
}

// autoextendSize tells whether the five tokens at i say by how much InnoDB lets the file of the table grow.
func (c *cursor) autoextendSize(i int) bool {
	return i+4 < len(c.toks) && c.toks[i].kind == hintIn && c.isAt(i+1, "AUTOEXTEND_SIZE", "=") && c.toks[i+4].kind == hintOut
}

// keyName is the name in "UNIQUE KEY `name` (...": the first quoted thing of the definition.
func keyName(def string) string {
	if i := strings.IndexByte(def, '`'); i >= 0 {
		return def[i:]
	}
	return def
}

// checkExpr is a CHECK constraint less its name.
func checkExpr(def string) string {
	toks, err := lex(def)
	if err != nil || len(toks) < 3 || toks[0].kind != word || toks[1].kind != ident {
		return def
	}
	return def[toks[2].start:]
}
