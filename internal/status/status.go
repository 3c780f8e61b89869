// Package status keeps aosc_local_status true for one instance: which of the tier's tables have, in each of its
// databases, the desired form. The checksum daemon runs it over whole instances, the oscworker over the one table it has
// just altered; both go through Refresher so that there is one definition of a table's status.
//
// # What a warm pass costs
//
// A hash is read again only when it may have changed. The key is information_schema.tables.create_time, which is
// dictionary data, not one of the statistics that information_schema_stats_expiry keeps stale. Tried on MySQL 9.7:
//
//   - every ALTER TABLE (INSTANT, COMMENT, RENAME COLUMN, index visibility, partitions), CREATE and DROP INDEX and
//     OPTIMIZE set it to the second in which their statement began, which is the primary's second on a replica;
//   - RENAME TABLE and TRUNCATE leave it, so that the swap at the end of a copy brings the copy's own create_time;
//   - renaming the parent of a foreign key, or a column of it, rewrites SHOW CREATE TABLE of the child and leaves the
//     child's create_time alone: tables desired with a foreign key are therefore read in every pass.
//
// What no timestamp of one second can show (two statements of the same second, one of them visible only much later) is
// what fresh passes are for: they read everything.
package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

const (
	// probeTimeout bounds the first question to an instance: one that hangs must not hold its caller for longer.
	probeTimeout = 5 * time.Second
	// turnTimeout bounds the wait for another Refresh of the same instance, turnPoll is how often it is asked.
	turnTimeout = 30 * time.Second
	turnPoll    = 25 * time.Millisecond
)

// ErrBusy means that another process is refreshing the same instance and did not finish in time. It does our work.
var ErrBusy = errors.New("another checksum is at work on the instance")

// Refresher computes and stores the status of tables. Its fields must not change once it is used. It is safe for
// concurrent use.
type Refresher struct {
	Pool         *mysql.Pool
	Store        *aoscdb.Store
	Materialiser *schema.Materialiser
	Log          *slog.Logger // nil = slog.Default()

	ensured sync.Map // mysql.Addr: this process has made sure of the status tables there
	visited sync.Map // mysql.Addr: it has finished a pass over all tables there
}

// Options narrow or sharpen one Refresh.
type Options struct {
	// Tables are the tables to look at, nil = all of the tier. Rows of other tables are not touched.
	Tables []string
	// Fresh reads the current form of every table, whatever its create_time says.
	Fresh bool
}

// Summary is what one Refresh found.
type Summary struct {
	StartedAt time.Time // aoscdb's clock, before anything of the instance was read
	Databases int
	Tables    int // databases x desired tables, those that could be judged
	NotOK     int
	Read      int // tables whose SHOW CREATE TABLE was asked for
	Written   int // rows written
	// Changed counts the rows, deleted ones among them, that no longer say what they said: another status, hash or
	// desired text.
	Changed int
	Refused []Refusal
}

// Refusal is a desired table that has no usable text, so that no status can be computed: it has no rows, and whoever
// counts rows sees an unjudged table (I11).
type Refusal struct {
	Table string
	Err   error
}

// Problem is what a finished Refresh could not judge, "" for nothing.
func (s Summary) Problem() string {
	if len(s.Refused) == 0 {
		return ""
	}
	text := fmt.Sprintf("no status for %d of the desired tables: ", len(s.Refused))
	for i, r := range s.Refused {
		if i > 0 {
			text += "; "
		}
		text += r.Table + ": " + r.Err.Error()
	}
	return text
}

// Refresh brings the status rows of one instance up to date with the desired schemas of snap: all of the tier's tables,
// or those of opts. Rows of databases and tables that no longer count are deleted, and with all tables so are rows of
// other instances that a clone brought along.
//
// Only one Refresh at a time works on an instance, by a named lock on the instance itself: a slow one must not write old
// findings over newer ones (I8). ErrBusy says that the turn did not come.
//
// An error means that rows may be old. It names the instance and, where there is one, the way out.
func (r *Refresher) Refresh(ctx context.Context, inst fleet.Instance, tier fleet.Tier, snap *schema.Snapshot, opts Options) (Summary, error) {
	sum, err := r.refresh(ctx, inst, tier, snap, opts)
	if err != nil {
		err = fmt.Errorf("checksum of %s (tier %s): %w", inst, tier.Name, err)
	}
	return sum, err
}

func (r *Refresher) refresh(ctx context.Context, inst fleet.Instance, tier fleet.Tier, snap *schema.Snapshot, opts Options) (Summary, error) {
	db, err := r.Pool.DB(inst.Addr())
	if err != nil {
		return Summary{}, err
	}
	p := &pass{Refresher: r, inst: inst, tier: tier, opts: opts, db: db}
	if p.server, err = probe(ctx, p); err != nil {
		return Summary{}, err
	}
	lock, err := takeTurn(ctx, p)
	if err != nil {
		return Summary{}, err
	}
	defer lock.Release()
	p.lock = lock
	// Only now: what began before the turn came would say less than it could.
	if p.sum.StartedAt, err = r.Store.Now(ctx); err != nil {
		return Summary{}, err
	}
	_, visited := r.visited.Load(inst.Addr())
	p.first = !visited
	if err = p.run(ctx, snap.Tiers[tier.Name]); err == nil && opts.Tables == nil {
		r.visited.Store(inst.Addr(), true)
	}
	return p.sum, err
}

// probe asks the instance what it is. An unsupported server fails here.
func probe(ctx context.Context, p *pass) (mysql.Server, error) {
	probeCtx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	server, err := mysql.ReadServer(probeCtx, p.db)
	if err != nil && ctx.Err() == nil && probeCtx.Err() != nil {
		err = fmt.Errorf("no answer within %v: %w", probeTimeout, err)
	}
	return server, err
}

// takeTurn waits for the instance's checksum lock.
func takeTurn(ctx context.Context, p *pass) (*mysql.Lock, error) {
	name, err := p.Store.LockName(ctx, "checksum "+p.inst.String())
	if err != nil {
		return nil, err
	}
	deadline := time.NewTimer(turnTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(turnPoll)
	defer tick.Stop()
	for busy := false; ; busy = true {
		lock, got, err := mysql.TryLock(ctx, p.db, name)
		switch {
		case busy && err != nil && ctx.Err() != nil:
			return nil, fmt.Errorf("%w: %w", ErrBusy, err)
		case err != nil || got:
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
		case <-deadline.C:
			return nil, fmt.Errorf("%w and has been for %v", ErrBusy, turnTimeout)
		case <-tick.C:
		}
	}
}
