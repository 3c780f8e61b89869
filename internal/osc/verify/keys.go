package verify

import (
	"fmt"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// keyPart is one column of the key both tables are walked by: how to read it as text from either table, and how to
// write such a text as a literal for either table.
type keyPart struct {
	original, copy         Column
	read                   pair
	literalOf, literalCopy func(text string) string
}

// keyParts prepares the columns of a key. ordered tells whether the original and the copy sort them alike, so that a
// range of one is a range of the other.
func keyParts(original, copied Table, columns []string) (parts []keyPart, ordered bool, err error) {
	ordered = true
	for _, name := range columns {
		o, ok := original.Column(name)
		n, okCopy := copied.Column(name)
		if !ok || !okCopy {
			return nil, false, fmt.Errorf("key column %s is not in both %s and %s", name, original.quoted(), copied.quoted())
		}
		part := keyPart{original: o, copy: n}
		switch {
		case sortAlike(o, n) && (o.class() == classText || o.class() == classBinary):
			part.read = pair{"HEX(" + mysql.QuoteIdent(o.Name) + ")", "HEX(" + mysql.QuoteIdent(n.Name) + ")"}
			part.literalOf, part.literalCopy = rawLiteral(o), rawLiteral(n)
		case !sortAlike(o, n) && !(o.labelled() && n.labelled()) && !(o.class() == classBinary && n.class() == classBinary):
			return nil, false, fmt.Errorf("key column %s turns from %s to %s: rows of the copy cannot be matched with their originals",
				name, o.Type, n.Type)
		default:
			// Long values must stay readable here: a digest cannot be turned back into a literal.
			o.Length, n.Length = min(o.Length, 255), min(n.Length, 255)
			part.read = expressions(o, n, false)
			part.literalOf, part.literalCopy = canonicalLiteral(o), canonicalLiteral(n)
			ordered = ordered && sortAlike(o, n)
		}
		parts = append(parts, part)
	}
	return parts, ordered, nil
}

// sortAlike tells whether a range of values means the same rows in o and in n. Labels of ENUM and SET sort by number
// but compare with literals as text: they never do.
func sortAlike(o, n Column) bool {
	switch o.class() {
	case classInt, classDecimal, classBit:
		return n.numeric()
	case classFloat:
		return n.class() == classFloat
	case classMoment:
		return n.class() == classMoment && (o.DataType == "timestamp") == (n.DataType == "timestamp")
	case classTime:
		return n.class() == classTime
	case classText:
		return o.DataType == n.DataType && o.Charset == n.Charset && o.Collation == n.Collation
	case classBinary:
		return o.DataType == n.DataType && (o.DataType != "binary" || o.Length == n.Length)
	}
	return false
}

// rawLiteral writes the bytes of a string as they are, in the column's character set and collation: the index serves
// the comparison and nothing is converted.
func rawLiteral(c Column) func(string) string {
	if c.class() == classBinary {
		return func(hex string) string { return "_binary x'" + hex + "'" }
	}
	return func(hex string) string { return "_" + c.Charset + " x'" + hex + "' COLLATE " + c.Collation }
}

// canonicalLiteral writes the text of expressions as a literal that c compares with by its index.
func canonicalLiteral(c Column) func(string) string {
	switch c.class() {
	case classInt, classDecimal, classBit:
		return func(text string) string { return text }
	case classFloat:
		return func(text string) string {
			if strings.ContainsAny(text, "eE") {
				return text
			}
			return text + "e0"
		}
	case classText, classEnum, classSet:
		return func(hex string) string {
			return "CONVERT(_utf8mb4 x'" + hex + "' USING " + c.Charset + ") COLLATE " + c.Collation
		}
	case classBinary:
		return func(hex string) string { return "_binary x'" + hex + "'" }
	}
	return func(text string) string { return "'" + text + "'" }
}

// keyValue is one key, as text per part.
type keyValue []string

// id identifies the key among others of the same table.
func (k keyValue) id() string { return strings.Join(k, "|") }

// side is one of the two tables, for building statements.
type side int

const (
	original side = iota
	copied
)

// reads are the key's parts as text, for a select list.
func reads(parts []keyPart, s side) []string {
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = p.read.original
		if s == copied {
			out[i] = p.read.copy
		}
	}
	return out
}

// column and literal are part i of a key on one side.
func (p keyPart) column(s side) string {
	if s == copied {
		return mysql.QuoteIdent(p.copy.Name)
	}
	return mysql.QuoteIdent(p.original.Name)
}

func (p keyPart) literal(s side, text string) string {
	if s == copied {
		return p.literalCopy(text)
	}
	return p.literalOf(text)
}

// equals is the condition of one key.
func equals(parts []keyPart, s side, k keyValue) string {
	terms := make([]string, len(parts))
	for i, p := range parts {
		terms[i] = p.column(s) + " = " + p.literal(s, k[i])
	}
	return "(" + strings.Join(terms, " AND ") + ")"
}

// among is the condition of any of several keys.
func among(parts []keyPart, s side, keys []keyValue) string {
	terms := make([]string, len(keys))
	if len(parts) == 1 {
		for i, k := range keys {
			terms[i] = parts[0].literal(s, k[0])
		}
		return parts[0].column(s) + " IN (" + strings.Join(terms, ", ") + ")"
	}
	for i, k := range keys {
		terms[i] = equals(parts, s, k)
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}

// compare is the condition "key op k" in the order of the key; op is ">" or "<=". It is written out (a > 1 OR a = 1 AND
// b > 2) because the server does not use an index for a comparison of rows, (a, b) > (1, 2).
func compare(parts []keyPart, s side, op string, k keyValue) string {
	strict := strings.TrimSuffix(op, "=")
	var terms []string
	for i, p := range parts {
		var term []string
		for j := range i {
			term = append(term, parts[j].column(s)+" = "+parts[j].literal(s, k[j]))
		}
		last := strict
		if i == len(parts)-1 {
			last = op
		}
		term = append(term, p.column(s)+" "+last+" "+p.literal(s, k[i]))
		terms = append(terms, "("+strings.Join(term, " AND ")+")")
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}

// keyRange is the half-open range (low, high] of keys; nil = unbounded.
type keyRange struct{ low, high keyValue }

func (r keyRange) condition(parts []keyPart, s side) string {
	var terms []string
	if r.low != nil {
		terms = append(terms, compare(parts, s, ">", r.low))
	}
	if r.high != nil {
		terms = append(terms, compare(parts, s, "<=", r.high))
	}
	if terms == nil {
		return "TRUE"
	}
	return strings.Join(terms, " AND ")
}
