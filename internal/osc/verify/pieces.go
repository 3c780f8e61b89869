package verify

import (
	"context"
	"database/sql"
	"fmt"
)

// What follows serves an engine that goes through the rows by itself, and knows when each part of them is to be compared. Conditions
// are on the original's columns and on the copy's.

// Session sets a connection up for Differ, as those of Run are: in UTC, zero dates as they are.
const Session = "SET SESSION time_zone = '+00:00', SESSION sql_mode = ''"

// Equal compares the rows under a condition on each side in one snapshot. rows is how many the original has.
func (c *Comparison) Equal(ctx context.Context, q Querier, onOriginal, onCopy string) (rows uint64, equal bool, err error) {
	return c.c.equal(ctx, q, sides(onOriginal, onCopy))
}

// Differing are the keys of rows under a condition on each side that are not the same on both, in one snapshot. keyOriginal and keyCopy are
// expressions that give a key's texts, the same ones on both sides.
func (c *Comparison) Differing(ctx context.Context, q Querier, keyOriginal, keyCopy []string, onOriginal, onCopy string) ([][]string,
	error) {
	query := c.c.rowsBy(original, keyOriginal, onOriginal) + " UNION ALL " + c.c.rowsBy(copied, keyCopy, onCopy)
	found, order, err := list(ctx, q, query, len(keyOriginal))
	if err != nil {
		return nil, fmt.Errorf("list the rows of %s that differ from %s: %w", c.c.original.quoted(), c.c.copied.quoted(), err)
	}
	var keys [][]string
	for _, k := range order {
		if f := found[k.id()]; f[original] != f[copied] {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// Differ lists, for people, the keys of rows under a condition on each side that are not the same on both, in one snapshot.
func (c *Comparison) Differ(ctx context.Context, q Querier, onOriginal, onCopy string) ([]string, error) {
	r := &run{Comparison: c}
	keys, err := r.differ(ctx, q, sides(onOriginal, onCopy))
	if err != nil {
		return nil, fmt.Errorf("compare rows of %s with %s: %w", c.c.original.quoted(), c.c.copied.quoted(), err)
	}
	texts := make([]string, len(keys))
	for i, k := range keys {
		texts[i] = r.describe(k)
	}
	return texts, nil
}

func sides(onOriginal, onCopy string) func(side) string {
	return func(s side) string {
		if s == copied {
			return onCopy
		}
		return onOriginal
	}
}

// equal compares sums.
func (c *comparison) equal(ctx context.Context, q Querier, condition func(side) string) (rows uint64, equal bool, err error) {
	var sums [2]sum
	err = each(ctx, q, c.sums(condition), func(rows *sql.Rows) error {
		var s side
		var got sum
		if err := rows.Scan(&s, &got.count, &got.hash); err != nil {
			return err
		}
		sums[s] = got
		return nil
	})
	if err != nil {
		return 0, false, fmt.Errorf("compare a chunk of %s with %s: %w", c.original.quoted(), c.copied.quoted(), err)
	}
	return sums[original].count, sums[original] == sums[copied], nil
}
