package brain

import (
	"context"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/wiring"
)

// inquiry is one cluster and what it is asked about. A cluster's alters are planned one after the other: they share its
// connections and its scratch schema.
type inquiry struct {
	cluster fleet.Cluster
	pattern string // of the tier's databases
	alters  []subject
}

// subject is one alter to be planned.
type subject struct {
	k        key
	desired  schema.Desired
	settings osc.Settings
}

// ask plans the alters on every cluster they concern, on its primary, many clusters at once, and remembers the
// verdicts. It changes no table anywhere.
func (d *Daemon) ask(ctx context.Context, s *snapshot, asked []key) {
	subjects := map[key]subject{}
	for _, k := range asked {
		file, _ := s.desired(k)
		subjects[k] = subject{k: k, desired: file, settings: wiring.Settings(s.Tiers[k.Group], s.Allowed[k].AllowUnsafe)}
	}
	inquiries, most := inquiriesOf(s, asked, subjects)
	// The deadline is per alter; a cluster with several gets as many, and some time to say who its primary is.
	timeout := time.Duration(most)*d.cfg.PlanTimeout + 2*d.cfg.ConnectTimeout
	results := mysql.FanOut(ctx, inquiries, d.cfg.Fanout, timeout, d.inquire)
	if ctx.Err() != nil {
		return // stopping, or no longer the leader: nothing was learnt
	}
	found := map[key][]finding{}
	for _, r := range results {
		for i, sub := range r.Item.alters {
			f := finding{Cluster: r.Item.cluster.Name, Err: r.Err}
			if r.Err == nil {
				f = r.Value[i]
			}
			found[sub.k] = append(found[sub.k], f)
		}
	}
	for _, k := range asked {
		j := judgement{Question: s.question(k), Verdict: fold(k, subjects[k].desired, found[k]), At: s.Now}
		if j.Verdict.Kind == waiting {
			j.Failures = d.known[k].Failures + 1
		}
		d.known[k] = j
	}
}

// inquiriesOf turns the questions around, from alters with clusters to clusters with alters, and says how many alters the
// busiest cluster has.
func inquiriesOf(s *snapshot, asked []key, subjects map[key]subject) (all []inquiry, most int) {
	at := map[string]int{} // cluster names are unique in the inventory
	for _, k := range asked {
		for _, c := range s.clusters(k, s.Allowed[k].ServerList) {
			i, ok := at[c.Name]
			if !ok {
				i = len(all)
				at[c.Name] = i
				all = append(all, inquiry{cluster: c, pattern: s.Inventory[k.Group].Databases})
			}
			all[i].alters = append(all[i].alters, subjects[k])
			most = max(most, len(all[i].alters))
		}
	}
	return all, most
}

// inquire plans the alters of one cluster. The findings are in the order of the alters. An error concerns all of them.
func (d *Daemon) inquire(ctx context.Context, q inquiry) ([]finding, error) {
	view := fleet.Observe(ctx, d.Pool, q.cluster, d.cfg.ConnectTimeout)
	primary, err := view.Primary()
	if err != nil {
		return nil, err
	}
	if err := primary.Server.Version.Supported(); err != nil {
		return nil, fmt.Errorf("%s: %w", primary, err)
	}
	db, err := d.Pool.DB(primary.Addr())
	if err != nil {
		return nil, err
	}
	databases, err := fleet.Databases(ctx, db, q.pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", primary, err)
	}
	findings := make([]finding, len(q.alters))
	for i, sub := range q.alters {
		for _, m := range view.Members { // one that does not answer now will want to keep up later
			if m.Addr() != primary.Addr() {
				sub.settings.Replicas = append(sub.settings.Replicas, m.Addr())
			}
		}
		findings[i] = finding{Cluster: q.cluster.Name}
		if len(databases) == 0 {
			findings[i].None = true
			continue
		}
		target := osc.Target{Tier: sub.k.Group, Cluster: q.cluster.Name, Addr: primary.Addr(), Table: sub.k.Table}
		pctx, cancel := context.WithTimeout(ctx, d.cfg.PlanTimeout)
		plans, err := d.Planner.PlanMany(pctx, db, db, target, sub.desired, sub.settings, databases)
		if err != nil && pctx.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("planning %d databases on %s took longer than brain.plan-timeout (%s): %w", len(databases), primary, d.cfg.PlanTimeout, err)
		}
		cancel()
		findings[i].Err = err
		findings[i].Obstacles = obstacles(plans)
		findings[i].orders(plans)
	}
	return findings, nil
}
