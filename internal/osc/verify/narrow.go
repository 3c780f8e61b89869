package verify

import (
	"context"
	"fmt"

	"github.com/aosc/aosc/internal/mysql"
)

// Narrow is the expression of column o's value as n will hold it, for a column in which the operator permitted a loss: numbers are
// clamped, strings cut, fractions rounded, unknown labels emptied, NULLs replaced where n takes none.
func Narrow(o, n Column) (string, error) {
	e := mysql.QuoteIdent(o.Name)
	if !narrowable(o, n) {
		return "", fmt.Errorf("values of column %s are lost from %s to %s, which may be, but what becomes of them is not known: "+
			"correct them first", o.Name, o.Type, n.Type)
	}
	if o.Type != n.Type || o.Charset != n.Charset {
		e = narrowed(o, n, e)
	}
	if o.Nullable && !n.Nullable {
		e = "COALESCE(" + e + ", " + implicitDefault(n) + ")"
	}
	return e, nil
}

// Differ lists, for people, the keys of rows under a condition on each side that are not the same on both, in one snapshot.
func (c *Comparison) Differ(ctx context.Context, q Querier, onOriginal, onCopy string) ([]string, error) {
	r := &run{Comparison: c}
	keys, err := r.differ(ctx, q, func(s side) string {
		if s == copied {
			return onCopy
		}
		return onOriginal
	})
	if err != nil {
		return nil, fmt.Errorf("compare rows of %s with %s: %w", c.c.original.quoted(), c.c.copied.quoted(), err)
	}
	texts := make([]string, len(keys))
	for i, k := range keys {
		texts[i] = r.describe(k)
	}
	return texts, nil
}

// Session sets a connection up for Differ, as those of Run are: in UTC, zero dates as they are.
const Session = "SET SESSION time_zone = '+00:00', SESSION sql_mode = ''"
