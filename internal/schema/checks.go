package schema

import (
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"
)

func checkOf(c *sqlparser.ConstraintDefinition) *sqlparser.CheckConstraintDefinition {
	check, _ := c.Details.(*sqlparser.CheckConstraintDefinition)
	return check
}

func foreignKeyOf(c *sqlparser.ConstraintDefinition) *sqlparser.ForeignKeyDefinition {
	fk, _ := c.Details.(*sqlparser.ForeignKeyDefinition)
	return fk
}

// checkNames are the names of a table's CHECK constraints in the order in which the server keeps them, by name:
// CREATE TABLE ... LIKE numbers them so.
func checkNames(t *sqlparser.CreateTable) []string {
	var names []string
	for _, c := range t.TableSpec.Constraints {
		if checkOf(c) != nil {
			names = append(names, c.Name.String())
		}
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return names
}

// alignChecks gives each CHECK of to that from has under another name the name it has in from: names of checks are no
// part of equality. A new check whose name is then taken loses it, and gets one of the server's.
func alignChecks(from, to *sqlparser.CreateTable) {
	have := map[string][]sqlparser.IdentifierCI{} // by expression
	for _, c := range from.TableSpec.Constraints {
		if check := checkOf(c); check != nil {
			expr := sqlparser.CanonicalString(check.Expr)
			have[expr] = append(have[expr], c.Name)
		}
	}
	kept := map[string]bool{}
	var added []*sqlparser.ConstraintDefinition
	for _, c := range to.TableSpec.Constraints {
		check := checkOf(c)
		if check == nil {
			continue
		}
		expr := sqlparser.CanonicalString(check.Expr)
		if names := have[expr]; len(names) > 0 {
			c.Name, have[expr] = names[0], names[1:]
			kept[c.Name.Lowered()] = true
		} else {
			added = append(added, c)
		}
	}
	for _, c := range added {
		if kept[c.Name.Lowered()] {
			c.Name = sqlparser.NewIdentifierCI("")
		}
	}
}
