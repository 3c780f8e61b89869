// Package operate is what an operator does, for the command line, the demo and the dashboard: look at all alters at once,
// pause, resume and stop them. It reads and writes only rows that a person with a mysql client could.
package operate

import (
	"context"
	"slices"
	"sort"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/why"
)

// Desk holds what an operator works with: the central tables, the inventory and connections to the instances.
type Desk struct {
	Store     *aoscdb.Store
	Inventory fleet.Inventory
	Pool      *mysql.Pool
	FanOut    int           // instances asked at once
	Timeout   time.Duration // per instance
}

// View is one look at everything that is allowed or being altered.
type View struct {
	At       time.Time // aoscdb's clock
	Alters   []Alter
	Finished []aoscdb.FinishedAlter // newest first
	Daemons  []why.Liveness         // the five daemons
	Tiers    []aoscdb.Tier
	Ends     map[why.RunKey]aoscdb.Event // how alters on instances ended lately
}

// StatusAllowed is the status of a permission that the brain has not taken up: current_alters has no row for it.
const StatusAllowed = "ALLOWED"

// Alter is one alter with what its instances are doing.
type Alter struct {
	aoscdb.CurrentAlter                      // only Group, Table and Status when it is not admitted
	Allowed             *aoscdb.AllowedAlter // nil: revoked
	Why                 why.Answer           // why it runs or not
	Runs                []Run
	Waiting             []Waiting // instances with something to do that nothing has been queued for yet, or that are unknown
}

// Waiting is an instance that an alter waits for.
type Waiting struct {
	Addr   mysql.Addr
	Target *aoscdb.Target // nil: it could not be judged
	Why    why.Reason
}

// Run is one instance that an alter is queued for or running on.
type Run struct {
	aoscdb.RunningAlter
	why.Stand
	Why why.Reason
}

// Look gathers a view: a handful of queries to aoscdb and one to each instance that has something queued or running. An
// instance that does not answer is shown as unknown; only aoscdb failing is an error. names restrict it to a tier, or a table.
func (d *Desk) Look(ctx context.Context, finished int, names ...string) (View, error) {
	t, err := d.Store.WhyTables(ctx)
	if err != nil {
		return View{}, err
	}
	v := View{At: t.Now, Tiers: t.Tiers, Daemons: why.Daemons(t), Ends: map[why.RunKey]aoscdb.Event{}}
	ends, err := d.Store.RunEnds(ctx, 1000)
	if err != nil {
		return v, err
	}
	for _, e := range ends {
		k := why.KeyOf(e.Group, e.Table, e.Host, e.Port)
		if _, newer := v.Ends[k]; !newer {
			v.Ends[k] = e
		}
	}
	group, table := named(names)
	if finished > 0 {
		if v.Finished, err = d.Store.FinishedOf(ctx, group, table, finished); err != nil {
			return v, err
		}
	}
	tiers := map[string]aoscdb.Tier{}
	for _, tier := range t.Tiers {
		tiers[tier.Group] = tier
	}
	other := others(group, table)
	running := slices.DeleteFunc(slices.Clone(t.Running), func(r aoscdb.RunningAlter) bool { return other(r.Group, r.Table) })
	looks := map[why.RunKey]why.Look{}
	ask := func(ctx context.Context, r aoscdb.RunningAlter) (*aoscdb.OSCRow, error) { return d.row(ctx, tiers, r) }
	for _, r := range mysql.FanOut(ctx, running, d.FanOut, d.Timeout, ask) {
		looks[keyOf(r.Item)] = why.Look{Row: r.Value, Err: r.Err}
	}
	v.Alters = assemble(t, looks)
	return v.Only(names...), nil
}

// named splits the names of a tier and a table, which may be absent.
func named(names []string) (group, table string) {
	if len(names) > 0 {
		group = names[0]
	}
	if len(names) > 1 {
		table = names[1]
	}
	return group, table
}

// others tells of a tier and table whether they are not those that were asked for; "" = any.
func others(group, table string) func(group, table string) bool {
	return func(g, t string) bool { return group != "" && g != group || table != "" && t != table }
}

func keyOf(r aoscdb.RunningAlter) why.RunKey {
	return why.KeyOf(r.Group, r.Table, r.Host, r.Port)
}

// assemble joins the rows of the tables into one view, in the order in which alters are worked on.
func assemble(t aoscdb.WhyTables, looks map[why.RunKey]why.Look) []Alter {
	answers := why.Answers(t, looks)
	index := make(map[why.AlterKey]*Alter, len(answers))
	out := make([]Alter, len(answers))
	for i, a := range answers {
		out[i] = Alter{CurrentAlter: aoscdb.CurrentAlter{Group: a.Group, Table: a.Table, Status: StatusAllowed}, Why: a}
		index[why.AlterKey{Group: a.Group, Table: a.Table}] = &out[i]
	}
	for i, a := range t.Allowed {
		alter := index[why.AlterKey{Group: a.Group, Table: a.Table}]
		alter.Allowed, alter.Priority, alter.AllowedBy, alter.Targets = &t.Allowed[i], a.Priority, a.AllowedBy, -1
	}
	for _, c := range t.Current {
		index[why.AlterKey{Group: c.Group, Table: c.Table}].CurrentAlter = c
	}
	targets := map[why.RunKey]*aoscdb.Target{}
	for i, x := range t.Targets {
		targets[why.KeyOf(x.Group, x.Table, x.Host, x.Port)] = &t.Targets[i]
	}
	runs := map[why.RunKey]aoscdb.RunningAlter{}
	for _, r := range t.Running {
		runs[keyOf(r)] = r
	}
	for i := range out {
		a := &out[i]
		for _, e := range a.Why.Instances {
			k := why.KeyOf(a.Group, a.Table, e.Addr.Host, e.Addr.Port)
			if r, ok := runs[k]; ok {
				a.Runs = append(a.Runs, Run{RunningAlter: r, Stand: e.Stand, Why: e.Reason})
			} else {
				a.Waiting = append(a.Waiting, Waiting{Addr: e.Addr, Target: targets[k], Why: e.Reason})
			}
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		if out[i].Priority != out[j].Priority {
			return out[i].Priority > out[j].Priority
		}
		return out[i].Group+"/"+out[i].Table < out[j].Group+"/"+out[j].Table
	})
	return out
}

// row reads the instance's aosc_osc_ww row of a run; nil when there is none.
func (d *Desk) row(ctx context.Context, tiers map[string]aoscdb.Tier, r aoscdb.RunningAlter) (*aoscdb.OSCRow, error) {
	store, err := d.status(tiers, r.Group, mysql.Addr{Host: r.Host, Port: r.Port})
	if err != nil {
		return nil, err
	}
	row, err := store.OSCRow(ctx, r.Host, r.Port, r.Group, r.Table)
	switch {
	case aoscdb.Missing(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &row, nil
}

// status returns the store that holds an instance's two status tables.
func (d *Desk) status(tiers map[string]aoscdb.Tier, group string, addr mysql.Addr) (*aoscdb.StatusStore, error) {
	if tiers[group].StatusStore == aoscdb.StoreCentral {
		return d.Store.CentralStatus(), nil
	}
	db, err := d.Pool.DB(addr)
	if err != nil {
		return nil, err
	}
	return aoscdb.InstanceStatus(db), nil
}

func (d *Desk) tiers(ctx context.Context) (map[string]aoscdb.Tier, error) {
	list, err := d.Store.Tiers(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]aoscdb.Tier, len(list))
	for _, t := range list {
		out[t.Group] = t
	}
	return out, nil
}
