package schema

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxDesiredSize is the largest file, in bytes, that is taken for a table definition.
const MaxDesiredSize = 1 << 20

// Suffix is what the name of every desired schema ends with: schemas/<tier>/<table>.sql.
const Suffix = ".sql"

// ParseDesired checks that a file holds exactly one plain CREATE TABLE whose name is the file's, and returns that
// name. It refuses what could not be materialised in another schema (qualified names), what is no definition by itself
// (LIKE, SELECT, TEMPORARY) and anything besides the one statement. Whether the definition is valid is for the server
// to say. The error names the path and what to do.
func ParseDesired(file, text string) (table string, err error) {
	want := strings.TrimSuffix(path.Base(file), Suffix)
	if _, table, err = readText(text, dialect{version: nominalVersion}); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	if table != want {
		return "", fmt.Errorf("%s creates table %q: rename the file to %s, or the table to %q", file, table, table+Suffix, want)
	}
	return table, nil
}

// readText reads a desired text in a dialect: the tokens of its CREATE TABLE, less IF NOT EXISTS and what ends it, and the name of
// the table.
func readText(text string, d dialect) (*cursor, string, error) {
	switch {
	case len(text) > MaxDesiredSize:
		return nil, "", fmt.Errorf("is larger than %d bytes, which no table definition is", MaxDesiredSize)
	case !utf8.ValidString(text):
		return nil, "", errors.New("is not valid UTF-8: save it as UTF-8")
	case strings.HasPrefix(text, "\ufeff"):
		return nil, "", errors.New("begins with a byte order mark, which MySQL does not read: save it as UTF-8 without one")
	case strings.ContainsRune(text, 0):
		return nil, "", errors.New("holds a NUL byte")
	}
	toks, err := lexAs(text, d)
	if err != nil {
		return nil, "", err
	}
	c := &cursor{text: text, dialect: d, toks: toks}
	table, err := c.createTable()
	return c, table, err
}

var errEmptyFile = errors.New("holds no statement: want one CREATE TABLE")

func (c *cursor) createTable() (string, error) {
	if c.done() || c.is(";") {
		return "", errEmptyFile
	}
	if c.is("CREATE", "TEMPORARY") {
		return "", errors.New("creates a TEMPORARY table, which no server would keep")
	}
	if !c.accept("CREATE", "TABLE") {
		return "", fmt.Errorf("is not a CREATE TABLE: it begins with %q", clip(c.raw()+" "+c.at(c.i+1)))
	}
	if c.is("IF", "NOT", "EXISTS") { // it would hide that the table is there
		c.toks = slices.Delete(c.toks, c.i, c.i+3)
	}
	table, ok := c.name()
	if !ok || table == "" {
		return "", errors.New("names no table after CREATE TABLE")
	}
	if c.is(".") {
		return "", fmt.Errorf("names the database too (%s.…): leave it out, the table is made in every database of the tier", clip(table))
	}
	return table, c.definition()
}

// queryWords begin a query: such a CREATE TABLE takes its columns or rows from somewhere else.
var queryWords = []string{"SELECT", "WITH", "VALUES", "TABLE"}

func (c *cursor) definition() error {
	if !c.is("(") {
		return c.notPlain(c.i)
	}
	if i := c.elsewhere(); i >= 0 {
		return fmt.Errorf("names a table of another database after %s: making a draft of it would lock that table (its users would wait, "+
			"with nobody's permission); leave the database out, or manage this table by hand", c.at(i))
	}
	for i := range c.toks { // a query anywhere: the server might refuse it there, but it is not for a file to ask
		if c.isAt(i, "SELECT") {
			return c.notPlain(i)
		}
		if c.isAt(i, "(") && c.anyAt(i+1, queryWords) {
			return c.notPlain(i + 1)
		}
	}
	if c.isAt(c.i+1, "LIKE") || c.isAt(c.i+1, "(") || c.anyAt(c.i+1, queryWords) {
		return c.notPlain(c.i + 1)
	}
	if c.i = c.group(c.i); c.i < 0 {
		return errors.New("does not close the parenthesis of its columns")
	}
	for !c.done() && !c.is(";") {
		switch {
		case c.anyAt(c.i, queryWords), c.is("AS"), c.is("IGNORE"), c.is("REPLACE"), c.is("LIKE"), c.is("START", "TRANSACTION"):
			return c.notPlain(c.i)
		case c.is("("):
			if i := c.skip(c.i, "("); c.anyAt(i, queryWords) {
				return c.notPlain(i)
			}
			if c.i = c.group(c.i); c.i < 0 {
				return errors.New("leaves a parenthesis open after its columns")
			}
		case c.is("AUTOEXTEND_SIZE"):
			c.dropOption()
		default:
			c.i++
		}
	}
	return c.end()
}

// elsewhere is the index of the word after which the text names a table with its database, -1 where it nowhere does. CREATE TABLE
// takes an exclusive metadata lock on the parent of a foreign key, also with foreign_key_checks=0, and a MERGE table opens its members.
func (c *cursor) elsewhere() int {
	for i := range c.toks {
		switch {
		case c.isAt(i, "REFERENCES") && (c.isAt(i+1, ".") || c.isAt(i+2, ".")):
			return i
		case c.isAt(i, "UNION", "("), c.isAt(i, "UNION", "=", "("):
			open := c.skip(i+1, "=")
			for at := range c.closing(open) {
				if at > open && c.isAt(at, ".") {
					return i
				}
			}
		}
	}
	return -1
}

// dropOption takes an option of the table, at the current token, out of the statement: NAME value or NAME = value, with one comma beside
// it. AUTOEXTEND_SIZE is how much of the disk is taken at once, for each partition: up to 4 GB for every draft. It is no part of the
// normal form, see Normalise.
func (c *cursor) dropOption() {
	from, to := c.i, c.skip(c.i+1, "=")+1
	switch {
	case c.isAt(from-1, ","):
		from--
	case c.isAt(to, ","):
		to++
	}
	c.toks = slices.Delete(c.toks, from, min(to, len(c.toks)))
	c.i = from
}

// end checks that nothing but semicolons is left, and takes them off.
func (c *cursor) end() error {
	end := c.i
	for c.accept(";") {
	}
	if !c.done() {
		return fmt.Errorf("holds a second statement (%q): want one CREATE TABLE per file", clip(c.raw()+" "+c.at(c.i+1)))
	}
	c.toks = c.toks[:end]
	return nil
}

func (c *cursor) anyAt(i int, words []string) bool {
	for _, w := range words {
		if c.isAt(i, w) {
			return true
		}
	}
	return false
}

func (c *cursor) notPlain(i int) error {
	if i >= len(c.toks) || c.isAt(i, ";") {
		return errors.New("defines no columns")
	}
	return fmt.Errorf("is not a definition by itself (%s): write out the columns", clip(c.at(i)))
}

// clip keeps pieces of files that are quoted in messages short.
func clip(s string) string {
	s = strings.TrimSpace(s)
	if r := []rune(s); len(r) > 64 {
		return string(r[:64]) + "…"
	}
	return s
}
