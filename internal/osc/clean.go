package osc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy"
	"github.com/aosc/aosc/internal/wait"
)

var (
	faultCleanBefore = fault.Register("osc.clean.before", "about to remove leftovers of a dead run")
	faultCleanAfter  = fault.Register("osc.clean.after", "leftovers of a dead run are removed")
)

const (
	// dropBudget is how long one call drops one old table in small steps; the next call goes on.
	dropBudget = 10 * time.Second
	dropRows   = 2000 // per step
	// dropDirect: a table of so few rows is dropped at once.
	dropDirect = 10_000
)

// Clean removes what dead runs left on a cluster, and old tables that are due. It is for the cluster's primary. held
// tells which tables a run of this process is at work on. It returns how many tables it dealt with; a table it fails on
// does not keep it from the others.
//
// A run is dead when its leftovers are recorded live, the lock of its table is free and its changelog has had no
// heartbeat for seconds. What it left goes, except for a copy that another run can go on with and is wanted still, and for an old table
// with a user's data: that is kept for the retention the run recorded. Old tables are emptied in small steps before they are dropped,
// paced by the lag of the replicas.
func (r *Runner) Clean(ctx context.Context, cluster string, primary *sql.DB, held func(database, table string) bool) (int, error) {
	if r.Writer != nil { // what is dropped here is replicated
		own, err := r.Writer.As(r.Pool, primary)
		if err != nil {
			return 0, fmt.Errorf("clean up on cluster %s: %w", cluster, err)
		}
		primary = own
	}
	all, err := r.Leftovers.List(ctx, cluster)
	if err != nil {
		return 0, fmt.Errorf("read the recorded leftovers of cluster %s: %w", cluster, err)
	}
	type key struct{ database, table string }
	groups := map[key][]Leftover{}
	var order []key
	for _, l := range all {
		if k := (key{l.Database, l.Table}); groups[k] == nil {
			order = append(order, k)
		}
		k := key{l.Database, l.Table}
		groups[k] = append(groups[k], l)
	}
	var n int
	var errs []error
	for _, k := range order {
		if held != nil && held(k.database, k.table) || !due(groups[k]) {
			continue
		}
		cleaned, err := r.cleanTable(ctx, primary, groups[k])
		n += cleaned
		if err != nil {
			errs = append(errs, fmt.Errorf("clean up after alters of %s on cluster %s: %w", mysql.QuoteIdents(k.database, k.table), cluster, err))
		}
	}
	return n, errors.Join(errs...)
}

// due tells whether there is anything to do about a table's leftovers now.
func due(rows []Leftover) bool {
	for _, l := range rows {
		if l.State != LeftoverKeep || !time.Now().Before(l.KeepUntil) {
			return true
		}
	}
	return false
}

// cleanTable deals with the leftovers of one table, under the table's lock.
func (r *Runner) cleanTable(ctx context.Context, db *sql.DB, rows []Leftover) (int, error) {
	t := rows[0].Target
	name, err := r.tableLock(ctx, t.Database, t.Table)
	if err != nil {
		return 0, err
	}
	lock, free, err := mysql.TryLock(ctx, db, name)
	if err != nil || !free {
		return 0, err // a run is at work on it
	}
	defer lock.Release()
	// What was read before the lock may be of a run that has ended since.
	if rows, err = r.recordsOf(ctx, t); err != nil {
		return 0, err
	}
	n := 0
	if kept, err := r.kept(ctx, db, rows); err != nil {
		return 0, err
	} else if !kept {
		if n, err = r.cleanDead(ctx, db, rows); err != nil {
			return n, err
		}
	}
	for _, l := range rows {
		if l.State == LeftoverLive || !due([]Leftover{l}) {
			continue
		}
		gone, err := r.dropSlowly(ctx, db, l)
		if err != nil {
			return n, err
		}
		if gone {
			n++
		}
	}
	return n, nil
}

// cleanDead settles the live leftovers among rows, if their run is dead. The caller holds the table's lock.
func (r *Runner) cleanDead(ctx context.Context, db *sql.DB, rows []Leftover) (int, error) {
	var live []Leftover
	var retention time.Duration
	for _, l := range rows {
		if l.State == LeftoverLive {
			live = append(live, l)
			if l.Kind == LeftoverOld && !l.CreatedAt.IsZero() {
				retention = max(l.KeepUntil.Sub(l.CreatedAt), 0)
			}
		}
	}
	if live == nil {
		return 0, nil
	}
	names := copy.NamesFor(live[0].Table)
	beats, err := beats(ctx, db, live[0].Database, names)
	if err != nil || beats {
		return 0, err
	}
	fault.Point(faultCleanBefore)
	if err := endSessions(ctx, db, live[0].Database, names); err != nil {
		return 0, err
	}
	if err := r.settle(ctx, db, live, retention); err != nil {
		return 0, err
	}
	fault.Point(faultCleanAfter)
	r.log().Info("cleaned up after a dead run", "database", live[0].Database, "table", live[0].Table, "token", live[0].Token)
	return len(live), nil
}

// clearWay makes room for a new copy of t, whose lock the caller holds: what a dead run left is settled, and an old table
// that is still kept moves to another name, for the new copy needs that one. It returns the names that remain ours.
//
// keep: the run goes on with the copy that is there, of whose last run nothing may be at work any more.
func (r *Runner) clearWay(ctx context.Context, db *sql.DB, t Target, keep bool) (map[string]bool, error) {
	if err := r.clearNeighbours(ctx, db, t); err != nil {
		return nil, err
	}
	rows, err := r.recordsOf(ctx, t)
	if err != nil {
		return nil, err
	}
	if keep {
		err = endSessions(ctx, db, t.Database, copy.NamesFor(t.Table))
		if err != nil {
			return nil, fmt.Errorf("end what an earlier run left at work: %w", err)
		}
	}
	for deadline := time.Now().Add(2 * copy.Stale); !keep; {
		if _, err := r.cleanDead(ctx, db, rows); err != nil {
			return nil, fmt.Errorf("clean up after an earlier run: %w", err)
		}
		if rows, err = r.recordsOf(ctx, t); err != nil {
			return nil, err
		}
		if !anyLive(rows) {
			break
		}
		// The lock is ours but a child still beats: its parent died a moment ago.
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s: %w, although its lock is free: its changelog has heartbeats", t, ErrBusy)
		}
		if err := wait.For(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
	recorded := map[string]bool{}
	if names := copy.NamesFor(t.Table); keep { // what is noted there tells whose they are
		recorded[names.Ghost], recorded[names.Changelog] = true, true
	}
	for _, l := range rows {
		if l.Name != copy.NamesFor(t.Table).Old {
			recorded[l.Name] = true
			continue
		}
		if err := r.moveAside(ctx, db, l); err != nil {
			return nil, fmt.Errorf("move the old table %s of an earlier alter out of the way: %w", mysql.QuoteIdents(l.Database, l.Name), err)
		}
	}
	return recorded, nil
}

func anyLive(rows []Leftover) bool {
	for _, l := range rows {
		if l.State == LeftoverLive {
			return true
		}
	}
	return false
}

// moveAside renames a kept old table to a name of its own. The new name is recorded first: whatever happens in between,
// each table that exists is recorded.
func (r *Runner) moveAside(ctx context.Context, db *sql.DB, l Leftover) error {
	if err := checkRole(ctx, db, Settings{}); err != nil { // a dead run may have been waited for since the last look
		return err
	}
	_, exists, err := commentOf(ctx, db, l.Database, l.Name)
	if err != nil {
		return err
	}
	if exists {
		moved := l
		moved.Name = asideName(l.Table, time.Now())
		if err := r.Leftovers.Record(ctx, []Leftover{moved}); err != nil {
			return err
		}
		session := mysql.Session{LockWaitTimeout: 3 * time.Second}
		err := mysql.WithSession(ctx, db, session, func(ctx context.Context, conn *sql.Conn) error {
			_, err := conn.ExecContext(ctx, "RENAME TABLE "+mysql.QuoteIdents(l.Database, l.Name)+" TO "+mysql.QuoteIdents(l.Database, moved.Name))
			return err
		})
		if err != nil {
			return err
		}
	}
	return r.Leftovers.Forget(ctx, l.ID)
}

// asideName is where an old table goes when its name is needed again: _<table>_<time>_del, the table's name cut to fit.
func asideName(table string, now time.Time) string {
	suffix := "_" + now.UTC().Format("20060102150405") + "_del"
	name := []rune(table)
	return "_" + string(name[:min(len(name), 64-1-len(suffix))]) + suffix
}

// dropSlowly empties an old table in small steps and drops it: unlinking a large file at once, and what it does to the
// buffer pool, can stall a server. It stops when its budget is used up or replicas lag; the next call goes on. gone when
// the table is no more.
func (r *Runner) dropSlowly(ctx context.Context, db *sql.DB, l Leftover) (gone bool, err error) {
	name := mysql.QuoteIdents(l.Database, l.Name)
	for deadline := time.Now().Add(dropBudget); ; {
		// At every step: a failover may come in between, and what is deleted on a former primary is errant (I7).
		if err := checkRole(ctx, db, Settings{}); err != nil {
			return false, fmt.Errorf("drop the old table %s: %w", name, err)
		}
		var many bool
		err := db.QueryRowContext(ctx, fmt.Sprintf("SELECT COUNT(*) > %d FROM (SELECT 1 FROM %s LIMIT %d) t", dropDirect, name, dropDirect+1)).Scan(&many)
		if mysql.IsNoSuchTable(err) || mysql.IsNoSuchDatabase(err) {
			return true, r.Leftovers.Forget(ctx, l.ID)
		}
		if err != nil {
			return false, fmt.Errorf("drop the old table %s: %w", name, err)
		}
		if !many {
			if err := dropTable(ctx, db, l.Database, l.Name); err != nil {
				return false, fmt.Errorf("drop the old table %s: %w", name, err)
			}
			return true, r.Leftovers.Forget(ctx, l.ID)
		}
		began := time.Now()
		if began.After(deadline) || r.lagging(ctx, l.Cluster) {
			return false, nil
		}
		if _, err := db.ExecContext(ctx, fmt.Sprintf("DELETE FROM %s LIMIT %d", name, dropRows)); err != nil {
			return false, fmt.Errorf("empty the old table %s: %w", name, err)
		}
		if err := wait.For(ctx, time.Since(began)); err != nil { // half of the time is the application's
			return false, err
		}
	}
}

// lagging tells whether a replica of a cluster is behind, or cannot be asked (I11). One that is meant to stay behind does not
// count.
func (r *Runner) lagging(ctx context.Context, cluster string) bool {
	if r.Replicas == nil {
		return false
	}
	for _, a := range r.Replicas(cluster) {
		db, err := r.Pool.DB(a)
		if err != nil {
			return true
		}
		ask, cancel := context.WithTimeout(ctx, time.Second)
		status, err := mysql.ReadReplicaStatus(ask, db)
		cancel()
		if err != nil || status != nil && status.Delay == 0 && (status.SecondsBehind == nil || *status.SecondsBehind > 1) {
			return true
		}
	}
	return false
}
