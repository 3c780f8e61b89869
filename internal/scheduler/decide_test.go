package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

var (
	now   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rules = Rules{
		StartTimeout: time.Minute, HeartbeatTimeout: time.Minute, MaxRunTime: 24 * time.Hour,
		RetryBackoff: 10 * time.Second, RetryBackoffMax: time.Minute, MaxTries: 3,
	}
	tabla1 = AlterKey{"udb", "tabla1"}
	tabla2 = AlterKey{"udb", "tabla2"}
)

const (
	uuidA = "aaaaaaaa-0000-0000-0000-000000000001"
	uuidB = "aaaaaaaa-0000-0000-0000-000000000002"
)

// world is a snapshot under construction: tier udb with clusters c1, c2, c3, each of a primary pN (east) and a replica
// rN (west) on hosts of their own, and one alter of tabla1 in progress, admitted and pinned an hour ago.
type world struct{ Snapshot }

func newWorld() *world {
	w := &world{Snapshot{
		Now:      now,
		Tiers:    map[string]aoscdb.Tier{},
		Alters:   map[AlterKey]aoscdb.CurrentAlter{},
		Passes:   map[PassKey]aoscdb.Pass{},
		Retries:  map[TryKey]aoscdb.Retry{},
		Looks:    map[mysql.Addr]Look{},
		Views:    map[ClusterKey]fleet.ClusterView{},
		Avoid:    map[mysql.Addr]time.Time{},
		Settling: map[SettleKey]Settle{},
	}}
	w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunning, t.MaxRunningPerHost = 10, 0 })
	var clusters []fleet.Cluster
	for n := 1; n <= 3; n++ {
		name := fmt.Sprintf("c%d", n)
		clusters = append(clusters, fleet.Cluster{Tier: "udb", Name: name, Instances: []fleet.Instance{
			{Tier: "udb", Cluster: name, Host: fmt.Sprintf("p%d", n), Port: 3306, Datacenter: "east"},
			{Tier: "udb", Cluster: name, Host: fmt.Sprintf("r%d", n), Port: 3306, Datacenter: "west"},
		}})
	}
	w.inventory(clusters...)
	w.alter(tabla1, nil)
	return w
}

func (w *world) inventory(clusters ...fleet.Cluster) {
	w.Fleet = NewFleet([]fleet.Tier{{Name: "udb", Databases: "dbid%", Clusters: clusters}})
	w.Views = map[ClusterKey]fleet.ClusterView{}
	for _, c := range clusters {
		w.roles(c.Name, c.Instances[0].Host)
	}
}

// roles makes primary the primary of a cluster and the others its replicas, all caught up.
func (w *world) roles(cluster, primary string) {
	c := w.Fleet.Clusters[ClusterKey{"udb", cluster}]
	view := fleet.ClusterView{Cluster: c}
	for _, i := range c.Instances {
		o := fleet.Observed{Instance: i, Role: fleet.RolePrimary}
		o.Server.UUID, o.Server.GTIDExecuted = uuidA, uuidA+":1-100"
		if i.Host != primary {
			o.Role = fleet.RoleReplica
			o.Server.UUID = uuidB
			o.Replica = &mysql.ReplicaStatus{SourceUUID: uuidA, IORunning: "Yes", SQLRunning: "Yes"}
		}
		view.Members = append(view.Members, o)
	}
	w.Views[ClusterKey{"udb", cluster}] = view
}

func (w *world) member(host string, change func(*fleet.Observed)) {
	for _, v := range w.Views {
		for i := range v.Members {
			if v.Members[i].Host == host {
				change(&v.Members[i])
			}
		}
	}
}

func (w *world) tier(group string, change func(*aoscdb.Tier)) {
	t, ok := w.Tiers[group]
	if !ok {
		t = aoscdb.NewTier(group)
	}
	if change != nil {
		change(&t)
	}
	w.Tiers[group] = t
}

func (w *world) alter(k AlterKey, change func(*aoscdb.CurrentAlter)) {
	a, ok := w.Alters[k]
	if !ok {
		hourAgo := now.Add(-time.Hour)
		collected := now.Add(-time.Second)
		a = aoscdb.CurrentAlter{
			Group: k.Group, Table: k.Table, Status: aoscdb.AlterIPR, Priority: 10, DesiredHash: "blob1", CommitSHA: "commit1",
			StartedAt: &hourAgo, PinnedAt: &hourAgo, CollectedAt: &collected,
		}
	}
	if change != nil {
		change(&a)
	}
	w.Alters[k] = a
}

// primaryFirst: the change is stricter than what the table is.
func (w *world) primaryFirst() {
	w.alter(tabla1, func(a *aoscdb.CurrentAlter) { a.PrimaryFirst = true })
}

func (w *world) inst(host string) fleet.Instance {
	i, ok := w.Fleet.Instances[mysql.Addr{Host: host, Port: 3306}]
	if !ok {
		i = fleet.Instance{Tier: "udb", Cluster: "gone", Host: host, Port: 3306}
	}
	return i
}

func (w *world) target(k AlterKey, host string, bytes uint64) {
	w.Targets = append(w.Targets, aoscdb.Target{Group: k.Group, Table: k.Table, Host: host, Port: 3306, Bytes: bytes})
}

// targets makes all of these hosts targets of tabla1, of equal weight.
func (w *world) targets(hosts ...string) {
	for _, h := range hosts {
		w.target(tabla1, h, 1000)
	}
}

// retry adds a row of retries: one try failed, the next is due in half a minute.
func (w *world) retry(k AlterKey, host string, change func(*aoscdb.Retry)) {
	r := aoscdb.Retry{Host: host, Port: 3306, Group: k.Group, Table: k.Table, DesiredHash: "blob1", Tries: 1, MaxTries: rules.MaxTries,
		NextAt: now.Add(30 * time.Second), Error: "lock wait timeout"}
	if change != nil {
		change(&r)
	}
	w.Retries[TryKey{k, mysql.Addr{Host: host, Port: 3306}}] = r
}

// run adds a row of running_alters, queued 10 s ago, with a heartbeat now.
func (w *world) run(k AlterKey, host, status string, change func(*aoscdb.RunningAlter)) {
	i := w.inst(host)
	r := aoscdb.RunningAlter{
		Host: host, Port: 3306, Group: k.Group, Table: k.Table, OSCStatus: status, Cluster: i.Cluster, Datacenter: i.Datacenter,
		QueuedAt: now.Add(-10 * time.Second), LastUpdated: now,
	}
	if status != aoscdb.RunReady {
		started := now.Add(-5 * time.Second)
		r.StartedAt = &started
	}
	if change != nil {
		change(&r)
	}
	w.Running = append(w.Running, r)
}

// look is the instance's answer: its row for tabla1 in that status ("" = no row), with a heartbeat a second ago.
func (w *world) look(host, status string, busy bool, change func(*aoscdb.OSCRow)) {
	l := Look{Busy: busy}
	if status != "" {
		l.Row = &aoscdb.OSCRow{
			Host: host, Port: 3306, Group: "udb", Table: "tabla1", Status: status, OSCPriv: aoscdb.PrivOK, Try: 1,
			DesiredBlob: "blob1", CommitSHA: "commit1", Owner: "worker1",
			// The instance's clock is not aoscdb's: only differences may count.
			ReadAt: now.Add(7 * time.Hour), LastUpdate: now.Add(7*time.Hour - time.Second),
		}
		if change != nil {
			change(l.Row)
		}
	}
	w.Looks[mysql.Addr{Host: host, Port: 3306}] = l
}

// pass is a finished checksum of an instance, begun that long ago.
func (w *world) pass(host string, ago time.Duration) {
	begin, end := now.Add(-ago), now.Add(-ago+time.Second)
	a := mysql.Addr{Host: host, Port: 3306}
	w.Passes[PassKey{a, "udb"}] = aoscdb.Pass{Host: host, Port: 3306, Group: "udb", StartedAt: &begin, FinishedAt: &end}
}

// brief is the actions as words: "start tabla1 p1".
func brief(d Decision) []string {
	var out []string
	for _, a := range d.Actions {
		words := []string{string(a.Kind), a.Alter.Table, a.Addr.Host}
		out = append(out, strings.TrimSpace(strings.Join(words, " ")))
	}
	return out
}

func blockedWhy(d Decision, host string) string {
	for _, b := range d.Blocked {
		if b.Addr.Host == host {
			return b.Reason
		}
	}
	return ""
}

type decideCase struct {
	name    string
	world   func(*world)
	want    []string          // actions, in order
	blocked map[string]string // host to a part of the reason
}

func runCases(t *testing.T, cases []decideCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			c.world(w)
			d := Decide(w.Snapshot, rules)
			if got := brief(d); !slices.Equal(got, c.want) {
				t.Errorf("actions:\n got %q\nwant %q\nblocked: %v", got, c.want, d.Blocked)
			}
			for host, why := range c.blocked {
				if got := blockedWhy(d, host); !strings.Contains(got, why) {
					t.Errorf("%s is blocked by %q, want %q", host, got, why)
				}
			}
			for _, a := range d.Actions {
				if a.Kind == Start && a.Instance.Addr() != a.Addr {
					t.Errorf("start of %s carries instance %s", a.Addr, a.Instance)
				}
			}
		})
	}
}

// I3 and the tier's own wishes: what starts, in which order, and what the limits leave waiting.
func TestStart(t *testing.T) {
	east := func(host string) fleet.Instance {
		return fleet.Instance{Tier: "udb", Cluster: "x-" + host, Host: host, Port: 3306, Datacenter: "east"}
	}
	single := func(i fleet.Instance) fleet.Cluster {
		return fleet.Cluster{Tier: i.Tier, Name: i.Cluster, Instances: []fleet.Instance{i}}
	}
	runCases(t, []decideCase{
		{"nothing to do", func(w *world) {}, nil, nil},
		{"one primary per cluster", func(w *world) { w.targets("p1", "r1", "p2") },
			[]string{"start tabla1 p1", "start tabla1 p2"}, map[string]string{"r1": "replication will carry it"}},
		{"heavier first", func(w *world) {
			w.target(tabla1, "p1", 10)
			w.target(tabla1, "p2", 1000)
			w.target(tabla1, "p3", 100)
		}, []string{"start tabla1 p2", "start tabla1 p3", "start tabla1 p1"}, nil},
		{"max_running leaves the light ones waiting", func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunning = 1 })
			w.target(tabla1, "p1", 10)
			w.target(tabla1, "p2", 1000)
		}, []string{"start tabla1 p2"}, map[string]string{"p1": "max_running of tier udb is 1"}},
		{"max_running 0 is none", func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunning = 0 })
			w.targets("p1")
		}, nil, map[string]string{"p1": "max_running of tier udb is 0"}},
		{"what runs counts", func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunning = 2 })
			w.targets("p1", "p2", "p3")
			w.run(tabla1, "p1", aoscdb.RunRunning, nil)
			w.look("p1", aoscdb.OSCRunning, true, nil)
		}, []string{"start tabla1 p2"}, map[string]string{"p3": "max_running"}},
		{"what may be running unseen counts (I11)", func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunning = 1 })
			w.targets("p1", "p2")
			w.run(tabla1, "p1", aoscdb.RunRunning, nil)
		}, nil, map[string]string{"p2": "max_running"}},
		{"priority before admission", func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunning = 1 })
			w.alter(tabla2, func(a *aoscdb.CurrentAlter) { a.Priority = 20; late := now; a.StartedAt = &late })
			w.target(tabla1, "p1", 1000)
			w.target(tabla2, "p2", 1)
		}, []string{"start tabla2 p2"}, map[string]string{"p1": "max_running"}},
		{"admission among equals", func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunning = 1 })
			w.alter(tabla2, func(a *aoscdb.CurrentAlter) { early := now.Add(-2 * time.Hour); a.StartedAt = &early })
			w.target(tabla1, "p1", 1000)
			w.target(tabla2, "p2", 1)
		}, []string{"start tabla2 p2"}, nil},
		{"two alters share no cluster", func(w *world) {
			w.alter(tabla2, func(a *aoscdb.CurrentAlter) { late := now; a.StartedAt = &late })
			w.target(tabla1, "p1", 10)
			w.target(tabla2, "p1", 10)
			w.target(tabla2, "p2", 10)
		}, []string{"start tabla1 p1", "start tabla2 p2"}, map[string]string{"p1": "cluster c1 has an alter"}},
		{"per host", func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunningPerHost = 1 })
			a, b := east("h1"), east("h1")
			b.Port, b.Cluster = 3307, "x-other"
			w.inventory(single(a), single(b))
			w.target(tabla1, "h1", 10)
			w.Targets = append(w.Targets, aoscdb.Target{Group: "udb", Table: "tabla1", Host: "h1", Port: 3307, Bytes: 5})
		}, []string{"start tabla1 h1"}, map[string]string{"h1": "max_running_per_host on h1 is 1"}},
		{"per host 0 is no limit", func(w *world) {
			a, b := east("h1"), east("h1")
			b.Port, b.Cluster = 3307, "x-other"
			w.inventory(single(a), single(b))
			w.target(tabla1, "h1", 10)
			w.Targets = append(w.Targets, aoscdb.Target{Group: "udb", Table: "tabla1", Host: "h1", Port: 3307, Bytes: 5})
		}, []string{"start tabla1 h1", "start tabla1 h1"}, nil},
		{"per datacenter", func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunningPerDatacenter = 2 })
			w.targets("p1", "p2", "p3")
		}, []string{"start tabla1 p1", "start tabla1 p2"}, map[string]string{"p3": "max_running_per_datacenter of tier udb is 2"}},
		{"another datacenter is free", func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunningPerDatacenter = 1 })
			w.roles("c2", "r2")
			w.targets("p1", "r2", "p3")
		}, []string{"start tabla1 p1", "start tabla1 r2"}, map[string]string{"p3": "max_running_per_datacenter"}},
		{"HOLD starts nothing", func(w *world) {
			w.alter(tabla1, func(a *aoscdb.CurrentAlter) { a.Status = aoscdb.AlterHold })
			w.targets("p1")
		}, nil, nil},
		{"DONE starts nothing", func(w *world) {
			w.alter(tabla1, func(a *aoscdb.CurrentAlter) { a.Status = aoscdb.AlterDone })
			w.targets("p1")
		}, nil, nil},
		{"a tier that is not enabled starts nothing", func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.Enabled = false })
			w.targets("p1")
		}, nil, nil},
		{"a tier without a row starts nothing", func(w *world) { delete(w.Tiers, "udb"); w.targets("p1") }, nil, nil},
		{"a target that left the inventory", func(w *world) { w.targets("old", "p1") }, []string{"start tabla1 p1"}, nil},
		{"a target that moved to another tier", func(w *world) {
			a := mysql.Addr{Host: "p1", Port: 3306}
			i := w.Fleet.Instances[a]
			i.Tier = "other"
			w.Fleet.Instances[a] = i
			w.targets("p1")
		}, nil, nil},
		{"a cluster nobody asked", func(w *world) { clear(w.Views); w.targets("p1") }, nil, map[string]string{"p1": "asked for its roles"}},
		{"no primary (I2, I11)", func(w *world) {
			w.member("p1", func(o *fleet.Observed) { o.Role, o.Err = fleet.RoleUnknown, fmt.Errorf("down") })
			w.targets("p1", "r1")
		}, nil, map[string]string{"p1": "no primary", "r1": "no primary"}},
		{"two primaries (I2)", func(w *world) {
			w.member("r1", func(o *fleet.Observed) { o.Role, o.Replica = fleet.RolePrimary, nil })
			w.targets("p1")
		}, nil, map[string]string{"p1": "more than one primary"}},
		{"a failed start rests", func(w *world) {
			w.Avoid[mysql.Addr{Host: "p1", Port: 3306}] = now.Add(time.Second)
			w.Avoid[mysql.Addr{Host: "p2", Port: 3306}] = now
			w.targets("p1", "p2")
		}, []string{"start tabla1 p2"}, map[string]string{"p1": "failed a moment ago"}},
		{"the role that counts is the observed one", func(w *world) {
			w.roles("c1", "r1")
			w.targets("p1", "r1")
		}, []string{"start tabla1 r1"}, map[string]string{"p1": "replication will carry it"}},
	})
}

// Two tiers on one host: the host's disks know no tiers.
func TestHostIsSharedByTiers(t *testing.T) {
	for _, c := range []struct {
		name     string
		udb, vdb int // max_running_per_host
		want     []string
	}{
		{"both limited", 1, 1, []string{"start t h"}},
		{"the running one limited", 1, 0, []string{"start t h"}},
		{"the starting one limited", 0, 1, []string{"start t h"}},
		{"room for two", 2, 2, []string{"start t h", "start t h"}},
		{"no limit", 0, 0, []string{"start t h", "start t h"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			a := fleet.Instance{Tier: "udb", Cluster: "a", Host: "h", Port: 1}
			b := fleet.Instance{Tier: "vdb", Cluster: "b", Host: "h", Port: 2}
			clear(w.Alters)
			w.Fleet = NewFleet([]fleet.Tier{
				{Name: "udb", Clusters: []fleet.Cluster{{Tier: "udb", Name: "a", Instances: []fleet.Instance{a}}}},
				{Name: "vdb", Clusters: []fleet.Cluster{{Tier: "vdb", Name: "b", Instances: []fleet.Instance{b}}}},
			})
			for _, i := range []fleet.Instance{a, b} {
				o := fleet.Observed{Instance: i, Role: fleet.RolePrimary}
				c := ClusterKey{i.Tier, i.Cluster}
				w.Views[c] = fleet.ClusterView{Cluster: w.Fleet.Clusters[c], Members: []fleet.Observed{o}}
				w.alter(AlterKey{i.Tier, "t"}, nil)
				w.Targets = append(w.Targets, aoscdb.Target{Group: i.Tier, Table: "t", Host: i.Host, Port: i.Port})
			}
			w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunning, t.MaxRunningPerHost = 5, c.udb })
			w.tier("vdb", func(t *aoscdb.Tier) { t.MaxRunning, t.MaxRunningPerHost = 5, c.vdb })
			if got := brief(Decide(w.Snapshot, rules)); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// ordering='rolling': replicas first, one instance of a cluster at a time, the primary last and only when every
// replica is known to need nothing (I11).
func TestRolling(t *testing.T) {
	rolling := func(f func(*world)) func(*world) {
		return func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.Ordering = aoscdb.OrderingRolling })
			three := fleet.Cluster{Tier: "udb", Name: "c", Instances: []fleet.Instance{
				{Tier: "udb", Cluster: "c", Host: "p", Port: 3306},
				{Tier: "udb", Cluster: "c", Host: "a", Port: 3306},
				{Tier: "udb", Cluster: "c", Host: "b", Port: 3306},
			}}
			w.inventory(three)
			w.pass("a", 30*time.Second)
			w.pass("b", 30*time.Second)
			f(w)
		}
	}
	runCases(t, []decideCase{
		{"replicas first, the heavier first", rolling(func(w *world) {
			w.target(tabla1, "p", 100)
			w.target(tabla1, "a", 5)
			w.target(tabla1, "b", 10)
		}), []string{"start tabla1 b"}, map[string]string{"p": "the primary goes last", "a": "b:3306 is first"}},
		{"then the other", rolling(func(w *world) { w.targets("p", "a") }), []string{"start tabla1 a"}, map[string]string{"p": "primary goes last"}},
		{"the primary last", rolling(func(w *world) { w.targets("p") }), []string{"start tabla1 p"}, nil},
		{"not the primary while a replica runs", rolling(func(w *world) {
			w.targets("p")
			w.run(tabla1, "a", aoscdb.RunRunning, nil)
			w.look("a", aoscdb.OSCRunning, true, nil)
		}), nil, map[string]string{"p": "has an alter on a:3306"}},
		{"not the primary before a replica was checked", rolling(func(w *world) { w.pass("b", 2*time.Hour); w.targets("p") }),
			nil, map[string]string{"p": "replica b:3306 has not been checked yet"}},
		{"not the primary before the collector saw it", rolling(func(w *world) { w.pass("b", time.Second); w.targets("p") }),
			[]string{"recollect tabla1"}, map[string]string{"p": "the collector has not looked since"}},
		{"an unreachable replica is not altered, nor overtaken", rolling(func(w *world) {
			w.member("a", func(o *fleet.Observed) { o.Role, o.Err = fleet.RoleUnknown, fmt.Errorf("down") })
			w.targets("p", "a")
		}), nil, map[string]string{"a": "role is unknown", "p": "goes last"}},
		{"another replica may go meanwhile", rolling(func(w *world) {
			w.member("a", func(o *fleet.Observed) { o.Role, o.Err = fleet.RoleUnknown, fmt.Errorf("down") })
			w.targets("p", "a", "b")
		}), []string{"start tabla1 b"}, nil},
		{"stricter: the primary first", rolling(func(w *world) { w.primaryFirst(); w.targets("p", "a", "b") }), []string{"start tabla1 p"},
			map[string]string{"a": "the primary p:3306 goes first", "b": "the primary p:3306 goes first"}},
		{"stricter: then the replicas", rolling(func(w *world) { w.primaryFirst(); w.pass("p", 30*time.Second); w.targets("a", "b") }), []string{"start tabla1 a"},
			map[string]string{"b": "a:3306 is first"}},
		{"stricter: no replica before the primary was checked (I11)", rolling(func(w *world) { w.primaryFirst(); w.pass("p", 2*time.Hour); w.targets("a") }), nil,
			map[string]string{"a": "the primary goes first, and p:3306 has not been checked yet"}},
		{"a replica that failed to start does not hold up the other", rolling(func(w *world) {
			w.Avoid[mysql.Addr{Host: "b", Port: 3306}] = now.Add(time.Minute)
			w.target(tabla1, "a", 5)
			w.target(tabla1, "b", 10)
		}), []string{"start tabla1 a"}, nil},
	})
}

// A replica that alone still needs the alter is believed only after replication and checksum had their chance.
func TestReplicaOnly(t *testing.T) {
	key := SettleKey{tabla1, mysql.Addr{Host: "r1", Port: 3306}}
	clean := func(f func(*world)) func(*world) {
		return func(w *world) {
			w.pass("p1", 30*time.Second)
			w.targets("r1")
			f(w)
		}
	}
	settled := func(w *world, ago time.Duration) {
		w.Settling[key] = Settle{Barrier: uuidA + ":1-90", At: now.Add(-ago)}
	}
	runCases(t, []decideCase{
		{"first seen and caught up: check it again", clean(func(w *world) {}), []string{"recheck tabla1 r1"},
			map[string]string{"r1": "has not been checked since"}},
		{"behind the primary", clean(func(w *world) {
			w.member("r1", func(o *fleet.Observed) { o.Server.GTIDExecuted = uuidA + ":1-99" })
		}), nil, map[string]string{"r1": "has not applied what the primary p1:3306 has done"}},
		{"behind now, past the barrier", clean(func(w *world) {
			w.Settling[key] = Settle{Barrier: uuidA + ":1-90"}
			w.member("r1", func(o *fleet.Observed) { o.Server.GTIDExecuted = uuidA + ":1-95" })
		}), []string{"recheck tabla1 r1"}, nil},
		{"a primary without GTIDs", clean(func(w *world) {
			w.member("p1", func(o *fleet.Observed) { o.Server.GTIDExecuted = "" })
		}), nil, map[string]string{"r1": "no usable gtid_executed"}},
		{"replicates from elsewhere", clean(func(w *world) {
			w.member("r1", func(o *fleet.Observed) { o.Replica.SourceUUID = "elsewhere" })
		}), nil, map[string]string{"r1": "does not replicate from the primary"}},
		{"checked before it caught up", clean(func(w *world) { settled(w, 20*time.Second); w.pass("r1", 30*time.Second) }),
			nil, map[string]string{"r1": "has not been checked since"}},
		{"checked since, not collected", clean(func(w *world) { settled(w, 20*time.Second); w.pass("r1", time.Second) }),
			[]string{"recollect tabla1"}, map[string]string{"r1": "collector has not looked since"}},
		{"checked and collected since: it is altered itself", clean(func(w *world) { settled(w, 20*time.Second); w.pass("r1", 10*time.Second) }),
			[]string{"start tabla1 r1"}, nil},
		{"the primary has not been checked", func(w *world) { w.targets("r1"); settled(w, 20*time.Second); w.pass("r1", 10*time.Second) },
			nil, map[string]string{"r1": "the primary p1:3306 has not been checked yet"}},
		{"the primary was checked for an older version", func(w *world) {
			w.pass("p1", 2*time.Hour)
			w.targets("r1")
			settled(w, 20*time.Second)
			w.pass("r1", 10*time.Second)
		}, nil, map[string]string{"r1": "the primary p1:3306 has not been checked yet"}},
		{"the primary needs it after all", clean(func(w *world) { w.targets("p1"); settled(w, 20*time.Second); w.pass("r1", 10*time.Second) }),
			[]string{"start tabla1 p1"}, nil},
	})
}

func TestSettlingIsRememberedAndForgotten(t *testing.T) {
	key := SettleKey{tabla1, mysql.Addr{Host: "r1", Port: 3306}}
	known := Settle{Barrier: uuidA + ":1-50", At: now.Add(-time.Minute)}
	for _, c := range []struct {
		name  string
		world func(*world)
		want  Settle
		kept  bool
	}{
		{"first sight", func(w *world) { clear(w.Settling) }, Settle{Barrier: uuidA + ":1-100", At: now}, true},
		{"kept", func(w *world) {}, known, true},
		{"kept while the cluster is not asked", func(w *world) { clear(w.Views) }, known, true},
		{"kept while the primary is unknown", func(w *world) {
			w.member("p1", func(o *fleet.Observed) { o.Role, o.Err = fleet.RoleUnknown, fmt.Errorf("down") })
		}, known, true},
		{"kept while the tier is full", func(w *world) { w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunning = 0 }) }, known, true},
		{"forgotten when the primary needs it again", func(w *world) { w.targets("p1") }, Settle{}, false},
		{"forgotten when the cluster is altered", func(w *world) {
			w.run(tabla1, "p1", aoscdb.RunRunning, nil)
			w.look("p1", aoscdb.OSCRunning, true, nil)
		}, Settle{}, false},
		{"forgotten when the replica needs nothing", func(w *world) { w.Targets = nil }, Settle{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			w.pass("p1", 30*time.Second)
			w.targets("r1")
			w.Settling[key] = known
			c.world(w)
			got, kept := Decide(w.Snapshot, rules).Settling[key]
			if kept != c.kept || got != c.want {
				t.Errorf("got %+v %v, want %+v %v", got, kept, c.want, c.kept)
			}
		})
	}
}
