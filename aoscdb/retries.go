package aoscdb

import (
	"context"
	"database/sql"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Retry is a row of retries: an alter that failed on an instance and is tried again. The row stays while the next try is under
// way, until one succeeds: so the count of tries is never lost.
type Retry struct {
	Host        string
	Port        int
	Group       string
	Table       string
	DesiredHash string // the version of the table that was tried
	Tries       int    // that failed
	MaxTries    int
	FailedAt    time.Time
	NextAt      time.Time
	Error       string
}

func (r *Retry) fields() []any {
	return []any{&r.Host, &r.Port, &r.Group, &r.Table, &r.DesiredHash, &r.Tries, &r.MaxTries, &r.FailedAt, &r.NextAt, &r.Error}
}

const retryColumns = "host, port, `group`, table_name, desired_hash, tries, max_tries, failed_at, next_at, error"

// Retries are all rows of retries.
func (s *Store) Retries(ctx context.Context) ([]Retry, error) {
	rows, err := retriesOf(ctx, s.db)
	return rows, wrap(err, "read retries of %s", s)
}

func retriesOf(ctx context.Context, q querier) ([]Retry, error) {
	return list(ctx, q, (*Retry).fields, "SELECT "+retryColumns+" FROM retries ORDER BY host, port, `group`, table_name")
}

// BackOff takes a row of running_alters whose try failed from its instance and notes when the next is due, in one step: at no
// moment is there both or neither. false means that the row is no longer as it was seen. next.FailedAt is the database's.
func (s *Store) BackOff(ctx context.Context, l Lease, seen RunningAlter, next Retry, detail string) (bool, error) {
	ended, err := s.endRow(ctx, l, seen, EventBackOff, detail, func(ctx context.Context, tx *sql.Tx) error {
		_, err := execTx(ctx, tx, "INSERT INTO retries (host, port, `group`, table_name, desired_hash, tries, max_tries, next_at, error) "+
			"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) AS new ON DUPLICATE KEY UPDATE desired_hash = new.desired_hash, tries = new.tries, "+
			"max_tries = new.max_tries, failed_at = NOW(6), next_at = new.next_at, error = new.error",
			seen.Host, seen.Port, seen.Group, seen.Table, next.DesiredHash, next.Tries, next.MaxTries, next.NextAt, clip(next.Error, maxReason))
		return err
	})
	return ended, wrap(err, "let the alter of %s:%d wait in %s", seen.Host, seen.Port, s)
}

// EventBackOff is what the history says where a try failed and another follows.
const EventBackOff = "back-off"

// ForgetRetries deletes rows that say nothing any more, as they were seen, as the leader.
func (s *Store) ForgetRetries(ctx context.Context, l Lease, seen []Retry) error {
	err := s.AsLeader(ctx, l, func(ctx context.Context, tx *sql.Tx) error {
		for _, r := range seen {
			_, err := execTx(ctx, tx, "DELETE FROM retries WHERE host = ? AND port = ? AND `group` = ? AND table_name = ? AND desired_hash = ? "+
				"AND tries = ?", r.Host, r.Port, r.Group, r.Table, r.DesiredHash, r.Tries)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return wrap(err, "forget %d retries in %s", len(seen), s)
}

// TryAnew forgets, for an operator, what failed of one alter on these instances: it is begun at once, and its tries count from
// the first. It returns on how many that was.
func (s *Store) TryAnew(ctx context.Context, group, table string, at []mysql.Addr) (int, error) {
	var n int64
	err := s.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n = 0
		for _, a := range at {
			one, err := execTx(ctx, tx, "DELETE FROM retries WHERE "+oscKey, a.Host, a.Port, group, table)
			if err != nil {
				return err
			}
			n += one
		}
		if n == 0 {
			return nil
		}
		return addWake(ctx, tx, DaemonScheduler, "", false)
	})
	return int(n), wrap(err, "try %s/%s anew in %s", group, table, s)
}

// forgetTries deletes the rows of one alter.
func forgetTries(ctx context.Context, tx *sql.Tx, group, table string) error {
	_, err := execTx(ctx, tx, "DELETE FROM retries WHERE `group` = ? AND table_name = ?", group, table)
	return err
}

// forgetTry deletes the row of one alter on one instance.
func forgetTry(ctx context.Context, tx *sql.Tx, r RunningAlter) error {
	_, err := execTx(ctx, tx, "DELETE FROM retries WHERE "+oscKey, r.Host, r.Port, r.Group, r.Table)
	return err
}
