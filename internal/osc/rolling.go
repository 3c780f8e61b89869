package osc

import (
	"fmt"

	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/aosc/aosc/internal/schema"
)

// notRolling says why replication would not survive that the instances of a cluster have different ones of these two
// definitions for a while, "" when it would. Row events carry columns by position, not by name (MySQL manual,
// "Replication with Differing Table Definitions on Source and Replica"): what both have must come first, in the same order
// and of the same types; what only one has must come last and be able to do without a value.
func notRolling(current, desired schema.Form) string {
	a, errA := columnsOf(current)
	b, errB := columnsOf(desired)
	if errA != nil || errB != nil {
		return "its columns could not be read"
	}
	for i := range min(len(a), len(b)) {
		switch {
		case a[i].name != b[i].name:
			return fmt.Sprintf("column %d is %s before and %s after: row events carry columns by position", i+1, a[i].name, b[i].name)
		case a[i].kind != b[i].kind:
			return fmt.Sprintf("column %s changes its type: replicas would have to convert it", a[i].name)
		}
	}
	longer := a
	if len(b) > len(a) {
		longer = b
	}
	for _, c := range longer[min(len(a), len(b)):] {
		if c.needsValue {
			return fmt.Sprintf("column %s has no default: rows from an instance without it could not be written", c.name)
		}
	}
	return ""
}

// AddedColumns are the names of the columns that the plan adds and whose values no other column gives.
func (p Plan) AddedColumns() ([]string, error) {
	before, err := columnsOf(p.Current)
	if err != nil {
		return nil, err
	}
	after, err := columnsOf(p.Desired)
	if err != nil {
		return nil, err
	}
	had := map[string]bool{}
	for _, c := range before {
		had[c.name] = true
	}
	var added []string
	for _, c := range after {
		if !had[c.name] && !c.generated {
			added = append(added, c.name)
		}
	}
	return added, nil
}

// shapeColumn is what matters of a column to row events.
type shapeColumn struct {
	name, kind string
	needsValue bool // NOT NULL, without a default
	generated  bool
}

// columnsOf reads the columns of a normal form.
func columnsOf(f schema.Form) ([]shapeColumn, error) {
	parser, err := sqlparser.New(sqlparser.Options{})
	if err != nil {
		return nil, err
	}
	statement, err := parser.ParseStrictDDL(f.Text)
	if err != nil {
		return nil, err
	}
	create, ok := statement.(*sqlparser.CreateTable)
	if !ok || create.TableSpec == nil {
		return nil, fmt.Errorf("not a table: %.60s", f.Text)
	}
	var out []shapeColumn
	for _, c := range create.TableSpec.Columns {
		o := c.Type.Options
		kind := sqlparser.CloneRefOfColumnType(c.Type)
		kind.Options = &sqlparser.ColumnTypeOptions{Collate: o.Collate}
		out = append(out, shapeColumn{
			name:       c.Name.Lowered(),
			kind:       sqlparser.CanonicalString(kind),
			generated:  o.As != nil,
			needsValue: o.Null != nil && !*o.Null && o.Default == nil && !o.Autoincrement && o.As == nil,
		})
	}
	return out, nil
}
