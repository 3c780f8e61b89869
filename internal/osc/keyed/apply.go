package keyed

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
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
			if keys, err = m.reading(ctx, conn, keys, fmt.Sprintf("SELECT %s FROM %s FORCE INDEX (%s) WHERE %s", m.key.reads(ghost, ""), m.to,
				mysql.QuoteIdent(m.key.index), m.key.among(ghost, keys))); err != nil {
				return nil, err
			}
		}
		err = m.replace(ctx, conn, keys)
		switch {
		case err == nil:
			return keys, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case misfit(err):
			return nil, m.unfitAmong(ctx, conn, keys, err)
		case mysql.IsNumber(err, mysql.ErrDupEntry):
			before := len(keys)
			more, err := m.inTheWayOf(ctx, conn, keys, m.key.among(original, keys))
			switch {
			case err == nil:
				keys = more
			case misfit(err):
				return nil, m.unfitAmong(ctx, conn, keys, err)
			case !passing(err):
				return nil, fmt.Errorf("find the rows of %s that are in the way of others: %w", m.to, err)
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

// replace is one attempt at it. Nothing is committed once another run has taken the copy over.
func (m *mover) replace(ctx context.Context, conn session, keys []value) error {
	return inTransaction(ctx, conn, func() error {
		if err := m.moveAnew(ctx, conn, keys); err != nil {
			return err
		}
		if _, ok := conn.(locked); ok {
			return nil // whoever has the tables locked has looked whose they are
		}
		return m.fence(ctx, conn)
	})
}

// moveAnew removes the ghost's rows of some keys, and inserts them as the table has them.
func (m *mover) moveAnew(ctx context.Context, conn session, keys []value) error {
	if _, err := conn.ExecContext(ctx, m.remove(keys)); err != nil {
		return err
	}
	_, err := conn.ExecContext(ctx, m.insert(m.key.among(original, keys)))
	return err
}

// reading adds the keys that a query finds.
func (m *mover) reading(ctx context.Context, q querier, keys []value, query string) ([]value, error) {
	found, err := m.values(ctx, q, query)
	if err != nil {
		return nil, fmt.Errorf("find the rows of %s that are in the way of others: %w", m.to, err)
	}
	return with(keys, found), nil
}

// with is keys, and those of found that are not among them.
func with(keys, found []value) []value {
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
	return keys
}

// inTheWayOf adds to keys those of the ghost's rows because of which rows of the table, under a condition, cannot be inserted. The server
// tells which they are, so that it does not matter what a unique key is over: columns that the ghost computes, beginnings of columns,
// expressions, another collation. A row with several such rows names one of them; the next attempt names the next. It is only tried: all
// of it is rolled back.
func (m *mover) inTheWayOf(ctx context.Context, conn session, keys []value, condition string) ([]value, error) {
	var found []value
	err := inTransaction(ctx, conn, func() error {
		statements := []string{"SET @aosc_in_the_way = NULL", m.insert(condition) + m.noting()}
		if len(keys) > 0 {
			statements = append([]string{m.remove(keys)}, statements...)
		}
		for _, s := range statements {
			if _, err := conn.ExecContext(ctx, s); err != nil {
				return err
			}
		}
		var err error
		if found, err = noted(ctx, conn); err != nil {
			return err
		}
		return errOnlyTried
	})
	if !errors.Is(err, errOnlyTried) {
		return nil, err
	}
	return with(keys, found), nil
}

// noting makes an INSERT leave a row that is in the way as it is, and note its key.
func (m *mover) noting() string {
	var column string
	for _, c := range m.ghost.Columns {
		// A column of the key where it may be written: an ENUM may hold a value that no assignment accepts.
		inKey := slices.ContainsFunc(m.key.parts, func(p part) bool { return p.ghost.Name == c.Name })
		if !c.Generated && c.DataType != "enum" && (column == "" || inKey) {
			column = m.to + "." + mysql.QuoteIdent(c.Name)
		}
	}
	return fmt.Sprintf(" ON DUPLICATE KEY UPDATE %[1]s = CASE WHEN "+
		"(@aosc_in_the_way := CONCAT_WS(',', @aosc_in_the_way, CONCAT_WS('|', %[2]s))) IS NULL THEN %[1]s ELSE %[1]s END", column,
		m.key.reads(ghost, m.to+"."))
}

// noted are the keys that were noted.
func noted(ctx context.Context, q querier) ([]value, error) {
	rows, err := q.QueryContext(ctx, "SELECT @aosc_in_the_way")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var text sql.NullString
	for rows.Next() {
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
	}
	if !text.Valid {
		return nil, rows.Err()
	}
	var found []value
	for _, one := range strings.Split(text.String, ",") {
		found = append(found, value(one))
	}
	return found, rows.Err()
}

// duplicate is the error of two rows of the table that the ghost does not take both: all that are in each other's way were inserted
// from one snapshot, after the ghost's were deleted.
func (m *mover) duplicate(ctx context.Context, conn session, keys []value) error {
	err := m.replace(ctx, conn, keys)
	if err == nil || errors.Is(err, ErrTaken) {
		return err
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
			if err := m.moveAnew(ctx, conn, one); err != nil {
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
