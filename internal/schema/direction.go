package schema

import (
	"fmt"
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"
)

// Order is in which order the members of a cluster may be given another definition, one at a time and unlogged, while
// replication goes on between them.
type Order string

// The orders.
const (
	EitherFirst   Order = "either"
	ReplicasFirst Order = "replicas first" // looser or wider: a replica takes all that a source without it can send
	PrimaryFirst  Order = "primary first"  // stricter or narrower: the source sends nothing that a replica would not take
	NeverRolling  Order = "never"          // replication would break, or go on and leave other data
)

// Settings that an order may need.
const (
	NeedNonLossy = "ALL_NON_LOSSY" // in replica_type_conversions
	NeedUnsigned = "ALL_UNSIGNED"  // in replica_type_conversions; it is of the whole server
	NeedFull     = "FULL"          // as binlog_row_image: a MINIMAL one leaves out columns that took their default
)

// Direction is what is known of a change that one member has and another has not: measured, see TestDirectionOnServers. What was
// not measured is NeverRolling.
type Direction struct {
	Order Order
	Needs []string // settings without which replication stops, or leaves other data
	Why   string   // what decides: each part of the change that has an order of its own
}

// part is one part of a change. A change has the direction of all its parts, or none.
type part struct {
	order Order
	needs []string
	why   string
}

// DirectionOf judges a change by its two ends, as row events see them: by position, not by name.
func DirectionOf(current, desired Form) Direction {
	if current.Hash == desired.Hash {
		return Direction{Order: EitherFirst}
	}
	from, err := parseForm(current)
	if err != nil {
		return Direction{Order: NeverRolling, Why: "the current definition cannot be read: " + err.Error()}
	}
	to, err := parseForm(desired)
	if err != nil {
		return Direction{Order: NeverRolling, Why: "the desired definition cannot be read: " + err.Error()}
	}
	alignChecks(from, to)
	a, b := newTable(from), newTable(to)
	return fold(slices.Concat(columnParts(a, b), keyParts(a, b), checkParts(a, b), otherParts(a, b)))
}

func fold(parts []part) Direction {
	d := Direction{Order: EitherFirst}
	var whys []string
	for _, p := range parts {
		for _, n := range p.needs {
			if !slices.Contains(d.Needs, n) {
				d.Needs = append(d.Needs, n)
			}
		}
		if p.order == EitherFirst {
			continue
		}
		switch {
		case p.order == NeverRolling && d.Order != NeverRolling:
			d.Order, whys = NeverRolling, []string{p.why}
			continue
		case d.Order == NeverRolling && p.order != NeverRolling:
			continue
		case d.Order != EitherFirst && d.Order != p.order:
			d.Order = NeverRolling
			whys = []string{strings.Join(whys, "; ") + ", and " + p.why + ": its parts want opposite orders, commit them one after the other"}
			continue
		}
		d.Order = p.order
		whys = append(whys, p.why)
	}
	if d.Order == NeverRolling {
		d.Needs = nil
	}
	slices.Sort(d.Needs)
	d.Why = strings.Join(whys, "; ")
	return d
}

func never(format string, args ...any) part {
	return part{order: NeverRolling, why: fmt.Sprintf(format, args...)}
}

// columnParts compares the columns position by position.
func columnParts(a, b *table) []part {
	var out []part
	both := min(len(a.columns), len(b.columns))
	for i := range both {
		c, d := a.columns[i], b.columns[i]
		_, moved := b.byName[c.key]
		_, came := a.byName[d.key]
		if c.key != d.key && (moved || came || c.typeText() != d.typeText() || len(a.columns) != len(b.columns)) {
			return []part{never("column %d is %s before and %s after, and row events carry columns by position", i+1, c.name, d.name)}
		}
		out = append(out, changedParts(c, d)...)
	}
	if signed, unsigned := convertedIntegers(a, b, both); signed != "" && unsigned != "" {
		return []part{never("columns %s and %s grow or shrink, one signed and one UNSIGNED: a replica converts all integers as the one or as the other", signed, unsigned)}
	}
	for _, c := range b.columns[both:] {
		out = append(out, addedPart(c))
	}
	for _, c := range a.columns[both:] {
		if c.autoIncrement {
			out = append(out, part{ReplicasFirst, nil, "column " + c.name + " is dropped, in which a replica would number rows by itself"})
		}
	}
	return out
}

// convertedIntegers names a signed and an unsigned column whose values a replica would have to convert.
func convertedIntegers(a, b *table, both int) (signed, unsigned string) {
	for i := range both {
		c, d := a.columns[i], b.columns[i]
		switch {
		case c.family() != intFamily || d.family() != intFamily || intBits[c.typ] == intBits[d.typ]:
		case d.unsigned:
			unsigned = d.name
		default:
			signed = d.name
		}
	}
	return signed, unsigned
}

// addedPart is for a column that only the new definition has, at its end.
func addedPart(c *column) part {
	o := c.def.Type.Options
	switch {
	case c.autoIncrement:
		return never("column %s is AUTO_INCREMENT: each instance would number rows by itself", c.name)
	case o.OnUpdate != nil, o.Default != nil && !constant(o.Default):
		return never("the default of column %s is evaluated: each instance would have its own values", c.name)
	}
	return part{ReplicasFirst, nil, "column " + c.name + " is added: what is written into it before a replica has it would be lost there"}
}

// constant tells whether a default is the same wherever it is read. CURRENT_TIMESTAMP is not, and of an expression it is not known.
func constant(e sqlparser.Expr) bool {
	switch e := e.(type) {
	case *sqlparser.Literal, *sqlparser.NullVal, sqlparser.BoolVal:
		return true
	case *sqlparser.UnaryExpr:
		return constant(e.Expr)
	case *sqlparser.IntroducerExpr:
		return constant(e.Expr)
	}
	return false
}

// changedParts is for one column in both definitions, at one position.
func changedParts(c, d *column) []part {
	var out []part
	co, do := c.def.Type.Options, d.def.Type.Options
	switch {
	case c.generated != d.generated, c.generated && (c.virtual != d.virtual || !sqlparser.Equals.Expr(co.As, do.As)):
		return []part{never("column %s is computed otherwise", d.name)}
	case c.autoIncrement != d.autoIncrement:
		return []part{never("column %s starts or stops being AUTO_INCREMENT", d.name)}
	}
	if c.typeText() != d.typeText() {
		out = append(out, typePart(c, d))
	}
	switch {
	case c.nullable && !d.nullable:
		out = append(out, part{PrimaryFirst, nil, "column " + d.name + " becomes NOT NULL: a NULL would arrive as 0 or '' where it is so already"})
	case !c.nullable && d.nullable:
		out = append(out, part{ReplicasFirst, nil, "column " + d.name + " takes NULLs: they would arrive as 0 or '' where it does not yet"})
	}
	if defaultText(co) != defaultText(do) {
		out = append(out, part{EitherFirst, []string{NeedFull}, ""})
	}
	return out
}

// defaultText is a default for comparison. No default is a default of NULL, where the column takes NULLs.
func defaultText(o *sqlparser.ColumnTypeOptions) string {
	if o.Default == nil || isNull(o.Default) {
		return ""
	}
	return sqlparser.CanonicalString(o.Default)
}

// ordered is the part of a change of type that is wider, or narrower.
func ordered(c, d *column, wider bool, needs ...string) part {
	if wider {
		return part{ReplicasFirst, needs, fmt.Sprintf("column %s grows from %s to %s", d.name, c.typeText(), d.typeText())}
	}
	return part{PrimaryFirst, needs, fmt.Sprintf("column %s shrinks from %s to %s", d.name, c.typeText(), d.typeText())}
}

// typePart is for a column whose type changes.
func typePart(c, d *column) part {
	no := never("column %s changes from %s to %s, which replication does not convert as ALTER TABLE does", d.name, c.typeText(), d.typeText())
	from, to := c.family(), d.family()
	switch {
	case from != to, c.unsigned != d.unsigned:
		return no
	case from == intFamily && c.typ != "year" && d.typ != "year":
		needs := []string{NeedNonLossy}
		if c.unsigned {
			needs = append(needs, NeedUnsigned)
		}
		if intBits[c.typ] == intBits[d.typ] {
			return part{order: EitherFirst}
		}
		return ordered(c, d, intBits[c.typ] < intBits[d.typ], needs...)
	case from == floatFamily && c.length < 0 && d.length < 0:
		return ordered(c, d, d.typ != "float", NeedNonLossy)
	case from == decimalFamily:
		return decimalPart(c, d, no)
	case from == stringFamily:
		return stringPart(c, d, no)
	case from == memberFamily && c.typ == d.typ:
		return memberPart(c, d, no)
	}
	return no
}

func decimalPart(c, d *column, no part) part {
	whole, fraction := (d.precision()-d.decimals())-(c.precision()-c.decimals()), d.decimals()-c.decimals()
	switch {
	case whole >= 0 && fraction >= 0:
		return ordered(c, d, true, NeedNonLossy)
	case whole <= 0 && fraction <= 0:
		return ordered(c, d, false, NeedNonLossy)
	}
	return no
}

func stringPart(c, d *column, no part) part {
	wider := c.charset == "utf8mb3" && d.charset == "utf8mb4"
	narrower := c.charset == "utf8mb4" && d.charset == "utf8mb3"
	padded := c.typ == "binary" || d.typ == "binary" || d.typ == "char" && c.typ != "char"
	switch {
	case c.charset != d.charset && !wider && !narrower, padded && c.typ != d.typ, d.typ == "binary":
		return no
	case c.typ == d.typ && c.length == d.length && c.charset == d.charset:
		return part{order: EitherFirst} // another collation
	}
	// Characters where both count them; what a TEXT holds is counted in bytes.
	before, after := c.size(), d.size()
	if !c.sized() || !d.sized() {
		before, after = c.maxBytes(), d.maxBytes()
	}
	switch {
	case after >= before && !narrower:
		return ordered(c, d, true, NeedNonLossy)
	case after <= before && !wider:
		return ordered(c, d, false, NeedNonLossy)
	}
	return no
}

// memberPart is for ENUM and SET, which travel as numbers.
func memberPart(c, d *column, no part) part {
	short, long := c.values, d.values
	if len(short) > len(long) {
		short, long = long, short
	}
	switch {
	case c.charset != d.charset, !slices.Equal(short, long[:len(short)]):
		return no
	case len(short) == len(long):
		return part{order: EitherFirst} // another collation
	}
	var needs []string
	if memberBytes(c) != memberBytes(d) {
		needs = []string{NeedNonLossy}
	}
	return ordered(c, d, len(d.values) > len(c.values), needs...)
}

func memberBytes(c *column) int {
	n := len(c.values)
	if c.typ == "enum" {
		return 1 + min(n/256, 1)
	}
	if bytes := (n + 7) / 8; bytes <= 4 {
		return bytes
	}
	return 8
}

// keyParts: a unique key is a promise about rows. One that is made by the new definition alone is stricter, one that the old
// alone made is looser; one that only compares otherwise is taken for stricter.
func keyParts(a, b *table) []part {
	var out []part
	for _, k := range b.keys {
		if k.unique && !a.guarantees(b, k) {
			out = append(out, part{PrimaryFirst, nil, "rows must be unique by " + k.describe(b)})
		}
	}
	for _, k := range a.keys {
		same := func(l *key) bool { return l.unique && slices.EqualFunc(k.parts, l.parts, sameParts) }
		if k.unique && !b.guarantees(a, k) && !slices.ContainsFunc(b.keys, same) {
			out = append(out, part{ReplicasFirst, nil, "rows need be unique no more by " + k.describe(a)})
		}
	}
	if a.primary() == nil && b.primary() != nil || a.primary() != nil && b.primary() == nil {
		if a.anyKey() == nil || b.anyKey() == nil {
			out = append(out, never("a table without a unique key gets one, or loses it: rows of replicas could not be told apart meanwhile"))
		}
	}
	return out
}

func sameParts(p, q keyPart) bool {
	return p.column == q.column && p.prefix == q.prefix && (p.expr == nil) == (q.expr == nil)
}

// anyKey is a unique key that tells rows apart.
func (t *table) anyKey() *key {
	for _, k := range t.keys {
		if k.identifies(t) {
			return k
		}
	}
	return nil
}

func checkParts(a, b *table) []part {
	enforced := func(t *table) map[string]bool {
		out := map[string]bool{}
		for _, c := range t.checks {
			if c.Enforced {
				out[oneLine(sqlparser.CanonicalString(c.Expr))] = true
			}
		}
		return out
	}
	var out []part
	before, after := enforced(a), enforced(b)
	for expr := range after {
		if !before[expr] {
			out = append(out, part{PrimaryFirst, nil, "rows must satisfy " + expr})
		}
	}
	for expr := range before {
		if !after[expr] {
			out = append(out, part{ReplicasFirst, nil, "rows need satisfy no more " + expr})
		}
	}
	slices.SortFunc(out, func(p, q part) int { return strings.Compare(p.why, q.why) })
	return out
}

// otherParts: foreign keys, partitions, the engine.
func otherParts(a, b *table) []part {
	var out []part
	for name, fk := range b.foreignKeys {
		if a.foreignKeys[name] != fk {
			out = append(out, never("foreign key %s is added or changed", name))
		}
	}
	for name := range a.foreignKeys {
		if _, ok := b.foreignKeys[name]; !ok {
			out = append(out, never("foreign key %s is dropped", name))
		}
	}
	slices.SortFunc(out, func(p, q part) int { return strings.Compare(p.why, q.why) })
	if a.engine != b.engine {
		out = append(out, never("the engine changes from %s to %s", a.engine, b.engine))
	}
	if p, ok := partitionPart(a.partitions, b.partitions); ok {
		out = append(out, p)
	}
	return out
}

// partitionPart: a layout that has a place for every row is as good as none; RANGE or LIST that lacks values refuses rows.
func partitionPart(from, to *sqlparser.PartitionOption) (part, bool) {
	before, after := "", ""
	if from != nil {
		before = sqlparser.CanonicalString(from)
	}
	if to != nil {
		after = sqlparser.CanonicalString(to)
	}
	stricter := part{PrimaryFirst, nil, "rows outside the new partitions are refused"}
	looser := part{ReplicasFirst, nil, "rows outside the old partitions are taken"}
	switch {
	case before == after, takesAll(from) && takesAll(to):
		return part{}, false
	case takesAll(from):
		return stricter, true
	case takesAll(to):
		return looser, true
	case from.Type == to.Type && len(from.Definitions) < len(to.Definitions) && prefixOf(from, to):
		return looser, true
	}
	return never("the partitions change, and their rows may go with them"), true
}

func takesAll(p *sqlparser.PartitionOption) bool {
	switch {
	case p == nil, p.Type != sqlparser.RangeType && p.Type != sqlparser.ListType:
		return true
	case p.Type == sqlparser.ListType:
		return false
	}
	last := lastRange(p)
	return last != nil && last.Maxvalue
}

func prefixOf(short, long *sqlparser.PartitionOption) bool {
	if sqlparser.CanonicalString(short.Expr) != sqlparser.CanonicalString(long.Expr) ||
		sqlparser.CanonicalString(short.ColList) != sqlparser.CanonicalString(long.ColList) {
		return false
	}
	for i, d := range short.Definitions {
		if sqlparser.CanonicalString(d) != sqlparser.CanonicalString(long.Definitions[i]) {
			return false
		}
	}
	return true
}
