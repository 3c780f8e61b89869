package schema

import (
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"
)

// partitionFindings looks for rows that a change of partitions drops, or leaves without a place.
func partitionFindings(a, b *table, alters []*sqlparser.AlterTable) []Finding {
	var out []Finding
	for _, alter := range alters {
		if s := alter.PartitionSpec; s != nil && s.Action == sqlparser.DropAction {
			for _, name := range s.Names {
				out = append(out, Finding{Code: DropPartition, Column: name.String(), Detail: "the partition and its rows are dropped",
					Check: &DataCheck{Partition: name.String()}})
			}
		}
		if alter.PartitionOption != nil && !keepsPlaces(a.partitions, alter.PartitionOption) {
			out = append(out, Finding{Code: Repartition, Detail: "rows outside the new partitions have no place",
				Check: homeless(a, b, alter.PartitionOption)})
		}
	}
	return out
}

// keepsPlaces tells whether every row has a place in the new layout: there is one for everything, or the bounds are
// those of the old one.
func keepsPlaces(old, now *sqlparser.PartitionOption) bool {
	if now.Type != sqlparser.RangeType && now.Type != sqlparser.ListType {
		return true
	}
	if lastRange(now) != nil && lastRange(now).Maxvalue {
		return true
	}
	if old == nil || old.Type != now.Type || !sqlparser.Equals.Columns(old.ColList, now.ColList) || !sqlparser.Equals.Expr(old.Expr, now.Expr) {
		return false
	}
	if now.Type == sqlparser.RangeType {
		return lastRange(old) != nil && lastRange(now) != nil && sqlparser.Equals.RefOfPartitionValueRange(lastRange(old), lastRange(now))
	}
	have := map[string]bool{}
	for _, v := range listed(now) {
		have[sqlparser.CanonicalString(v)] = true
	}
	for _, v := range listed(old) {
		if !have[sqlparser.CanonicalString(v)] {
			return false
		}
	}
	return true
}

// lastRange is the bound of the last partition.
func lastRange(p *sqlparser.PartitionOption) *sqlparser.PartitionValueRange {
	if len(p.Definitions) == 0 {
		return nil
	}
	if o := p.Definitions[len(p.Definitions)-1].Options; o != nil {
		return o.ValueRange
	}
	return nil
}

// listed are the values of all LIST partitions.
func listed(p *sqlparser.PartitionOption) []sqlparser.Expr {
	var out []sqlparser.Expr
	for _, d := range p.Definitions {
		if d.Options != nil && d.Options.ValueRange != nil {
			out = append(out, d.Options.ValueRange.Range...)
		}
	}
	return out
}

// homeless is the query for rows that fit no partition, nil where it cannot be asked (several columns).
func homeless(a, b *table, p *sqlparser.PartitionOption) *DataCheck {
	expr := p.Expr
	if expr == nil && len(p.ColList) == 1 {
		expr = &sqlparser.ColName{Name: p.ColList[0]}
	}
	if expr == nil {
		return nil
	}
	value, ok := a.over(b, expr)
	if !ok {
		return nil
	}
	if p.Type == sqlparser.RangeType {
		last := lastRange(p)
		if last == nil || len(last.Range) != 1 {
			return nil
		}
		return &DataCheck{Where: value + " >= " + oneLine(sqlparser.CanonicalString(last.Range[0]))}
	}
	var values []string
	null := false
	for _, v := range listed(p) {
		if isNull(v) {
			null = true
			continue
		}
		values = append(values, oneLine(sqlparser.CanonicalString(v)))
	}
	switch {
	case len(values) == 0:
		return nil
	case null:
		return &DataCheck{Where: value + " NOT IN (" + strings.Join(values, ", ") + ")"}
	}
	return &DataCheck{Where: "NOT COALESCE(" + value + " IN (" + strings.Join(values, ", ") + "), FALSE)"}
}
