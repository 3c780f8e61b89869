// Package brain decides which alters may run, and when one is finished. It admits the permissions in allowed_alters
// into current_alters, holds back what would lose data or cannot work, pins each alter to a committed text, and takes it
// through its checks to finished_alters (docs/architecture.md).
//
// A pass gathers (tables, git, inventory, plans on the servers where they are needed), decides (decide: a pure function
// of the snapshot), and acts: one transaction per alter, which is refused when the lease is lost or the row has changed
// meanwhile.
package brain

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/viper"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/wiring"
)

// Lease is the name of the brain's row in leases.
const Lease = "brain"

var (
	faultChange  = fault.Register("brain.change.before", "a step of an alter is decided, nothing of it is written")
	faultChanged = fault.Register("brain.change.after", "a step of an alter is committed; at its end the view is still there")
	faultPlan    = fault.Register("brain.plan.before", "an alter is about to be planned on the servers")
)

// Config of the brain.
type Config struct {
	Interval       time.Duration // between passes when nothing calls for one
	LeaseTTL       time.Duration
	PlanTimeout    time.Duration // for planning one alter on one cluster
	Recheck        time.Duration // between two looks at what keeps an alter on the brain's HOLD
	ConnectTimeout time.Duration // until an instance counts as unknown
	Fanout         int           // clusters planned at once
}

// Keys are the configuration keys of the brain alone.
func Keys() []daemon.Key {
	return []daemon.Key{
		{Name: "brain.interval", Default: 10 * time.Second, Check: daemon.AtLeast("brain.interval", 100*time.Millisecond),
			Help: "between two passes when nothing calls for one earlier"},
		{Name: "brain.lease-ttl", Default: 15 * time.Second, Check: daemon.AtLeast("brain.lease-ttl", time.Second),
			Help: "how long after the death of the leading brain a standby takes over"},
		{Name: "brain.plan-timeout", Default: time.Minute, Check: daemon.AtLeast("brain.plan-timeout", time.Second),
			Help: "for planning one alter on one cluster, its checks of the data included"},
		{Name: "brain.recheck-interval", Default: 5 * time.Minute, Check: daemon.AtLeast("brain.recheck-interval", time.Second),
			Help: "between two looks at what keeps an alter on the brain's HOLD"},
	}
}

// Check relates the brain's keys to each other.
func Check(v *viper.Viper) error {
	if v.GetDuration("brain.plan-timeout") < v.GetDuration("connect-timeout") {
		return errors.New("brain.plan-timeout must not be shorter than connect-timeout: no plan could ever be made")
	}
	return nil
}

// ConfigOf reads the configuration.
func ConfigOf(v *viper.Viper) Config {
	return Config{
		Interval:       v.GetDuration("brain.interval"),
		LeaseTTL:       v.GetDuration("brain.lease-ttl"),
		PlanTimeout:    v.GetDuration("brain.plan-timeout"),
		Recheck:        v.GetDuration("brain.recheck-interval"),
		ConnectTimeout: v.GetDuration("connect-timeout"),
		Fanout:         v.GetInt("fanout"),
	}
}

// Deps are what the brain works with.
type Deps struct {
	Store     *aoscdb.Store
	Repo      *schema.Repo
	Inventory fleet.Inventory
	Pool      *mysql.Pool
	Planner   *osc.Planner
	Log       *slog.Logger
}

// Daemon is the brain. It is not safe for concurrent use: one goroutine runs its passes.
type Daemon struct {
	Deps
	cfg    Config
	alters *prometheus.GaugeVec

	lease  aoscdb.Lease
	known  map[key]judgement // verdicts of this leadership
	signal string            // aoscdb.BrainSignal as of the begin of the last pass
	commit string            // head as of the begin of the last pass
	woken  func(context.Context) (bool, error)
}

// New makes a brain that leads nothing yet. Its metrics go to r.
func New(deps Deps, cfg Config, r prometheus.Registerer) *Daemon {
	d := &Daemon{Deps: deps, cfg: cfg, alters: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "aosc_alters", Help: "Alters under way, by tier, status and whose HOLD it is."}, []string{"tier", "status", "hold_by"})}
	r.MustRegister(d.alters)
	d.Lead(aoscdb.Lease{})
	return d
}

// Lead makes the passes that follow act under this lease, with nothing remembered of an earlier one.
func (d *Daemon) Lead(l aoscdb.Lease) {
	d.lease = l
	d.known = map[key]judgement{}
	d.signal, d.commit = "", ""
	d.woken = wiring.Waker(d.Store, aoscdb.DaemonBrain)
}

// Run leads, or stands by, until ctx ends.
func (d *Daemon) Run(ctx context.Context, env *daemon.Env) error {
	return daemon.Lead(ctx, env, d.Store, Lease, d.cfg.LeaseTTL, func(ctx context.Context, l daemon.Lease) error {
		d.Lead(aoscdb.Lease(l))
		return daemon.Loop(ctx, env, daemon.LoopOptions{Interval: d.cfg.Interval, Wake: d.Wake, Health: d.health}, d.Pass)
	})
}

// health is for /readyz: a brain that can judge no alter, because no cluster answers, does not do its work.
func (d *Daemon) health() daemon.Health {
	var t daemon.Tally
	for k, j := range d.known {
		if j.Verdict.Kind == waiting {
			t.Add(k.String(), errors.New(j.Verdict.Reason))
		} else {
			t.Add(k.String(), nil)
		}
	}
	return t.Health("alters cannot be judged")
}

// Wake says whether something calls for a pass: a changed row, a due check, a request in wakeups, or a new head.
func (d *Daemon) Wake(ctx context.Context) (bool, error) {
	if woken, err := d.woken(ctx); err != nil || woken {
		return woken, err
	}
	if signal, err := d.Store.BrainSignal(ctx); err != nil || signal != d.signal {
		return err == nil, err
	}
	commit, err := d.Repo.Head(ctx)
	return err == nil && commit != d.commit, err
}

// Pass takes every alter one step along. It must follow Lead.
func (d *Daemon) Pass(ctx context.Context) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	s, err := d.gather(ctx)
	if err != nil {
		return err
	}
	if err := d.act(ctx, s, decide(s)); err != nil {
		return err
	}
	if asked := questions(s, d.cfg.Recheck); len(asked) > 0 {
		// What needs no plan was done first: planning may take a minute.
		fault.Point(faultPlan)
		d.ask(ctx, s, asked)
		if s, err = d.gather(ctx); err != nil {
			return err
		}
		s.Asked = map[key]bool{}
		for _, k := range asked {
			s.Asked[k] = true
		}
		if err := d.act(ctx, s, decide(s)); err != nil {
			return err
		}
	}
	d.count(s)
	return errors.Join(s.InventoryErr, s.HeadErr)
}

// begin remembers what there was before anything is read, so that Wake sees whatever changes from here on.
func (d *Daemon) begin(ctx context.Context) (err error) {
	if d.signal, err = d.Store.BrainSignal(ctx); err != nil {
		return err
	}
	// An error will come again, and be reported, when the head is read.
	d.commit, _ = d.Repo.Head(ctx)
	return nil
}

// act writes what was decided. An alter that cannot be written does not keep the others; a lost lease does.
func (d *Daemon) act(ctx context.Context, s *snapshot, changes []aoscdb.AlterChange) error {
	if err := d.stamp(ctx, s); err != nil {
		return err
	}
	var failed []error
	for _, c := range changes {
		fault.Point(faultChange)
		changed, err := d.Store.ChangeAlter(ctx, d.lease, c)
		switch {
		case errors.Is(err, aoscdb.ErrLeaseLost), err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			failed = append(failed, err)
			continue
		case !changed:
			d.Log.Debug("alter changed meanwhile, deciding again", "tier", c.Group, "table", c.Table, "wanted", c.What)
			continue
		}
		if c.What != "" {
			d.Log.Info("alter: "+c.What, "tier", c.Group, "table", c.Table, "detail", c.Detail)
		}
		fault.Point(faultChanged)
		if c.After == nil { // killed before this, the collector removes it
			failed = append(failed, d.Store.DropView(ctx, c.Group, c.Table))
		}
	}
	return errors.Join(failed...)
}

// stamp fills allowed_at of rows inserted with NULL, as the original's INSERT does.
func (d *Daemon) stamp(ctx context.Context, s *snapshot) error {
	for _, a := range s.Allowed {
		if a.AllowedAt == nil {
			return d.Store.AsLeader(ctx, d.lease, d.Store.StampAllowedAt)
		}
	}
	return nil
}

// count sets the metrics.
func (d *Daemon) count(s *snapshot) {
	d.alters.Reset()
	for _, c := range s.Current {
		d.alters.WithLabelValues(c.Group, c.Status, c.HoldBy).Inc()
	}
}
