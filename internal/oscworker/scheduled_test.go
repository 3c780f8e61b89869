package oscworker

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// target makes instances targets of the alter, as the collector does.
func (f *fixture) target(servers ...*mysqld.Server) {
	f.t.Helper()
	for n, s := range servers {
		f.central("INSERT INTO alter_targets (`group`, table_name, host, port, cluster, role, bytes) VALUES ('udb', 't', ?, ?, 'c', 'primary', ?)",
			s.Addr().Host, s.Addr().Port, n)
	}
}

func (f *fixture) scheduler(faults string, more ...string) *process {
	f.t.Helper()
	return f.process("scheduler", faults, append([]string{"--scheduler-lease-ttl=1s", "--scheduler-follow=200ms", "--scheduler-interval=500ms",
		"--scheduler-rest=500ms"}, more...)...)
}

// left counts rows of a central table.
func (f *fixture) left(table string) string {
	f.t.Helper()
	var n string
	f.do(f.store.DB().QueryRowContext(f.t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n))
	return n
}

func (f *fixture) awaitFinished() {
	f.t.Helper()
	testkit.Eventually(f.t, patience, "no target and no running row is left", func() bool {
		return f.left("alter_targets") == "0" && f.left("running_alters") == "0"
	})
}

// I8: a scheduler killed at each of its steps, as a real process; the next one carries on, and the alter is done once.
func TestSchedulerKilledAnywhere(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, testkit.Lend(t, 2))
	f.database(tablePlain, 10)
	for n, fault := range []string{"scheduler.ready.written", "scheduler.waiting.written", "scheduler.done.before"} {
		t.Run(fault, func(t *testing.T) {
			f.t = t
			desired := columns(n + 1)
			f.allow(desired)
			f.target(f.primary)
			stop := f.worker("w1", nil)
			f.scheduler(armed(fault)).killed(t)
			next := f.scheduler("")
			f.awaitFinished()
			f.mustHave(f.primary, desired)
			if row := f.row(f.primary); row.Status != aoscdb.OSCDone || row.Try != 1 {
				t.Errorf("%s after %d tries, want DONE after one", row.Status, row.Try)
			}
			next.terminate(t)
			stop()
			woken, err := f.store.Wakeups(t.Context(), aoscdb.DaemonChecksum)
			f.do(err)
			for _, s := range f.clusters[0].Servers() {
				if _, ok := woken[aoscdb.ScopeInstance(s.Addr().String())]; !ok {
					t.Errorf("no checksum was asked for %s: %v", s.Addr(), woken)
				}
			}
		})
	}
}

// --once: each daemon does what there is to do now, and its exit status says whether that went well.
func TestOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, testkit.Lend(t, 2))
	f.database(tableColumn, 10)
	testkit.Exec(t, f.primary, "UPDATE "+f.databases[0]+".t SET extra = 1")
	run := func(name string) bool {
		t.Helper()
		p := f.process(name, "", "--once")
		select {
		case <-p.ended:
		case <-time.After(patience):
			t.Fatalf("%s --once does not end", name)
		}
		return p.cmd.ProcessState.Success()
	}
	f.allow(tablePlain) // loses the column
	f.target(f.primary)
	if !run("scheduler") || f.row(f.primary).Status != aoscdb.OSCWaiting {
		t.Fatalf("the scheduler queued nothing: %+v", f.row(f.primary))
	}
	if run("oscworker") {
		t.Error("the worker was refused and says that all went well")
	}
	if !run("scheduler") || !run("scheduler") {
		t.Error("the scheduler failed over a failed alter")
	}
	alter, err := f.store.CurrentAlter(t.Context(), "udb", "t")
	f.do(err)
	if alter.Status != aoscdb.AlterHold || alter.HoldBy != aoscdb.HoldWorker || !strings.Contains(alter.Reason, "allow_unsafe") {
		t.Errorf("after a final failure: %s by %q: %s", alter.Status, alter.HoldBy, alter.Reason)
	}
	f.central("UPDATE allowed_alters SET allow_unsafe = 1")
	f.do(f.store.OperatorResume(t.Context(), "udb", "t"))
	if !run("scheduler") || !run("oscworker") || !run("scheduler") {
		t.Error("a pass failed")
	}
	f.awaitFinished()
	f.mustHave(f.primary, tablePlain)
}

// I3: two schedulers, the leading one killed in the middle, and two workers for every instance: never more than the limit,
// never two on one instance. What is measured is when workers had their rows, from their own logs.
func TestLimitsHold(t *testing.T) {
	clusters := []*mysqld.Cluster{testkit.Cluster(t, 1), testkit.Cluster(t, 2)}
	for range 2 {
		clusters = append(clusters, testkit.FreshCluster(t, 1, mysqld.ReplicaOptions{}, nil))
	}
	const limit = 2
	f := newFixture(t, func(t *aoscdb.Tier) { t.MaxRunning = limit }, clusters...)
	for range 8 {
		f.database(tablePlain, 500)
	}
	var primaries []*mysqld.Server
	for _, c := range clusters {
		primaries = append(primaries, c.Primary)
	}
	f.worker("w1", nil)
	f.worker("w2", nil)
	// It is to die as the leader: a busy machine must not take the lease from it before.
	first := f.scheduler("scheduler.done.before=kill@3", "--scheduler-lease-ttl=5s")
	testkit.Eventually(t, patience, "the first scheduler leads", func() bool {
		_, _, err := f.store.LeaseHolder(t.Context(), aoscdb.DaemonScheduler)
		return err == nil
	})
	f.scheduler("", "--scheduler-lease-ttl=5s")
	for round, desired := range []string{tableCopy, tablePlain} {
		f.allow(desired)
		f.central("UPDATE allowed_alters SET allow_unsafe = 1")
		f.target(primaries...)
		if round == 0 {
			first.killed(t)
		}
		f.awaitFinished()
		for _, p := range primaries {
			f.mustHave(p, desired)
		}
	}
	most, runs := overlap(t, f.logs["w1"].String()+f.logs["w2"].String())
	t.Logf("%d runs, at most %d at once", runs, most)
	if most > limit {
		t.Errorf("I3: %d instances at once, the limit is %d", most, limit)
	}
	if want := 2 * len(primaries); runs < want {
		t.Errorf("%d runs seen, want at least %d", runs, want)
	}
	if most < limit {
		t.Errorf("at most %d at once: the limit was never reached, this proves nothing", most)
	}
}

var logLine = regexp.MustCompile(`time=(\S+) level=INFO msg=(taken|ended) .*instance=(\S+)`)

// overlap reads from logs when workers had rows: how many at once at most, and how many in all. It fails the test when
// two had the same instance.
func overlap(t *testing.T, logs string) (most, runs int) {
	t.Helper()
	type moment struct {
		at       time.Time
		taken    bool
		instance string
	}
	var moments []moment
	for line := range strings.SplitSeq(logs, "\n") {
		if m := logLine.FindStringSubmatch(line); m != nil {
			at, err := time.Parse(time.RFC3339Nano, m[1])
			if err != nil {
				t.Fatal(err)
			}
			moments = append(moments, moment{at, m[2] == "taken", m[3]})
		}
	}
	slices.SortStableFunc(moments, func(a, b moment) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		if a.taken == b.taken {
			return 0
		} else if b.taken {
			return -1 // within a millisecond an end comes first
		}
		return 1
	})
	busy := map[string]bool{}
	for _, m := range moments {
		if m.taken {
			if busy[m.instance] {
				t.Errorf("I3: two workers had %s", m.instance)
			}
			runs++
		}
		busy[m.instance] = m.taken
		n := 0
		for _, b := range busy {
			if b {
				n++
			}
		}
		most = max(most, n)
	}
	return most, runs
}
