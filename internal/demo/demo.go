// Package demo is `aosc demo`: everything on one machine, on real MySQL servers. cotton launches the clusters on an embedded
// Mesos; a steady writer works on every database, through what cotton publishes; the five daemons are processes of their
// own. A schema change is committed, one row inserted by SQL, and then everything is read back.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet/cottonapi"
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
	alterLimit = 30 * time.Minute
)

// demo is one run: what it started, to be stopped in reverse order.
type demo struct {
	Options
	began   time.Time
	room    *room
	repo    *repository
	store   *aoscdb.Store
	desk    *operate.Desk
	daemons *daemons
	writers map[string]*writer.Writer // by database
	columns string                    // that every table must have in the end
	struck  *cluster                  // whose primary was killed: there, and there only, writes may have failed
}

// Run runs the demo. Its error says what did not hold; everything it started is stopped before it returns.
func Run(ctx context.Context, o Options) (err error) {
	if o.Rows < 0 {
		return fmt.Errorf("rows: %d is negative", o.Rows)
	}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "aosc-demo-"); err != nil {
			return err
		}
		defer func() {
			// The logs are what explains a failure: they stay.
			if err == nil || errors.Is(err, context.Canceled) {
				err = errors.Join(err, os.RemoveAll(o.Dir))
			}
		}()
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
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
	d.say("cotton launches aoscdb and two clusters of three (lossless semi-sync), on an embedded Mesos with agents in racks a, b and c.")
	if d.room, err = startRoom(ctx, d.Bin, d.Dir); err != nil {
		return err
	}
	if err := d.showClusters(ctx); err != nil {
		return err
	}
	d.say("Seeding six databases, %d rows per table; dbid3 lacks the table, dbid5 already has the new form.", d.Rows)
	if d.writers, err = d.room.seed(ctx, d.Rows); err != nil {
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
	d.daemons, err = startDaemons(d.Bin, d.Dir, d.room, d.repo.dir)
	return err
}

// showClusters says what runs where.
func (d *demo) showClusters(ctx context.Context) error {
	clusters, err := d.room.api.Clusters(ctx)
	if err != nil {
		return err
	}
	for _, c := range clusters {
		var where []string
		for _, i := range c.Instances {
			where = append(where, fmt.Sprintf("%s %s:%d in rack %s", i.Role, i.Host, i.Port, i.Rack))
		}
		d.say("  %-6s %-8s %s", c.Name, c.Policy, strings.Join(where, ", "))
	}
	return nil
}

// writersOf are the writers of a cluster's databases.
func (d *demo) writersOf(c *cluster) []*writer.Writer {
	var mine []*writer.Writer
	for _, p := range d.room.places() {
		if w, written := d.writers[p.name]; written && p.cluster == c {
			mine = append(mine, w)
		}
	}
	return mine
}

// openDesk creates the tables of aoscdb, as `aosc init` and `aosc tier set` do, and opens what watching takes.
func (d *demo) openDesk(ctx context.Context) (err error) {
	ca, err := os.ReadFile(d.room.caPath())
	if err != nil {
		return err
	}
	dsn, err := mysql.VerifyDSN(d.room.dsn(), ca)
	if err != nil {
		return err
	}
	if d.store, err = aoscdb.Open(dsn); err != nil {
		return err
	}
	if _, err := d.store.Init(ctx); err != nil {
		return err
	}
	tier := aoscdb.NewTier(tierName)
	// cotton's replicas are super_read_only: what is known of them is kept in aoscdb.
	tier.StatusStore = aoscdb.StoreCentral
	// Both clusters at once, though all share one host here.
	tier.MaxRunning, tier.MaxRunningPerHost, tier.VerifyIntervalS, tier.VerifyTries = 2, 2, 2, 2
	if err := d.store.PutTier(ctx, tier); err != nil {
		return err
	}
	inventory, err := cottonapi.Open(d.room.inventory())
	if err != nil {
		return err
	}
	d.desk = &operate.Desk{Store: d.store, Inventory: inventory, Pool: d.room.pool, FanOut: 8, Timeout: 5 * time.Second}
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
	if err := d.alter(ctx, "Widen hits, add email to "+table, ddlV2, "a copy: int to bigint rewrites every row"); err != nil {
		return err
	}
	if err := d.alter(ctx, "Add note to "+table, ddlV3, "INSTANT: nothing is rewritten"); err != nil {
		return err
	}
	d.columns = columnsV3
	if failsOver {
		if err := d.failover(ctx); err != nil {
			return err
		}
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
	central, err := d.room.pool.DB(d.room.aoscdb)
	if err != nil {
		return err
	}
	if err := execIn(ctx, central, "aoscdb", insert); err != nil {
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
			if d.onHold(a.CurrentAlter) {
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
	fmt.Fprintf(d.Out, "    export COTTON_API=%s COTTON_WORK_DIR=%s MYSQL_PWD=$(cat %s)\n", d.room.url, d.room.workDir(),
		d.room.passwordPath())
	for _, command := range []string{"aosc status", "cotton list", "cotton show udb-1"} {
		fmt.Fprintf(d.Out, "    %s\n", filepath.Join(d.Bin, command))
	}
	fmt.Fprintf(d.Out, "    mysql -h %s -P %d -u %s aoscdb\n", d.room.aoscdb.Host, d.room.aoscdb.Port, account)
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
	if d.room != nil {
		errs = append(errs, d.room.stop(ctx))
	}
	return errors.Join(errs...)
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.Out, "[%5.1fs] %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}
