package aoscdb

import (
	"context"
	"database/sql"
	"slices"
	"time"
)

// DaemonOSCWorker is the fifth daemon. Nobody wakes it.
const DaemonOSCWorker = "oscworker"

const (
	// BeatEvery is how often a daemon says in daemons that it lives.
	BeatEvery = 2 * time.Second
	// DownAfter is the silence after which a daemon counts as down. The view why says 15 seconds, too.
	DownAfter = 15 * time.Second
	// forgetAfter is how long a process that ended, or is silent, stays in daemons: "last seen" must outlive a weekend.
	forgetAfter = 14 * 24 * time.Hour
)

// DaemonRow is a row of daemons: one process and its last heartbeat.
type DaemonRow struct {
	Name      string
	Holder    string
	Serves    string // "" = all
	Version   string
	StartedAt time.Time
	SeenAt    time.Time
	StoppedAt *time.Time // it ended as asked
	Note      string
	Error     string // why it is not ready, "" when it is
}

func (d *DaemonRow) fields() []any {
	return []any{&d.Name, &d.Holder, &d.Serves, &d.Version, &d.StartedAt, &d.SeenAt, &d.StoppedAt, &d.Note, &d.Error}
}

const daemonColumns = "name, holder, serves, version, started_at, seen_at, stopped_at, note, error"

// Beat writes a heartbeat. Times are the database's.
func (s *Store) Beat(ctx context.Context, d DaemonRow) error {
	_, err := exec(ctx, s.db, "INSERT INTO daemons (name, holder, serves, version, note, error) VALUES (?, ?, ?, ?, ?, ?) AS new "+
		"ON DUPLICATE KEY UPDATE serves = new.serves, version = new.version, seen_at = NOW(6), "+
		"stopped_at = NULL, note = new.note, error = new.error",
		d.Name, d.Holder, clip(d.Serves, maxReason), clip(d.Version, 64), clip(d.Note, maxReason), clip(d.Error, maxReason))
	return wrap(err, "write the heartbeat of %s %s to %s", d.Name, d.Holder, s)
}

// BeatStopped notes that a daemon has ended as it was asked to, and forgets processes nobody has heard of for two weeks.
func (s *Store) BeatStopped(ctx context.Context, name, holder string) error {
	_, err := exec(ctx, s.db, "UPDATE daemons SET seen_at = NOW(6), stopped_at = NOW(6) WHERE name = ? AND holder = ?", name, holder)
	if err == nil {
		_, err = exec(ctx, s.db, "DELETE FROM daemons WHERE seen_at < NOW(6) - INTERVAL ? SECOND", int(forgetAfter.Seconds()))
	}
	return wrap(err, "write the end of %s %s to %s", name, holder, s)
}

// Daemons are all processes that are remembered, the one heard of last first.
func (s *Store) Daemons(ctx context.Context) ([]DaemonRow, error) {
	rows, err := daemonsOf(ctx, s.db)
	return rows, wrap(err, "read the heartbeats in %s", s)
}

func daemonsOf(ctx context.Context, q querier) ([]DaemonRow, error) {
	return list(ctx, q, (*DaemonRow).fields, "SELECT "+daemonColumns+" FROM daemons ORDER BY name, seen_at DESC")
}

// Obstacle is a row of obstacles: what a daemon found in the way of an alter on one instance.
type Obstacle struct {
	Group, Table string
	Host         string // "" = no instance in particular
	Port         int
	FoundBy      string // DaemonCollector or DaemonScheduler
	Code, Reason string
	Since        time.Time
}

func (o *Obstacle) fields() []any {
	return []any{&o.Group, &o.Table, &o.Host, &o.Port, &o.FoundBy, &o.Code, &o.Reason, &o.Since}
}

const obstacleColumns = "`group`, table_name, host, port, found_by, code, reason, since"

type placeKey struct {
	group, table, host string
	port               int
}

// RecordObstacles makes the obstacles that one daemon has found those of the table, as the leader. Only what differs is
// written.
func (s *Store) RecordObstacles(ctx context.Context, l Lease, foundBy string, found []Obstacle) error {
	stored, err := list(ctx, s.db, (*Obstacle).fields, "SELECT "+obstacleColumns+" FROM obstacles WHERE found_by = ?", foundBy)
	if err != nil {
		return wrap(err, "read the obstacles in %s", s)
	}
	found = slices.Clone(found)
	for i := range found {
		found[i].Reason = clip(found[i].Reason, maxReason)
	}
	put, gone := changes(stored, found, func(o Obstacle) placeKey { return placeKey{o.Group, o.Table, o.Host, o.Port} },
		func(a, b Obstacle) bool { return a.Code == b.Code && a.Reason == b.Reason })
	if len(put)+len(gone) == 0 {
		return nil
	}
	err = s.AsLeader(ctx, l, func(ctx context.Context, tx *sql.Tx) error {
		if err := deletePlaces(ctx, tx, "obstacles", "found_by = '"+foundBy+"' AND ", gone); err != nil {
			return err
		}
		return inBatches(put, func(batch []Obstacle) error {
			args := make([]any, 0, 7*len(batch))
			for _, o := range batch {
				args = append(args, o.Group, o.Table, o.Host, o.Port, foundBy, o.Code, o.Reason)
			}
			_, err := execTx(ctx, tx, "INSERT INTO obstacles (`group`, table_name, host, port, found_by, code, reason) VALUES "+
				rowsOf(len(batch), 7)+" AS new ON DUPLICATE KEY UPDATE since = IF(obstacles.code = new.code, obstacles.since, NOW(6)), "+
				"code = new.code, reason = new.reason", args...)
			return err
		})
	})
	return wrap(err, "record what the %s found in %s", foundBy, s)
}

// changes are the rows that are new or not the same as those stored, and those that are stored and not wanted any more.
func changes[V any](stored, wanted []V, key func(V) placeKey, same func(a, b V) bool) (put []V, gone map[placeKey]V) {
	gone = map[placeKey]V{}
	for _, v := range stored {
		gone[key(v)] = v
	}
	for _, v := range wanted {
		if old, ok := gone[key(v)]; !ok || !same(old, v) {
			put = append(put, v)
		}
		delete(gone, key(v))
	}
	return put, gone
}

// deletePlaces deletes rows by group, table_name, host and port.
func deletePlaces[V any](ctx context.Context, tx *sql.Tx, table, where string, gone map[placeKey]V) error {
	keys := make([]placeKey, 0, len(gone))
	for k := range gone {
		keys = append(keys, k)
	}
	return inBatches(keys, func(batch []placeKey) error {
		args := make([]any, 0, 4*len(batch))
		for _, k := range batch {
			args = append(args, k.group, k.table, k.host, k.port)
		}
		_, err := execTx(ctx, tx, "DELETE FROM "+table+" WHERE "+where+"(`group`, table_name, host, port) IN ("+
			rowsOf(len(batch), 4)+")", args...)
		return err
	})
}

// WhyTables is all that the question "why is it not running" is answered from, as of one moment.
type WhyTables struct {
	Now       time.Time
	Daemons   []DaemonRow
	Tiers     []Tier
	Allowed   []AllowedAlter
	Current   []CurrentAlter
	Targets   []Target
	Running   []RunningAlter
	Obstacles []Obstacle
	Passes    []Pass // of the tiers with an alter
}

// WhyTables reads them in one transaction.
func (s *Store) WhyTables(ctx context.Context) (WhyTables, error) {
	var t WhyTables
	err := s.snapshot(ctx, func(tx *sql.Tx) (err error) {
		if err = tx.QueryRowContext(ctx, "SELECT NOW(6)").Scan(&t.Now); err != nil {
			return err
		}
		if t.Daemons, err = daemonsOf(ctx, tx); err != nil {
			return err
		}
		if t.Tiers, err = list(ctx, tx, (*Tier).fields, "SELECT "+tierColumns+" FROM tiers"); err != nil {
			return err
		}
		if t.Allowed, err = list(ctx, tx, (*AllowedAlter).fields, "SELECT "+allowedColumns+" FROM allowed_alters"); err != nil {
			return err
		}
		if t.Current, err = list(ctx, tx, (*CurrentAlter).fields, "SELECT "+currentColumns+" FROM current_alters"); err != nil {
			return err
		}
		if t.Targets, err = list(ctx, tx, (*Target).fields, "SELECT "+targetColumns+" FROM alter_targets"); err != nil {
			return err
		}
		if t.Running, err = list(ctx, tx, (*RunningAlter).fields, "SELECT "+runningColumns+" FROM running_alters"); err != nil {
			return err
		}
		if t.Obstacles, err = list(ctx, tx, (*Obstacle).fields, "SELECT "+obstacleColumns+" FROM obstacles"); err != nil {
			return err
		}
		t.Passes, err = list(ctx, tx, (*Pass).fields, "SELECT "+passColumns+" FROM checksum_passes "+
			"WHERE `group` IN (SELECT `group` FROM current_alters)")
		return err
	})
	return t, wrap(err, "read what stands in the way in %s", s)
}

// WhyRow is a row of why_rows, and of the view why.
type WhyRow struct {
	Group, Table string
	Host         string // "" = the alter as a whole
	Port         int
	Code, Why    string
	Since        time.Time
}

func (w *WhyRow) fields() []any {
	return []any{&w.Group, &w.Table, &w.Host, &w.Port, &w.Code, &w.Why, &w.Since}
}

const whyColumns = "`group`, table_name, host, port, code, why, since"

// Why is the view why.
func (s *Store) Why(ctx context.Context) ([]WhyRow, error) {
	rows, err := list(ctx, s.db, (*WhyRow).fields, "SELECT "+whyColumns+" FROM why ORDER BY `group`, table_name, host, port")
	return rows, wrap(err, "read the view why of %s", s)
}

// PublishWhy makes the rows that answer computes those of why_rows, unless another process did so a moment ago. All
// daemons may call it: they compute the same from the same tables, and one of them that lives is enough.
func (s *Store) PublishWhy(ctx context.Context, answer func(WhyTables) []WhyRow) error {
	n, err := exec(ctx, s.db, "UPDATE why_turn SET at = NOW(6) WHERE id = 1 AND at < NOW(6) - INTERVAL 1500000 MICROSECOND")
	if err != nil || n == 0 {
		return wrap(err, "take the turn to say why in %s", s)
	}
	t, err := s.WhyTables(ctx)
	if err != nil {
		return err
	}
	return wrap(s.putWhy(ctx, answer(t)), "say why in %s", s)
}

func (s *Store) putWhy(ctx context.Context, rows []WhyRow) error {
	stored, err := list(ctx, s.db, (*WhyRow).fields, "SELECT "+whyColumns+" FROM why_rows")
	if err != nil {
		return err
	}
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Why = clip(rows[i].Why, maxReason)
	}
	put, gone := changes(stored, rows, func(r WhyRow) placeKey { return placeKey{r.Group, r.Table, r.Host, r.Port} },
		func(a, b WhyRow) bool { return a.Code == b.Code && a.Why == b.Why })
	if len(put)+len(gone) == 0 {
		return nil
	}
	return s.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := deletePlaces(ctx, tx, "why_rows", "", gone); err != nil {
			return err
		}
		return inBatches(put, func(batch []WhyRow) error {
			args := make([]any, 0, 6*len(batch))
			for _, r := range batch {
				args = append(args, r.Group, r.Table, r.Host, r.Port, r.Code, r.Why)
			}
			_, err := execTx(ctx, tx, "INSERT INTO why_rows (`group`, table_name, host, port, code, why) VALUES "+rowsOf(len(batch), 6)+
				" AS new ON DUPLICATE KEY UPDATE since = IF(why_rows.code = new.code, why_rows.since, NOW(6)), code = new.code, why = new.why", args...)
			return err
		})
	})
}
