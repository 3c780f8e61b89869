package why

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/permit"
)

var (
	now  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	addr = mysql.Addr{Host: "db1", Port: 3306}
	ago  = func(d time.Duration) *time.Time { t := now.Add(-d); return &t }
)

// world is a tier with one alter in progress on one instance, all daemons alive.
func world() aoscdb.WhyTables {
	t := aoscdb.WhyTables{Now: now,
		Tiers:   []aoscdb.Tier{aoscdb.NewTier("udb")},
		Allowed: []aoscdb.AllowedAlter{{Group: "udb", Table: "t", AllowedBy: "istvan"}},
		Current: []aoscdb.CurrentAlter{{Group: "udb", Table: "t", Status: aoscdb.AlterIPR, DesiredHash: "b", PinnedAt: ago(time.Hour),
			CollectedAt: ago(time.Second), Targets: 1}},
		Targets: []aoscdb.Target{{Group: "udb", Table: "t", Host: "db1", Port: 3306}},
	}
	for _, name := range []string{"checksum", "brain", "collector", "scheduler", "oscworker"} {
		t.Daemons = append(t.Daemons, aoscdb.DaemonRow{Name: name, Holder: "h:1:" + name, SeenAt: now.Add(-time.Second)})
	}
	return t
}

func run(status string) aoscdb.RunningAlter {
	return aoscdb.RunningAlter{Group: "udb", Table: "t", Host: "db1", Port: 3306, OSCStatus: status, LastUpdated: now.Add(-time.Second),
		QueuedAt: now.Add(-time.Minute), StartedAt: ago(time.Minute), State: "copying", Percentage: 43, RowsCopied: 43, RowsTotal: 100}
}

// each daemon's state, by name.
func daemon(t *aoscdb.WhyTables, name string, change func(*aoscdb.DaemonRow)) {
	for i := range t.Daemons {
		if t.Daemons[i].Name == name {
			change(&t.Daemons[i])
		}
	}
}

func dead(d *aoscdb.DaemonRow)    { d.SeenAt = now.Add(-time.Hour) }
func failing(d *aoscdb.DaemonRow) { d.Error = "no such branch" }
func stopped(d *aoscdb.DaemonRow) { d.StoppedAt = ago(time.Second) }

func obstacle(by string, c Code, text string) aoscdb.Obstacle {
	return aoscdb.Obstacle{Group: "udb", Table: "t", Host: "db1", Port: 3306, FoundBy: by, Code: string(c), Reason: text}
}

func one(t *testing.T, tables aoscdb.WhyTables, looks map[RunKey]Look) Answer {
	t.Helper()
	all := Answers(tables, looks)
	if len(all) != 1 {
		t.Fatalf("%d answers, want 1: %+v", len(all), all)
	}
	return all[0]
}

// One case for each reason, in words an operator can act on.
func TestEachReason(t *testing.T) {
	type tables = aoscdb.WhyTables
	row := func(change func(*aoscdb.OSCRow)) map[RunKey]Look {
		r := aoscdb.OSCRow{Status: aoscdb.OSCRunning, OSCPriv: aoscdb.PrivOK, Owner: "w1", LastUpdate: now, ReadAt: now, Percentage: 43,
			Detail: `[{"database":"d1","state":"copying","rows_copied":43,"rows_total":100,"rows_per_s":2,"lag_s":0.5}]`}
		change(&r)
		return map[RunKey]Look{{AlterKey{"udb", "t"}, addr}: {Row: &r}}
	}
	running := func(x *tables) { x.Running = []aoscdb.RunningAlter{run(aoscdb.RunRunning)} }
	queued := func(x *tables) { x.Running = []aoscdb.RunningAlter{run(aoscdb.RunReady)} }
	for name, c := range map[string]struct {
		change func(*tables)
		looks  map[RunKey]Look
		want   Code
		says   []string
	}{
		"not yet admitted": {func(x *tables) { x.Current = nil }, nil, Admission,
			[]string{"brain", "last seen at 2026-03-01 11:59:59 UTC"}},
		"not admitted, brain dead": {func(x *tables) { x.Current = nil; daemon(x, "brain", dead) }, nil, DaemonDown,
			[]string{"admission", "brain is down", "11:00:00"}},
		"not admitted, brain stopped": {func(x *tables) { x.Current = nil; daemon(x, "brain", stopped) }, nil, DaemonDown,
			[]string{"brain is down", "stopped"}},
		"not admitted, brain fails": {func(x *tables) { x.Current = nil; daemon(x, "brain", failing) }, nil, DaemonFailing,
			[]string{"no such branch"}},
		"not admitted, never a brain": {func(x *tables) { x.Current = nil; x.Daemons = nil }, nil, DaemonDown,
			[]string{"none has ever been seen"}},
		"not admitted, a pass of the leader hangs": {func(x *tables) {
			x.Current = nil
			daemon(x, "brain", func(d *aoscdb.DaemonRow) { d.Note = "a pass has been under way since noon" })
			x.Daemons = append(x.Daemons, aoscdb.DaemonRow{Name: "brain", Holder: "b", SeenAt: now, Note: "standing by: lease is held"})
		}, nil, Admission, []string{"a pass has been under way since noon"}},
		"HOLD": {func(x *tables) {
			x.Current[0].Status, x.Current[0].HoldBy, x.Current[0].Reason = "HOLD", "worker", "duplicates"
		}, nil, Hold, []string{"worker", "duplicates"}},
		"HOLD by hand": {func(x *tables) { x.Current[0].Status = "HOLD" }, nil, Hold, []string{"operator", "by hand"}},
		"HOLD by a brain that is dead": {func(x *tables) {
			x.Current[0].Status, x.Current[0].HoldBy = "HOLD",
				"brain"
			daemon(x, "brain", dead)
		}, nil, Hold, []string{"brain is down"}},
		"tier off": {func(x *tables) { x.Tiers[0].Enabled = false }, nil, TierDisabled, []string{"udb", "off"}},
		"no tier":  {func(x *tables) { x.Tiers = nil }, nil, NoTier, []string{"tiers"}},
		"never looked at": {func(x *tables) { x.Current[0].CollectedAt, x.Targets = nil, nil }, nil, NotChecked,
			[]string{"collector"}},
		"collector dead": {func(x *tables) { x.Current[0].CollectedAt, x.Targets = nil, nil; daemon(x, "collector", dead) }, nil,
			DaemonDown, []string{"collector is down"}},
		"scheduler dead": {func(x *tables) { daemon(x, "scheduler", dead) }, nil, DaemonDown,
			[]string{"db1:3306", "scheduler is down"}},
		"a standby lives": {func(x *tables) {
			daemon(x, "scheduler", dead)
			x.Daemons = append(x.Daemons, aoscdb.DaemonRow{Name: "scheduler", Holder: "other", SeenAt: now})
		}, nil, Turn, []string{"next pass"}},
		"a limit": {func(x *tables) {
			x.Obstacles = []aoscdb.Obstacle{obstacle("scheduler", Limit, "max_running of tier udb is 1, and 1 are queued or running")}
		}, nil, Limit, []string{"max_running", "is 1"}},
		"another alter": {func(x *tables) {
			x.Obstacles = []aoscdb.Obstacle{obstacle("scheduler", OtherAlter, "cluster c has an alter on db2:3306: udb.u")}
		}, nil, OtherAlter, []string{"udb.u"}},
		"unreachable": {func(x *tables) {
			x.Obstacles = []aoscdb.Obstacle{obstacle("collector", Unreachable, "does not answer: connection refused")}
		}, nil, Unreachable, []string{"connection refused"}},
		"checksum fails": {func(x *tables) {
			x.Obstacles = []aoscdb.Obstacle{obstacle("collector", ChecksumFails, "no checksum begun since noon has finished: access denied")}
		}, nil, ChecksumFails, []string{"access denied"}},
		"no checksum lives": {func(x *tables) {
			x.Obstacles = []aoscdb.Obstacle{obstacle("collector", NotChecked, "no checksum")}
			daemon(x, "checksum", dead)
		}, nil, DaemonDown, []string{"checksum is down"}},
		"no instance at all": {func(x *tables) {
			x.Targets, x.Current[0].Targets, x.Current[0].Unknowns = nil, 0, 1
			o := obstacle("collector", NotChecked, "the inventory has no instance for this alter")
			o.Host, o.Port = "", 0
			x.Obstacles = []aoscdb.Obstacle{o}
		}, nil, NotChecked, []string{"the inventory has no instance"}},
		"queued": {queued, nil, Queued, []string{"11:59:00"}},
		"queued, no worker": {func(x *tables) { queued(x); daemon(x, "oscworker", dead) }, nil, DaemonDown,
			[]string{"oscworker is down for db1:3306"}},
		"queued, worker fails": {func(x *tables) { queued(x); daemon(x, "oscworker", failing) }, nil, DaemonFailing, []string{"no such branch"}},
		"queued, the worker serves another host": {func(x *tables) {
			queued(x)
			daemon(x, "oscworker", func(d *aoscdb.DaemonRow) { d.Serves = "host=db9" })
		}, nil, DaemonDown,
			[]string{"no oscworker serves db1:3306"}},
		"STOP before it began": {queued, row(func(r *aoscdb.OSCRow) { r.Status, r.OSCPriv = "WAITING", "STOP" }), OSCPriv,
			[]string{"osc_priv is STOP"}},
		"given back, for the time being": {queued, row(func(r *aoscdb.OSCRow) {
			r.Status, r.Error = "WAITING",
				"not now: the primary db2:3306 goes first"
		}), Order,
			[]string{"gave it back", "db2:3306 goes first"}},
		"given back, nobody asked": {func(x *tables) {
			queued(x)
			x.Obstacles = []aoscdb.Obstacle{obstacle("scheduler", Order, "its worker gave it back: not now")}
		}, nil, Order, []string{"gave it back"}},
		"running":               {running, row(func(*aoscdb.OSCRow) {}), Going, []string{"1 instance"}},
		"running, nobody asked": {running, nil, Going, []string{"1 instance"}},
		"throttled": {running, row(func(r *aoscdb.OSCRow) {
			r.Detail = `[{"database":"d","state":"throttled","detail":"db2:3306 lags 9 s"}]`
		}), Throttled, []string{"db2:3306 lags 9 s"}},
		"at the gate": {running, row(func(r *aoscdb.OSCRow) {
			r.Detail = `[{"database":"d","state":"at the gate","detail":"cut_over of its permission is manual: aosc cutover"}]`
		}), Gate, []string{"verified and caught up", "aosc cutover"}},
		"osc_priv PAUSE": {running, row(func(r *aoscdb.OSCRow) {
			r.Detail = `[{"database":"d","state":"paused","detail":"osc_priv is PAUSE"}]`
		}), OSCPriv, []string{"PAUSE"}},
		"a lock": {running, row(func(r *aoscdb.OSCRow) {
			r.Detail = `[{"database":"d","state":"altering",` +
				`"detail":"attempt 2 of 9 waited in vain for the table's lock, held by session 7 of root; next in 2s"}]`
		}), Lock, []string{"session 7"}},
		"a lock at the cut-over": {running, row(func(r *aoscdb.OSCRow) {
			r.Detail = `[{"database":"d","state":"cutting over","detail":"waits: session 7 has the table open"}]`
		}), Lock, []string{"session 7"}},
		"a try failed": {running, row(func(r *aoscdb.OSCRow) { r.Status, r.Try, r.Error = "FAILED", 2, "disk full" }), Backoff,
			[]string{"try 2", "disk full"}},
		"between two tries": {func(x *tables) {
			x.Obstacles = []aoscdb.Obstacle{obstacle("scheduler", Backoff, "try 2 of 5 at 2026-03-01 12:01:00 UTC, after: disk full")}
		}, nil, Backoff, []string{"db1:3306: try 2 of 5 at 2026-03-01 12:01:00 UTC", "disk full"}},
		"between two tries, the scheduler is down": {func(x *tables) {
			x.Obstacles = []aoscdb.Obstacle{obstacle("scheduler", Backoff, "try 2 of 5 at 2026-03-01 12:01:00 UTC, after: disk full")}
			daemon(x, "scheduler", dead)
		}, nil, DaemonDown, []string{"try 2 of 5", "disk full", "scheduler is down"}},
		"a try failed, until when": {func(x *tables) {
			running(x)
			x.Obstacles = []aoscdb.Obstacle{obstacle("scheduler", Backoff, "try 2 failed: disk full; next try at 12:01")}
		}, row(func(r *aoscdb.OSCRow) { r.Status, r.Try, r.Error = "FAILED", 2, "disk full" }), Backoff, []string{"next try at 12:01"}},
		"the worker was killed": {func(x *tables) { running(x); daemon(x, "oscworker", dead) },
			row(func(r *aoscdb.OSCRow) { r.LastUpdate = now.Add(-time.Minute) }), WorkerLost,
			[]string{"w1", "11:59:00", "copying", "oscworker is down"}},
		"the primary was killed": {running, map[RunKey]Look{{AlterKey{"udb", "t"}, addr}: {Err: errors.New("connection refused")}}, Unreachable,
			[]string{"connection refused"}},
		"worker and scheduler dead, nobody asked": {func(x *tables) {
			running(x)
			x.Running[0].LastUpdated = now.Add(-time.Hour)
			daemon(x, "scheduler", dead)
		}, nil, DaemonDown,
			[]string{"not known", "scheduler is down"}},
		"DONE": {func(x *tables) {
			x.Targets, x.Current[0].Status, x.Current[0].NextCheckAt = nil, "DONE", ago(-time.Hour)
		}, nil, Verifying, []string{"check 1 of 3", "13:00:00"}},
		"DONE, brain dead": {func(x *tables) { x.Targets, x.Current[0].Status = nil, "DONE"; daemon(x, "brain", dead) }, nil, DaemonDown,
			[]string{"brain is down"}},
		"no target left": {func(x *tables) { x.Targets, x.Current[0].Targets = nil, 0 }, nil, Verifying, []string{"no target is left"}},
	} {
		t.Run(name, func(t *testing.T) {
			x := world()
			c.change(&x)
			got := one(t, x, c.looks)
			if got.Code != c.want {
				t.Errorf("%s, want %s", got.Reason, c.want)
			}
			for _, s := range c.says {
				if !strings.Contains(got.Text, s) {
					t.Errorf("%q does not say %q", got.Text, s)
				}
			}
		})
	}
}

// dimension is one input with all the values it can have.
type dimension struct {
	name   string
	values []func(*aoscdb.WhyTables, map[RunKey]Look)
}

// Over all combinations of all inputs: there is exactly one answer with a sentence, and it claims nothing that the facts do
// not say. Every code is reached.
func TestEveryCombination(t *testing.T) {
	type f = func(*aoscdb.WhyTables, map[RunKey]Look)
	nothing := func(*aoscdb.WhyTables, map[RunKey]Look) {}
	state := func(name string) dimension {
		return dimension{name, []f{nothing,
			func(x *aoscdb.WhyTables, _ map[RunKey]Look) { daemon(x, name, dead) }}}
	}
	status := func(s, by string) f {
		return func(x *aoscdb.WhyTables, _ map[RunKey]Look) {
			x.Current[0].Status, x.Current[0].HoldBy, x.Current[0].Reason = s, by, "the reason"
		}
	}
	look := func(change func(*aoscdb.OSCRow), runStatus string) f {
		return func(x *aoscdb.WhyTables, l map[RunKey]Look) {
			x.Running = append(x.Running, run(runStatus))
			r := aoscdb.OSCRow{Status: aoscdb.OSCRunning, OSCPriv: aoscdb.PrivOK, LastUpdate: now, ReadAt: now}
			change(&r)
			l[RunKey{AlterKey{"udb", "t"}, addr}] = Look{Row: &r}
		}
	}
	detail := func(state, text string) func(*aoscdb.OSCRow) {
		return func(r *aoscdb.OSCRow) {
			r.Detail = fmt.Sprintf(`[{"database":"d","state":%q,"detail":%q}]`, state, text)
		}
	}
	found := func(by string, c Code) f {
		return func(x *aoscdb.WhyTables, _ map[RunKey]Look) {
			x.Obstacles = append(x.Obstacles, obstacle(by, c, "found "+string(c)))
		}
	}
	dims := []dimension{
		{"permission and alter", []f{nothing,
			func(x *aoscdb.WhyTables, _ map[RunKey]Look) { x.Current = nil },
			func(x *aoscdb.WhyTables, _ map[RunKey]Look) { x.Allowed = nil },
			status("DONE", ""), status("HOLD", "brain"), status("HOLD", "worker"), status("HOLD", "operator"), status("HOLD", "")}},
		{"tier", []f{nothing, func(x *aoscdb.WhyTables, _ map[RunKey]Look) { x.Tiers[0].Enabled = false },
			func(x *aoscdb.WhyTables, _ map[RunKey]Look) { x.Tiers = nil }}},
		state("brain"), state("collector"), state("scheduler"), state("oscworker"), state("checksum"),
		{"look", []f{nothing, func(x *aoscdb.WhyTables, _ map[RunKey]Look) {
			x.Current = clear(x.Current, func(c *aoscdb.CurrentAlter) { c.CollectedAt = nil })
		}}},
		{"targets", []f{nothing, func(x *aoscdb.WhyTables, _ map[RunKey]Look) { x.Targets = nil }}},
		{"collector's", []f{nothing, found("collector", Unreachable), found("collector", ChecksumFails)}},
		{"scheduler's", []f{nothing, found("scheduler", Limit), found("scheduler", Backoff)}},
		{"run", []f{nothing,
			look(func(r *aoscdb.OSCRow) { r.Status = "WAITING" }, "READY"),
			look(func(r *aoscdb.OSCRow) { r.Status, r.OSCPriv = "WAITING", "STOP" }, "READY"),
			look(func(r *aoscdb.OSCRow) { r.Status, r.Percentage = "DONE", 100 }, "READY"),
			look(detail("copying", ""), "RUNNING"), look(detail("throttled", "lag"), "RUNNING"), look(detail("at the gate", "manual"), "RUNNING"),
			look(detail("paused", "osc_priv is PAUSE"), "RUNNING"),
			look(detail("paused", "aoscdb does not say"), "RUNNING"), look(detail("altering", "for the table's lock"), "RUNNING"),
			look(func(r *aoscdb.OSCRow) { r.Status, r.Error = "FAILED", "disk full" }, "RUNNING"),
			look(func(r *aoscdb.OSCRow) { r.LastUpdate = now.Add(-time.Minute) }, "RUNNING"),
			func(x *aoscdb.WhyTables, l map[RunKey]Look) {
				x.Running = append(x.Running, run("RUNNING"))
				l[RunKey{AlterKey{"udb", "t"}, addr}] = Look{Err: errors.New("gone")}
			},
			func(x *aoscdb.WhyTables, _ map[RunKey]Look) { x.Running = append(x.Running, run("RUNNING")) },
		}},
	}
	reached := map[Code]int{}
	var at []int
	combinations := 0
	var walk func(int)
	walk = func(n int) {
		if n < len(dims) {
			for i := range dims[n].values {
				at = append(at, i)
				walk(n + 1)
				at = at[:n]
			}
			return
		}
		combinations++
		x, looks := world(), map[RunKey]Look{}
		// The permission last: it takes rows away that others change.
		for d := len(dims) - 1; d >= 0; d-- {
			dims[d].values[at[d]](&x, looks)
		}
		all := Answers(x, looks)
		if err := holds(x, all, at); err != nil {
			t.Fatalf("%v: %v", at, err)
		}
		for _, a := range all {
			reached[a.Code]++
			for _, e := range a.Instances {
				reached[e.Code]++
			}
		}
	}
	walk(0)
	others := map[Code]bool{DaemonFailing: true, OtherAlter: true, Order: true} // passed on like Limit; TestEachReason
	for _, c := range append([]Code{Going, Verifying, Admission, NoTier}, severity...) {
		if reached[c] == 0 && !others[c] {
			t.Errorf("%s is never the answer", c)
		}
	}
	t.Logf("%d combinations, %v", combinations, reached)
}

func clear(c []aoscdb.CurrentAlter, change func(*aoscdb.CurrentAlter)) []aoscdb.CurrentAlter {
	for i := range c {
		change(&c[i])
	}
	return c
}

// holds are the rules for any answer.
func holds(x aoscdb.WhyTables, all []Answer, at []int) error {
	if len(all) == 0 && (len(x.Allowed) > 0 || len(x.Current) > 0) || len(all) > 1 {
		return fmt.Errorf("%d answers", len(all))
	}
	for _, a := range all {
		entries := append([]Entry{{Reason: a.Reason}}, a.Instances...)
		for _, e := range entries {
			if e.Code == "" || e.Text == "" {
				return fmt.Errorf("no answer: %+v", e)
			}
			var named bool
			for n, name := range []string{"brain", "collector", "scheduler", "oscworker", "checksum"} {
				bad := at[2+n]
				named = named || bad != 0 && strings.Contains(e.Text, name)
				if bad == 0 && strings.Contains(e.Text, "the "+name+" is down") {
					return fmt.Errorf("%s is not down: %s", name, e.Reason)
				}
			}
			if (e.Code == DaemonDown || e.Code == DaemonFailing) && !named {
				return fmt.Errorf("no daemon named that is down: %s", e.Reason)
			}
		}
		going := false
		for _, e := range a.Instances {
			going = going || e.Code == Going
		}
		switch {
		case a.Code == Going && !going:
			return fmt.Errorf("nothing runs: %s", a.Reason)
		case going && len(x.Running) == 0:
			return fmt.Errorf("running without a row of running_alters: %s", a.Reason)
		case len(x.Current) > 0 && x.Current[0].Status == "HOLD" && (a.Code != Hold || !strings.Contains(a.Text, "the reason")):
			return fmt.Errorf("HOLD, and the answer is %s", a.Reason)
		case len(x.Current) == 0 && len(x.Allowed) > 0 && !strings.Contains(a.Text, "admission"):
			return fmt.Errorf("not admitted, and the answer is %s", a.Reason)
		}
	}
	return nil
}

// The reasons of permit for a pause are told apart by how they begin.
func TestPausesOfPermit(t *testing.T) {
	started := now
	begun := permit.Begun{Host: "db1", Port: 3306, Group: "udb", Table: "t", Blob: "b"}
	for want, change := range map[Code]func(*aoscdb.Permission){
		TierDisabled: func(p *aoscdb.Permission) { p.Tiers["udb"] = aoscdb.Tier{Group: "udb"} },
		Hold: func(p *aoscdb.Permission) {
			p.Alter.Status, p.Alter.HoldBy, p.Alter.HoldHow = aoscdb.AlterHold, aoscdb.HoldOperator, aoscdb.HoldPause
		},
		Limit: func(p *aoscdb.Permission) { p.Tiers["udb"] = aoscdb.Tier{Group: "udb", Enabled: true} },
	} {
		p := aoscdb.Permission{Allowed: &aoscdb.AllowedAlter{}, Alter: &aoscdb.CurrentAlter{Status: "IPR", DesiredHash: "b"},
			Tiers:   map[string]aoscdb.Tier{"udb": aoscdb.NewTier("udb")},
			Running: []aoscdb.RunningAlter{{Host: "db1", Port: 3306, Group: "udb", Table: "t", OSCStatus: "RUNNING", StartedAt: &started}}}
		change(&p)
		v := permit.Judge(begun, p)
		if v.Answer != permit.Pause || pauseCode(v.Reason) != want {
			t.Errorf("%+v is taken for %s, want %s", v, pauseCode(v.Reason), want)
		}
	}
}

// What a row says of progress, and what it must not.
func TestStand(t *testing.T) {
	copying := aoscdb.OSCRow{Status: "RUNNING", OSCPriv: "OK", Owner: "w1", ReadAt: now, LastUpdate: now.Add(-2 * time.Second), Percentage: 43,
		Detail: `[{"database":"d1","state":"done","rows_copied":50,"rows_total":50},` +
			`{"database":"d2","engine":"gh-ost","state":"copying","rows_copied":10,"rows_total":50,"rows_per_s":4,"eta_s":99,"lag_s":0.5}]`}
	s := StandOf(now, run("RUNNING"), Look{Row: &copying}, true)
	if s.State != "copying" || s.Code != Going || s.RowsCopied != 60 || s.RowsTotal != 100 || s.RowsPerS != 4 || s.ETA != 10*time.Second ||
		s.Lag == nil || *s.Lag != 500*time.Millisecond || s.Database != "d2" || s.Old {
		t.Errorf("copying: %+v", s)
	}
	for name, c := range map[string]struct {
		run  string
		look Look
		want Stand
	}{
		"DONE of an earlier run is not this one's": {"READY", Look{Row: &aoscdb.OSCRow{Status: "DONE", OSCPriv: "OK", Percentage: 100}},
			Stand{State: "queued", Code: Queued}},
		"RUNNING of an earlier run": {"READY", Look{Row: &aoscdb.OSCRow{Status: "RUNNING", OSCPriv: "OK", Percentage: 90}},
			Stand{State: "queued", Code: Queued}},
		"stopped": {"READY", Look{Row: &aoscdb.OSCRow{Status: "WAITING", OSCPriv: "STOP"}},
			Stand{State: "stopped", Code: OSCPriv}},
		"silent": {"RUNNING", Look{Row: &aoscdb.OSCRow{Status: "RUNNING", Percentage: 99.9, ReadAt: now,
			LastUpdate: now.Add(-time.Minute)}}, Stand{State: "silent", Code: WorkerLost, Percentage: 99.9, Age: time.Minute, Old: true}},
		"unreachable": {"RUNNING", Look{Err: errors.New("refused")},
			Stand{State: "unknown", Code: Unreachable, Percentage: 43, Age: time.Second, Old: true}},
		"row gone": {"RUNNING", Look{}, Stand{State: "unknown", Code: WorkerLost, Percentage: 43,
			Age: time.Second, Old: true}},
		"failed": {"RUNNING", Look{Row: &aoscdb.OSCRow{Status: "FAILED", Percentage: 77}},
			Stand{State: "failed", Code: Backoff, Percentage: 77, Old: true}},
		"done": {"RUNNING", Look{Row: &aoscdb.OSCRow{Status: "DONE", Percentage: 100}},
			Stand{State: "done", Code: Going, Percentage: 100}},
	} {
		got := StandOf(now, run(c.run), c.look, true)
		if got.State != c.want.State || got.Code != c.want.Code || got.Percentage != c.want.Percentage || got.Old != c.want.Old ||
			got.Age != c.want.Age {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// A brain that waits for a server fails for just that reason, and does look: only one that is down, or fails for another, does not.
func TestBrainThatWaitsLooks(t *testing.T) {
	const reason = "Waiting for tier udb: primary uncertain\ndrop the scratch schema"
	for name, c := range map[string]struct {
		change func(*aoscdb.DaemonRow)
		looks  bool
	}{
		"lives":                  {func(*aoscdb.DaemonRow) {}, true},
		"fails for that reason":  {func(d *aoscdb.DaemonRow) { d.Error = "1 of 1 alters cannot be judged: udb/t: " + reason }, true},
		"fails for another":      {failing, false},
		"is down":                {dead, false},
		"is down, failed for it": {func(d *aoscdb.DaemonRow) { d.Error = "udb/t: " + reason; dead(d) }, false},
	} {
		tables := world()
		tables.Current = clear(tables.Current, func(a *aoscdb.CurrentAlter) {
			a.Status, a.HoldBy, a.Reason = aoscdb.AlterHold, aoscdb.HoldBrain, reason
		})
		daemon(&tables, aoscdb.DaemonBrain, c.change)
		text := one(t, tables, nil).Reason.Text
		if strings.Contains(text, "Nobody looks") == c.looks || strings.Count(text, "Waiting for tier") != 1 && c.looks ||
			strings.Contains(text, "\n") {
			t.Errorf("the brain %s: %s", name, text)
		}
	}
}
