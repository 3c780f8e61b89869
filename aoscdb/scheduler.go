package aoscdb

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// SchedulerTables is what the scheduler reads of the central database, all as of one moment.
type SchedulerTables struct {
	Now     time.Time // clock of the central database
	Tiers   []Tier
	Alters  []CurrentAlter
	Targets []Target
	Running []RunningAlter
	Retries []Retry
	Passes  []Pass // of the tiers with an alter in progress
}

// SchedulerTables reads the tables in one transaction, so that no row can be seen without what it belongs to.
func (s *Store) SchedulerTables(ctx context.Context) (SchedulerTables, error) {
	var t SchedulerTables
	err := s.snapshot(ctx, func(tx *sql.Tx) (err error) {
		if err = tx.QueryRowContext(ctx, "SELECT NOW(6)").Scan(&t.Now); err != nil {
			return err
		}
		if t.Alters, err = list(ctx, tx, (*CurrentAlter).fields, "SELECT "+currentColumns+" FROM current_alters"); err != nil {
			return err
		}
		if t.Running, err = list(ctx, tx, (*RunningAlter).fields, "SELECT "+runningColumns+" FROM running_alters"); err != nil {
			return err
		}
		if t.Retries, err = retriesOf(ctx, tx); err != nil {
			return err
		}
		if t.Tiers, err = list(ctx, tx, (*Tier).fields, "SELECT "+tierColumns+" FROM tiers"); err != nil {
			return err
		}
		if t.Targets, err = list(ctx, tx, (*Target).fields, "SELECT "+targetColumns+" FROM alter_targets"); err != nil {
			return err
		}
		t.Passes, err = list(ctx, tx, (*Pass).fields, "SELECT "+passColumns+" FROM checksum_passes "+
			"WHERE `group` IN (SELECT `group` FROM alter_targets)")
		return err
	})
	return t, wrap(err, "read the queue of %s", s)
}

// snapshot runs fn in a read-only transaction that sees the database as of its first query.
func (s *Store) snapshot(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing to commit
	return fn(tx)
}

// PutReady gives an instance an alter: a row READY in running_alters. false means that nothing was written, because
// the instance has an alter (the key is host and port, I3), or the alter is no longer in progress at this blob.
func (s *Store) PutReady(ctx context.Context, l Lease, r RunningAlter, blob string) (bool, error) {
	var put bool
	err := s.AsLeader(ctx, l, func(ctx context.Context, tx *sql.Tx) error {
		n, err := execTx(ctx, tx, "INSERT INTO running_alters (host, port, `group`, table_name, osc_status, last_updated, "+
			"cluster, datacenter, bytes, queued_at, epoch) "+
			"SELECT ?, ?, `group`, table_name, 'READY', NOW(), ?, ?, ?, NOW(6), ? FROM current_alters "+
			// Between an operator's UPDATE that lifts the brain's HOLD and the brain's next judgement, nothing starts (I6).
			"WHERE `group` = ? AND table_name = ? AND status = 'IPR' AND hold_by <> 'brain' AND desired_hash = ?",
			r.Host, r.Port, r.Cluster, r.Datacenter, r.Bytes, l.Epoch, r.Group, r.Table, blob)
		if mysql.IsNumber(err, mysql.ErrDupEntry) {
			put = false
			return nil
		}
		if put = n == 1; err != nil || !put {
			return err
		}
		return addEvent(ctx, tx, runEvent(l, r, "scheduled", fmt.Sprintf("cluster %s, %d bytes", r.Cluster, r.Bytes)))
	})
	return put && err == nil, wrap(err, "schedule %s/%s on %s:%d in %s", r.Group, r.Table, r.Host, r.Port, s)
}

// StillRunning tells whether a row is still as it was seen, and the lease still the caller's.
func (s *Store) StillRunning(ctx context.Context, l Lease, seen RunningAlter) (bool, error) {
	var still bool
	err := s.AsLeader(ctx, l, func(ctx context.Context, tx *sql.Tx) error {
		where, args := asSeen(seen)
		return tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT * FROM running_alters WHERE "+where+")", args...).Scan(&still)
	})
	return still && err == nil, wrap(err, "look at the alter of %s:%d in %s", seen.Host, seen.Port, s)
}

// FollowRunning writes the progress of alters at work and that they are alive now.
func (s *Store) FollowRunning(ctx context.Context, l Lease, rows []RunningAlter) error {
	err := s.AsLeader(ctx, l, func(ctx context.Context, tx *sql.Tx) error {
		for _, r := range rows {
			where, args := asSeen(r)
			_, err := execTx(ctx, tx, "UPDATE running_alters SET percentage = ?, state = ?, note = ?, rows_copied = ?, rows_total = ?, "+
				"rows_per_s = ?, eta_s = ?, lag_s = ?, last_updated = NOW() WHERE "+where, append([]any{r.Percentage, clip(r.State, 32),
				clip(r.Note, maxReason), r.RowsCopied, r.RowsTotal, r.RowsPerS, r.ETAS, r.LagS}, args...)...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return wrap(err, "follow %d running alters in %s", len(rows), s)
}

// FinishRunning turns a row DONE. false means that the row is no longer as it was seen.
func (s *Store) FinishRunning(ctx context.Context, l Lease, seen RunningAlter) (bool, error) {
	return s.changeRunning(ctx, l, seen, "SET osc_status = 'DONE', percentage = 100, last_updated = NOW()")
}

// RequeueRunning turns a row back into READY, as if it had been scheduled now. false means that the row is no longer as
// it was seen: the worker began it (again).
func (s *Store) RequeueRunning(ctx context.Context, l Lease, seen RunningAlter) (bool, error) {
	return s.changeRunning(ctx, l, seen, requeued)
}

// requeued is what an alter given back looks like.
const requeued = "SET osc_status = 'READY', " + noProgress + ", queued_at = NOW(6), last_updated = NOW(), started_at = NULL"

// noProgress is of a row of running_alters whose alter has not begun, or begins anew.
const noProgress = "percentage = 0, state = '', note = '', rows_copied = 0, rows_total = 0, rows_per_s = 0, eta_s = 0, lag_s = NULL"

func (s *Store) changeRunning(ctx context.Context, l Lease, seen RunningAlter, set string) (bool, error) {
	var changed bool
	err := s.AsLeader(ctx, l, func(ctx context.Context, tx *sql.Tx) error {
		where, args := asSeen(seen)
		n, err := execTx(ctx, tx, "UPDATE running_alters "+set+" WHERE "+where, args...)
		changed = n == 1
		return err
	})
	return changed, wrap(err, "update the alter of %s:%d in %s", seen.Host, seen.Port, s)
}

// RunEnd is how a row of running_alters ends.
type RunEnd struct {
	What, Detail string       // of the event
	Done         bool         // the instance is no target any more; checksum (for Recheck) and collector look again
	Recheck      []mysql.Addr // instances to check again, with Done
}

// EndRunning deletes a row that is still as it was seen. false means that it has changed: a worker began it, or somebody
// else ended it.
func (s *Store) EndRunning(ctx context.Context, l Lease, seen RunningAlter, e RunEnd) (bool, error) {
	ended, err := s.endRow(ctx, l, seen, e.What, e.Detail, func(ctx context.Context, tx *sql.Tx) error {
		if !e.Done {
			return nil
		}
		return targetDone(ctx, tx, seen, e.Recheck)
	})
	return ended, wrap(err, "end the alter of %s:%d in %s", seen.Host, seen.Port, s)
}

// endRow deletes a row that is still as it was seen, does what belongs to that, and tells the history, in one step. false means that the
// row has changed, and that nothing was done.
func (s *Store) endRow(ctx context.Context, l Lease, seen RunningAlter, what, detail string, also func(context.Context,
	*sql.Tx) error) (bool, error) {
	var ended bool
	err := s.AsLeader(ctx, l, func(ctx context.Context, tx *sql.Tx) error {
		where, args := asSeen(seen)
		n, err := execTx(ctx, tx, "DELETE FROM running_alters WHERE "+where, args...)
		if ended = n == 1; err != nil || !ended {
			return err
		}
		if err := also(ctx, tx); err != nil {
			return err
		}
		return addEvent(ctx, tx, runEvent(l, seen, what, detail))
	})
	return ended && err == nil, err
}

func targetDone(ctx context.Context, tx *sql.Tx, r RunningAlter, recheck []mysql.Addr) error {
	_, err := execTx(ctx, tx, "DELETE FROM alter_targets WHERE `group` = ? AND table_name = ? AND host = ? AND port = ?",
		r.Group, r.Table, r.Host, r.Port)
	if err != nil {
		return err
	}
	if err := forgetTry(ctx, tx, r); err != nil {
		return err
	}
	for _, a := range recheck {
		if err := addWake(ctx, tx, DaemonChecksum, ScopeInstance(a.String()), false); err != nil {
			return err
		}
	}
	return addWake(ctx, tx, DaemonCollector, "", false)
}

// ForgetRunning deletes the row of an instance that left the inventory, whatever its state.
func (s *Store) ForgetRunning(ctx context.Context, l Lease, r RunningAlter, detail string) error {
	err := s.AsLeader(ctx, l, func(ctx context.Context, tx *sql.Tx) error {
		n, err := execTx(ctx, tx, "DELETE FROM running_alters WHERE host = ? AND port = ? AND `group` = ? AND table_name = ?",
			r.Host, r.Port, r.Group, r.Table)
		if err != nil || n == 0 {
			return err
		}
		if err := forgetTry(ctx, tx, r); err != nil {
			return err
		}
		return addEvent(ctx, tx, runEvent(l, r, "forgotten", detail))
	})
	return wrap(err, "forget the alter of %s:%d in %s", r.Host, r.Port, s)
}

// HoldByWorker puts an alter in progress on HOLD, for a person to look at. The reason is that of the alter on the
// instance of r. Whoever lifts it begins with the first try everywhere. Nothing happens when the alter is not in progress any more.
func (s *Store) HoldByWorker(ctx context.Context, l Lease, r RunningAlter, reason string) error {
	err := s.AsLeader(ctx, l, func(ctx context.Context, tx *sql.Tx) error {
		n, err := execTx(ctx, tx, "UPDATE current_alters SET status = 'HOLD', hold_by = 'worker', hold_how = 'stop', reason = ? "+
			"WHERE `group` = ? AND table_name = ? AND status = 'IPR'", clip(reason, maxReason), r.Group, r.Table)
		if err != nil || n == 0 {
			return err
		}
		if err := forgetTries(ctx, tx, r.Group, r.Table); err != nil {
			return err
		}
		return addEvent(ctx, tx, runEvent(l, r, "hold", reason))
	})
	return wrap(err, "hold %s/%s in %s", r.Group, r.Table, s)
}

// Abandon removes the RUNNING row of a worker that is known to be dead, as it was read. false means that it has changed.
func (s *StatusStore) Abandon(ctx context.Context, seen OSCRow) (bool, error) {
	n, err := s.exec(ctx, "DELETE FROM "+s.osc()+" WHERE "+oscKey+" AND status = 'RUNNING' AND owner = ? AND `try` = ?",
		seen.Host, seen.Port, seen.Group, seen.Table, seen.Owner, seen.Try)
	return n == 1, wrap(err, "abandon %s", seen)
}

// asSeen is the WHERE for a row of running_alters that is still in the state in which it was read. started_at changes
// whenever a worker begins (see Claim), so a row that was given back and taken again in between does not match.
func asSeen(r RunningAlter) (string, []any) {
	return "host = ? AND port = ? AND `group` = ? AND table_name = ? AND osc_status = ? AND started_at <=> ?",
		[]any{r.Host, r.Port, r.Group, r.Table, r.OSCStatus, r.StartedAt}
}

func runEvent(l Lease, r RunningAlter, what, detail string) Event {
	return Event{Actor: l.Name + " " + l.Holder, Group: r.Group, Table: r.Table, Host: r.Host, Port: r.Port, What: what, Detail: detail}
}
