package collector

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

var pinned = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

func after(d time.Duration) *time.Time {
	t := pinned.Add(d)
	return &t
}

func alter() aoscdb.CurrentAlter {
	return aoscdb.CurrentAlter{
		Group: "udb", Table: "tabla1", Status: aoscdb.AlterIPR, ServerList: aoscdb.ServersDefault,
		DesiredHash: "blob1", PinnedAt: after(0), Targets: -1, Unknowns: -1,
	}
}

func pass() *aoscdb.Pass {
	return &aoscdb.Pass{Host: "db1", Port: 3306, Group: "udb", StartedAt: after(time.Second), FinishedAt: after(2 * time.Second), Databases: 3, Tables: 6}
}

// seen is the evidence of an instance whose three databases all have the table as desired.
func seen(host string) evidence {
	return evidence{
		Instance: fleet.Instance{Tier: "udb", Cluster: "udb-1", Host: host, Port: 3306},
		Role:     fleet.RoleReplica,
		Pass:     pass(),
		Summary:  map[string]aoscdb.TableSummary{"tabla1": {Table: "tabla1", Total: 3}},
	}
}

// I11 and I4: only an instance that answered, was checked since the pin, and has a row for each database is clean.
func TestJudge(t *testing.T) {
	notOK := func(e *evidence) {
		e.Summary["tabla1"] = aoscdb.TableSummary{Table: "tabla1", Total: 3, NotOK: 1, Bytes: 7}
	}
	for name, tc := range map[string]struct {
		change func(*aoscdb.CurrentAlter, *evidence)
		want   verdict
		reason string
	}{
		"all OK":     {func(*aoscdb.CurrentAlter, *evidence) {}, clean, ""},
		"one not OK": {func(_ *aoscdb.CurrentAlter, e *evidence) { notOK(e) }, target, ""},
		"does not answer": {
			func(_ *aoscdb.CurrentAlter, e *evidence) { e.Err = errors.New("connection refused") }, unknown, "connection refused"},
		"does not answer, was not OK": {
			func(_ *aoscdb.CurrentAlter, e *evidence) { notOK(e); e.Err = errors.New("hung") }, unknown, "hung"},
		"never checked": {func(_ *aoscdb.CurrentAlter, e *evidence) { e.Pass = nil }, unknown, "no checksum"},
		"never finished a check": {
			func(_ *aoscdb.CurrentAlter, e *evidence) {
				e.Pass = &aoscdb.Pass{Host: "db1", Port: 3306, Error: "access denied"}
			}, unknown, "access denied"},
		"check began before the pin": {
			func(_ *aoscdb.CurrentAlter, e *evidence) { e.Pass.StartedAt = after(-time.Microsecond) }, unknown, "no checksum"},
		"check began with the pin": {func(_ *aoscdb.CurrentAlter, e *evidence) { e.Pass.StartedAt = after(0) }, clean, ""},
		"check began before the pin, not OK": {
			func(_ *aoscdb.CurrentAlter, e *evidence) { notOK(e); e.Pass.StartedAt = after(-time.Second) }, unknown, "no checksum"},
		"another check was asked for since": {
			func(a *aoscdb.CurrentAlter, _ *evidence) { a.CheckFrom = after(time.Minute) }, unknown, "no checksum"},
		"another check was asked for and came": {
			func(a *aoscdb.CurrentAlter, e *evidence) {
				a.CheckFrom, e.Pass.StartedAt = after(time.Minute), after(2*time.Minute)
			}, clean, ""},
		"check_from is earlier than the pin": {
			func(a *aoscdb.CurrentAlter, _ *evidence) { a.CheckFrom = after(-time.Hour) }, clean, ""},
		"a fresh check wanted, none yet": {
			func(a *aoscdb.CurrentAlter, _ *evidence) { a.CheckFresh = true }, unknown, "no fresh checksum"},
		"a fresh check wanted, an old one": {
			func(a *aoscdb.CurrentAlter, e *evidence) {
				a.CheckFresh, e.Pass.FreshStartedAt = true, after(-time.Hour)
			}, unknown, "no fresh"},
		"a fresh check wanted and done": {
			func(a *aoscdb.CurrentAlter, e *evidence) {
				a.CheckFresh, e.Pass.FreshStartedAt = true, after(time.Second)
			}, clean, ""},
		"compared with another text": {
			func(_ *aoscdb.CurrentAlter, e *evidence) {
				e.Summary["tabla1"] = aoscdb.TableSummary{Table: "tabla1", Total: 3, Stale: 1}
			}, unknown, "another version"},
		"no rows at all": {func(_ *aoscdb.CurrentAlter, e *evidence) { e.Summary = nil }, unknown, "only 0 of its 3"},
		"a database without a row": {
			func(_ *aoscdb.CurrentAlter, e *evidence) {
				e.Summary["tabla1"] = aoscdb.TableSummary{Table: "tabla1", Total: 2}
			}, unknown, "only 2 of its 3"},
		"the checksum could not judge the table": {
			func(_ *aoscdb.CurrentAlter, e *evidence) { e.Summary, e.Pass.Error = nil, "tabla1: bad DDL" }, unknown, "bad DDL"},
		"no databases there": {
			func(_ *aoscdb.CurrentAlter, e *evidence) { e.Summary, e.Pass.Databases = nil, 0 }, clean, ""},
		"the newest attempt failed after a good pass": {
			func(_ *aoscdb.CurrentAlter, e *evidence) { e.Pass.Error = "timeout" }, clean, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, e := alter(), seen("db1")
			tc.change(&a, &e)
			got, reason := judge(a, e)
			if got != tc.want || !strings.Contains(reason, tc.reason) || (got == unknown) != (reason != "") {
				t.Errorf("judge = %v (%q), want %v (%q)", got, reason, tc.want, tc.reason)
			}
		})
	}
}

func TestUnjudgedIsTheZeroVerdict(t *testing.T) {
	// I11: a verdict somebody forgot to set must not read as clean.
	var v verdict
	if v != unknown {
		t.Errorf("the zero verdict is %v", v)
	}
}

func TestDecide(t *testing.T) {
	dirty := func(host string) evidence {
		e := seen(host)
		e.Summary = map[string]aoscdb.TableSummary{"tabla1": {Table: "tabla1", Total: 3, NotOK: 2, Bytes: 40}}
		return e
	}
	down := func(host string) evidence {
		e := seen(host)
		e.Err, e.Role = errors.New("connection refused"), fleet.RoleUnknown
		return e
	}
	row := func(host string, found time.Time) aoscdb.Target {
		return aoscdb.Target{Group: "udb", Table: "tabla1", Host: host, Port: 3306, Cluster: "udb-1", Role: "replica",
			FoundAt: found, Databases: 2, Bytes: 40}
	}
	at := pinned.Add(time.Hour)
	since := pinned.Add(time.Minute)
	for name, tc := range map[string]struct {
		alter     func(*aoscdb.CurrentAlter)
		instances []evidence
		custom    []string
		stored    []aoscdb.Target
		insert    []string
		update    []string
		delete    []string
		targets   int
		unknowns  int
	}{
		"all clean":            {instances: []evidence{seen("a"), seen("b")}},
		"a new target":         {instances: []evidence{dirty("a"), seen("b")}, insert: []string{"a"}, targets: 1},
		"a target stays":       {instances: []evidence{dirty("a")}, stored: []aoscdb.Target{row("a", since)}, targets: 1},
		"a target was altered": {instances: []evidence{seen("a")}, stored: []aoscdb.Target{row("a", since)}, delete: []string{"a"}},
		"half of its databases are done": {
			instances: []evidence{func() evidence {
				e := dirty("a")
				e.Summary["tabla1"] = aoscdb.TableSummary{Table: "tabla1", Total: 3, NotOK: 1, Bytes: 20}
				return e
			}()},
			stored: []aoscdb.Target{row("a", since)}, update: []string{"a"}, targets: 1},
		"its role changed": {
			instances: []evidence{func() evidence { e := dirty("a"); e.Role = fleet.RolePrimary; return e }()},
			stored:    []aoscdb.Target{row("a", since)}, update: []string{"a"}, targets: 1},
		"I11: a target that stopped answering stays listed": {
			instances: []evidence{down("a"), seen("b")}, stored: []aoscdb.Target{row("a", since)}, unknowns: 1},
		"I11: unreachable is neither clean nor target": {instances: []evidence{down("a")}, unknowns: 1},
		"a row from before the pin says nothing": {
			instances: []evidence{down("a")}, stored: []aoscdb.Target{row("a", pinned.Add(-time.Second))}, delete: []string{"a"}, unknowns: 1},
		"gone from the inventory": {
			instances: []evidence{seen("b")}, stored: []aoscdb.Target{row("a", since)}, delete: []string{"a"}},
		"I11: a tier without instances is not finished": {unknowns: 1},
		"custom: only the listed count": {
			alter:     func(a *aoscdb.CurrentAlter) { a.ServerList = aoscdb.ServersCustom },
			instances: []evidence{dirty("a"), dirty("b"), down("c")}, custom: []string{"b", "gone"}, insert: []string{"b"}, targets: 1},
		"custom: none listed": {
			alter:     func(a *aoscdb.CurrentAlter) { a.ServerList = aoscdb.ServersCustom },
			instances: []evidence{seen("a")}, unknowns: 1},
	} {
		t.Run(name, func(t *testing.T) {
			a := alter()
			if tc.alter != nil {
				tc.alter(&a)
			}
			s := snapshot{At: at, Alters: []aoscdb.CurrentAlter{a}, Instances: map[string][]evidence{"udb": tc.instances}, Stored: tc.stored,
				Custom: map[alterKey]map[mysql.Addr]bool{{"udb", "tabla1"}: {}}}
			for _, h := range tc.custom {
				s.Custom[alterKey{"udb", "tabla1"}][mysql.Addr{Host: h, Port: 3306}] = true
			}
			findings, orphans := decide(s)
			if len(findings) != 1 || len(orphans) != 0 {
				t.Fatalf("%d findings, %d orphans, want 1 and 0", len(findings), len(orphans))
			}
			f := findings[0]
			if f.Targets != tc.targets || len(f.Unknowns) != tc.unknowns {
				t.Errorf("targets %d, unknowns %v, want %d and %d", f.Targets, f.Unknowns, tc.targets, tc.unknowns)
			}
			for what, pair := range map[string][2][]string{
				"insert": {hosts(f.Insert), tc.insert}, "update": {hosts(f.Update), tc.update}, "delete": {hosts(f.Delete), tc.delete}} {
				if strings.Join(pair[0], ",") != strings.Join(pair[1], ",") {
					t.Errorf("%s %v, want %v", what, pair[0], pair[1])
				}
			}
			for _, u := range f.Update {
				if !u.FoundAt.Equal(since) {
					t.Errorf("found_at of a known target moved to %v", u.FoundAt)
				}
			}
		})
	}
}

func hosts(ts []aoscdb.Target) []string {
	var out []string
	for _, t := range ts {
		out = append(out, t.Host)
	}
	return out
}

func TestDecideLeavesUnpinnedAltersAndDropsOrphans(t *testing.T) {
	held := alter()
	held.Status, held.DesiredHash, held.PinnedAt = aoscdb.AlterHold, "", nil
	gone := aoscdb.Target{Group: "udb", Table: "gone", Host: "a", Port: 3306}
	kept := aoscdb.Target{Group: "udb", Table: "tabla1", Host: "a", Port: 3306}
	findings, orphans := decide(snapshot{At: pinned, Alters: []aoscdb.CurrentAlter{held}, Stored: []aoscdb.Target{gone, kept}})
	if len(findings) != 0 {
		t.Errorf("an alter without a pin was judged: %+v", findings)
	}
	if len(orphans) != 1 || orphans[0].Table != "gone" {
		t.Errorf("orphans %+v, want the target of the alter that is gone", orphans)
	}
}

func TestNews(t *testing.T) {
	at := pinned.Add(time.Hour)
	base := func() finding {
		a := alter()
		a.CollectedAt, a.Targets, a.Unknowns = after(time.Minute), 1, 0
		return finding{Alter: a, Targets: 1}
	}
	for name, tc := range map[string]struct {
		change func(*finding)
		want   bool
	}{
		"nothing new":               {func(*finding) {}, false},
		"first look ever":           {func(f *finding) { f.Alter.CollectedAt = nil }, true},
		"first look since the pin":  {func(f *finding) { f.Alter.PinnedAt = after(30 * time.Minute) }, true},
		"first look since asked":    {func(f *finding) { f.Alter.CheckFrom = after(30 * time.Minute) }, true},
		"asked for during the look": {func(f *finding) { f.Alter.CheckFrom = after(2 * time.Hour) }, false},
		"fewer targets":             {func(f *finding) { f.Targets = 0 }, true},
		"an unknown":                {func(f *finding) { f.Unknowns = []unknownInstance{{Instance: "a:3306", Reason: "down"}} }, true},
		"another target":            {func(f *finding) { f.Insert, f.Delete = make([]aoscdb.Target, 1), make([]aoscdb.Target, 1) }, true},
		"a target changed":          {func(f *finding) { f.Update = make([]aoscdb.Target, 1) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := base()
			tc.change(&f)
			if got := f.news(at); got != tc.want {
				t.Errorf("news = %v, want %v", got, tc.want)
			}
		})
	}
}
