package osc

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/aosc/aosc/internal/schema"
)

// notRolling says why replication would not survive, or would leave other data, when the instances of a cluster have different ones of
// these two definitions for a while, "" when it would be well in the order of the direction. To what schema.DirectionOf knows of
// the two ends it adds what this change does between them: a renamed column is dropped and added, so that the new one is empty.
func notRolling(current, desired schema.Form, d schema.Direction) string {
	if d.Order == schema.NeverRolling {
		return d.Why
	}
	a, errA := columnsOf(current)
	b, errB := columnsOf(desired)
	if errA != nil || errB != nil {
		return "its columns could not be read"
	}
	for i := range min(len(a), len(b)) {
		if a[i].name != b[i].name {
			return fmt.Sprintf("column %d is %s before and %s after: row events carry columns by position, and the new one would be empty here",
				i+1, a[i].name, b[i].name)
		}
	}
	return ""
}

// rollingNeeds says which settings of this server the direction needs and it does not have, "" for none. Every member needs them: any
// may become the source of the others.
func rollingNeeds(ctx context.Context, q schema.Querier, d schema.Direction) (string, error) {
	if len(d.Needs) == 0 {
		return "", nil
	}
	var conversions, image string
	if err := q.QueryRowContext(ctx, "SELECT @@global.replica_type_conversions, @@global.binlog_row_image").Scan(&conversions, &image); err != nil {
		return "", fmt.Errorf("read how replication converts: %w", err)
	}
	have := strings.Split(conversions, ",")
	var lacks []string
	for _, need := range d.Needs {
		switch {
		case need == schema.NeedFull && !strings.EqualFold(image, schema.NeedFull):
			lacks = append(lacks, "binlog_row_image=FULL")
		case need != schema.NeedFull && !slices.Contains(have, need):
			lacks = append(lacks, "replica_type_conversions with "+need)
		}
	}
	if lacks == nil {
		return "", nil
	}
	return "the members differ for a while (" + d.Why + "): set " + strings.Join(lacks, " and ") + " on every member of the cluster until the alter is finished", nil
}

// PrimaryFirst and ReplicasFirst tell, of a plan for one member at a time, with which it has to begin. Neither holds where it does not
// matter. A table that is missing is made at the replicas first: they would stop at its first row.
func (p Plan) PrimaryFirst() bool { return p.oneByOne && p.Direction.Order == schema.PrimaryFirst }

// ReplicasFirst is the other one.
func (p Plan) ReplicasFirst() bool {
	return p.oneByOne && (p.Direction.Order == schema.ReplicasFirst || p.Engine == EngineCreate)
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

// shapeColumn is a column by its place.
type shapeColumn struct {
	name      string
	generated bool
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
		out = append(out, shapeColumn{name: c.Name.Lowered(), generated: c.Type.Options.As != nil})
	}
	return out, nil
}
