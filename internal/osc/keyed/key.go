package keyed

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
)

// kind is how values of a key column are written as text, and such a text as a literal.
type kind int

const (
	kindNumber kind = iota // decimal digits: integers, decimals, YEAR, BIT, and ENUM by its number
	kindText               // hexadecimal, of the bytes in the column's character set
	kindBinary             // hexadecimal
	kindMoment             // DATE, DATETIME, TIMESTAMP in UTC, as the server prints them
	kindTime
)

// part is one column of the key.
type part struct {
	original, ghost verify.Column
	ordinal         int // of the column in the table, from 0: its place in row events
	descending      bool
	kind            kind
	alike           bool // table and ghost compare and sort the values alike
}

// key is the unique key of the table by which it is copied, and by which changes are followed.
type key struct {
	name  string
	parts []part
	index string // of the ghost that finds rows by the same columns
}

// value is one key: a text per part, joined. Texts are of digits, letters, '-', '.', ':' and space, so that '|' separates them.
type value string

func (v value) texts() []string { return strings.Split(string(v), "|") }

func valueOf(texts []string) value { return value(strings.Join(texts, "|")) }

// errNoKey is worded for the operator.
var errNoKey = errors.New("no usable unique key: a copy needs a PRIMARY or UNIQUE key of whole NOT NULL columns, " +
	"and the new table one of the same")

// chooseKey is the key to copy by: PRIMARY where it serves, else the first that does. The error says why the best one does not.
func chooseKey(original, ghost verify.Table, keys []verify.Key, utc bool) (key, error) {
	var first error
	sorted := slices.Clone(keys)
	slices.SortStableFunc(sorted, func(a, b verify.Key) int { return rank(a) - rank(b) })
	for _, k := range sorted {
		chosen, err := keyOf(original, ghost, k, utc)
		if err == nil {
			return chosen, nil
		}
		if first == nil {
			first = fmt.Errorf("key %s: %w", k.Name, err)
		}
	}
	if first == nil {
		return key{}, errNoKey
	}
	return key{}, fmt.Errorf("%w (%w). Give the table another such key first, or let MySQL itself make the change, which blocks writes "+
		"(direct_max_rows at least the table's rows)", errNoKey, first)
}

func rank(k verify.Key) int {
	if k.Name == "PRIMARY" {
		return 0
	}
	return 1
}

func keyOf(original, ghost verify.Table, k verify.Key, utc bool) (key, error) {
	switch {
	case k.Nullable:
		return key{}, errors.New("some column of it may be NULL")
	case k.Functions, k.Prefixed:
		return key{}, errors.New("it is over expressions or beginnings of columns")
	case !k.Visible:
		return key{}, errors.New("it is INVISIBLE, so that no statement may be told to use it")
	}
	chosen := key{name: k.Name}
	for i, name := range k.Columns {
		p, err := partOf(original, ghost, name, utc)
		if err != nil {
			return key{}, err
		}
		p.descending = i < len(k.Descending) && k.Descending[i]
		chosen.parts = append(chosen.parts, p)
	}
	var ok bool
	if chosen.index, ok = serving(ghost, k.Columns); !ok {
		return chosen, errUnserved
	}
	return chosen, nil
}

// errUnserved: nothing but an index lacks, see helperKey.
var errUnserved = errors.New("the new table has no unique key over the same columns")

// helperKey is an index of the ghost over the columns of the table's key, where the new definition has no such unique key: the key to copy
// by becomes another one. It is dropped right before the swap.
const helperKey = "_aosc_copied_by"

// helpedKey is the key to copy by with an index of our own.
func helpedKey(original, ghost verify.Table, keys []verify.Key, utc bool) (key, bool) {
	sorted := slices.Clone(keys)
	slices.SortStableFunc(sorted, func(a, b verify.Key) int { return rank(a) - rank(b) })
	for _, k := range sorted {
		if chosen, err := keyOf(original, ghost, k, utc); errors.Is(err, errUnserved) {
			chosen.index = helperKey
			return chosen, true
		}
	}
	return key{}, false
}

// serving is the unique key of a table over just these columns, in any order: the ghost's rows are found by it.
func serving(t verify.Table, columns []string) (string, bool) {
	for _, k := range t.Keys {
		if !k.Visible || k.Functions || k.Prefixed || len(k.Columns) != len(columns) {
			continue
		}
		all := true
		for _, c := range columns {
			all = all && slices.ContainsFunc(k.Columns, func(own string) bool { return strings.EqualFold(own, c) })
		}
		if all {
			return k.Name, true
		}
	}
	return "", false
}

// numbers are the types whose values are the same numbers in all of them.
var numbers = []string{"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year", "bit"}

func partOf(original, ghost verify.Table, name string, utc bool) (part, error) {
	i := slices.IndexFunc(original.Columns, func(c verify.Column) bool { return strings.EqualFold(c.Name, name) })
	n, ok := ghost.Column(name)
	if i < 0 || !ok {
		return part{}, fmt.Errorf("its column %s is not in both tables", name)
	}
	o := original.Columns[i]
	p := part{original: o, ghost: n, ordinal: i}
	if n.Generated != o.Generated {
		return part{}, fmt.Errorf("column %s is generated in one of the tables only", name)
	}
	switch o.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year", "bit":
		p.kind, p.alike = kindNumber, slices.Contains(numbers, n.DataType)
	case "enum":
		p.kind, p.alike = kindNumber, o.Type == n.Type
	case "char", "varchar":
		p.kind, p.alike = kindText, n.DataType == o.DataType && n.Charset == o.Charset && n.Collation == o.Collation
		if !p.alike && (n.DataType == "char" || n.DataType == "varchar") {
			return p, nil // matched by the server's own conversion, see apply
		}
	case "binary", "varbinary":
		p.kind, p.alike = kindBinary, n.DataType == o.DataType && (o.DataType == "varbinary" || n.Length == o.Length)
	case "date", "datetime":
		p.kind, p.alike = kindMoment, (n.DataType == "date" || n.DataType == "datetime") && n.Fraction >= o.Fraction
	case "timestamp":
		if !utc {
			return part{}, fmt.Errorf("column %s is a TIMESTAMP and the server's time_zone is not UTC: an hour comes twice "+
				"when clocks are set back", name)
		}
		p.kind, p.alike = kindMoment, n.DataType == "timestamp" && n.Fraction >= o.Fraction
	case "time":
		p.kind, p.alike = kindTime, n.DataType == "time" && n.Fraction >= o.Fraction
	default:
		return part{}, fmt.Errorf("column %s is of type %s", name, o.Type)
	}
	if !p.alike {
		return part{}, fmt.Errorf("column %s changes from %s to %s, by which rows of the copy cannot be matched with their originals",
			name, o.Type, n.Type)
	}
	return p, nil
}

// alike tells whether table and ghost hold the same keys in the same order.
func (k key) alike() bool {
	return !slices.ContainsFunc(k.parts, func(p part) bool { return !p.alike })
}

// side is one of the two tables, for building statements.
type side int

const (
	original side = iota
	ghost
)

func (p part) column(s side) string {
	if s == ghost {
		return mysql.QuoteIdent(p.ghost.Name)
	}
	return mysql.QuoteIdent(p.original.Name)
}

// read is the column's text, for a select list, in the terms of the original.
func (p part) read(s side, qualifier string) string {
	c := qualifier + p.column(s)
	switch p.kind {
	case kindNumber:
		if p.original.DataType == "decimal" {
			return c
		}
		return c + "+0"
	case kindText:
		if s == ghost && !p.alike {
			return "HEX(CONVERT(" + c + " USING " + p.original.Charset + "))"
		}
		return "HEX(" + c + ")"
	case kindBinary:
		return "HEX(" + c + ")"
	}
	return "CAST(" + c + " AS CHAR)"
}

// literal writes a text of the original's as the server compares it with the column of one side, by its index. Text has no
// collation of its own where the ghost's differs: the server converts the literal, and the column's collation decides.
func (p part) literal(s side, text string) string {
	switch p.kind {
	case kindText:
		if s == ghost && !p.alike {
			return "_" + p.original.Charset + " x'" + text + "'"
		}
		return "_" + p.original.Charset + " x'" + text + "' COLLATE " + p.original.Collation
	case kindBinary:
		return "_binary x'" + text + "'"
	case kindMoment:
		return "'" + text + "'"
	case kindTime:
		return "CAST('" + text + "' AS TIME(6))"
	}
	return text
}

// reads are the key's texts, for a select list.
func (k key) reads(s side, qualifier string) string { return strings.Join(k.each(s, qualifier), ", ") }

// texts are the expressions of the key's texts.
func (k key) texts(s side) []string { return k.each(s, "") }

func (k key) each(s side, qualifier string) []string {
	out := make([]string, len(k.parts))
	for i, p := range k.parts {
		out[i] = p.read(s, qualifier)
	}
	return out
}

// order is the key's order, for ORDER BY.
func (k key) order() string {
	out := make([]string, len(k.parts))
	for i, p := range k.parts {
		out[i] = p.column(original)
		if p.descending {
			out[i] += " DESC"
		}
	}
	return strings.Join(out, ", ")
}

// among is the condition of any of several keys.
func (k key) among(s side, values []value) string {
	terms := make([]string, len(values))
	for i, v := range values {
		texts := v.texts()
		if len(k.parts) == 1 {
			terms[i] = k.parts[0].literal(s, texts[0])
			continue
		}
		equal := make([]string, len(texts))
		for j, p := range k.parts {
			equal[j] = p.column(s) + " = " + p.literal(s, texts[j])
		}
		terms[i] = "(" + strings.Join(equal, " AND ") + ")"
	}
	if len(k.parts) == 1 {
		return k.parts[0].column(s) + " IN (" + strings.Join(terms, ", ") + ")"
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}

// span is the half-open range (low, high] of keys in the key's order; "" = unbounded.
type span struct{ low, high value }

// condition is the range as a condition on one side.
func (k key) condition(s side, r span) string {
	var terms []string
	column := func(i int) string { return k.parts[i].column(s) }
	if r.low != "" {
		terms = append(terms, k.compare(s, column, true, false, r.low))
	}
	if r.high != "" {
		terms = append(terms, k.compare(s, column, false, true, r.high))
	}
	if terms == nil {
		return "TRUE"
	}
	return strings.Join(terms, " AND ")
}

// beyond is the condition that one key comes after another in the order of the key, for the server to tell: collations are its own.
func (k key) beyond(v, frontier value) string {
	texts := v.texts()
	return k.compare(original, func(i int) string { return k.parts[i].literal(original, texts[i]) }, true, false, frontier)
}

// compare is the condition that what left gives for each part comes after v, or before it, in the order of the key. It is written
// out (a > 1 OR a = 1 AND b > 2), because the server uses no index for a comparison of rows.
func (k key) compare(s side, left func(i int) string, after, orEqual bool, v value) string {
	texts := v.texts()
	var terms []string
	for i, p := range k.parts {
		op := "<"
		if after != p.descending {
			op = ">"
		}
		if orEqual && i == len(k.parts)-1 {
			op += "="
		}
		var term []string
		for j := range i {
			term = append(term, left(j)+" = "+k.parts[j].literal(s, texts[j]))
		}
		terms = append(terms, "("+strings.Join(append(term, left(i)+" "+op+" "+p.literal(s, texts[i])), " AND ")+")")
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}

// describe shows a key as people read it.
func (k key) describe(v value) string {
	if v == "" {
		return "the end"
	}
	out := make([]string, len(k.parts))
	for i, text := range v.texts() {
		if k.parts[i].kind == kindText || k.parts[i].kind == kindBinary {
			text = "x'" + text + "'"
		}
		out[i] = mysql.QuoteIdent(k.parts[i].original.Name) + "=" + text
	}
	return strings.Join(out, ", ")
}
