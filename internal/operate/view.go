// Package operate is what an operator does, for the command line, the demo and the dashboard: look at all alters at once,
// pause, resume and stop them. It reads and writes only rows that a person with a mysql client could.
package operate

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

// Desk holds what an operator works with: the central tables, the inventory and connections to the instances.
type Desk struct {
	Store     *aoscdb.Store
	Inventory fleet.Inventory
	Pool      *mysql.Pool
	FanOut    int           // instances asked at once
	Timeout   time.Duration // per instance
}

// View is one look at everything that is being altered.
type View struct {
	At       time.Time
	Alters   []Alter
	Finished []aoscdb.FinishedAlter // newest first
}

// Alter is one current alter with what its instances are doing.
type Alter struct {
	aoscdb.CurrentAlter
	Runs    []Run
	Waiting []aoscdb.Target // targets that nothing has been queued for yet
}

// Run is one instance that an alter is queued for or running on.
type Run struct {
	aoscdb.RunningAlter
	Row *aoscdb.OSCRow // nil while the instance has no row or did not answer
	Err error          // why the instance's row could not be read (I11: its state is then unknown)
}

// Percentage is the newest known progress of the run, 0 to 100.
func (r Run) Percentage() float64 {
	if r.Row != nil {
		return r.Row.Percentage
	}
	return r.RunningAlter.Percentage
}

// State is one word for people: what the instance is doing.
func (r Run) State() string {
	switch {
	case r.Err != nil:
		return "unknown"
	case r.Row == nil:
		return "queued"
	case r.Row.Status == aoscdb.OSCRunning && r.Row.OSCPriv == aoscdb.PrivPause:
		return "paused"
	case r.Row.Status == aoscdb.OSCWaiting && r.Row.OSCPriv == aoscdb.PrivStop:
		return "stopped"
	case r.Row.Status == aoscdb.OSCWaiting:
		return "queued"
	case r.Row.Status == aoscdb.OSCRunning:
		return "running"
	case r.Row.Status == aoscdb.OSCFailed:
		return "failed"
	}
	return "done"
}

// DatabaseProgress is one entry of aosc_osc_ww.detail.
type DatabaseProgress struct {
	Database   string  `json:"database"`
	Engine     string  `json:"engine"`
	State      string  `json:"state"`
	Percentage float64 `json:"percentage"`
	RowsCopied uint64  `json:"rows_copied"`
	RowsTotal  uint64  `json:"rows_total"`
	ETASeconds float64 `json:"eta_s"`
	Detail     string  `json:"detail"`
}

// Databases decodes the per-database detail of the run; none when there is none or it is not readable.
func (r Run) Databases() []DatabaseProgress {
	if r.Row == nil || r.Row.Detail == "" {
		return nil
	}
	var out []DatabaseProgress
	if json.Unmarshal([]byte(r.Row.Detail), &out) != nil {
		return nil
	}
	return out
}

// Look gathers a view: a handful of queries to aoscdb and one to each instance that has something queued or running. An
// instance that does not answer is shown as unknown; only aoscdb failing is an error.
func (d *Desk) Look(ctx context.Context, finished int) (View, error) {
	v := View{At: time.Now()}
	alters, err := d.Store.CurrentAlters(ctx)
	if err != nil {
		return v, err
	}
	running, err := d.Store.RunningAlters(ctx)
	if err != nil {
		return v, err
	}
	targets, err := d.Store.Targets(ctx)
	if err != nil {
		return v, err
	}
	if finished > 0 {
		if v.Finished, err = d.Store.Finished(ctx, finished); err != nil {
			return v, err
		}
	}
	tiers, err := d.tiers(ctx)
	if err != nil {
		return v, err
	}
	runs := mysql.FanOut(ctx, running, d.FanOut, d.Timeout, func(ctx context.Context, r aoscdb.RunningAlter) (*aoscdb.OSCRow, error) {
		return d.row(ctx, tiers, r)
	})
	v.Alters = assemble(alters, targets, runs)
	return v, nil
}

// assemble joins the rows of the tables into one view, in the order in which alters are worked on.
func assemble(alters []aoscdb.CurrentAlter, targets []aoscdb.Target, runs []mysql.Result[aoscdb.RunningAlter, *aoscdb.OSCRow]) []Alter {
	type key struct{ group, table string }
	index := make(map[key]int, len(alters))
	out := make([]Alter, len(alters))
	for i, a := range alters {
		index[key{a.Group, a.Table}] = i
		out[i].CurrentAlter = a
	}
	busy := map[string]bool{}
	for _, r := range runs {
		i, ok := index[key{r.Item.Group, r.Item.Table}]
		if !ok {
			continue
		}
		out[i].Runs = append(out[i].Runs, Run{RunningAlter: r.Item, Row: r.Value, Err: r.Err})
		busy[fmt.Sprintf("%s/%s/%s:%d", r.Item.Group, r.Item.Table, r.Item.Host, r.Item.Port)] = true
	}
	for _, t := range targets {
		if i, ok := index[key{t.Group, t.Table}]; ok && !busy[fmt.Sprintf("%s/%s/%s:%d", t.Group, t.Table, t.Host, t.Port)] {
			out[i].Waiting = append(out[i].Waiting, t)
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

// row reads the instance's aosc_osc_ww row of a run.
func (d *Desk) row(ctx context.Context, tiers map[string]aoscdb.Tier, r aoscdb.RunningAlter) (*aoscdb.OSCRow, error) {
	store, err := d.status(tiers, r.Group, mysql.Addr{Host: r.Host, Port: r.Port})
	if err != nil {
		return nil, err
	}
	rows, err := store.OSCRows(ctx, r.Host, r.Port)
	if err != nil {
		return nil, fmt.Errorf("read aosc_osc_ww of %s:%d: %w", r.Host, r.Port, err)
	}
	for i := range rows {
		if rows[i].Group == r.Group && rows[i].Table == r.Table {
			return &rows[i], nil
		}
	}
	return nil, nil
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
