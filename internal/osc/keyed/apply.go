package keyed

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/wait"
)

const (
	applyTries = 20 // at keys that others of our own sessions are in the way of
	growths    = 8  // of a batch, by rows that are in its way
)

// apply makes the ghost's rows of some keys equal to the table's, in one transaction: they are deleted, and inserted as the table has
// them. The deletion comes first, so that its locks keep any other of our sessions from these rows before the table is read.
//
// A row of another key may be in the way, through another unique key: two rows that swapped a value, of which the other's change is still
// on its way. Such rows are taken into the batch. It returns every key that was written.
func (m *mover) apply(ctx context.Context, conn session, keys []value) ([]value, error) {
	var err error
	for try := range applyTries {
		if !m.key.alike() {
			// What the ghost takes for the same key may be another one in the table.
			if keys, err = m.with(ctx, conn, keys, fmt.Sprintf("SELECT %s FROM %s FORCE INDEX (%s) WHERE %s", m.key.reads(ghost, ""), m.to,
				mysql.QuoteIdent(m.key.index), m.key.among(ghost, keys))); err != nil {
				return nil, err
			}
		}
		err = inTransaction(ctx, conn, func() error {
			if _, err := conn.ExecContext(ctx, m.remove(keys)); err != nil {
				return err
			}
			if _, err := conn.ExecContext(ctx, m.insert(m.key.among(original, keys))); err != nil {
				return err
			}
			if _, ok := conn.(locked); ok {
				return nil // whoever has the tables locked has looked whose they are
			}
			return m.fence(ctx, conn)
		})
		switch {
		case err == nil:
			return keys, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case misfit(err):
			return nil, m.unfitAmong(ctx, conn, keys, err)
		case mysql.IsNumber(err, mysql.ErrDupEntry):
			before := len(keys)
			if keys, err = m.inTheWayOf(ctx, conn, keys, m.key.among(original, keys)); err != nil {
				return nil, err
			}
			if len(keys) == before && try >= growths {
				return keys, m.duplicate(ctx, conn, keys)
			}
		case !passing(err):
			return nil, fmt.Errorf("apply changes to %s: %w", m.to, err)
		}
		if err := wait.For(ctx, time.Duration(try)*5*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("apply changes to %s: in %d attempts others were in the way: %w", m.to, applyTries, err)
}

// with adds the keys that a query finds.
func (m *mover) with(ctx context.Context, q querier, keys []value, query string) ([]value, error) {
	found, err := m.values(ctx, q, query)
	if err != nil {
		return nil, fmt.Errorf("find the rows of %s that are in the way of others: %w", m.to, err)
	}
	known := make(map[value]bool, len(keys))
	for _, k := range keys {
		known[k] = true
	}
	keys = append([]value(nil), keys...)
	for _, k := range found {
		if !known[k] {
			known[k] = true
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// inTheWayOf adds to keys those of the ghost's rows that have a unique key's values in common with what the table has under a condition.
func (m *mover) inTheWayOf(ctx context.Context, q querier, keys []value, condition string) ([]value, error) {
	uniques := m.unique
	if !m.key.alike() {
		uniques = append([]verify.Key{m.byIndex()}, uniques...)
	}
	var err error
	for _, u := range uniques {
		var equal []string
		for _, c := range u.Columns {
			oc, ok := m.original.Column(c)
			if !ok {
				equal = nil
				break
			}
			equal = append(equal, m.to+"."+mysql.QuoteIdent(c)+" = o."+mysql.QuoteIdent(oc.Name))
		}
		if equal == nil {
			continue
		}
		query := fmt.Sprintf("SELECT %s FROM %s JOIN (SELECT * FROM %s FORCE INDEX (%s) WHERE %s) AS o ON %s", m.key.reads(ghost, m.to+"."), m.to,
			m.from, mysql.QuoteIdent(m.key.name), condition, strings.Join(equal, " AND "))
		if keys, err = m.with(ctx, q, keys, query); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// byIndex is the ghost's key that rows are found by.
func (m *mover) byIndex() verify.Key {
	for _, k := range m.ghost.Keys {
		if k.Name == m.key.index {
			return k
		}
	}
	return verify.Key{}
}

// duplicate is the error of two rows of the table that the ghost does not take both: all that are in each other's way were inserted
// from one snapshot, after the ghost's were deleted.
func (m *mover) duplicate(ctx context.Context, conn session, keys []value) error {
	err := inTransaction(ctx, conn, func() error {
		if _, err := conn.ExecContext(ctx, m.remove(keys)); err != nil {
			return err
		}
		_, err := conn.ExecContext(ctx, m.insert(m.key.among(original, keys)))
		return err
	})
	if err == nil {
		return nil
	}
	return &FitError{Table: m.from, Key: "among " + abridged(m.describe(keys)), Err: err}
}

func (m *mover) describe(keys []value) string {
	texts := make([]string, min(len(keys), 5))
	for i := range texts {
		texts[i] = m.key.describe(keys[i])
	}
	return strings.Join(texts, "; ")
}

// unfitAmong finds the key whose row does not fit.
func (m *mover) unfitAmong(ctx context.Context, conn session, keys []value, cause error) error {
	for _, k := range keys {
		one := []value{k}
		err := inTransaction(ctx, conn, func() error {
			if _, err := conn.ExecContext(ctx, m.remove(one)); err != nil {
				return err
			}
			if _, err := conn.ExecContext(ctx, m.insert(m.key.among(original, one))); err != nil {
				return err
			}
			return errOnlyTried
		})
		if misfit(err) {
			return &FitError{Table: m.from, Key: m.key.describe(k), Err: err}
		}
	}
	return &FitError{Table: m.from, Key: "among " + abridged(m.describe(keys)), Err: cause}
}

var errOnlyTried = errors.New("only tried")
