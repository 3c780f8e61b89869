package ghost

import (
	"errors"
	"fmt"
	"strings"

	"github.com/aosc/aosc/internal/osc/copy/preflight"
	"github.com/aosc/aosc/internal/osc/verify"
)

// errNoKey is worded for the operator: it is the most frequent reason why a table cannot be copied.
var errNoKey = errors.New("no usable unique key: a copy needs a PRIMARY or UNIQUE key of NOT NULL columns, not FLOAT, JSON or expressions")

// ghostKey is the unique key by which gh-ost v1.1.8 will copy original, and an error when it would choose one that is not
// safe. copied is the copy once it exists; nil = not yet, then any key of the original is supposed to be in it.
//
// gh-ost sorts the candidates (PRIMARY, then those without NULLs, without character set, of integers, the shorter) and
// takes the first that both tables have. It does not see expressions in a key: such a key looks to it like one over the
// other columns, which may not be unique. Where several candidates sort alike all of them must be safe.
func ghostKey(original verify.Table, copied *verify.Table) (verify.Key, error) {
	var best *verify.Key
	var bestRank []int
	for i := range original.Keys {
		k := &original.Keys[i]
		seen := seenColumns(*k)
		if len(seen) == 0 || copied != nil && !shared(seen, *copied) || skipped(original, seen) {
			continue
		}
		rank := keyRank(original, *k, seen)
		switch c := compareRanks(rank, bestRank); {
		case best == nil || c < 0:
			best, bestRank = k, rank
		case c == 0 && unsafeKey(original, *k) != nil:
			best = k // any of them may be chosen: judge by the worst
		}
	}
	if best == nil {
		return verify.Key{}, errNoKey
	}
	if err := unsafeKey(original, *best); err != nil {
		return verify.Key{}, err
	}
	return *best, nil
}

// seenColumns are a key's columns as gh-ost sees them: without expressions.
func seenColumns(k verify.Key) []string {
	var seen []string
	for _, c := range k.Columns {
		if c != "" {
			seen = append(seen, c)
		}
	}
	return seen
}

// shared tells whether some unique key of the copy has all these columns.
func shared(columns []string, copied verify.Table) bool {
	for _, k := range copied.Keys {
		has := map[string]bool{}
		for _, c := range k.Columns {
			has[c] = true
		}
		all := true
		for _, c := range columns {
			all = all && has[c]
		}
		if all {
			return true
		}
	}
	return false
}

// skipped tells whether gh-ost passes a key over for the type of a column.
func skipped(t verify.Table, columns []string) bool {
	for _, name := range columns {
		if c, ok := t.Column(name); ok && (strings.Contains(c.Type, "float") || strings.Contains(c.Type, "json")) {
			return true
		}
	}
	return false
}

// keyRank is gh-ost's ORDER BY.
func keyRank(t verify.Table, k verify.Key, seen []string) []int {
	flag := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	first, _ := t.Column(seen[0])
	types := map[string]int{"tinyint": 0, "smallint": 1, "int": 2, "bigint": 3}
	size, ok := types[first.DataType]
	if !ok {
		size = 100
	}
	return []int{flag(k.Name != "PRIMARY"), flag(k.Nullable), flag(first.Charset != ""), size, len(k.Columns)}
}

func compareRanks(a, b []int) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return a[i] - b[i]
		}
	}
	return 0
}

// groupConcatMax is the default of group_concat_max_len, by which gh-ost reads the columns of a key.
const groupConcatMax = 1024

func unsafeKey(t verify.Table, k verify.Key) error {
	switch {
	case k.Functions:
		return fmt.Errorf("gh-ost would copy by the key %s without its expressions, which need not be unique: give the table a PRIMARY key", k.Name)
	case k.Nullable:
		return errNoKey
	case !k.Visible:
		return fmt.Errorf("gh-ost would copy by the key %s, which is INVISIBLE: make it visible, or give the table a PRIMARY key", k.Name)
	case len(strings.Join(k.Columns, ",")) >= groupConcatMax:
		return fmt.Errorf("the names of the columns of key %s are too long for gh-ost", k.Name)
	}
	for _, name := range k.Columns {
		if c, ok := t.Column(name); ok && c.Generated {
			return fmt.Errorf("gh-ost would copy by the key %s over the generated column %s, whose values it does not follow", k.Name, name)
		}
	}
	return nil
}

// checkKey: gh-ost chooses its key itself.
var checkKey = preflight.Check{Name: "key", Shape: true, Why: func(f preflight.Facts) string {
	if _, err := ghostKey(f.Original, f.Copied); err != nil {
		return err.Error()
	}
	return ""
}}
