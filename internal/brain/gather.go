package brain

import (
	"context"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

// gather reads the tables, git and the inventory. Only the tables are indispensable: what git or the inventory do not
// say is kept as such in the snapshot.
func (d *Daemon) gather(ctx context.Context) (*snapshot, error) {
	t, err := d.Store.BrainTables(ctx)
	if err != nil {
		return nil, err
	}
	s := snapshotOf(t)
	s.Known = d.known
	tiers, err := d.Inventory.Tiers(ctx)
	s.InventoryErr = err
	for _, tier := range tiers {
		s.Inventory[tier.Name] = tier
	}
	s.Head, s.HeadErr = d.head(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	adopt(s)
	return s, nil
}

// snapshotOf turns rows into maps.
func snapshotOf(t aoscdb.BrainTables) *snapshot {
	s := &snapshot{
		Now: t.Now, Inventory: map[string]fleet.Tier{}, Tiers: map[string]aoscdb.Tier{},
		Allowed: map[key]aoscdb.AllowedAlter{}, Custom: map[key]map[mysql.Addr]bool{},
		Current: map[key]aoscdb.CurrentAlter{}, Running: map[key]int{}, Passes: map[place]aoscdb.Pass{},
	}
	for _, r := range t.Tiers {
		s.Tiers[r.Group] = r
	}
	for _, r := range t.Allowed {
		s.Allowed[key{r.Group, r.Table}] = r
	}
	for _, r := range t.Custom {
		k := key{r.Group, r.Table}
		if s.Custom[k] == nil {
			s.Custom[k] = map[mysql.Addr]bool{}
		}
		s.Custom[k][mysql.Addr{Host: r.Host, Port: r.Port}] = true
	}
	for _, r := range t.Current {
		s.Current[key{r.Group, r.Table}] = r
	}
	for _, r := range t.Running {
		s.Running[key{r.Group, r.Table}]++
	}
	for _, r := range t.Passes {
		s.Passes[place{r.Group, mysql.Addr{Host: r.Host, Port: r.Port}}] = r
	}
	return s
}

// adopt takes alters that were admitted before this process led as judged for what they are pinned to: they were, and
// planning a whole fleet again at each change of leader would help nobody. It also forgets alters that are gone.
func adopt(s *snapshot) {
	for k := range s.Known {
		_, isAllowed := s.Allowed[k]
		_, isCurrent := s.Current[k]
		if !isAllowed && !isCurrent {
			delete(s.Known, k)
		}
	}
	for k, c := range s.Current {
		a, isAllowed := s.Allowed[k]
		_, isKnown := s.Known[k]
		if !isAllowed || isKnown || c.Status == aoscdb.AlterHold || c.HoldBy != aoscdb.HoldNone || s.obvious(k).Kind != pending {
			continue
		}
		if q := s.question(k); q.Blob == c.DesiredHash && a.ServerList == c.ServerList {
			s.Known[k] = judgement{Question: q, Verdict: verdict{Kind: fits, PrimaryFirst: c.PrimaryFirst}, At: s.Now}
		}
	}
}

// head is the snapshot of the branch's head.
func (d *Daemon) head(ctx context.Context) (*schema.Snapshot, error) {
	commit, err := d.Repo.Head(ctx)
	if err != nil {
		return nil, err
	}
	return d.Repo.Snapshot(ctx, commit)
}
