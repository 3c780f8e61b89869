package aoscdb

import (
	"cmp"
	"context"
	"database/sql"
)

const (
	allowedColumns = "`group`, table_name, allowed_by, allowed_at, priority, server_list, allow_unsafe, `comment`, cut_over"
	currentColumns = "`group`, table_name, status, priority, server_list, reason, hold_by, commit_sha, desired_hash, " +
		"pinned_at, tries, next_check_at, check_from, check_fresh, started_at, allowed_by, collected_at, targets, " +
		"unknowns, total_targets, primary_first, hold_how, allow_unsafe, `comment`"
	finishedColumns = "id, `group`, table_name, ended_at, tries, commit_sha, desired_hash, allowed_by, started_at, " +
		"targets, outcome, allow_unsafe, `comment`, COALESCE(instances, '')"
	targetColumns  = "`group`, table_name, host, port, cluster, role, found_at, `databases`, bytes"
	runningColumns = "host, port, `group`, table_name, osc_status, last_updated, cluster, datacenter, bytes, " +
		"percentage, queued_at, started_at, epoch, state, note, rows_copied, rows_total, rows_per_s, eta_s, lag_s"
)

func (a *AllowedAlter) fields() []any {
	return []any{&a.Group, &a.Table, &a.AllowedBy, &a.AllowedAt, &a.Priority, &a.ServerList, &a.AllowUnsafe, &a.Comment, &a.CutOver}
}

func (c *CurrentAlter) fields() []any {
	return []any{&c.Group, &c.Table, &c.Status, &c.Priority, &c.ServerList, &c.Reason, &c.HoldBy, &c.CommitSHA,
		&c.DesiredHash, &c.PinnedAt, &c.Tries, &c.NextCheckAt, &c.CheckFrom, &c.CheckFresh, &c.StartedAt, &c.AllowedBy,
		&c.CollectedAt, &c.Targets, &c.Unknowns, &c.TotalTargets, &c.PrimaryFirst, &c.HoldHow, &c.AllowUnsafe, &c.Comment}
}

func (f *FinishedAlter) fields() []any {
	return []any{&f.ID, &f.Group, &f.Table, &f.FinishedAt, &f.Tries, &f.CommitSHA, &f.DesiredHash, &f.AllowedBy,
		&f.StartedAt, &f.Targets, &f.Outcome, &f.AllowUnsafe, &f.Comment, &f.Instances}
}

func (t *Target) fields() []any {
	return []any{&t.Group, &t.Table, &t.Host, &t.Port, &t.Cluster, &t.Role, &t.FoundAt, &t.Databases, &t.Bytes}
}

func (r *RunningAlter) fields() []any {
	return []any{&r.Host, &r.Port, &r.Group, &r.Table, &r.OSCStatus, &r.LastUpdated, &r.Cluster, &r.Datacenter, &r.Bytes,
		&r.Percentage, &r.QueuedAt, &r.StartedAt, &r.Epoch, &r.State, &r.Note, &r.RowsCopied, &r.RowsTotal, &r.RowsPerS,
		&r.ETAS, &r.LagS}
}

// Allowed are all permissions, the most urgent first.
func (s *Store) Allowed(ctx context.Context) ([]AllowedAlter, error) {
	rows, err := list(ctx, s.db, (*AllowedAlter).fields,
		"SELECT "+allowedColumns+" FROM allowed_alters ORDER BY priority DESC, `group`, table_name")
	return rows, wrap(err, "read allowed_alters of %s", s)
}

// AllowedOne is the permission for one table. ErrNotFound when there is none.
func (s *Store) AllowedOne(ctx context.Context, group, table string) (AllowedAlter, error) {
	row, err := one(ctx, s.db, (*AllowedAlter).fields,
		"SELECT "+allowedColumns+" FROM allowed_alters WHERE `group` = ? AND table_name = ?", group, table)
	return row, wrap(err, "read the permission for %s/%s in %s", group, table, s)
}

// Allow gives permission, or replaces the one there is; AllowedAt nil lets the brain stamp it. An empty ServerList is
// 'default'. With 'custom', call SetCustomServers first: the brain may act on the row at once.
func (s *Store) Allow(ctx context.Context, a AllowedAlter) error {
	if a.ServerList == "" {
		a.ServerList = ServersDefault
	}
	return wrap(retry(ctx, func() error { return putAllowed(ctx, s.db, a) }), "allow %s/%s in %s", a.Group, a.Table, s)
}

// AllowBy is Allow for a person, with an event: an INSERT by hand is in the history only when it is admitted.
func (s *Store) AllowBy(ctx context.Context, a AllowedAlter) error {
	if a.ServerList == "" {
		a.ServerList = ServersDefault
	}
	err := s.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := putAllowed(ctx, tx, a); err != nil {
			return err
		}
		return addEvent(ctx, tx, Event{Actor: a.AllowedBy, Group: a.Group, Table: a.Table, What: EventAllowed, Detail: a.Terms()})
	})
	return wrap(err, "allow %s/%s in %s", a.Group, a.Table, s)
}

func putAllowed(ctx context.Context, q querier, a AllowedAlter) error {
	_, err := q.ExecContext(ctx, "INSERT INTO allowed_alters ("+allowedColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) AS new "+
		"ON DUPLICATE KEY UPDATE allowed_by = new.allowed_by, allowed_at = new.allowed_at, priority = new.priority, "+
		"server_list = new.server_list, allow_unsafe = new.allow_unsafe, `comment` = new.`comment`, cut_over = new.cut_over",
		a.Group, a.Table, clip(a.AllowedBy, 64), a.AllowedAt, a.Priority, a.ServerList, a.AllowUnsafe, clip(a.Comment, 255),
		cmp.Or(a.CutOver, CutOverAuto))
	return err
}

// SetAllowedCutOver changes cut_over of a permission, with an event. false when it was so already; ErrNotFound when there is no permission.
func (s *Store) SetAllowedCutOver(ctx context.Context, group, table, cutOver, by string) (changed bool, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		row, err := one(ctx, tx, (*AllowedAlter).fields,
			"SELECT "+allowedColumns+" FROM allowed_alters WHERE `group` = ? AND table_name = ? FOR UPDATE", group, table)
		if changed = err == nil && row.CutOver != cutOver; !changed {
			return err
		}
		if _, err := execTx(ctx, tx, "UPDATE allowed_alters SET cut_over = ? WHERE `group` = ? AND table_name = ?", cutOver, group,
			table); err != nil {
			return err
		}
		return addEvent(ctx, tx, Event{Actor: by, Group: group, Table: table, What: EventCutOver, Detail: "allowed_alters.cut_over=" + cutOver})
	})
	return changed, wrap(err, "change cut_over of %s/%s in %s", group, table, s)
}

// Words of the history for what a person does.
const (
	EventAllowed   = "allowed"
	EventRevokedBy = "revoked by"
	EventTier      = "tier set"
	EventCutOver   = "cut over"
)

// Revoke withdraws permission, with its list of custom servers. false when there was none.
func (s *Store) Revoke(ctx context.Context, group, table, by string) (bool, error) {
	var n int64
	err := s.inTx(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		if n, err = deletePermission(ctx, tx, group, table); err != nil || n == 0 {
			return err
		}
		return addEvent(ctx, tx, Event{Actor: by, Group: group, Table: table, What: EventRevokedBy})
	})
	return n > 0, wrap(err, "revoke %s/%s in %s", group, table, s)
}

// deletePermission removes a permission and its list of custom servers, and returns how many permissions that were.
func deletePermission(ctx context.Context, tx *sql.Tx, group, table string) (int64, error) {
	n, err := execTx(ctx, tx, "DELETE FROM allowed_alters WHERE `group` = ? AND table_name = ?", group, table)
	if err != nil {
		return 0, err
	}
	_, err = execTx(ctx, tx, "DELETE FROM custom_servers WHERE `group` = ? AND table_name = ?", group, table)
	return n, err
}

// StampAllowedAt fills allowed_at where a person left it NULL. tx is AsLeader's.
func (s *Store) StampAllowedAt(ctx context.Context, tx *sql.Tx) error {
	_, err := execTx(ctx, tx, "UPDATE allowed_alters SET allowed_at = NOW() WHERE allowed_at IS NULL")
	return wrap(err, "stamp allowed_alters of %s", s)
}

// CustomServers are the instances that an alter with server_list='custom' is restricted to.
func (s *Store) CustomServers(ctx context.Context, group, table string) ([]CustomServer, error) {
	rows, err := list(ctx, s.db, func(c *CustomServer) []any { return []any{&c.Group, &c.Table, &c.Host, &c.Port} },
		"SELECT `group`, table_name, host, port FROM custom_servers WHERE `group` = ? AND table_name = ? ORDER BY host, port",
		group, table)
	return rows, wrap(err, "read the custom servers of %s/%s in %s", group, table, s)
}

// SetCustomServers replaces the list of one table.
func (s *Store) SetCustomServers(ctx context.Context, group, table string, servers []CustomServer) error {
	err := s.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := execTx(ctx, tx, "DELETE FROM custom_servers WHERE `group` = ? AND table_name = ?", group, table)
		if err != nil {
			return err
		}
		return inBatches(servers, func(batch []CustomServer) error {
			args := make([]any, 0, 4*len(batch))
			for _, c := range batch {
				args = append(args, group, table, c.Host, c.Port)
			}
			_, err := execTx(ctx, tx, "INSERT INTO custom_servers (`group`, table_name, host, port) VALUES "+
				rowsOf(len(batch), 4), args...)
			return err
		})
	})
	return wrap(err, "write the custom servers of %s/%s in %s", group, table, s)
}

// CurrentAlters are all alters under way, the most urgent first.
func (s *Store) CurrentAlters(ctx context.Context) ([]CurrentAlter, error) {
	rows, err := list(ctx, s.db, (*CurrentAlter).fields,
		"SELECT "+currentColumns+" FROM current_alters ORDER BY priority DESC, started_at, `group`, table_name")
	return rows, wrap(err, "read current_alters of %s", s)
}

// CurrentAlter is one alter under way. ErrNotFound when there is none.
func (s *Store) CurrentAlter(ctx context.Context, group, table string) (CurrentAlter, error) {
	row, err := one(ctx, s.db, (*CurrentAlter).fields,
		"SELECT "+currentColumns+" FROM current_alters WHERE `group` = ? AND table_name = ?", group, table)
	return row, wrap(err, "read the current alter of %s/%s in %s", group, table, s)
}

// OperatorHold puts an alter that is in progress on the operator's HOLD: nothing new is started until
// OperatorResume, and what runs is stopped, or with HoldPause paused in place. It takes over a HOLD that stops less or ends sooner: that of
// a worker, under which what runs elsewhere goes on and which another commit lifts, and a pause that is to be a stop. ErrNotFound when no
// such alter is in progress.
func (s *Store) OperatorHold(ctx context.Context, group, table, reason, how string) error {
	// Assignments run from left to right: the reason still sees whose HOLD it was.
	n, err := exec(ctx, s.db, "UPDATE current_alters SET reason = LEFT(IF(status = 'HOLD' AND reason <> '', "+
		"CONCAT(?, '; it was on HOLD by ', IF(hold_by = '', 'operator', hold_by), ': ', reason), ?), ?), "+
		"status = 'HOLD', hold_by = 'operator', hold_how = ? WHERE `group` = ? AND table_name = ? AND (status = 'IPR' "+
		"OR status = 'HOLD' AND (hold_by IN ('', 'worker') OR hold_by = 'operator' AND hold_how = 'pause' AND ? = 'stop'))",
		clip(reason, maxReason), clip(reason, maxReason), maxReason, how, group, table, how)
	return wrap(oneRow(n, err), "hold %s/%s in %s", group, table, s)
}

// OperatorResume takes an alter off HOLD, whether an operator or a worker had put it there; it also takes over an
// operator's UPDATE that left hold_by alone. Its tries count from the first. What the brain holds stays held: ErrNotFound, as
// when there is no such alter on HOLD.
func (s *Store) OperatorResume(ctx context.Context, group, table string) error {
	var n int64
	err := s.inTx(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		n, err = execTx(ctx, tx, "UPDATE current_alters SET status = 'IPR', hold_by = '', reason = '', hold_how = 'stop' "+
			"WHERE `group` = ? AND table_name = ? AND status = 'HOLD' AND hold_by <> 'brain'", group, table)
		if err != nil || n == 0 {
			return err
		}
		return forgetTries(ctx, tx, group, table)
	})
	return wrap(oneRow(n, err), "resume %s/%s in %s", group, table, s)
}

// maxReason is how many characters current_alters.reason and checksum_passes.error take.
const maxReason = 2048

// oneRow turns "no row affected" into ErrNotFound, for statements whose WHERE excludes rows that need no change.
func oneRow(n int64, err error) error {
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}

// Finished are the newest finished alters, the last one first.
func (s *Store) Finished(ctx context.Context, limit int) ([]FinishedAlter, error) {
	return s.FinishedOf(ctx, "", "", limit)
}

// FinishedOf is Finished of a tier, or one table of it; "" = all.
func (s *Store) FinishedOf(ctx context.Context, group, table string, limit int) ([]FinishedAlter, error) {
	rows, err := list(ctx, s.db, (*FinishedAlter).fields, "SELECT "+finishedColumns+" FROM finished_alters "+
		"WHERE (? = '' OR `group` = ?) AND (? = '' OR table_name = ?) ORDER BY id DESC LIMIT ?", group, group, table, table, limit)
	return rows, wrap(err, "read finished_alters of %s", s)
}

// Name is a tier and, where Table is not "", a table of it that somebody has allowed at some time.
type Name struct{ Group, Table string }

// Names are all tiers and tables that the central tables know of, so that a misspelt one can be told.
func (s *Store) Names(ctx context.Context) ([]Name, error) {
	names, err := list(ctx, s.db, func(n *Name) []any { return []any{&n.Group, &n.Table} }, "SELECT `group`, '' FROM tiers UNION "+
		"SELECT `group`, table_name FROM allowed_alters UNION SELECT `group`, table_name FROM current_alters UNION "+
		"SELECT `group`, table_name FROM finished_alters")
	return names, wrap(err, "read the names of tiers and tables in %s", s)
}

// Targets are the instances on which any alter still has to run.
func (s *Store) Targets(ctx context.Context) ([]Target, error) {
	rows, err := list(ctx, s.db, (*Target).fields,
		"SELECT "+targetColumns+" FROM alter_targets ORDER BY `group`, table_name, host, port")
	return rows, wrap(err, "read alter_targets of %s", s)
}

// TargetsOf are the instances on which one alter still has to run.
func (s *Store) TargetsOf(ctx context.Context, group, table string) ([]Target, error) {
	rows, err := list(ctx, s.db, (*Target).fields, "SELECT "+targetColumns+
		" FROM alter_targets WHERE `group` = ? AND table_name = ? ORDER BY host, port", group, table)
	return rows, wrap(err, "read the targets of %s/%s in %s", group, table, s)
}

// RunningAlters are all rows of running_alters: what each busy instance is busy with.
func (s *Store) RunningAlters(ctx context.Context) ([]RunningAlter, error) {
	rows, err := list(ctx, s.db, (*RunningAlter).fields,
		"SELECT "+runningColumns+" FROM running_alters ORDER BY host, port")
	return rows, wrap(err, "read running_alters of %s", s)
}
