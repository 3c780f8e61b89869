package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"
)

// zoned are the functions whose value depends on the session's time_zone.
var zoned = []string{"from_unixtime", "unix_timestamp", "convert_tz", "now", "curdate", "curtime", "current_date", "current_time",
	"current_timestamp", "localtime", "localtimestamp", "sysdate"}

// offset ends a literal that the server converts to the session's time_zone.
var offset = regexp.MustCompile(`\d[+-]\d\d:\d\d$`)

// inUTC says what of the definition b gives other values in a session in UTC than in one in the server's time zone, nil when nothing does:
// expressions over what depends on the zone, and the defaults of columns that a does not have. What is read from a TIMESTAMP is such.
func inUTC(a, b *table) error {
	reading := map[string]bool{} // columns whose value, when read, depends on the zone
	for _, c := range b.columns {
		reading[c.key] = c.typ == "timestamp"
	}
	for range b.columns { // generated columns over generated columns
		for _, c := range b.columns {
			if c.generated && dependsOnZone(c.def.Type.Options.As, reading) {
				reading[c.key] = true
			}
		}
	}
	for _, c := range b.columns {
		_, had := a.byName[c.key]
		o := c.def.Type.Options
		switch {
		case c.generated && reading[c.key] && c.typ == "timestamp" && !dependsOnZone(o.As, reading):
		case c.generated && reading[c.key] && (!c.virtual || b.indexed(c)):
			return fmt.Errorf("the values of the generated column %s depend on the time zone", c.name)
		case !had && !c.generated && c.typ != "timestamp" && o.Default != nil && dependsOnZone(o.Default, nil):
			return fmt.Errorf("the default of the new column %s depends on the time zone", c.name)
		}
	}
	for _, k := range b.keys {
		for _, p := range k.parts {
			if p.expr != nil && dependsOnZone(p.expr, reading) {
				return fmt.Errorf("an expression of the key %s depends on the time zone", k.name)
			}
		}
	}
	for _, c := range b.checks {
		if c.Enforced && dependsOnZone(c.Expr, reading) {
			return fmt.Errorf("whether rows satisfy CHECK (%s) depends on the time zone", oneLine(sqlparser.CanonicalString(c.Expr)))
		}
	}
	return nil
}

// indexed tells whether a column is part of a key.
func (t *table) indexed(c *column) bool {
	return slices.ContainsFunc(t.keys, func(k *key) bool {
		return slices.ContainsFunc(k.parts, func(p keyPart) bool { return p.column == c.key })
	})
}

// dependsOnZone tells whether an expression reads one of these columns, or calls what depends on the time zone.
func dependsOnZone(e sqlparser.Expr, reading map[string]bool) bool {
	found := false
	_ = sqlparser.Walk(func(node sqlparser.SQLNode) (bool, error) {
		switch n := node.(type) {
		case *sqlparser.ColName:
			found = found || reading[n.Name.Lowered()]
		case *sqlparser.FuncExpr:
			found = found || slices.Contains(zoned, n.Name.Lowered())
		case *sqlparser.CurTimeFuncExpr:
			found = found || !strings.HasPrefix(n.Name.Lowered(), "utc_")
		case *sqlparser.Literal:
			found = found || offset.MatchString(n.Val)
		}
		return !found, nil
	}, e)
	return found
}
