package collector

import (
	"context"
	"fmt"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

// gather reads everything a look needs. The order matters, because the parts change while they are read, and each must
// be older than what it is evidence for:
//
//  1. the clock, so that whoever changes something later sees that this look began before;
//  2. the alters, with the time from which a checksum counts;
//  3. the checksum passes: the rows of a pass that has finished are there for all that comes after;
//  4. the status rows.
func (d *Daemon) gather(ctx context.Context) (snapshot, error) {
	var s snapshot
	var err error
	if s.At, err = d.Store.Now(ctx); err != nil {
		return s, err
	}
	if s.Alters, err = d.Store.CurrentAlters(ctx); err != nil {
		return s, err
	}
	if s.Stored, err = d.Store.Targets(ctx); err != nil {
		return s, err
	}
	wants := map[string][]aoscdb.TableWant{}
	for _, a := range s.Alters {
		if judged(a) {
			wants[a.Group] = append(wants[a.Group], aoscdb.TableWant{Table: a.Table, Blob: a.DesiredHash})
		}
	}
	if len(wants) == 0 {
		return s, nil
	}
	if s.Custom, err = d.custom(ctx); err != nil {
		return s, err
	}
	s.Instances, err = d.evidence(ctx, wants)
	return s, err
}

func (d *Daemon) custom(ctx context.Context) (map[alterKey]map[mysql.Addr]bool, error) {
	servers, err := d.Store.AllCustomServers(ctx)
	if err != nil {
		return nil, err
	}
	out := map[alterKey]map[mysql.Addr]bool{}
	for _, c := range servers {
		k := alterKey{c.Group, c.Table}
		if out[k] == nil {
			out[k] = map[mysql.Addr]bool{}
		}
		out[k][mysql.Addr{Host: c.Host, Port: c.Port}] = true
	}
	return out, nil
}

// evidence asks every instance of the tiers with alters. A tier that the inventory does not know has none.
func (d *Daemon) evidence(ctx context.Context, wants map[string][]aoscdb.TableWant) (map[string][]evidence, error) {
	// An inventory that cannot be read is no empty fleet (I11): nothing is recorded then.
	tiers, err := d.Inventory.Tiers(ctx)
	if err != nil {
		return nil, err
	}
	settings, err := d.Store.Tiers(ctx)
	if err != nil {
		return nil, err
	}
	central := map[string]bool{}
	for _, t := range settings {
		central[t.Group] = t.StatusStore == aoscdb.StoreCentral
	}
	passes, err := d.passes(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string][]evidence{}
	for _, t := range tiers {
		if len(wants[t.Name]) == 0 {
			continue
		}
		seen := d.observe(ctx, t, passes)
		if central[t.Name] {
			err = d.readCentral(ctx, t.Name, wants[t.Name], seen)
		} else {
			d.readInstances(ctx, wants[t.Name], seen)
		}
		if err != nil {
			return nil, err
		}
		out[t.Name] = seen
	}
	return out, ctx.Err()
}

type passKey struct {
	mysql.Addr
	group string
}

func (d *Daemon) passes(ctx context.Context) (map[passKey]*aoscdb.Pass, error) {
	passes, err := d.Store.Passes(ctx)
	out := make(map[passKey]*aoscdb.Pass, len(passes))
	for i, p := range passes {
		out[passKey{mysql.Addr{Host: p.Host, Port: p.Port}, p.Group}] = &passes[i]
	}
	return out, err
}

// observe asks every instance of a tier what it is. Rows in the central database do not speak for an instance that is
// down, so this is asked for every tier.
func (d *Daemon) observe(ctx context.Context, t fleet.Tier, passes map[passKey]*aoscdb.Pass) []evidence {
	var out []evidence
	for _, view := range fleet.ObserveTier(ctx, d.Pool, t, d.cfg.FanOut, d.cfg.Timeout) {
		for _, m := range view.Members {
			e := evidence{Instance: m.Instance, Role: m.Role, Pass: passes[passKey{m.Instance.Addr(), t.Name}]}
			if m.Err != nil {
				e.Err = fmt.Errorf("does not answer: %w", m.Err)
			}
			out = append(out, e)
		}
	}
	return out
}

// readInstances reads the status rows from the instances that answered, one query each.
func (d *Daemon) readInstances(ctx context.Context, wants []aoscdb.TableWant, seen []evidence) {
	var ask []int
	for i := range seen {
		if seen[i].Err == nil {
			ask = append(ask, i)
		}
	}
	results := mysql.FanOut(ctx, ask, d.cfg.FanOut, d.cfg.Timeout, func(ctx context.Context, i int) ([]aoscdb.TableSummary, error) {
		inst := seen[i].Instance
		db, err := d.Pool.DB(inst.Addr())
		if err != nil {
			return nil, err
		}
		return aoscdb.InstanceStatus(db).Summary(ctx, inst.Host, inst.Port, wants)
	})
	for _, r := range results {
		e := &seen[r.Item]
		switch {
		case mysql.IsNoSuchTable(r.Err) || mysql.IsNoSuchDatabase(r.Err):
			e.Err = fmt.Errorf("has no status tables, no checksum has run there: %w", r.Err)
		case r.Err != nil:
			e.Err = r.Err
		default:
			e.Summary = byTable(r.Value)
		}
	}
}

// readCentral reads the status rows of all instances of a tier from the central database, in one query.
func (d *Daemon) readCentral(ctx context.Context, group string, wants []aoscdb.TableWant, seen []evidence) error {
	summaries, err := d.Store.CentralSummaries(ctx, group, wants)
	if err != nil {
		return err
	}
	for i := range seen {
		seen[i].Summary = byTable(summaries[seen[i].Instance.Addr()])
	}
	return nil
}

func byTable(summaries []aoscdb.TableSummary) map[string]aoscdb.TableSummary {
	out := make(map[string]aoscdb.TableSummary, len(summaries))
	for _, s := range summaries {
		out[s.Table] = s
	}
	return out
}
