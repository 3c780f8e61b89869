package oscworker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/status"
)

// Parts are what the worker works with.
type Parts struct {
	Store     *aoscdb.Store
	Repo      *schema.Repo
	Inventory fleet.Inventory
	Pool      *mysql.Pool
	// Writer is for what is replicated, of an account that read_only stops; nil = Pool.
	Writer *mysql.Pool
	// Materialiser runs committed texts; nil = one by Pool's account.
	Materialiser *schema.Materialiser
	// Served are the instances this worker is for, as they are now.
	Served func(context.Context) ([]fleet.Instance, error)
	// Owner names this process among all workers.
	Owner   string
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Daemon alters the tables of the instances it serves, one alter per instance at a time.
type Daemon struct {
	Parts
	cfg       Config
	planner   *osc.Planner
	runner    *osc.Runner
	refresher *status.Refresher
	metrics   *metrics

	mu      sync.Mutex
	jobs    map[mysql.Addr]*job      // under way
	rest    map[mysql.Addr]time.Time // not to be looked at before: it was not its time, or did not answer
	work    sync.WaitGroup           // the jobs
	stopped map[string]bool          // rows that nobody works on and that say STOP
	ends    map[mysql.Addr]error     // how the last attempt at what is queued ended, nil = not by a failure

	found chan struct{} // a dead worker was found
}

// New prepares a worker; it fails only when it cannot find its own binary, which it runs for every copy.
func New(p Parts, cfg Config) (*Daemon, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the own binary, which runs each copy as a child: %w", err)
	}
	materialiser := p.Materialiser
	if materialiser == nil {
		materialiser = &schema.Materialiser{Cache: p.Store.FormCache()}
	}
	d := &Daemon{
		Parts:     p,
		cfg:       cfg,
		planner:   osc.NewPlanner(p.Pool, materialiser),
		refresher: &status.Refresher{Pool: p.Pool, Store: p.Store, Materialiser: materialiser, Log: p.Log},
		metrics:   newMetrics(p.Metrics),
		jobs:      map[mysql.Addr]*job{},
		rest:      map[mysql.Addr]time.Time{},
		ends:      map[mysql.Addr]error{},
		stopped:   map[string]bool{},
		found:     make(chan struct{}, 1),
	}
	d.runner = &osc.Runner{
		LockName:  d.Store.LockName,
		Pool:      p.Pool,
		Writer:    p.Writer,
		Leftovers: leftovers{rows: p.Store.Leftovers(), retry: time.Second},
		Log:       p.Log,
		Child:     []string{self, osc.ChildCommand},
		Token:     tail(p.Owner, 64),
		Replicas:  d.replicasOf,
		Wanted:    d.wanted,
	}
	return d, nil
}

// tail is the end of a text: of a process's name the part that differs.
func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// Run works until ctx ends, then stops what is under way and waits for it; with env.Once it does what is queued now.
func (d *Daemon) Run(ctx context.Context, env *daemon.Env) error {
	if env.Once {
		return errors.Join(d.clean(ctx), d.once(ctx))
	}
	var cleaner sync.WaitGroup
	cleaner.Go(func() { d.cleanNowAndThen(ctx) })
	err := daemon.Loop(ctx, env, daemon.LoopOptions{Interval: d.cfg.Poll, Health: d.health}, d.Pass)
	d.work.Wait()
	cleaner.Wait()
	return err
}

// health is for /readyz: a worker whose every attempt fails does not do its work, however well its passes go.
func (d *Daemon) health() daemon.Health {
	d.mu.Lock()
	defer d.mu.Unlock()
	var t daemon.Tally
	for addr, err := range d.ends {
		t.Add(addr.String(), err)
	}
	return t.Health("alters fail")
}

// noteEnd remembers how an attempt ended, until the instance has nothing queued any more.
func (d *Daemon) noteEnd(a mysql.Addr, v verdict, err error) {
	switch {
	case v.End == endFailed:
		d.ends[a] = errors.New(v.Reason)
	case err != nil:
		d.ends[a] = err
	case v.End != "": // nothing was begun otherwise: that is no news
		d.ends[a] = nil
	}
}

// forgetEnds drops what was remembered of instances that have nothing queued and nothing that failed and is to be tried again.
func (d *Daemon) forgetEnds(ctx context.Context, queued []aoscdb.RunningAlter) error {
	still := map[mysql.Addr]bool{}
	for _, r := range queued {
		still[mysql.Addr{Host: r.Host, Port: r.Port}] = true
	}
	if d.failedElsewhere(still) {
		retries, err := d.Store.Retries(ctx)
		if err != nil {
			return err
		}
		for _, r := range retries {
			still[mysql.Addr{Host: r.Host, Port: r.Port}] = true
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.ends, func(a mysql.Addr, _ error) bool { return !still[a] })
	return nil
}

// failedElsewhere tells whether a failure is remembered of another instance than these.
func (d *Daemon) failedElsewhere(but map[mysql.Addr]bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for a, err := range d.ends {
		if err != nil && !but[a] {
			return true
		}
	}
	return false
}

// once begins what is queued and waits for its end.
func (d *Daemon) once(ctx context.Context) error {
	var mu sync.Mutex
	var errs []error
	err := d.pass(ctx, func(v verdict, inst fleet.Instance) {
		if v.End == endFailed {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, fmt.Errorf("%s: %s", inst, v.Reason))
		}
	})
	d.work.Wait()
	return errors.Join(append(errs, err)...)
}

// Pass looks at what is queued for the instances served and begins what may begin; it does not wait for the end. Its
// error is one of aoscdb or the inventory; what is under way goes on.
//
// One query to aoscdb tells for all instances whether there is anything to do: nothing may be begun that running_alters
// does not have. So thousands of idle instances cost nothing.
func (d *Daemon) Pass(ctx context.Context) error { return d.pass(ctx, nil) }

func (d *Daemon) pass(ctx context.Context, ended func(verdict, fleet.Instance)) error {
	served, err := d.Served(ctx)
	if err != nil {
		return err
	}
	byAddr := make(map[mysql.Addr]fleet.Instance, len(served))
	for _, i := range served {
		byAddr[i.Addr()] = i
	}
	d.breakOffLeft(byAddr)
	queued, err := d.Store.ServedAlters(ctx)
	if err != nil {
		return err
	}
	if err := d.forgetEnds(ctx, queued); err != nil {
		return err
	}
	var tiers map[string]aoscdb.Tier
	for _, r := range queued {
		inst, ours := byAddr[mysql.Addr{Host: r.Host, Port: r.Port}]
		if !ours || inst.Tier != r.Group || !d.free(inst.Addr()) {
			continue
		}
		if tiers == nil {
			if tiers, err = d.tiers(ctx); err != nil {
				return err
			}
		}
		if tier, known := tiers[r.Group]; known {
			d.start(ctx, inst, tier, r.Table, ended)
		}
	}
	return nil
}

func (d *Daemon) tiers(ctx context.Context) (map[string]aoscdb.Tier, error) {
	rows, err := d.Store.Tiers(ctx)
	if err != nil {
		return nil, err
	}
	tiers := make(map[string]aoscdb.Tier, len(rows))
	for _, t := range rows {
		tiers[t.Group] = t
	}
	return tiers, nil
}

// free tells whether nothing is under way on an instance and its rest is over.
func (d *Daemon) free(a mysql.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if until, resting := d.rest[a]; resting && time.Now().Before(until) {
		return false
	}
	delete(d.rest, a)
	return d.jobs[a] == nil
}

// start runs one job in a goroutine that Run waits for.
func (d *Daemon) start(ctx context.Context, inst fleet.Instance, tier aoscdb.Tier, table string, ended func(verdict, fleet.Instance)) {
	j := newJob(d, inst, tier, table)
	d.mu.Lock()
	d.jobs[inst.Addr()] = j
	d.mu.Unlock()
	d.work.Go(func() {
		v, err := j.run(ctx)
		d.mu.Lock()
		delete(d.jobs, inst.Addr())
		if v.Rest || err != nil {
			d.rest[inst.Addr()] = time.Now().Add(d.cfg.Rest)
		}
		d.noteEnd(inst.Addr(), v, err)
		d.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			j.log.Warn("not begun, will be tried again", "error", err)
		}
		if ended != nil {
			ended(v, inst)
		}
	})
}

// breakOffLeft ends the jobs of instances that are no longer served.
func (d *Daemon) breakOffLeft(served map[mysql.Addr]fleet.Instance) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for a, j := range d.jobs {
		if _, still := served[a]; !still {
			j.breakOff(errLeft)
		}
	}
}

// altering tells whether a job of this process, other than one, is altering a table on a cluster.
func (d *Daemon) altering(cluster, table string, other *job) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range d.jobs {
		if j != other && j.inst.Cluster == cluster && j.table == table {
			return true
		}
	}
	return false
}

// statusOf gives access to the status tables of an instance, where its tier keeps them.
func (d *Daemon) statusOf(tier aoscdb.Tier, a mysql.Addr) (*aoscdb.StatusStore, error) {
	if tier.StatusStore == aoscdb.StoreCentral {
		return d.Store.CentralStatus(), nil
	}
	db, err := d.Pool.DB(a)
	if err != nil {
		return nil, err
	}
	return aoscdb.InstanceStatus(db), nil
}

// cluster finds the tier and cluster of an instance in the inventory.
func (d *Daemon) cluster(ctx context.Context, inst fleet.Instance) (fleet.Tier, fleet.Cluster, error) {
	tier, err := fleet.FindTier(ctx, d.Inventory, inst.Tier)
	if err != nil {
		return fleet.Tier{}, fleet.Cluster{}, err
	}
	c, ok := tier.Cluster(inst.Cluster)
	if !ok {
		return tier, c, fmt.Errorf("cluster %s of %s is no longer in the inventory", inst.Cluster, inst)
	}
	return tier, c, nil
}
