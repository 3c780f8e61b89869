package verify

import (
	"fmt"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// comparison is everything fixed about comparing one pair of tables: it builds the statements.
type comparison struct {
	original, copied Table
	names            []string // of the compared columns
	columns          []pair
	key              []keyPart
	ordered          bool
	index            [2]string // FORCE INDEX clause of each side
}

// newComparison pairs the columns that both tables have. Columns that the copy generates are left out where the session
// that writes a row decides their values, see comparedStored, and where they are computed when they are read. lossy names those in which
// a loss was permitted.
func newComparison(o, n Table, key Key, lossy map[string]bool) (*comparison, error) {
	if err := Comparable(o, n, lossy); err != nil {
		return nil, err
	}
	c := &comparison{original: o, copied: n}
	for _, oc := range o.Columns {
		nc, ok := n.Column(oc.Name)
		if !ok || nc.Generated && !comparedStored(o, n, oc, nc) {
			continue
		}
		loses := lossy[strings.ToLower(oc.Name)]
		c.names = append(c.names, oc.Name)
		c.columns = append(c.columns, expressions(oc, nc, loses))
	}
	if len(c.columns) == 0 {
		return nil, fmt.Errorf("%s and %s have no column in common", o.quoted(), n.quoted())
	}
	var err error
	if c.key, c.ordered, err = keyParts(o, n, key.Columns); err != nil {
		return nil, err
	}
	c.index = [2]string{forceIndex(o, key.Columns), forceIndex(n, key.Columns)}
	return c, nil
}

// Comparable says of which column it is not known what becomes of values that are lost with permission, nil when of none.
func Comparable(o, n Table, lossy map[string]bool) error {
	for _, oc := range o.Columns {
		nc, ok := n.Column(oc.Name)
		if ok && !nc.Generated && lossy[strings.ToLower(oc.Name)] && !narrowable(oc, nc) {
			return fmt.Errorf("values of column %s are lost from %s to %s, which may be, but not compared: correct them first",
				oc.Name, oc.Type, nc.Type)
		}
	}
	return nil
}

// forceIndex names the index of t that begins with the columns: the optimizer must not scan the table for each chunk
// because its statistics are old.
func forceIndex(t Table, columns []string) string {
	for _, k := range t.Keys {
		if !k.Visible || len(k.Columns) < len(columns) {
			continue
		}
		serves := true
		for i, name := range columns {
			serves = serves && strings.EqualFold(k.Columns[i], name)
		}
		if serves {
			return " FORCE INDEX (" + mysql.QuoteIdent(k.Name) + ")"
		}
	}
	return ""
}

// table is a side's table with its index hint.
func (c *comparison) table(s side) string {
	if s == copied {
		return c.copied.quoted() + c.index[copied]
	}
	return c.original.quoted() + c.index[original]
}

// rowHash is the SHA-256 of a row's compared columns. NULL shows as 'N', which no rendered value is: they are hex, digests,
// numbers and times.
func (c *comparison) rowHash(s side) string {
	terms := make([]string, len(c.columns))
	for i, p := range c.columns {
		e := p.original
		if s == copied {
			e = p.copy
		}
		terms[i] = "COALESCE(" + e + ", 'N')"
	}
	return "UNHEX(SHA2(CONCAT_WS('|', " + strings.Join(terms, ", ") + "), 256))"
}

// both builds one statement over both tables: InnoDB gives a statement one snapshot, so both are seen at one instant.
func (c *comparison) both(build func(s side) string) string {
	return build(original) + " UNION ALL " + build(copied)
}

// sums counts and hashes the rows under a condition on both sides: columns side, count, hash.
func (c *comparison) sums(condition func(s side) string) string {
	return c.both(func(s side) string {
		return fmt.Sprintf("SELECT %d, COUNT(*), HEX(BIT_XOR(%s)) FROM %s WHERE %s", s, c.rowHash(s), c.table(s), condition(s))
	})
}

// rows lists key and hash of the rows under a condition on both sides: columns side, hash, key parts.
func (c *comparison) rows(condition func(s side) string) string {
	return c.both(func(s side) string { return c.rowsOf(s, condition(s)) })
}

func (c *comparison) rowsOf(s side, condition string) string {
	return c.rowsBy(s, reads(c.key, s), condition)
}

// rowsBy is rowsOf with other texts of the key.
func (c *comparison) rowsBy(s side, key []string, condition string) string {
	return fmt.Sprintf("SELECT %d, HEX(%s), %s FROM %s WHERE %s", s, c.rowHash(s), strings.Join(key, ", "), c.table(s), condition)
}

// boundary finds the key `offset` rows above low in the original: the end of a chunk. No row = the last chunk.
func (c *comparison) boundary(low keyValue, offset int) string {
	order := make([]string, len(c.key))
	for i, p := range c.key {
		order[i] = p.column(original)
	}
	return fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT 1 OFFSET %d", strings.Join(reads(c.key, original), ", "),
		c.table(original), keyRange{low: low}.condition(c.key, original), strings.Join(order, ", "), offset-1)
}

// bucketOf spreads rows over n buckets by their key, alike on both sides however the key's type has changed.
func (c *comparison) bucketOf(s side, n int) string {
	return fmt.Sprintf("CRC32(CONCAT_WS('|', %s)) MOD %d", strings.Join(reads(c.key, s), ", "), n)
}

// bucketSums is sums per bucket over the whole of both tables: columns side, bucket, count, hash.
func (c *comparison) bucketSums(n int) string {
	return c.both(func(s side) string {
		return fmt.Sprintf("SELECT %d, %s AS bucket, COUNT(*), HEX(BIT_XOR(%s)) FROM %s GROUP BY bucket",
			s, c.bucketOf(s, n), c.rowHash(s), c.table(s))
	})
}

// differing tells for one key which columns differ: one 0/1 per compared column; no row when it is missing on a side.
func (c *comparison) differing(k keyValue) string {
	terms := make([]string, len(c.columns))
	var oReads, nReads []string
	for i, p := range c.columns {
		terms[i] = fmt.Sprintf("NOT (o.c%d <=> n.c%d)", i, i)
		oReads = append(oReads, fmt.Sprintf("COALESCE(%s, 'N') AS c%d", p.original, i))
		nReads = append(nReads, fmt.Sprintf("COALESCE(%s, 'N') AS c%d", p.copy, i))
	}
	return fmt.Sprintf("SELECT %s FROM (SELECT %s FROM %s WHERE %s) o, (SELECT %s FROM %s WHERE %s) n",
		strings.Join(terms, ", "),
		strings.Join(oReads, ", "), c.table(original), equals(c.key, original, k),
		strings.Join(nReads, ", "), c.table(copied), equals(c.key, copied, k))
}
