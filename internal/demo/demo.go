// Package demo is `aosc demo`: the whole pipeline on one machine, on real MySQL servers. It starts a fleet, a steady writer on
// every database and the five daemons as processes of their own, commits a schema change, inserts one row by SQL, and
// then reads everything back.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet/static"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/operate"
	"github.com/aosc/aosc/internal/testkit/writer"
)

// Options of a demo.
type Options struct {
	Out  io.Writer
	Live bool   // Out is a terminal: progress as bars, else as lines
	Keep bool   // leave everything running until the context ends
	Rows int    // rows per table
	Dir  string // where servers and logs go; empty = a temporary directory, removed afterwards
	Bin  string // directory of the daemons' binaries
}

const (
	tierName = "udb"
	table    = "tabla1"
	// alterLimit is the longest one alter of the demo may take, however slow the machine.
	alterLimit = 10 * time.Minute
)

// demo is one run: what it started, to be stopped in reverse order.
type demo struct {
	Options
	began   time.Time
	fleet   *servers
	repo    *repository
	store   *aoscdb.Store
	pool    *mysql.Pool
	desk    *operate.Desk
	daemons *daemons
	writers map[string]*writer.Writer // by database
}

// Run runs the demo. Its error says what did not hold; everything it started is stopped before it returns.
func Run(ctx context.Context, o Options) (err error) {
	if o.Rows < 0 {
		return fmt.Errorf("rows: %d is negative", o.Rows)
	}
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "aosc-demo-")
		if err != nil {
			return err
		}
		o.Dir = dir
		defer func() {
			// The logs are what explains a failure: they stay.
			if err == nil {
				err = os.RemoveAll(dir)
			}
		}()
	}
	d := &demo{Options: o, began: time.Now()}
	defer func() {
		if err != nil && !errors.Is(err, context.Canceled) {
			err = fmt.Errorf("%w\nlogs are in %s", err, o.Dir)
		}
	}()
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.prepare(ctx); err != nil {
		return err
	}
	return d.show(ctx)
}

// prepare starts the fleet, seeds it and starts the daemons.
func (d *demo) prepare(ctx context.Context) (err error) {
	d.say("Starting an aoscdb server and two clusters of a primary and a replica (GTID, semi-sync).")
	if d.fleet, err = startServers(ctx, d.Dir); err != nil {
		return err
	}
	d.say("Seeding six databases, %d rows per table; dbid3 lacks the table, dbid5 already has the new form.", d.Rows)
	if d.writers, err = d.fleet.seed(ctx, d.Rows); err != nil {
		return err
	}
	if d.repo, err = newRepository(filepath.Join(d.Dir, "schemas.git")); err != nil {
		return err
	}
	if _, err := d.repo.commit("Create "+table, ddlV1); err != nil {
		return err
	}
	if err := d.openDesk(ctx); err != nil {
		return err
	}
	d.say("Starting checksum, brain, collector, scheduler and oscworker as processes.")
	d.daemons, err = startDaemons(d.Bin, d.Dir, d.fleet, d.repo.dir)
	return err
}

// openDesk creates the tables of aoscdb, as `aosc init` and `aosc tier set` do, and opens what watching takes.
func (d *demo) openDesk(ctx context.Context) (err error) {
	if d.store, err = aoscdb.Open(d.fleet.aoscdbDSN()); err != nil {
		return err
	}
	if _, err := d.store.Init(ctx); err != nil {
		return err
	}
	tier := aoscdb.NewTier(tierName)
	// Both clusters at once, though all share one host here.
	tier.MaxRunning, tier.MaxRunningPerHost, tier.VerifyIntervalS, tier.VerifyTries = 2, 2, 2, 2
	if err := d.store.PutTier(ctx, tier); err != nil {
		return err
	}
	inventory, err := static.Load(d.fleet.inventoryPath())
	if err != nil {
		return err
	}
	d.pool = mysql.NewPool(mysql.Credentials{User: "root"}, mysql.Options{})
	d.desk = &operate.Desk{Store: d.store, Inventory: inventory, Pool: d.pool, FanOut: 8, Timeout: 5 * time.Second}
	return nil
}

// show is the demo itself.
func (d *demo) show(ctx context.Context) error {
	writing, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, w := range d.writers {
		w.Start(writing)
		defer w.Stop()
	}
	if err := d.alter(ctx, "Widen hits, add email to "+table, ddlV2, "a copy by gh-ost: int to bigint rewrites every row"); err != nil {
		return err
	}
	if err := d.alter(ctx, "Add note to "+table, ddlV3, "INSTANT: nothing is rewritten"); err != nil {
		return err
	}
	for _, w := range d.writers {
		w.Stop()
	}
	if err := d.verify(ctx); err != nil {
		return err
	}
	d.say("All held, in %v.", time.Since(d.began).Round(time.Second))
	if d.Keep {
		d.invite()
		<-ctx.Done()
	}
	return nil
}

// alter commits a DDL change, allows it by SQL as in the original, and follows it to the end.
func (d *demo) alter(ctx context.Context, message, ddl, how string) error {
	ctx, cancel := context.WithTimeout(ctx, alterLimit)
	defer cancel()
	began := time.Now()
	commit, err := d.repo.commit(message, ddl)
	if err != nil {
		return err
	}
	d.say("git commit %.10s %q (%s)", commit, message, how)
	insert := fmt.Sprintf("INSERT INTO allowed_alters VALUES ('%s','%s','demo',NULL,10,'default')", tierName, table)
	d.say("mysql> %s;", insert)
	if err := execIn(ctx, d.fleet.aoscdb.DB(), "aoscdb", insert); err != nil {
		return err
	}
	finished, err := d.follow(ctx)
	if err != nil {
		return err
	}
	d.say("finished_alters: %s.%s at %s, tries %d, %d instances, commit %.10s, after %v", finished.Group, finished.Table,
		finished.FinishedAt.Format(time.DateTime), finished.Tries, finished.Targets, finished.CommitSHA, time.Since(began).Round(100*time.Millisecond))
	if finished.CommitSHA != commit {
		return fmt.Errorf("finished at commit %s, not at %s", finished.CommitSHA, commit)
	}
	return nil
}

// follow shows the alter until it is finished. An alter on HOLD, or a daemon that died, ends the demo.
func (d *demo) follow(ctx context.Context) (aoscdb.FinishedAlter, error) {
	progress := operate.NewProgress(d.Out, d.Live)
	defer progress.Close()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	before, err := d.store.Finished(ctx, 1)
	if err != nil {
		return aoscdb.FinishedAlter{}, err
	}
	for {
		view, err := d.desk.Look(ctx, 1)
		if err != nil {
			return aoscdb.FinishedAlter{}, err
		}
		progress.Show(view)
		if len(view.Finished) > 0 && (len(before) == 0 || view.Finished[0].ID != before[0].ID) {
			return view.Finished[0], nil
		}
		for _, a := range view.Alters {
			if a.Status == aoscdb.AlterHold {
				return aoscdb.FinishedAlter{}, fmt.Errorf("%s.%s is on HOLD by %s: %s", a.Group, a.Table, a.HoldBy, a.Reason)
			}
		}
		select {
		case <-ctx.Done():
			return aoscdb.FinishedAlter{}, fmt.Errorf("the alter did not finish: %w", context.Cause(ctx))
		case err := <-d.daemons.died:
			return aoscdb.FinishedAlter{}, err
		case <-ticker.C:
		}
	}
}

func (d *demo) invite() {
	d.say("Left running (--keep); Ctrl-C stops everything. To look around:")
	for _, line := range d.daemons.environment() {
		fmt.Fprintf(d.Out, "    export '%s'\n", line) // quoted: a DSN has parentheses
	}
	fmt.Fprintf(d.Out, "    %s\n    mysql -h 127.0.0.1 -P %d -u root aoscdb\n", filepath.Join(d.Bin, "aosc")+" status", d.fleet.aoscdb.Addr().Port)
}

// stop stops everything that was started, in reverse order. The demo's context may have ended: stopping has its own.
func (d *demo) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var errs []error
	if d.daemons != nil {
		errs = append(errs, d.daemons.stop(ctx))
	}
	if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	if d.pool != nil {
		errs = append(errs, d.pool.Close())
	}
	if d.fleet != nil {
		errs = append(errs, d.fleet.stop(ctx))
	}
	return errors.Join(errs...)
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.Out, "[%5.1fs] %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}
