package aoscdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ErrKept is returned by Leftovers.Record for a name that stands for old data still being kept.
var ErrKept = errors.New("the name belongs to old data that is still kept")

// Leftovers is the table leftovers: what copies leave, or may leave, behind.
type Leftovers struct{ store *Store }

// Leftovers gives access to the table leftovers.
func (s *Store) Leftovers() *Leftovers { return &Leftovers{store: s} }

const leftoverColumns = "id, `group`, cluster, host, port, `database`, table_name, leftover, kind, state, token, " +
	"created_at, keep_until"

func (l *Leftover) fields() []any {
	return []any{&l.ID, &l.Group, &l.Cluster, &l.Host, &l.Port, &l.Database, &l.Table, &l.Leftover, &l.Kind, &l.State,
		&l.Token, &l.CreatedAt, &l.KeepUntil}
}

// Record writes down tables before they can exist, all or none. An older row of the same name (cluster, database,
// leftover) is taken over by the new run, unless it is old data that is kept: then ErrKept and nothing is written, for
// the row is all that protects a user's data. State "" is 'live'.
func (s *Leftovers) Record(ctx context.Context, rows []Leftover) error {
	err := s.store.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return inBatches(rows, func(batch []Leftover) error {
			if err := refuseKept(ctx, tx, batch); err != nil {
				return err
			}
			return replaceLeftovers(ctx, tx, batch)
		})
	})
	return wrap(err, "record leftovers in %s", s.store)
}

// refuseKept locks the rows there are, and fails when one of them is kept.
func refuseKept(ctx context.Context, tx *sql.Tx, batch []Leftover) error {
	args := make([]any, 0, 3*len(batch))
	for _, l := range batch {
		args = append(args, l.Cluster, l.Database, l.Leftover)
	}
	kept, err := list(ctx, tx, (*Leftover).fields, "SELECT "+leftoverColumns+" FROM leftovers "+
		"WHERE (cluster, `database`, leftover) IN ("+rowsOf(len(batch), 3)+") AND state = 'keep' FOR UPDATE", args...)
	if err != nil || len(kept) == 0 {
		return err
	}
	k := kept[0]
	until := "for good"
	if k.KeepUntil != nil {
		until = "until " + k.KeepUntil.Format(time.DateTime)
	}
	return fmt.Errorf("table %s.%s of cluster %s keeps the old data of %s %s; drop it and its row of leftovers, or set state='drop', to go on: %w",
		k.Database, k.Leftover, k.Cluster, k.Table, until, ErrKept)
}

// replaceLeftovers gives the rows new ids: whoever still holds an old one can no longer change or forget a row that a new
// run depends on.
func replaceLeftovers(ctx context.Context, tx *sql.Tx, batch []Leftover) error {
	args := make([]any, 0, 11*len(batch))
	for _, l := range batch {
		state := l.State
		if state == "" {
			state = LeftoverLive
		}
		args = append(args, l.Group, l.Cluster, l.Host, l.Port, l.Database, l.Table, l.Leftover, l.Kind, state, l.Token,
			l.KeepUntil)
	}
	_, err := execTx(ctx, tx, "REPLACE INTO leftovers (`group`, cluster, host, port, `database`, table_name, leftover, kind, "+
		"state, token, keep_until) VALUES "+rowsOf(len(batch), 11), args...)
	return err
}

// SetState changes one row; keepUntil belongs to 'keep', a zero one clears it. A row that is gone is no error.
func (s *Leftovers) SetState(ctx context.Context, id uint64, state string, keepUntil time.Time) error {
	_, err := exec(ctx, s.store.db, "UPDATE leftovers SET state = ?, keep_until = ? WHERE id = ?", state, timeOrNull(keepUntil), id)
	return wrap(err, "set leftover %d to %s in %s", id, state, s.store)
}

// ByCluster are all rows of a cluster, oldest first.
func (s *Leftovers) ByCluster(ctx context.Context, cluster string) ([]Leftover, error) {
	rows, err := list(ctx, s.store.db, (*Leftover).fields,
		"SELECT "+leftoverColumns+" FROM leftovers WHERE cluster = ? ORDER BY id", cluster)
	return rows, wrap(err, "read the leftovers of cluster %s in %s", cluster, s.store)
}

// Due are the rows of a cluster whose table may go now: those to drop, and old data whose time has come by the central
// database's clock.
func (s *Leftovers) Due(ctx context.Context, cluster string) ([]Leftover, error) {
	rows, err := list(ctx, s.store.db, (*Leftover).fields, "SELECT "+leftoverColumns+" FROM leftovers "+
		"WHERE cluster = ? AND (state = 'drop' OR (state = 'keep' AND keep_until <= NOW(6))) ORDER BY id", cluster)
	return rows, wrap(err, "read the due leftovers of cluster %s in %s", cluster, s.store)
}

// Forget removes one row: its table is gone. A row that is gone is no error.
func (s *Leftovers) Forget(ctx context.Context, id uint64) error {
	_, err := exec(ctx, s.store.db, "DELETE FROM leftovers WHERE id = ?", id)
	return wrap(err, "forget leftover %d in %s", id, s.store)
}

// timeOrNull is NULL for the zero time.
func timeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}
