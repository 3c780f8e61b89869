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

// What happens to a row that no worker has begun.
func TestReadyRows(t *testing.T) {
	ready := func(status string, f func(*world)) func(*world) {
		return func(w *world) {
			w.targets("p1")
			w.run(tabla1, "p1", aoscdb.RunReady, nil)
			if status != "unknown" {
				w.look("p1", status, false, nil)
			}
			if f != nil {
				f(w)
			}
		}
	}
	old := func(w *world) { w.Running[0].QueuedAt = now.Add(-2 * time.Minute) }
	hold := func(w *world) { w.alter(tabla1, func(a *aoscdb.CurrentAlter) { a.Status = aoscdb.AlterHold }) }
	row := func(f func(*aoscdb.OSCRow)) func(*world) {
		return func(w *world) { f(w.Looks[w.inst("p1").Addr()].Row) }
	}
	withdraw := []string{"withdraw tabla1 p1"}
	queue := []string{"queue tabla1 p1"}
	runCases(t, []decideCase{
		{"crash between the two writes: written again", ready("", nil), queue, nil},
		{"the end of an earlier run is not this one's", ready(aoscdb.OSCDone, nil), queue, nil},
		{"nor its failure", ready(aoscdb.OSCFailed, func(w *world) { row(func(r *aoscdb.OSCRow) { r.Final = true })(w) }), queue, nil},
		{"waiting for its worker", ready(aoscdb.OSCWaiting, nil), nil, nil},
		{"taken, not claimed yet", ready(aoscdb.OSCRunning, nil), nil, nil},
		{"no answer: nothing is known, nothing is done", ready("unknown", nil), nil, nil},
		{"a new commit", ready(aoscdb.OSCWaiting, row(func(r *aoscdb.OSCRow) { r.DesiredBlob = "blob0" })), queue, nil},

		{"HOLD withdraws what waits", ready(aoscdb.OSCWaiting, hold), withdraw, nil},
		{"HOLD withdraws what was never queued", ready("", hold), withdraw, nil},
		{"HOLD withdraws what a worker took and has not claimed", ready(aoscdb.OSCRunning, hold), withdraw, nil},
		{"HOLD withdraws although the instance does not answer: no worker can claim it any more", ready("unknown", hold), withdraw, nil},
		{"HOLD with the end of an earlier run", ready(aoscdb.OSCDone, hold), withdraw, nil},
		{"DONE withdraws", ready(aoscdb.OSCWaiting, func(w *world) {
			w.alter(tabla1, func(a *aoscdb.CurrentAlter) { a.Status = aoscdb.AlterDone })
		}), withdraw, nil},
		{"revoked withdraws", ready(aoscdb.OSCWaiting, func(w *world) { clear(w.Alters) }), withdraw, nil},
		{"a tier that is not enabled withdraws", ready(aoscdb.OSCWaiting, func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.Enabled = false })
		}), withdraw, nil},
		{"a tier without a row withdraws", ready(aoscdb.OSCWaiting, func(w *world) { clear(w.Tiers) }), withdraw, nil},
		{"a limit that was lowered withdraws", ready(aoscdb.OSCWaiting, func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunning = 0 })
		}), withdraw, nil},

		{"not started in time", ready(aoscdb.OSCWaiting, old), withdraw, nil},
		{"not started in time, no answer", ready("unknown", old), withdraw, nil},
		{"taken but not claimed in time", ready(aoscdb.OSCRunning, old), withdraw, nil},
		{"stopped by the operator: it has all the time in the world", ready(aoscdb.OSCWaiting, func(w *world) {
			old(w)
			row(func(r *aoscdb.OSCRow) { r.OSCPriv = aoscdb.PrivStop })(w)
		}), nil, map[string]string{}},
		{"paused before it began", ready(aoscdb.OSCWaiting, func(w *world) {
			old(w)
			row(func(r *aoscdb.OSCRow) { r.OSCPriv = aoscdb.PrivPause })(w)
		}), nil, nil},

		{"the instance left the inventory", ready("unknown", func(w *world) { delete(w.Fleet.Instances, w.inst("p1").Addr()) }),
			[]string{"forget tabla1 p1"}, nil},
	})
}

// A failover between the two: the row of the old primary.
func TestFailover(t *testing.T) {
	runCases(t, []decideCase{
		{"not begun: withdrawn, the new primary waits for that", func(w *world) {
			w.targets("p1", "r1")
			w.roles("c1", "r1")
			w.run(tabla1, "p1", aoscdb.RunReady, nil)
			w.look("p1", aoscdb.OSCWaiting, false, nil)
		}, []string{"withdraw tabla1 p1"}, map[string]string{"r1": "cluster c1 has an alter on p1:3306"}},
		{"perhaps running on the old primary: no second alter on the cluster (I3, I11)", func(w *world) {
			w.targets("p1", "r1")
			w.roles("c1", "r1")
			w.run(tabla1, "p1", aoscdb.RunRunning, nil)
		}, nil, map[string]string{"r1": "cluster c1 has an alter on p1:3306"}},
		{"still no second one after a day of silence", func(w *world) {
			w.targets("p1", "r1")
			w.roles("c1", "r1")
			w.run(tabla1, "p1", aoscdb.RunRunning, func(r *aoscdb.RunningAlter) {
				r.LastUpdated = now.Add(-23 * time.Hour)
				begun := now.Add(-23 * time.Hour)
				r.StartedAt = &begun
			})
		}, []string{"warn tabla1 p1"}, map[string]string{"r1": "has an alter on p1:3306"}},
		{"the old primary gave it back", func(w *world) {
			w.targets("p1", "r1")
			w.roles("c1", "r1")
			w.run(tabla1, "p1", aoscdb.RunRunning, nil)
			w.look("p1", aoscdb.OSCWaiting, false, nil)
		}, []string{"demote tabla1 p1"}, map[string]string{"r1": "has an alter on p1:3306"}},
		{"the row's cluster counts although the inventory moved the instance", func(w *world) {
			w.targets("p1")
			w.run(tabla1, "p2", aoscdb.RunRunning, func(r *aoscdb.RunningAlter) { r.Cluster = "c1" })
		}, nil, map[string]string{"p1": "cluster c1 has an alter on p2:3306"}},
		{"rolling: it became the primary while replicas need it", func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.Ordering = aoscdb.OrderingRolling })
			w.targets("p1", "r1")
			w.roles("c1", "r1")
			w.run(tabla1, "r1", aoscdb.RunReady, nil)
			w.look("r1", aoscdb.OSCWaiting, false, nil)
		}, []string{"withdraw tabla1 r1"}, nil},
		{"roles unknown: nothing is concluded", func(w *world) {
			w.targets("p1", "r1")
			clear(w.Views)
			w.run(tabla1, "p1", aoscdb.RunReady, nil)
			w.look("p1", aoscdb.OSCWaiting, false, nil)
		}, nil, nil},
	})
}

// What happens to a row that a worker has begun.
func TestRunningRows(t *testing.T) {
	running := func(status string, busy bool, f func(*world)) func(*world) {
		return func(w *world) {
			w.targets("p1")
			w.run(tabla1, "p1", aoscdb.RunRunning, nil)
			if status != "unknown" {
				w.look("p1", status, busy, nil)
			}
			if f != nil {
				f(w)
			}
		}
	}
	row := func(w *world) *aoscdb.OSCRow { return w.Looks[w.inst("p1").Addr()].Row }
	hold := func(w *world) { w.alter(tabla1, func(a *aoscdb.CurrentAlter) { a.Status = aoscdb.AlterHold }) }
	silent := func(w *world) { w.Running[0].LastUpdated = now.Add(-2 * time.Minute) }
	stale := func(w *world) { row(w).LastUpdate = row(w).ReadAt.Add(-2 * time.Minute) }
	failed := func(try int, ago time.Duration) func(*world) {
		return func(w *world) {
			row(w).Try, row(w).Error = try, "lock wait timeout"
			row(w).LastUpdate = row(w).ReadAt.Add(-ago)
		}
	}
	runCases(t, []decideCase{
		{"nothing new", running(aoscdb.OSCRunning, true, nil), nil, nil},
		{"progress", running(aoscdb.OSCRunning, true, func(w *world) { row(w).Percentage = 42 }), []string{"follow tabla1 p1"}, nil},
		{"heartbeat", running(aoscdb.OSCRunning, true, func(w *world) { w.Running[0].LastUpdated = now.Add(-6 * time.Second) }),
			[]string{"follow tabla1 p1"}, nil},
		{"HOLD lets it run on", running(aoscdb.OSCRunning, true, hold), nil, nil},
		{"done", running(aoscdb.OSCDone, false, nil), []string{"complete tabla1 p1"}, nil},
		{"done under HOLD", running(aoscdb.OSCDone, false, hold), []string{"complete tabla1 p1"}, nil},
		{"done after it was revoked", running(aoscdb.OSCDone, false, func(w *world) { clear(w.Alters) }), []string{"complete tabla1 p1"}, nil},
		{"done, crash before the row went", func(w *world) { w.run(tabla1, "p1", aoscdb.RunDone, nil) }, []string{"complete tabla1 p1"}, nil},

		{"given back", running(aoscdb.OSCWaiting, false, nil), []string{"demote tabla1 p1"}, nil},
		{"given back, the lock still held", running(aoscdb.OSCWaiting, true, nil), nil, nil},
		{"its row vanished", running("", false, nil), []string{"demote tabla1 p1"}, nil},
		{"its row vanished under a worker", running("", true, nil), nil, nil},
		{"its row vanished under a worker that hangs", running("", true, silent), []string{"warn tabla1 p1"}, nil},

		{"no answer for a moment", running("unknown", false, nil), nil, nil},
		{"no answer for long: reported, and it keeps its place (I11)", running("unknown", false, silent), []string{"warn tabla1 p1"}, nil},
		{"no sign of life", running(aoscdb.OSCRunning, true, stale), []string{"warn tabla1 p1"}, nil},
		{"its worker died and may come back", running(aoscdb.OSCRunning, false, stale), []string{"warn tabla1 p1"}, nil},
		{"its worker died and the alter is on HOLD", running(aoscdb.OSCRunning, false, func(w *world) { stale(w); hold(w) }),
			[]string{"abandon tabla1 p1"}, nil},
		{"the same, but somebody holds the instance", running(aoscdb.OSCRunning, true, func(w *world) { stale(w); hold(w) }),
			[]string{"warn tabla1 p1"}, nil},

		{"too long", running(aoscdb.OSCRunning, true, func(w *world) { b := now.Add(-25 * time.Hour); w.Running[0].StartedAt = &b }),
			[]string{"hold tabla1 p1"}, nil},
		{"too long, said once", running(aoscdb.OSCRunning, true, func(w *world) { b := now.Add(-25 * time.Hour); w.Running[0].StartedAt = &b; hold(w) }),
			nil, nil},

		{"failed a moment ago: it gives its instance back", running(aoscdb.OSCFailed, false, failed(1, time.Second)),
			[]string{"back off tabla1 p1"}, nil},
		{"failed long ago, found now", running(aoscdb.OSCFailed, false, failed(2, time.Hour)), []string{"back off tabla1 p1"}, nil},
		{"failed too often", running(aoscdb.OSCFailed, false, failed(3, 0)), []string{"hold tabla1 p1", "drop tabla1 p1"}, nil},
		{"failed for good", running(aoscdb.OSCFailed, false, func(w *world) { row(w).Final, row(w).Error = true, "not proven" }),
			[]string{"hold tabla1 p1", "drop tabla1 p1"}, nil},
		{"failed for good, with an older version of the table", running(aoscdb.OSCFailed, false, func(w *world) {
			row(w).Final, row(w).DesiredBlob = true, "blob0"
		}), []string{"retry tabla1 p1"}, nil},
		{"failed under HOLD", running(aoscdb.OSCFailed, false, func(w *world) { hold(w); failed(1, time.Hour)(w) }), []string{"drop tabla1 p1"}, nil},
		{"failed after it was revoked", running(aoscdb.OSCFailed, false, func(w *world) { clear(w.Alters) }), []string{"drop tabla1 p1"}, nil},

		{"the instance left the inventory: it no longer matters", running("unknown", false, func(w *world) {
			delete(w.Fleet.Instances, w.inst("p1").Addr())
		}), []string{"forget tabla1 p1"}, nil},
	})
}

// The next try is counted from the failure by the instance's clock, and is due later each time.
func TestNextTry(t *testing.T) {
	for _, c := range []struct {
		try, known int
		want       aoscdb.Retry
	}{
		{1, 0, aoscdb.Retry{Tries: 1, NextAt: now.Add(6 * time.Second)}},
		{2, 1, aoscdb.Retry{Tries: 2, NextAt: now.Add(16 * time.Second)}},
		{1, 1, aoscdb.Retry{Tries: 2, NextAt: now.Add(16 * time.Second)}}, // its row on the instance was lost in between
	} {
		w := newWorld()
		if c.known > 0 {
			w.retry(tabla1, "p1", func(r *aoscdb.Retry) { r.Tries = c.known })
		}
		w.run(tabla1, "p1", aoscdb.RunRunning, nil)
		w.look("p1", aoscdb.OSCFailed, false, func(r *aoscdb.OSCRow) {
			r.Try, r.Error, r.LastUpdate = c.try, "lock wait timeout", r.ReadAt.Add(-4*time.Second)
		})
		d := Decide(w.Snapshot, rules)
		if len(d.Actions) != 1 || d.Actions[0].Kind != BackOff {
			t.Fatalf("%q", brief(d))
		}
		got := d.Actions[0].Next
		if got.Tries != c.want.Tries || !got.NextAt.Equal(c.want.NextAt) || got.DesiredHash != "blob1" || got.MaxTries != rules.MaxTries {
			t.Errorf("after try %d with %d known: %+v", c.try, c.known, got)
		}
		says := fmt.Sprintf("try %d of 3 at %s UTC, after: lock wait timeout", got.Tries+1, got.NextAt.Format(time.DateTime))
		if d.Actions[0].Reason != says || len(d.Standing) != 1 || d.Standing[0].Reason != says {
			t.Errorf("it says %q and %+v, want %q", d.Actions[0].Reason, d.Standing, says)
		}
	}
}

// An alter between two tries holds nothing: what else there is to do begins, on its instance too. It goes again when it is due.
func TestBackOffHoldsNothing(t *testing.T) {
	waits := func(k AlterKey, hosts ...string) func(*world) {
		return func(w *world) {
			w.alter(tabla2, func(a *aoscdb.CurrentAlter) { late := now; a.StartedAt = &late })
			w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunning = 1 })
			for _, h := range hosts {
				w.retry(k, h, nil)
			}
		}
	}
	says := "try 2 of 3 at 2026-03-01 12:00:30 UTC, after: lock wait timeout"
	due := func(r *aoscdb.Retry) { r.NextAt = now }
	runCases(t, []decideCase{
		{"another table goes on the same instance, within max_running", func(w *world) {
			waits(tabla1, "p1")(w)
			w.target(tabla1, "p1", 1000)
			w.target(tabla2, "p1", 1)
		}, []string{"start tabla2 p1"}, map[string]string{"p1": says}},
		{"the same table goes on another cluster", func(w *world) {
			waits(tabla1, "p1")(w)
			w.target(tabla1, "p1", 1000)
			w.target(tabla1, "p2", 1)
		}, []string{"start tabla1 p2"}, map[string]string{"p1": says}},
		{"it says so although the cluster is busy with another", func(w *world) {
			waits(tabla1, "p1")(w)
			w.target(tabla1, "p1", 1000)
			w.run(tabla2, "p1", aoscdb.RunRunning, nil)
		}, nil, map[string]string{"p1": says}},
		{"its replicas wait for it as they would without", func(w *world) {
			waits(tabla1, "p1")(w)
			w.targets("p1", "r1")
		}, nil, map[string]string{"p1": says, "r1": "waits for the primary p1:3306"}},
		{"due", func(w *world) {
			waits(tabla1)(w)
			w.retry(tabla1, "p1", due)
			w.target(tabla1, "p1", 1000)
			w.target(tabla2, "p1", 1)
		}, []string{"start tabla1 p1"}, nil},
		{"due, and its turn has not come", func(w *world) {
			waits(tabla1)(w)
			w.retry(tabla1, "p1", due)
			w.target(tabla1, "p1", 1000)
			w.run(tabla2, "p2", aoscdb.RunRunning, nil)
		}, nil, map[string]string{"p1": "max_running of tier udb is 1"}},
		{"rolling: another replica goes meanwhile", func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.Ordering = aoscdb.OrderingRolling })
			w.inventory(fleet.Cluster{Tier: "udb", Name: "c", Instances: []fleet.Instance{
				{Tier: "udb", Cluster: "c", Host: "p", Port: 3306}, {Tier: "udb", Cluster: "c", Host: "a", Port: 3306},
				{Tier: "udb", Cluster: "c", Host: "b", Port: 3306}}})
			w.targets("p", "a", "b")
			w.retry(tabla1, "a", nil)
		}, []string{"start tabla1 b"}, map[string]string{"a": says, "p": "the primary goes last"}},
		{"rolling: the primary does not overtake a replica that waits", func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.Ordering = aoscdb.OrderingRolling })
			w.targets("p1", "r1")
			w.retry(tabla1, "r1", nil)
		}, nil, map[string]string{"r1": says, "p1": "the primary goes last"}},

		{"another version of the table is not that which failed", func(w *world) {
			w.targets("p1")
			w.retry(tabla1, "p1", func(r *aoscdb.Retry) { r.DesiredHash = "blob0" })
		}, []string{"start tabla1 p1", "forget tries tabla1 p1"}, nil},
		{"HOLD forgets what failed, so that resume begins at once", func(w *world) {
			w.targets("p1")
			w.retry(tabla1, "p1", nil)
			w.alter(tabla1, func(a *aoscdb.CurrentAlter) { a.Status = aoscdb.AlterHold })
		}, []string{"forget tries tabla1 p1"}, nil},
		{"so does a tier that is off", func(w *world) {
			w.targets("p1")
			w.retry(tabla1, "p1", nil)
			w.tier("udb", func(t *aoscdb.Tier) { t.Enabled = false })
		}, []string{"forget tries tabla1 p1"}, nil},
		{"and an instance that left the inventory", func(w *world) { w.retry(tabla1, "gone", nil) }, []string{"forget tries tabla1 gone"}, nil},
		{"and an alter that is none any more", func(w *world) { w.retry(tabla2, "p1", nil) }, []string{"forget tries tabla2 p1"}, nil},
	})
}

// I8: whatever a crash leaves, the next try has the number that follows those that failed.
func TestTriesAreCounted(t *testing.T) {
	for _, c := range []struct {
		name string
		work func(*aoscdb.OSCRow) // nil: the instance has no row
		want int
	}{
		{"its row was lost", nil, 2},
		{"killed between READY and WAITING: FAILED of the last try", func(r *aoscdb.OSCRow) { r.Status, r.Try = aoscdb.OSCFailed, 2 }, 2},
		{"FAILED of a run before an operator resumed it", func(r *aoscdb.OSCRow) { r.Status, r.Try = aoscdb.OSCFailed, 9 }, 2},
		{"DONE of an earlier alter", func(r *aoscdb.OSCRow) { r.Status, r.Try = aoscdb.OSCDone, 7 }, 2},
		{"given back by a worker that took it after a dead one", func(r *aoscdb.OSCRow) {
			r.Status, r.Try, r.CommitSHA = aoscdb.OSCWaiting, 3,
				"old"
		}, 3},
		{"of another version of the table", func(r *aoscdb.OSCRow) { r.Status, r.Try, r.DesiredBlob = aoscdb.OSCWaiting, 9, "blob0" }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			w.retry(tabla1, "p1", func(r *aoscdb.Retry) { r.Tries, r.NextAt = 2, now.Add(-time.Second) })
			w.run(tabla1, "p1", aoscdb.RunReady, nil)
			w.look("p1", "", false, nil)
			if c.work != nil {
				w.look("p1", aoscdb.OSCWaiting, false, c.work)
			}
			d := Decide(w.Snapshot, rules)
			if len(d.Actions) != 1 || d.Actions[0].Kind != Queue {
				t.Fatalf("%q", brief(d))
			}
			if got := (&actor{snap: w.Snapshot}).tries(d.Actions[0]); got != c.want {
				t.Errorf("it is queued after %d tries, want %d", got, c.want)
			}
		})
	}
}

func TestHoldSaysWhereAndWhy(t *testing.T) {
	w := newWorld()
	w.run(tabla1, "p1", aoscdb.RunRunning, nil)
	w.look("p1", aoscdb.OSCFailed, false, func(r *aoscdb.OSCRow) { r.Final, r.Error = true, "the copy differs" })
	d := Decide(w.Snapshot, rules)
	if len(d.Actions) == 0 || d.Actions[0].Kind != Hold {
		t.Fatalf("got %q, want a hold", brief(d))
	}
	if reason := d.Actions[0].Reason; !strings.Contains(reason, "p1:3306") || !strings.Contains(reason, "the copy differs") {
		t.Errorf("reason %q must name the instance and the cause", reason)
	}
}

// An instance on which nobody begins is left alone for a while; one whose alter was taken back for another reason is not.
func TestOnlyALateStartRests(t *testing.T) {
	for _, late := range []bool{true, false} {
		w := newWorld()
		w.run(tabla1, "p1", aoscdb.RunReady, nil)
		w.look("p1", aoscdb.OSCWaiting, false, nil)
		if late {
			w.Running[0].QueuedAt = now.Add(-time.Hour)
		} else {
			w.alter(tabla1, func(a *aoscdb.CurrentAlter) { a.Status = aoscdb.AlterHold })
		}
		d := Decide(w.Snapshot, rules)
		if len(d.Actions) != 1 || d.Actions[0].Kind != Withdraw || d.Actions[0].Rest != late {
			t.Errorf("late %v: %+v", late, d.Actions)
		}
	}
}

// Rests grow while starts keep failing, and are forgotten when they no longer do.
func TestRestsGrow(t *testing.T) {
	d := &Daemon{rests: map[mysql.Addr]rest{}, cfg: Config{Rest: 10 * time.Second, Rules: Rules{RetryBackoffMax: 30 * time.Second}}}
	a, at := mysql.Addr{Host: "p1", Port: 3306}, now
	for _, want := range []time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second, 30 * time.Second} {
		d.letRest(a, at)
		if got := d.resting(at)[a].Sub(at); got != want {
			t.Errorf("rests for %v, want %v", got, want)
		}
		at = at.Add(want + time.Second)
		if len(d.resting(at)) != 0 {
			t.Errorf("still resting after %v", want)
		}
	}
	at = at.Add(2 * time.Minute)
	d.resting(at)
	d.letRest(a, at)
	if got := d.resting(at)[a].Sub(at); got != 10*time.Second {
		t.Errorf("after a good while: rests for %v, want 10s", got)
	}
}

// A limit lowered below what is under way takes back the least urgent of what has not begun, and nothing that has.
func TestLoweredLimit(t *testing.T) {
	w := newWorld()
	w.alter(tabla2, func(a *aoscdb.CurrentAlter) { a.Priority = 20 })
	w.run(tabla1, "p1", aoscdb.RunReady, nil)
	w.run(tabla2, "p2", aoscdb.RunReady, nil)
	w.run(tabla1, "p3", aoscdb.RunRunning, nil)
	for _, h := range []string{"p1", "p2"} {
		w.look(h, aoscdb.OSCWaiting, false, nil)
	}
	w.look("p3", aoscdb.OSCRunning, true, nil)
	w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunning = 2 })
	if got, want := brief(Decide(w.Snapshot, rules)), []string{"withdraw tabla1 p1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBackoff(t *testing.T) {
	for tries, want := range map[int]time.Duration{
		0: 10 * time.Second, 1: 10 * time.Second, 2: 20 * time.Second, 3: 40 * time.Second, 4: time.Minute, 50: time.Minute,
	} {
		if got := rules.Backoff(tries); got != want {
			t.Errorf("after %d tries: %v, want %v", tries, got, want)
		}
	}
}

func TestObserve(t *testing.T) {
	key := func(names ...string) (out []ClusterKey) {
		for _, n := range names {
			out = append(out, ClusterKey{"udb", n})
		}
		return out
	}
	for _, c := range []struct {
		name  string
		world func(*world)
		asked []string
		want  []ClusterKey
	}{
		{"no targets", func(w *world) {}, nil, nil},
		{"heavier first", func(w *world) { w.target(tabla1, "p1", 1); w.target(tabla1, "r2", 2) }, nil, key("c2", "c1")},
		{"asked a moment ago: last", func(w *world) { w.target(tabla1, "p1", 1); w.target(tabla1, "r2", 2) }, []string{"c2"}, key("c1", "c2")},
		{"a busy cluster need not be asked", func(w *world) {
			w.targets("p1", "p2")
			w.run(tabla1, "p1", aoscdb.RunRunning, nil)
		}, nil, key("c2")},
		{"one with a row not begun must", func(w *world) {
			w.targets("p1")
			w.run(tabla1, "p1", aoscdb.RunReady, nil)
		}, nil, key("c1")},
		{"a full tier need not", func(w *world) {
			w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunning = 1 })
			w.targets("p1", "p2")
			w.run(tabla1, "p1", aoscdb.RunRunning, nil)
		}, nil, nil},
		{"one where all waits for its next try need not", func(w *world) {
			w.targets("p1", "p2")
			w.retry(tabla1, "p1", nil)
		}, nil, key("c2")},
		{"an alter on HOLD need not", func(w *world) {
			w.targets("p1")
			w.alter(tabla1, func(a *aoscdb.CurrentAlter) { a.Status = aoscdb.AlterHold })
		}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			c.world(w)
			asked := map[ClusterKey]time.Time{}
			for _, k := range key(c.asked...) {
				asked[k] = now.Add(-time.Second)
			}
			if got := Observe(w.Snapshot, asked); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// With hundreds of clusters and one slot, a pass asks a few, and the next pass others.
func TestObserveIsBounded(t *testing.T) {
	w := newWorld()
	var clusters []fleet.Cluster
	for n := range 300 {
		name := fmt.Sprintf("c%03d", n)
		clusters = append(clusters, fleet.Cluster{Tier: "udb", Name: name, Instances: []fleet.Instance{{Tier: "udb", Cluster: name, Host: name, Port: 3306}}})
	}
	w.inventory(clusters...)
	w.tier("udb", func(t *aoscdb.Tier) { t.MaxRunning = 1 })
	for _, c := range clusters {
		w.targets(c.Name)
	}
	asked := map[ClusterKey]time.Time{}
	for range 3 {
		first := Observe(w.Snapshot, asked)
		if len(first) != askAtLeast {
			t.Fatalf("%d clusters asked for one slot, want %d", len(first), askAtLeast)
		}
		for _, k := range first {
			if _, again := asked[k]; again {
				t.Fatalf("%v asked again while others wait", k)
			}
			asked[k] = now
		}
	}
}
