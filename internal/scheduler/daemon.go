package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
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
	rests    map[mysql.Addr]rest
	warned   map[warning]bool
	troubles map[Blocked]time.Time // when each was last logged

	health  daemon.Health // of the last pass
	running bool          // something was under way at the last pass
	again   bool          // the last pass made room for more
	last    time.Time
	next    time.Time // when the next try of what failed is due, zero = none waits
}

// rest is how long an instance is left alone on which an alter could not be started.
type rest struct {
	until time.Time
	last  time.Duration // doubled with each further failure
}

type warning struct {
	alter AlterKey
	addr  mysql.Addr
}

func newDaemon(central Central, servers Servers, inv fleet.Inventory, lease aoscdb.Lease, cfg Config, log *slog.Logger, m *metrics) *Daemon {
	return &Daemon{
		central: central, servers: servers, inventory: inv, lease: lease, cfg: cfg, log: log, metrics: m,
		settling: map[SettleKey]Settle{}, asked: map[ClusterKey]time.Time{}, rests: map[mysql.Addr]rest{},
		warned: map[warning]bool{}, troubles: map[Blocked]time.Time{},
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
			Health:   func() daemon.Health { return d.health },
			Wake: func(ctx context.Context) (bool, error) {
				wanted, err := asked(ctx)
				return wanted || d.due(time.Now()), err
			},
		}, d.Pass)
	})
}

// due tells whether a pass is wanted without anybody asking.
func (d *Daemon) due(now time.Time) bool {
	return d.again || d.running && now.Sub(d.last) >= d.cfg.Follow || !d.next.IsZero() && !now.Before(d.next)
}

// nextDue is when the first of the alters that wait between two tries is due, by this machine's clock; zero = none waits.
func nextDue(s Snapshot) time.Time {
	var first time.Time
	for _, r := range s.Retries {
		if r.NextAt.After(s.Now) && (first.IsZero() || r.NextAt.Before(first)) {
			first = r.NextAt
		}
	}
	if first.IsZero() {
		return first
	}
	return time.Now().Add(first.Sub(s.Now))
}

// Pass looks once and does what is to be done. An error is one of the central tables or the inventory.
func (d *Daemon) Pass(ctx context.Context) error {
	d.last = time.Now()
	snap, err := gather(ctx, d.central, d.servers, d.inventory, d.asked, d.cfg.FanOut, d.cfg.Timeout)
	if err != nil {
		return err
	}
	snap.Avoid = d.resting(snap.Now)
	maps.DeleteFunc(d.asked, func(_ ClusterKey, at time.Time) bool { return snap.Now.Sub(at) >= askAgainAfter })
	snap.Settling = d.settling
	decision := Decide(snap, d.cfg.Rules)
	d.settling = decision.Settling
	d.running = len(snap.Running) > 0
	d.next = nextDue(snap)
	d.metrics.observe(snap, decision)
	d.logBlocked(decision)
	d.health = healthOf(snap, decision)
	if err := d.act(ctx, snap, decision); err != nil {
		return err
	}
	return d.central.RecordObstacles(ctx, d.lease, aoscdb.DaemonScheduler, obstacles(snap, decision))
}

// healthOf is for /readyz: a scheduler of whose instances with something to do none can be asked does not do its work.
func healthOf(snap Snapshot, decision Decision) daemon.Health {
	var t daemon.Tally
	for _, b := range decision.Blocked {
		if b.Trouble {
			t.Add(b.Addr.String(), errors.New(b.Reason))
		} else {
			t.Add(b.Addr.String(), nil)
		}
	}
	for _, r := range snap.Running {
		t.Add(addrOf(r).String(), snap.Silent[addrOf(r)])
	}
	return t.Health("instances with something to do cannot be asked")
}

// obstacles is what keeps targets waiting, for whoever asks why.
func obstacles(snap Snapshot, decision Decision) []aoscdb.Obstacle {
	type place struct {
		alter AlterKey
		addr  mysql.Addr
	}
	handedOut := map[place]bool{}
	for _, r := range snap.Running {
		handedOut[place{alterOf(r), addrOf(r)}] = true
	}
	// Of an instance that has the alter already, that it gets no second one is no news.
	blocked := slices.DeleteFunc(slices.Clone(decision.Blocked), func(b Blocked) bool { return handedOut[place{b.Alter, b.Addr}] })
	var out []aoscdb.Obstacle
	for _, b := range slices.Concat(blocked, decision.Standing) {
		out = append(out, aoscdb.Obstacle{Group: b.Alter.Group, Table: b.Alter.Table, Host: b.Addr.Host, Port: b.Addr.Port,
			Code: string(b.Code), Reason: b.Reason})
	}
	return out
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
			d.letRest(addr, snap.Now)
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

// letRest leaves an instance alone, longer each time: what keeps an alter from starting there (no worker, a server that
// takes no writes) is seldom mended within seconds, and each attempt takes a place in the limits from another.
func (d *Daemon) letRest(a mysql.Addr, now time.Time) {
	r := d.rests[a]
	r.last = min(max(2*r.last, d.cfg.Rest), max(d.cfg.RetryBackoffMax, d.cfg.Rest))
	r.until = now.Add(r.last)
	d.rests[a] = r
}

// resting is who is left alone now. An instance that was let be for twice its last rest begins anew.
func (d *Daemon) resting(now time.Time) map[mysql.Addr]time.Time {
	maps.DeleteFunc(d.rests, func(_ mysql.Addr, r rest) bool { return now.Sub(r.until) > 2*r.last })
	avoid := map[mysql.Addr]time.Time{}
	for a, r := range d.rests {
		if now.Before(r.until) {
			avoid[a] = r.until
		}
	}
	return avoid
}

// troubleEvery is how often the same trouble is logged again.
const troubleEvery = 10 * time.Minute

// logBlocked says what keeps targets waiting: trouble aloud, but not every second, the rest only to who wants to know.
func (d *Daemon) logBlocked(decision Decision) {
	now := time.Now()
	maps.DeleteFunc(d.troubles, func(_ Blocked, at time.Time) bool { return now.Sub(at) >= troubleEvery })
	for _, b := range decision.Blocked {
		level := slog.LevelDebug
		if _, said := d.troubles[b]; b.Trouble && !said {
			d.troubles[b] = now
			level = slog.LevelWarn
		}
		d.log.Log(context.Background(), level, "not started", "tier", b.Alter.Group, "table", b.Alter.Table,
			"instance", b.Addr.String(), "reason", b.Reason)
	}
}
