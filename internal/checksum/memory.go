package checksum

import (
	"context"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
)

// remember makes a state for every served instance and drops those of instances no longer served. It is called by one
// goroutine at a time.
func (d *Daemon) remember(ctx context.Context, served []Served) error {
	if d.knows(served) {
		return nil
	}
	passes, err := d.Store.Passes(ctx)
	if err != nil {
		return err
	}
	if d.All {
		if err := d.forget(ctx, served, passes); err != nil {
			return err
		}
	}
	d.adopt(served, passes)
	return nil
}

// knows reports whether there are states of exactly the served instances.
func (d *Daemon) knows(served []Served) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range served {
		if d.states[s.Addr()] == nil {
			return false
		}
	}
	return d.states != nil && len(d.states) == len(served)
}

// adopt sets the states. What was recorded before this process, or by another, spares an instance that is new here a
// fresh pass that nobody asked for.
func (d *Daemon) adopt(served []Served, passes []aoscdb.Pass) {
	recorded := map[mysql.Addr]aoscdb.Pass{}
	tiers := map[mysql.Addr]string{}
	for _, s := range served {
		tiers[s.Addr()] = s.Tier.Name
	}
	for _, p := range passes {
		if addr := (mysql.Addr{Host: p.Host, Port: p.Port}); tiers[addr] == p.Group {
			recorded[addr] = p
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	states := map[mysql.Addr]*state{}
	for addr, s := range d.states {
		if tiers[addr] == s.tier {
			states[addr] = s
		} else {
			d.metrics.gone(s.tier, addr.String())
		}
	}
	for addr, tier := range tiers {
		if states[addr] == nil {
			p := recorded[addr]
			states[addr] = &state{tier: tier, good: valueOf(p.StartedAt), fresh: valueOf(p.FreshStartedAt), commit: p.CommitSHA}
		}
	}
	d.states = states
}

func valueOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// forget removes what aoscdb holds of instances that are no longer in their tier: "if we have lost an instance we don't
// care, we delete it".
func (d *Daemon) forget(ctx context.Context, served []Served, passes []aoscdb.Pass) error {
	type key struct {
		mysql.Addr
		group string
	}
	current := map[key]bool{}
	for _, s := range served {
		current[key{s.Addr(), s.Tier.Name}] = true
	}
	for _, p := range passes {
		if current[key{mysql.Addr{Host: p.Host, Port: p.Port}, p.Group}] {
			continue
		}
		if err := d.Store.ForgetInstance(ctx, p.Host, p.Port, p.Group); err != nil {
			return err
		}
		d.Log.Info("instance is no longer in the inventory, its checksum is forgotten", "tier", p.Group, "instance", mysql.Addr{Host: p.Host, Port: p.Port}.String())
	}
	return nil
}
