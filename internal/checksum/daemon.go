package checksum

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/status"
)

const (
	// tick is how often the daemon looks for instances that are due: a request is taken up within it.
	tick = 500 * time.Millisecond
	// headEvery is how often the repository is asked for its head.
	headEvery = time.Second
	// headTimeout bounds one such question; a remote may have to be fetched.
	headTimeout = 5 * time.Minute
	// lastWords bounds what is written after a pass was cut short.
	lastWords = 10 * time.Second
)

// Served is an instance and its tier.
type Served struct {
	fleet.Instance
	Tier fleet.Tier
}

// Parts are what a Daemon is made of.
type Parts struct {
	Store     *aoscdb.Store
	Repo      *schema.Repo
	Inventory fleet.Inventory
	// Served selects the instances this process serves.
	Served func(context.Context) ([]fleet.Instance, error)
	// All says that those are all of the inventory: then what is known of others is forgotten.
	All       bool
	Refresher *status.Refresher
	Log       *slog.Logger          // nil = slog.Default()
	Metrics   prometheus.Registerer // nil = none
}

// Daemon is the checksum daemon.
type Daemon struct {
	Parts
	cfg     Config
	metrics *metrics
	running sync.WaitGroup

	mu      sync.Mutex
	states  map[mysql.Addr]*state // nil until what was recorded before was read
	snap    *schema.Snapshot      // newest one known
	headErr error
}

// New makes a daemon.
func New(p Parts, cfg Config) *Daemon {
	if p.Log == nil {
		p.Log = slog.Default()
	}
	return &Daemon{Parts: p, cfg: cfg, metrics: newMetrics(p.Metrics)}
}

// Run checksums the instances as they come due until ctx ends; with env.Once all of them once.
func (d *Daemon) Run(ctx context.Context, env *daemon.Env) error {
	if env.Once {
		return d.Pass(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer d.running.Wait()
	defer cancel()
	d.running.Go(func() { d.watchHead(ctx) })
	return daemon.Loop(ctx, env, daemon.LoopOptions{Interval: tick, Health: d.health}, d.tick)
}

// health is for /readyz: a daemon whose every checksum fails does not do its work, however well its passes go.
func (d *Daemon) health() daemon.Health {
	d.mu.Lock()
	defer d.mu.Unlock()
	var t daemon.Tally
	for addr, s := range d.states {
		switch {
		case s.failed:
			t.Add(addr.String(), errors.New(s.said))
		case !s.ended.IsZero():
			t.Add(addr.String(), nil)
		}
	}
	return t.Health("checksums fail")
}

// Pass checksums every served instance once and returns what failed; the others are done all the same.
func (d *Daemon) Pass(ctx context.Context) error {
	if err := d.readHead(ctx); err != nil {
		return err
	}
	due, err := d.gather(ctx, true)
	if err != nil {
		return err
	}
	results := mysql.FanOut(ctx, due, d.cfg.Parallel, 0, func(ctx context.Context, c candidate) (struct{}, error) {
		return struct{}{}, d.one(ctx, c)
	})
	var failed []error
	for _, r := range results {
		if r.Err != nil {
			failed = append(failed, r.Err)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d instances could not be checksummed: %w", len(failed), len(due), errors.Join(failed...))
	}
	return nil
}

// tick starts the passes that are due and returns without waiting for them.
func (d *Daemon) tick(ctx context.Context) error {
	due, err := d.gather(ctx, false)
	if err != nil {
		return err
	}
	for _, c := range d.pick(due) {
		d.running.Go(func() { _ = d.one(ctx, c) }) // it has recorded its error
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.headErr
}

// pick chooses among the instances that are due and marks them as running.
func (d *Daemon) pick(due []candidate) []candidate {
	d.mu.Lock()
	defer d.mu.Unlock()
	running, failing := 0, 0
	for _, s := range d.states {
		if s.running {
			running++
			if s.failed {
				failing++
			}
		}
	}
	picked := d.cfg.pick(due, running, failing)
	for _, c := range picked {
		s := d.states[c.served.Addr()]
		s.running, s.began = true, c.at
	}
	return picked
}

// gather finds the instances that are due, or all of them.
func (d *Daemon) gather(ctx context.Context, all bool) ([]candidate, error) {
	// The clock before the requests: what is asked for after it is not taken for answered.
	now, err := d.Store.Now(ctx)
	if err != nil {
		return nil, err
	}
	requests, err := d.Store.Wakeups(ctx, aoscdb.DaemonChecksum)
	if err != nil {
		return nil, err
	}
	served, err := d.served(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.remember(ctx, served); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.snap == nil {
		return nil, d.headErr // nil: the repository has not answered yet
	}
	var due []candidate
	for _, s := range served {
		st := *d.states[s.Addr()]
		if o := d.cfg.due(st, askedOf(requests, s.Instance), d.snap.Commit, now); o.due || all {
			due = append(due, candidate{served: s, state: st, order: o, at: now})
		}
	}
	return due, nil
}

// served lists the instances of this process with their tiers.
func (d *Daemon) served(ctx context.Context) ([]Served, error) {
	tiers, err := d.Inventory.Tiers(ctx)
	if err != nil {
		return nil, err
	}
	byName := map[string]fleet.Tier{}
	for _, t := range tiers {
		byName[t.Name] = t
	}
	instances, err := d.Served(ctx)
	if err != nil {
		return nil, err
	}
	var out []Served
	for _, i := range instances {
		// The inventory may have changed between the two questions: the next tick sees one answer.
		if t, ok := byName[i.Tier]; ok {
			out = append(out, Served{Instance: i, Tier: t})
		}
	}
	return out, nil
}
