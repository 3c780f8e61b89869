// Package pairs is a table of pairs of definitions: what a table is, what it should become, and what is known of the way
// from one to the other. The tests of schema prove each on a server; others run them with rows through real engines.
package pairs

import "slices"

// Way is the cheapest way in which MySQL makes a change: that of 9.7, older servers may need a dearer one.
type Way string

// Ways, from cheap to dear.
const (
	Nothing Way = "nothing" // the definitions are equal
	Instant Way = "instant"
	Inplace Way = "inplace" // INPLACE, LOCK=NONE without writing rows anew
	Rebuild Way = "rebuild" // INPLACE, LOCK=NONE, rows written anew
	Copy    Way = "copy"    // neither: a copy engine, or a plain ALTER that blocks writes
	None    Way = "none"    // no ALTER can or may do it
)

// Pair is one change of one table.
type Pair struct {
	Name          string
	Table         string   // "" = t
	Before, After string   // CREATE TABLE
	Prelude       []string // statements before, in the same database: parents of foreign keys
	Rows          []string // INSERTs into the table as it is before
	Way           Way
	BuildsIndex   bool
	// Findings are the codes of schema.Finding expected, sorted. Real are those that the Rows make real.
	Findings, Real []string
	// NoCopy: Change.Copyable is an error.
	NoCopy bool
	// Alter is the clauses expected where they are worth pinning down, "" = whatever proves right.
	Alter string
	// Refused is a part of the error of Diff or Prove where Way is None.
	Refused string
}

// TableName is the name of the table.
func (p Pair) TableName() string {
	if p.Table == "" {
		return "t"
	}
	return p.Table
}

// All are all pairs; their names are unique.
func All() []Pair {
	return slices.Concat(equal, columns, types, strings, keys, primaries, constraints, generated, partitions, options, names)
}
