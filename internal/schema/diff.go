package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"vitess.io/vitess/go/vt/schemadiff"
	"vitess.io/vitess/go/vt/sqlparser"
	"vitess.io/vitess/go/vt/vtenv"
)

// DiffError says that no ALTER can be made of the difference between two definitions. Only another definition helps.
type DiffError struct {
	Table string
	Err   error
}

func (e *DiffError) Error() string {
	return fmt.Sprintf("no ALTER TABLE can be made for %s: %v", e.Table, e.Err)
}

func (e *DiffError) Unwrap() error { return e.Err }

// Diff computes the change from one normal form to another as a server of this version (@@version) would need it. It is
// pure. The change is Empty exactly when the hashes are equal. The error is a *DiffError.
//
// A CHECK constraint that is in both keeps the name it has: the change is for this very text, not for every table of
// the same hash. Memoise it by the whole Form.
func Diff(current, desired Form, version string) (Change, error) {
	if current.Hash == desired.Hash {
		return Change{Empty: true, Statement: func(string, string) string { return "" }}, nil
	}
	d := differ{current: current.Text, desired: desired.Text}
	c, err := d.run(version)
	if err != nil {
		return Change{}, &DiffError{Table: d.table, Err: err}
	}
	return c, nil
}

type differ struct {
	current, desired string
	table            string
	env              *schemadiff.Environment
	from, to         *sqlparser.CreateTable // as parsed, the names of checks aligned
}

func (d *differ) run(version string) (Change, error) {
	var err error
	if d.env, err = diffEnv(version); err != nil {
		return Change{}, err
	}
	d.table = "the table"
	if d.from, err = d.parse(d.current); err != nil {
		return Change{}, fmt.Errorf("read the current definition: %w", err)
	}
	d.table = d.from.Table.Name.String()
	if d.to, err = d.parse(d.desired); err != nil {
		return Change{}, fmt.Errorf("read the desired definition: %w", err)
	}
	c := Change{checks: checkNames(d.from)}
	alignChecks(d.from, d.to)
	if c.alters, err = d.alters(schemadiff.RangeRotationDistinctStatements); err != nil {
		return Change{}, err
	}
	if len(c.alters) == 0 {
		return Change{}, errors.New("the definitions differ, but not in anything that ALTER TABLE can change")
	}
	for _, a := range c.alters {
		c.Steps = append(c.Steps, render(a))
	}
	c.Clauses = strings.Join(c.Steps, ", ")
	c.Statement = c.statement
	if c.copied, err = d.oneAlter(c.alters); err != nil {
		return Change{}, err
	}
	a, b := newTable(d.from), newTable(d.to)
	c.Findings = findings(a, b, c.alters)
	c.Copyable = copyable(a, b, &c)
	c.Ghost = ghostable(a, b, &c)
	c.UTC = inUTC(a, b)
	return c, nil
}

func (d *differ) parse(text string) (*sqlparser.CreateTable, error) {
	stmt, err := d.env.Parser().ParseStrictDDL(text)
	if err != nil {
		return nil, err
	}
	create, ok := stmt.(*sqlparser.CreateTable)
	if !ok || create.TableSpec == nil {
		return nil, fmt.Errorf("it is not a table (%s)", clip(text))
	}
	return create, nil
}

// hints: renames cannot be told from a drop and an add, so they are that (and a Finding); an enum in another order is a
// Finding too, not an error; character sets are complete in the normal form, so they are compared strictly.
func hints(rotation int) *schemadiff.DiffHints {
	return &schemadiff.DiffHints{
		AutoIncrementStrategy:       schemadiff.AutoIncrementIgnore,
		RangeRotationStrategy:       rotation,
		ConstraintNamesStrategy:     schemadiff.ConstraintNamesStrict,
		ColumnRenameStrategy:        schemadiff.ColumnRenameAssumeDifferent,
		FullTextKeyStrategy:         schemadiff.FullTextKeyDistinctStatements,
		TableCharsetCollateStrategy: schemadiff.TableCharsetCollateStrict,
		EnumReorderStrategy:         schemadiff.EnumReorderStrategyAllow,
	}
}

// alters asks schemadiff. It changes the definitions it is given, so it gets copies.
func (d *differ) alters(rotation int) ([]*sqlparser.AlterTable, error) {
	diff, err := schemadiff.DiffTables(d.env, sqlparser.Clone(d.from), sqlparser.Clone(d.to), hints(rotation))
	if err != nil {
		return nil, err
	}
	var out []*sqlparser.AlterTable
	for _, one := range schemadiff.AllSubsequent(diff) {
		alter, ok := one.Statement().(*sqlparser.AlterTable)
		if !ok {
			return nil, fmt.Errorf("unexpected statement: %s", one.CanonicalStatementString())
		}
		d.recreateGenerated(alter)
		orderDrops(alter)
		out = append(out, splitForeignKeys(alter)...)
	}
	return out, nil
}

// oneAlter is the whole change as one ALTER for a copy, which rebuilds the table anyhow: partitions are then given
// in full instead of one by one. nil when there is none.
func (d *differ) oneAlter(alters []*sqlparser.AlterTable) (*sqlparser.AlterTable, error) {
	if len(alters) == 1 {
		return alters[0], nil
	}
	for _, a := range alters {
		if a.PartitionSpec != nil && a.PartitionSpec.Action != sqlparser.AddAction {
			return nil, nil // a whole specification would keep the rows that dropping a partition drops
		}
	}
	full, err := d.alters(schemadiff.RangeRotationFullSpec)
	if err != nil || len(full) != 1 {
		return nil, err
	}
	return full[0], nil
}

// orderDrops makes the order of dropped keys the same each time: schemadiff takes it from a map.
func orderDrops(alter *sqlparser.AlterTable) {
	var at []int
	var drops []*sqlparser.DropKey
	for i, o := range alter.AlterOptions {
		if k, ok := o.(*sqlparser.DropKey); ok && k.Type == sqlparser.NormalKeyType {
			at, drops = append(at, i), append(drops, k)
		}
	}
	slices.SortFunc(drops, func(a, b *sqlparser.DropKey) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	for i, k := range drops {
		alter.AlterOptions[at[i]] = k
	}
}

// splitForeignKeys drops foreign keys in a statement of their own where the same name is added again: MySQL checks the
// new name before it drops the old one.
func splitForeignKeys(alter *sqlparser.AlterTable) []*sqlparser.AlterTable {
	added := map[string]bool{}
	for _, o := range alter.AlterOptions {
		if add, ok := o.(*sqlparser.AddConstraintDefinition); ok {
			added[add.ConstraintDefinition.Name.Lowered()] = true
		}
	}
	var drops, rest []sqlparser.AlterOption
	for _, o := range alter.AlterOptions {
		if k, ok := o.(*sqlparser.DropKey); ok && k.Type == sqlparser.ForeignKeyType && added[k.Name.Lowered()] {
			drops = append(drops, o)
		} else {
			rest = append(rest, o)
		}
	}
	if len(drops) == 0 {
		return []*sqlparser.AlterTable{alter}
	}
	alter.AlterOptions = rest
	return []*sqlparser.AlterTable{{Table: alter.Table, AlterOptions: drops}, alter}
}

// recreateGenerated drops and adds a column where MySQL cannot change it in place: it refuses to turn a virtual column
// into anything else, or anything else into a virtual one.
func (d *differ) recreateGenerated(alter *sqlparser.AlterTable) {
	from, prev := map[string]*sqlparser.ColumnDefinition{}, map[string]*sqlparser.ColumnDefinition{}
	for _, c := range d.from.TableSpec.Columns {
		from[c.Name.Lowered()] = c
	}
	for i, c := range d.to.TableSpec.Columns[1:] {
		prev[c.Name.Lowered()] = d.to.TableSpec.Columns[i]
	}
	var drops, adds []sqlparser.AlterOption
	rest := alter.AlterOptions[:0:0]
	for _, o := range alter.AlterOptions {
		m, ok := o.(*sqlparser.ModifyColumn)
		if !ok || isVirtual(from[m.NewColDefinition.Name.Lowered()]) == isVirtual(m.NewColDefinition) {
			rest = append(rest, o)
			continue
		}
		name := m.NewColDefinition.Name
		drops = append(drops, &sqlparser.DropColumn{Name: &sqlparser.ColName{Name: name}})
		add := &sqlparser.AddColumns{Columns: []*sqlparser.ColumnDefinition{m.NewColDefinition}}
		if p := prev[name.Lowered()]; p != nil {
			add.After = &sqlparser.ColName{Name: p.Name}
		} else {
			add.First = true
		}
		adds = append(adds, add)
	}
	if len(drops) > 0 {
		alter.AlterOptions = slices.Concat(drops, insertAdds(rest, adds))
	}
}

// insertAdds puts added columns behind the last change of a column and before keys.
func insertAdds(opts, adds []sqlparser.AlterOption) []sqlparser.AlterOption {
	at := 0
	for i, o := range opts {
		switch o.(type) {
		case *sqlparser.DropKey, *sqlparser.DropColumn, *sqlparser.ModifyColumn, *sqlparser.AddColumns:
			at = i + 1
		}
	}
	return slices.Insert(opts, at, adds...)
}

func isVirtual(c *sqlparser.ColumnDefinition) bool {
	generated, storage := schemadiff.IsGeneratedColumn(c)
	return generated && storage != sqlparser.StoredStorage
}

var diffEnvs sync.Map // version -> *schemadiff.Environment

func diffEnv(version string) (*schemadiff.Environment, error) {
	if env, ok := diffEnvs.Load(version); ok {
		return env.(*schemadiff.Environment), nil
	}
	number, _, _ := strings.Cut(version, "-") // 8.0.36-28 is Percona's
	ve, err := vtenv.New(vtenv.Options{MySQLServerVersion: number})
	if err != nil {
		return nil, fmt.Errorf("server version %q: %w", version, err)
	}
	env := schemadiff.NewEnv(ve, ve.CollationEnv().DefaultConnectionCharset())
	diffEnvs.Store(version, env)
	return env, nil
}
