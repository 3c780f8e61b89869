package scheduler

import (
	"context"
	"log/slog"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/wiring"
)

// Parts are what the scheduler works with.
type Parts struct {
	Store     *aoscdb.Store
	Inventory fleet.Inventory
	Pool      *mysql.Pool
	Log       *slog.Logger
	Metrics   prometheus.Registerer
}

// Daemon is one term of office: it acts under one lease. It is not safe for concurrent use.
type Daemon struct {
	central   Central
	servers   Servers
	inventory fleet.Inventory
	lease     aoscdb.Lease
	cfg       Config
	log       *slog.Logger
	metrics   *metrics

	// What follows is memory of this term. Losing it costs a little time, never a rule.
	settling map[SettleKey]Settle
	asked    map[ClusterKey]time.Time
	avoid    map[mysql.Addr]time.Time
	warned   map[warning]bool

	running bool // something was under way at the last pass
	again   bool // the last pass made room for more
	last    time.Time
}

type warning struct {
	alter AlterKey
	addr  mysql.Addr
}

func newDaemon(central Central, servers Servers, inv fleet.Inventory, lease aoscdb.Lease, cfg Config, log *slog.Logger, m *metrics) *Daemon {
	return &Daemon{
		central: central, servers: servers, inventory: inv, lease: lease, cfg: cfg, log: log, metrics: m,
		settling: map[SettleKey]Settle{}, asked: map[ClusterKey]time.Time{}, avoid: map[mysql.Addr]time.Time{},
		warned: map[warning]bool{},
	}
}

// Run leads as "scheduler" whenever it can, until ctx ends; with env.Once for one pass.
func Run(ctx context.Context, env *daemon.Env, p Parts, cfg Config) error {
	m := newMetrics(p.Metrics)
	servers := mysqlServers{p.Store, p.Pool, cfg.Timeout}
	return daemon.Lead(ctx, env, p.Store, aoscdb.DaemonScheduler, cfg.LeaseTTL, func(ctx context.Context, l daemon.Lease) error {
		d := newDaemon(p.Store, servers, p.Inventory, aoscdb.Lease(l), cfg, p.Log, m)
		asked := wiring.Waker(p.Store, aoscdb.DaemonScheduler)
		return daemon.Loop(ctx, env, daemon.LoopOptions{
			Interval: cfg.Interval,
			Poll:     min(500*time.Millisecond, cfg.Follow),
			Wake: func(ctx context.Context) (bool, error) {
				wanted, err := asked(ctx)
				return wanted || d.due(time.Now()), err
			},
		}, d.Pass)
	})
}

// due tells whether a pass is wanted without anybody asking.
func (d *Daemon) due(now time.Time) bool {
	return d.again || d.running && now.Sub(d.last) >= d.cfg.Follow
}

// Pass looks once and does what is to be done. An error is one of the central tables or the inventory.
func (d *Daemon) Pass(ctx context.Context) error {
	d.last = time.Now()
	snap, err := gather(ctx, d.central, d.servers, d.inventory, d.asked, d.cfg.FanOut, d.cfg.Timeout)
	if err != nil {
		return err
	}
	maps.DeleteFunc(d.avoid, func(_ mysql.Addr, until time.Time) bool { return !snap.Now.Before(until) })
	maps.DeleteFunc(d.asked, func(_ ClusterKey, at time.Time) bool { return snap.Now.Sub(at) >= askAgainAfter })
	snap.Avoid, snap.Settling = d.avoid, d.settling
	decision := Decide(snap, d.cfg.Rules)
	d.settling = decision.Settling
	d.running = len(snap.Running) > 0
	d.metrics.observe(snap, decision)
	d.logBlocked(decision)
	return d.act(ctx, snap, decision)
}

func (d *Daemon) act(ctx context.Context, snap Snapshot, decision Decision) error {
	warned := map[warning]bool{}
	a := &actor{
		central: d.central, servers: d.servers, lease: d.lease, snap: snap, timeout: d.cfg.Timeout, fanout: d.cfg.FanOut, log: d.log,
	}
	for _, act := range decision.Actions {
		if act.Kind == Warn {
			warned[warning{act.Alter, act.Addr}] = true
		}
	}
	known := d.warned
	a.warn = func(ctx context.Context, act Action) error {
		if known[warning{act.Alter, act.Addr}] {
			return nil
		}
		return d.report(ctx, act)
	}
	outcomes, err := a.carryOut(ctx, decision.Actions)
	d.again = false
	for addr, o := range outcomes {
		d.again = d.again || o.again
		if o.rest {
			d.avoid[addr] = snap.Now.Add(d.cfg.Rest)
		}
	}
	for _, act := range decision.Actions {
		d.running = d.running || act.Kind == Start
	}
	if err == nil {
		d.warned = warned
	}
	return err
}

// report tells people, once, of what only they can mend.
func (d *Daemon) report(ctx context.Context, act Action) error {
	d.log.Warn("needs a person", "tier", act.Alter.Group, "table", act.Alter.Table, "instance", act.Addr.String(), "reason", act.Reason)
	return d.central.Event(ctx, aoscdb.Event{
		Actor: d.lease.Name + " " + d.lease.Holder, Group: act.Alter.Group, Table: act.Alter.Table,
		Host: act.Addr.Host, Port: act.Addr.Port, What: "warning", Detail: act.Reason,
	})
}

func (d *Daemon) logBlocked(decision Decision) {
	if !d.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	for _, b := range decision.Blocked {
		d.log.Debug("not started", "tier", b.Alter.Group, "table", b.Alter.Table, "instance", b.Addr.String(), "reason", b.Reason)
	}
}
