package collector

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

var (
	faultGathered = fault.Register("collector.gathered", "the instances have answered, nothing of it is recorded")
	faultRecorded = fault.Register("collector.recorded", "a look is recorded, the views are not yet as they should be")
)

// Parts are what a Daemon is made of.
type Parts struct {
	Store     *aoscdb.Store
	Inventory fleet.Inventory
	Pool      *mysql.Pool
	// Wake says whether somebody asked for a look, see daemon.LoopOptions. nil = only the interval counts.
	Wake    func(context.Context) (bool, error)
	Log     *slog.Logger          // nil = slog.Default()
	Metrics prometheus.Registerer // nil = none
}

// Daemon is the collector daemon.
type Daemon struct {
	Parts
	cfg     Config
	metrics *metrics
	said    map[alterKey]string // what was last logged of the unknowns of an alter
	health  daemon.Health       // of the last look
}

// healthOf tells for /readyz how many instances could be judged: none of them is no success.
func healthOf(s snapshot) daemon.Health {
	var h daemon.Tally
	for _, instances := range s.Instances {
		for _, e := range instances {
			h.Add(e.Instance.String(), e.Err)
		}
	}
	return h.Health("instances could not be asked")
}

// New makes a daemon.
func New(p Parts, cfg Config) *Daemon {
	if p.Log == nil {
		p.Log = slog.Default()
	}
	return &Daemon{Parts: p, cfg: cfg, metrics: newMetrics(p.Metrics), said: map[alterKey]string{}}
}

// Run looks at the instances again and again while this process holds the lease, until ctx ends; with env.Once it looks
// once.
func (d *Daemon) Run(ctx context.Context, env *daemon.Env) error {
	return daemon.Lead(ctx, env, d.Store, LeaseName, d.cfg.LeaseTTL, func(ctx context.Context, lease daemon.Lease) error {
		o := daemon.LoopOptions{Interval: d.cfg.Interval, Wake: d.Wake, Health: func() daemon.Health { return d.health }}
		return daemon.Loop(ctx, env, o, func(ctx context.Context) error {
			return d.Pass(ctx, aoscdb.Lease(lease))
		})
	})
}

// Pass looks once, under a lease. An instance that cannot be asked is no error: the alters record it as unknown.
func (d *Daemon) Pass(ctx context.Context, lease aoscdb.Lease) error {
	s, err := d.gather(ctx)
	if err != nil {
		return err
	}
	findings, orphans := decide(s)
	fault.Point(faultGathered)
	if err := d.record(ctx, lease, s, findings, orphans); err != nil {
		return err
	}
	fault.Point(faultRecorded)
	if err := d.Store.RecordObstacles(ctx, lease, aoscdb.DaemonCollector, obstacles(findings)); err != nil {
		return err
	}
	d.tell(findings)
	d.health = healthOf(s)
	return d.views(ctx, s.Alters)
}

// record writes the findings, and wakes those who wait for them with the same commit.
func (d *Daemon) record(ctx context.Context, lease aoscdb.Lease, s snapshot, findings []finding, orphans []aoscdb.Target) error {
	if len(findings)+len(orphans) == 0 {
		return nil
	}
	looks := make([]aoscdb.Look, len(findings))
	var wake []string
	for i, f := range findings {
		looks[i] = aoscdb.Look{Alter: f.Alter, At: s.At, Targets: f.Targets, Unknowns: len(f.Unknowns),
			Insert: f.Insert, Update: f.Update, Delete: f.Delete}
		if f.news(s.At) {
			wake = []string{aoscdb.DaemonBrain, aoscdb.DaemonScheduler}
		}
	}
	return d.Store.RecordLooks(ctx, lease, looks, orphans, wake...)
}

// views keeps one view per alter. It comes after the rows, so that a view that can be read is right.
func (d *Daemon) views(ctx context.Context, alters []aoscdb.CurrentAlter) error {
	for _, a := range alters {
		if err := d.Store.RefreshView(ctx, a.Group, a.Table); err != nil {
			return err
		}
	}
	dropped, err := d.Store.DropOldViews(ctx)
	for _, name := range dropped {
		d.Log.Info("dropped the view of an alter that is gone", "view", name)
	}
	return err
}

// tell logs what changed and sets the metrics.
func (d *Daemon) tell(findings []finding) {
	current := map[alterKey]bool{}
	for _, f := range findings {
		k := alterKey{f.Alter.Group, f.Alter.Table}
		current[k] = true
		d.metrics.set(k, f)
		log := d.Log.With("tier", k.Group, "table", k.Table)
		if f.Targets != f.Alter.Targets || len(f.Insert)+len(f.Delete) > 0 {
			log.Info("targets", "targets", f.Targets, "new", len(f.Insert), "gone", len(f.Delete), "unknowns", len(f.Unknowns))
		}
		text := reasons(f.Unknowns)
		if text != d.said[k] && text != "" {
			log.Info("instances that cannot be judged", "unknowns", len(f.Unknowns), "reasons", text)
		}
		d.said[k] = text
	}
	for k := range d.said {
		if !current[k] {
			delete(d.said, k)
			d.metrics.gone(k)
		}
	}
}

// reasons names a few of the unknowns.
func reasons(unknowns []unknownInstance) string {
	const most = 5
	text := ""
	for i, u := range unknowns {
		if i == most {
			return text + fmt.Sprintf("; and %d more", len(unknowns)-most)
		}
		if i > 0 {
			text += "; "
		}
		if u.Instance != "" {
			text += u.Instance + ": "
		}
		text += u.Reason
	}
	return text
}

// metrics of what is found.
type metrics struct {
	targets  *prometheus.GaugeVec
	unknowns *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		targets: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "aosc_alter_targets", Help: "Instances on which an alter still has to run."}, []string{"tier", "table"}),
		unknowns: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "aosc_alter_unknowns", Help: "Instances of an alter that could not be judged."}, []string{"tier", "table"}),
	}
	if r != nil {
		r.MustRegister(m.targets, m.unknowns)
	}
	return m
}

func (m *metrics) set(k alterKey, f finding) {
	m.targets.WithLabelValues(k.Group, k.Table).Set(float64(f.Targets))
	m.unknowns.WithLabelValues(k.Group, k.Table).Set(float64(len(f.Unknowns)))
}

func (m *metrics) gone(k alterKey) {
	m.targets.DeleteLabelValues(k.Group, k.Table)
	m.unknowns.DeleteLabelValues(k.Group, k.Table)
}
