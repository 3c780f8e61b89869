package aoscdb

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"
)

// BrainTables is what the brain reads of the central database, all as of one moment.
type BrainTables struct {
	Now     time.Time // clock of the central database
	Tiers   []Tier
	Allowed []AllowedAlter
	Custom  []CustomServer
	Current []CurrentAlter
	Running []RunningAlter
	Passes  []Pass // of the tiers with a current alter
}

// BrainTables reads the tables in one transaction, so that no row can be seen without what it belongs to.
func (s *Store) BrainTables(ctx context.Context) (BrainTables, error) {
	var t BrainTables
	err := s.snapshot(ctx, func(tx *sql.Tx) (err error) {
		if err = tx.QueryRowContext(ctx, "SELECT NOW(6)").Scan(&t.Now); err != nil {
			return err
		}
		if t.Current, err = list(ctx, tx, (*CurrentAlter).fields, "SELECT "+currentColumns+" FROM current_alters "+
			"ORDER BY priority DESC, started_at, `group`, table_name"); err != nil {
			return err
		}
		if t.Allowed, err = list(ctx, tx, (*AllowedAlter).fields, "SELECT "+allowedColumns+" FROM allowed_alters "+
			"ORDER BY priority DESC, `group`, table_name"); err != nil {
			return err
		}
		if t.Custom, err = list(ctx, tx, func(c *CustomServer) []any { return []any{&c.Group, &c.Table, &c.Host, &c.Port} },
			"SELECT `group`, table_name, host, port FROM custom_servers ORDER BY `group`, table_name, host, port"); err != nil {
			return err
		}
		if t.Tiers, err = list(ctx, tx, (*Tier).fields, "SELECT "+tierColumns+" FROM tiers ORDER BY `group`"); err != nil {
			return err
		}
		if t.Running, err = list(ctx, tx, (*RunningAlter).fields, "SELECT "+runningColumns+" FROM running_alters"); err != nil {
			return err
		}
		t.Passes, err = list(ctx, tx, (*Pass).fields, "SELECT "+passColumns+" FROM checksum_passes "+
			"WHERE `group` IN (SELECT `group` FROM current_alters)")
		return err
	})
	return t, wrap(err, "read the alters of %s", s)
}

// BrainSignal is a text that differs whenever something changed that the brain acts on: a permission, a list of custom
// servers, a tier, an alter's status or the collector's verdict, or a check that has become due. It costs one
// round trip over small tables, so that it can be asked every second.
func (s *Store) BrainSignal(ctx context.Context) (string, error) {
	sum := func(columns, table string) string {
		// A sum of hashes does not depend on the order of rows, and NULLs must not make a row count as nothing.
		return "(SELECT CONCAT(COUNT(*), ':', COALESCE(SUM(CRC32(CONCAT_WS('\\0', " + columns + "))), 0)) FROM " + table + ")"
	}
	var signal string
	err := s.db.QueryRowContext(ctx, "SELECT CONCAT_WS(' ', "+strings.Join([]string{
		sum("`group`, table_name, allowed_by, allowed_at IS NULL, priority, server_list, allow_unsafe, `comment`", "allowed_alters"),
		sum("`group`, table_name, host, port", "custom_servers"),
		sum("`group`, ordering, copy_engine, direct_max_rows, direct_max_bytes, create_missing, verify_interval_s, verify_tries", "tiers"),
		sum("`group`, table_name, status, hold_by, priority, server_list, desired_hash, tries, targets, unknowns, "+
			"COALESCE(next_check_at <= NOW(6), 0)", "current_alters"),
	}, ", ")+")").Scan(&signal)
	return signal, wrap(err, "look for changes in %s", s)
}

// AlterChange is one step of the brain for one alter.
type AlterChange struct {
	Group, Table string
	// Before is the row the decision was made on, nil = there was none; Allowed the permission, nil = none.
	Before  *CurrentAlter
	Allowed *AllowedAlter
	// After is the row to write, less the collector's columns. It is nil when the alter ends; then End says how: its
	// Outcome, Tries and Targets go to finished_alters, the rest is that of Before.
	After *CurrentAlter
	End   FinishedAlter
	// PinnedNow and CheckedNow set pinned_at and check_from to the database's clock at the moment of writing.
	PinnedNow, CheckedNow bool
	What, Detail          string // of the event; none when What is ""
	Wake                  []WakeRequest
}

// WakeRequest is a row for wakeups.
type WakeRequest struct {
	Daemon, Scope string
	Fresh         bool
}

// ChangeAlter makes one step, in a transaction of AsLeader(l). It returns false, and has written nothing, when the alter
// or its permission is no longer as the decision found it: an operator, a worker or the collector was there in the
// meantime, and the brain must look again. The permission goes with a finished alter; nothing ends while running_alters
// still has a row of it.
func (s *Store) ChangeAlter(ctx context.Context, l Lease, c AlterChange) (bool, error) {
	var changed bool
	err := s.AsLeader(ctx, l, func(ctx context.Context, tx *sql.Tx) (err error) {
		changed, err = c.stillHolds(ctx, tx)
		if err != nil || !changed {
			return err
		}
		if c.After == nil {
			err = c.end(ctx, tx)
		} else {
			err = c.put(ctx, tx)
		}
		if err != nil {
			return err
		}
		if c.What != "" {
			e := Event{Actor: l.Name + " " + l.Holder, Group: c.Group, Table: c.Table, What: c.What, Detail: c.Detail}
			if err := addEvent(ctx, tx, e); err != nil {
				return err
			}
		}
		for _, w := range c.Wake {
			if err := addWake(ctx, tx, w.Daemon, w.Scope, w.Fresh); err != nil {
				return err
			}
		}
		return nil
	})
	return changed && err == nil, wrap(err, "change alter %s/%s in %s", c.Group, c.Table, s)
}

// stillHolds locks what the decision was made on and compares.
func (c AlterChange) stillHolds(ctx context.Context, tx *sql.Tx) (bool, error) {
	now, err := one(ctx, tx, (*CurrentAlter).fields,
		"SELECT "+currentColumns+" FROM current_alters WHERE `group` = ? AND table_name = ? FOR UPDATE", c.Group, c.Table)
	switch {
	case errors.Is(err, ErrNotFound):
		if c.Before != nil {
			return false, nil
		}
	case err != nil:
		return false, err
	case c.Before == nil || !sameAlter(now, *c.Before):
		return false, nil
	}
	allowed, err := one(ctx, tx, (*AllowedAlter).fields,
		"SELECT "+allowedColumns+" FROM allowed_alters WHERE `group` = ? AND table_name = ? FOR UPDATE", c.Group, c.Table)
	switch {
	case errors.Is(err, ErrNotFound):
		if c.Allowed != nil {
			return false, nil
		}
	case err != nil:
		return false, err
	case c.Allowed == nil || allowed.AllowUnsafe != c.Allowed.AllowUnsafe || allowed.ServerList != c.Allowed.ServerList:
		return false, nil
	}
	if c.After != nil {
		return true, nil
	}
	var running int
	err = tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM running_alters WHERE `group` = ? AND table_name = ? FOR SHARE",
		c.Group, c.Table).Scan(&running)
	return running == 0, err
}

// sameAlter compares what decisions are made on. When the collector looked matters only where the look said something
// new; total_targets never decides.
func sameAlter(a, b CurrentAlter) bool {
	return a.Status == b.Status && a.HoldBy == b.HoldBy && a.Reason == b.Reason && a.DesiredHash == b.DesiredHash &&
		a.CommitSHA == b.CommitSHA && a.ServerList == b.ServerList && a.Tries == b.Tries && a.CheckFresh == b.CheckFresh &&
		a.Targets == b.Targets && a.Unknowns == b.Unknowns &&
		sameTime(a.PinnedAt, b.PinnedAt) && sameTime(a.CheckFrom, b.CheckFrom) && sameTime(a.NextCheckAt, b.NextCheckAt)
}

func sameTime(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}

// put writes the brain's columns of After.
func (c AlterChange) put(ctx context.Context, tx *sql.Tx) error {
	a := c.After
	_, err := execTx(ctx, tx, "INSERT INTO current_alters (`group`, table_name, status, priority, server_list, reason, hold_by, "+
		"commit_sha, desired_hash, pinned_at, tries, next_check_at, check_from, check_fresh, started_at, allowed_by, primary_first, "+
		"allow_unsafe, `comment`) "+
		"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, IF(?, NOW(6), ?), ?, ?, IF(?, NOW(6), ?), ?, ?, ?, ?, ?, ?) AS new ON DUPLICATE KEY UPDATE "+
		"status = new.status, priority = new.priority, server_list = new.server_list, reason = new.reason, "+
		"hold_how = IF(new.hold_by = 'operator', current_alters.hold_how, 'stop'), hold_by = new.hold_by, commit_sha = new.commit_sha, desired_hash = new.desired_hash, pinned_at = new.pinned_at, "+
		"tries = new.tries, next_check_at = new.next_check_at, check_from = new.check_from, check_fresh = new.check_fresh, "+
		"started_at = new.started_at, allowed_by = new.allowed_by, primary_first = new.primary_first, "+
		"allow_unsafe = new.allow_unsafe, `comment` = new.`comment`",
		c.Group, c.Table, a.Status, a.Priority, a.ServerList, clip(a.Reason, maxReason), a.HoldBy,
		a.CommitSHA, a.DesiredHash, c.PinnedNow, a.PinnedAt, a.Tries, a.NextCheckAt, c.CheckedNow, a.CheckFrom, a.CheckFresh,
		a.StartedAt, clip(a.AllowedBy, 64), a.PrimaryFirst, a.AllowUnsafe, clip(a.Comment, 255))
	return err
}

// whatRan is what the history has of the statements of one alter since it began, as JSON; NULL when nothing ran.
const whatRan = "(SELECT JSON_ARRAYAGG(JSON_OBJECT('instance', CONCAT(host, ':', port), 'at', DATE_FORMAT(at, '%Y-%m-%dT%H:%i:%sZ'), " +
	"'actor', actor, 'statement', statement)) FROM events WHERE `group` = ? AND table_name = ? AND statement IS NOT NULL " +
	"AND at >= COALESCE(?, at))"

// end moves the alter to finished_alters. A permission that led to a finished alter is used up.
func (c AlterChange) end(ctx context.Context, tx *sql.Tx) error {
	b := c.Before
	if b == nil || c.End.Outcome == "" {
		return errors.New("an alter needs a row and an outcome to end")
	}
	_, err := execTx(ctx, tx, "INSERT INTO finished_alters (`group`, table_name, finished_at, tries, commit_sha, desired_hash, "+
		"allowed_by, started_at, targets, outcome, allow_unsafe, `comment`, instances) "+
		"VALUES (?, ?, IF(? = 'finished', NOW(), NULL), ?, ?, ?, ?, ?, ?, ?, ?, ?, "+whatRan+")",
		c.Group, c.Table, c.End.Outcome, c.End.Tries, b.CommitSHA, b.DesiredHash, b.AllowedBy, b.StartedAt, c.End.Targets, c.End.Outcome,
		b.AllowUnsafe, b.Comment, c.Group, c.Table, b.StartedAt)
	if err != nil {
		return err
	}
	for _, table := range []string{"current_alters", "alter_targets", "obstacles", "retries"} {
		if _, err := execTx(ctx, tx, "DELETE FROM "+table+" WHERE `group` = ? AND table_name = ?", c.Group, c.Table); err != nil {
			return err
		}
	}
	if c.Allowed != nil {
		_, err = deletePermission(ctx, tx, c.Group, c.Table)
	}
	return err
}
