package schema

import (
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"
)

// keyFindings looks at unique keys: new ones that rows may violate, and the loss of the primary key.
func keyFindings(a, b *table) []Finding {
	var out []Finding
	for _, k := range b.keys {
		if !k.unique || a.guarantees(b, k) {
			continue
		}
		f := Finding{Code: Unique, Column: k.name, Detail: "rows must be unique by " + k.describe(b), collation: a.comparedOtherwise(b, k)}
		if f.collation != "" {
			f.Detail += ", of which " + f.collation
		}
		var never bool
		if f.Check, never = a.duplicates(b, k); !never {
			out = append(out, f)
		}
	}
	if a.primary() != nil && b.primary() == nil {
		out = append(out, Finding{Code: DropPrimary, Column: "PRIMARY", Detail: "the table is left without a primary key"})
	}
	return out
}

// guarantees tells whether a unique key of a already keeps rows unique by k: one over some of the same columns, compared
// the same way.
func (a *table) guarantees(b *table, k *key) bool {
	return slices.ContainsFunc(a.keys, func(old *key) bool {
		return old.unique && !slices.ContainsFunc(old.parts, func(p keyPart) bool { return !k.covers(p, a, b) })
	})
}

// covers tells whether k has a part at least as long as p, of a column whose values compare as before.
func (k *key) covers(p keyPart, a, b *table) bool {
	return slices.ContainsFunc(k.parts, func(q keyPart) bool {
		if p.expr != nil || q.expr != nil {
			return p.expr != nil && q.expr != nil && sqlparser.Equals.Expr(p.expr, q.expr)
		}
		if p.column != q.column || q.prefix != 0 && (p.prefix == 0 || q.prefix < p.prefix) {
			return false
		}
		c, d := a.byName[p.column], b.byName[p.column]
		return c != nil && d != nil && comparesAlike(c, d)
	})
}

// comparedOtherwise says how a unique key of both tables compares its columns from now on, "" when it is another key: only
// collations have changed.
func (a *table) comparedOtherwise(b *table, k *key) string {
	for _, old := range a.keys {
		if !old.unique || !slices.EqualFunc(old.parts, k.parts, func(p, q keyPart) bool {
			return p.expr == nil && q.expr == nil && p.column == q.column && p.prefix == q.prefix
		}) {
			continue
		}
		for _, p := range k.parts {
			if c, d := a.byName[p.column], b.byName[p.column]; c != nil && d != nil && !keepsApart(c.collation, d.collation) {
				return "column " + d.name + " is compared by " + d.collation + " and no longer by " + c.collation
			}
		}
	}
	return ""
}

// keepsApart tells whether texts that differ by one collation differ by another, too. The utf8mb4 collation of the same name as one of
// utf8mb3 only knows more letters. Binary ones tell all texts apart, but for spaces at the end where they are padded: all
// collations are, except the newer ones of utf8mb4.
func keepsApart(from, to string) bool {
	noPad := strings.Contains(from, "_0900_")
	rest, isUTF8 := strings.CutPrefix(strings.Replace(from, "utf8mb3_", "utf8_", 1), "utf8_")
	switch {
	case from == to, isUTF8 && to == "utf8mb4_"+rest:
		return true
	case charsetOf(from) != charsetOf(to):
		return false
	}
	return to == "utf8mb4_0900_bin" || to == charsetOf(to)+"_bin" && !noPad
}

// comparesAlike tells whether values that differ in c differ in d too.
func comparesAlike(c, d *column) bool {
	if c.generated || d.generated {
		return c.generated && d.generated && sqlparser.Equals.Expr(c.def.Type.Options.As, d.def.Type.Options.As) && c.collation == d.collation
	}
	if !keepsApart(c.collation, d.collation) {
		return false
	}
	// Where a value does not fit, strict SQL refuses it; but what rounds, pads or strips makes values equal.
	return c.family() == intFamily && d.family() == intFamily ||
		c.family() == stringFamily && d.family() == stringFamily && d.typ != "char" && d.typ != "binary" ||
		len(convert(c, d)) == 0
}

func (k *key) describe(b *table) string {
	var parts []string
	for _, p := range k.parts {
		if p.expr != nil {
			parts = append(parts, oneLine(sqlparser.CanonicalString(p.expr)))
		} else if c := b.byName[p.column]; c != nil {
			parts = append(parts, c.name)
		}
	}
	return strings.Join(parts, ", ")
}

// duplicates is the query for rows of a that k of b would refuse. never means that there can be none: a part is NULL or
// another number in every row. A nil check means that it cannot be told beforehand.
func (a *table) duplicates(b *table, k *key) (check *DataCheck, never bool) {
	var where, group []string
	unknown := false
	for _, p := range k.parts {
		c := b.byName[p.column]
		expr := p.expr
		if expr == nil {
			if c == nil {
				return nil, false
			}
			if _, had := a.byName[c.key]; !had {
				o := c.def.Type.Options
				switch {
				case o.Autoincrement, !c.generated && o.Default == nil && c.nullable, isNull(o.Default) && c.nullable:
					return nil, true
				case !c.generated && (o.Default == nil || o.DefaultLiteral):
					continue // the same in every row
				}
			}
			expr = &sqlparser.ColName{Name: c.def.Name}
		}
		sql, ok := a.over(b, expr)
		if !ok {
			unknown = true
			continue
		}
		if p.prefix > 0 {
			sql = "LEFT(" + sql + ", " + itoa(p.prefix) + ")"
		}
		if c != nil && p.expr == nil && c.charset != "" && c.charset != "binary" {
			sql = "CONVERT(" + sql + " USING " + c.charset + ") COLLATE " + c.collation
		}
		where, group = append(where, sql+" IS NOT NULL"), append(group, sql)
	}
	switch {
	case unknown:
		return nil, false
	case len(group) == 0:
		return &DataCheck{Rows: true}, false
	}
	return &DataCheck{Where: strings.Join(where, " AND "), GroupBy: strings.Join(group, ", ")}, false
}

func isNull(e sqlparser.Expr) bool {
	_, ok := e.(*sqlparser.NullVal)
	return ok
}
