package executor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// TestOrdersInAnyOrder: in whatever order the orders of two epochs come, what holds at the end is what the newer epoch says, and nothing of
// the older one is still to be done. Within an epoch a fence holds.
func TestOrdersInAnyOrder(t *testing.T) {
	type word struct {
		epoch uint64
		kind  cotton.OrderKind
	}
	words := []word{{1, cotton.OrderLease}, {1, cotton.OrderFence}, {2, cotton.OrderLease}, {2, cotton.OrderFence}, {2, cotton.OrderBackup},
		{1, cotton.OrderBackup}}
	for chosen := range 1 << len(words) {
		var set []word
		for i, w := range words {
			if chosen>>i&1 == 1 {
				set = append(set, w)
			}
		}
		var newest, fence uint64
		for _, w := range set {
			newest = max(newest, w.epoch)
		}
		leased := slices.Contains(set, word{newest, cotton.OrderLease})
		for _, w := range set {
			if w.kind == cotton.OrderFence && (w.epoch == newest || !leased) {
				fence = max(fence, w.epoch)
			}
		}
		permutations(set, func(order []word) {
			i := newInstance(&Executor{cfg: Config{Timing: cotton.DefaultTiming(), Log: discard}}, "c-1-1", cotton.Task{})
			now := time.Now()
			overtaken := false // the fence of the older epoch came after a word of the newer one: it is not obeyed at all
			for n, w := range order {
				err := i.guard.order(cotton.Order{Kind: w.kind, Epoch: w.epoch, Lease: time.Second}, now)
				late := slices.ContainsFunc(order[:n], func(o word) bool { return o.epoch > w.epoch })
				if (err != nil) != late {
					t.Errorf("%v: order %d: %v", order, n+1, err)
				}
				overtaken = overtaken || late && w.kind == cotton.OrderFence
			}
			want := fence
			if overtaken && fence < newest {
				want = 0
			}
			if g := i.guard; g.fence != want || g.memory.Epoch != newest {
				t.Errorf("%v: fence %d is to be carried out, epoch %d is remembered; want %d and %d", order, g.fence, g.memory.Epoch, want, newest)
			}
		})
	}
}

// permutations calls f with every order of a list.
func permutations[T any](list []T, f func([]T)) {
	var next func(k int)
	next = func(k int) {
		if k == len(list) {
			f(list)
			return
		}
		for i := k; i < len(list); i++ {
			list[k], list[i] = list[i], list[k]
			next(k + 1)
			list[k], list[i] = list[i], list[k]
		}
	}
	next(0)
}

// TestLeaseFromQuestion: a lease counts from the facts that the order answers, however long the order was on its way; without a
// reading, as of a scheduler of an earlier release, from its arrival.
func TestLeaseFromQuestion(t *testing.T) {
	now := time.Now()
	const second = 1000
	at := func(ms int64) int64 { return ms + 1 } // the reading ms after the beginning
	const ten = 10 * time.Second
	type arrival struct {
		lease   time.Duration
		reading int64
	}
	for _, tc := range []struct {
		name   string
		before []arrival
		o      arrival
		until  time.Duration // from the beginning; 0 = no lease
		why    string        // of the refusal
	}{
		{"at once", nil, arrival{ten, at(60 * second)}, 70 * time.Second, ""},
		{"late", nil, arrival{ten, at(51 * second)}, 61 * time.Second, ""},
		{"too late", nil, arrival{ten, at(50 * second)}, 0, "came 10s after the question"},
		{"much too late", nil, arrival{ten, at(0)}, 0, "came 1m0s after the question"},
		{"overtaken", []arrival{{ten, at(58 * second)}}, arrival{ten, at(56 * second)}, 68 * time.Second, "came after one"},
		{"too late, one is held", []arrival{{ten, at(58 * second)}}, arrival{ten, at(1)}, 68 * time.Second, "after the question"},
		{"twice", []arrival{{ten, at(58 * second)}}, arrival{ten, at(58 * second)}, 68 * time.Second, ""},
		{"a shorter one", []arrival{{time.Hour, at(58 * second)}}, arrival{ten, at(59 * second)}, 69 * time.Second, ""},
		{"endless", nil, arrival{cotton.Endless, at(59 * second)}, cotton.Endless + 59*time.Second, ""},
		{"nothing heard yet", nil, arrival{ten, cotton.Unread}, 0, ""},
		{"nothing heard yet, one is held", []arrival{{ten, at(58 * second)}}, arrival{ten, cotton.Unread}, 68 * time.Second, ""},
		{"an earlier release", nil, arrival{ten, 0}, 70 * time.Second, ""},
		{"of the future", nil, arrival{ten, at(61 * second)}, 0, "by a clock that is at"},
		{"nonsense", nil, arrival{ten, -7}, 0, "by a clock that is at"},
		{"no time", nil, arrival{0, at(60 * second)}, 0, "a lease of 0s"},
	} {
		i := newInstance(&Executor{cfg: Config{Timing: cotton.DefaultTiming(), Log: discard}}, "c-1-1", cotton.Task{})
		i.born = now.Add(-time.Minute)
		for _, a := range append(tc.before, tc.o) {
			err := i.guard.order(cotton.Order{Kind: cotton.OrderLease, Epoch: 3, Lease: a.lease, Reading: a.reading}, now)
			if a == tc.o && ((err == nil) != (tc.why == "") || err != nil && !strings.Contains(err.Error(), tc.why)) {
				t.Errorf("%s: %v, want %q", tc.name, err, tc.why)
			}
		}
		until := time.Duration(0)
		if l := i.guard.lease; l.length > 0 {
			until = l.until.Sub(i.born)
		}
		if until != tc.until {
			t.Errorf("%s: the lease ends after %s, want %s", tc.name, until, tc.until)
		}
		if f := i.facts(); f.Clock < 60*second || f.LeaseMillis != i.guard.lease.length.Milliseconds() {
			t.Errorf("%s: facts %+v", tc.name, f)
		}
	}
}

// TestHangsAfterLease: a server that answers once more after its lease has ended, and hangs then, or while it is being closed, is dead
// within the time that the scheduler counts on.
func TestHangsAfterLease(t *testing.T) {
	timing := cotton.DefaultTiming()
	spare, err := mysqld.Start(t.Context(), mysqld.Options{}) // by which hold-ups of the machine are measured
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { spare.Remove() })
	for _, tc := range []struct {
		name string
		hang func(*testing.T, *guarded)
	}{
		{"after one look", func(t *testing.T, g *guarded) {
			testkit.Eventually(t, patience, "one look has found nobody", func() bool {
				g.i.guard.mu.Lock()
				defer g.i.guard.mu.Unlock()
				return g.i.guard.pulse.unheard == 1
			})
		}},
		{"while it is being closed", func(t *testing.T, g *guarded) {
			if _, err := g.app().ExecContext(t.Context(), "LOCK TABLES d.t WRITE"); err != nil { // closing waits for it
				t.Fatal(err)
			}
			testkit.Eventually(t, patience, "it is being closed", func() bool {
				e, err := mysql.ReadExposure(t.Context(), g.i.server.DB())
				return err == nil && e.SuperReadOnly && !e.ReadOnly
			})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := startGuarded(t, func(g *guarded) { g.x.cfg.Timing = timing })
			g.open()
			testkit.Eventually(t, patience, "it is seen open", func() bool {
				g.i.guard.mu.Lock()
				defer g.i.guard.mu.Unlock()
				return g.i.guard.pulse.openBefore
			})
			server := g.i.server
			over := server.Done()
			begun, watch := time.Now(), testkit.StartStopwatch(t, spare)
			g.order(3, cotton.OrderLease, time.Second)
			g.i.guard.mu.Lock()
			until := g.i.guard.lease.until
			g.i.guard.mu.Unlock()
			tc.hang(t, g)
			if err := server.Pause(); err != nil {
				t.Fatal(err)
			}
			<-over
			took := watch.Took() - until.Sub(begun)
			t.Logf("dead %s after the end of its lease", took.Round(time.Millisecond))
			if took > timing.Close {
				t.Errorf("it may have been open for %s after the end of its lease, want %s", took, timing.Close)
			}
			g.awaitClosed()
		})
	}
}

// TestLeaseOfOpened: an executor that was started anew has heard no order yet; a server that is opened has the time of the last
// lease all the same, and not more.
func TestLeaseOfOpened(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	g.order(3, cotton.OrderLease, 2*time.Second)
	testkit.Eventually(t, patience, "the lease is remembered", func() bool {
		m, err := readMemory(g.i.server.Dir())
		return err == nil && m.Lease == 2*time.Second
	})
	g.end()
	task := g.i.task
	task.HasData = true
	again := runGuarded(t, g.x, task)
	testkit.Eventually(t, patience, "it says by what lease it goes", func() bool { return again.heard.last().LeaseMillis == 2000 })
	again.open()
	again.awaitClosed()
	if m := again.heard.messages(); strings.Contains(m, "killed") {
		t.Errorf("it was killed:\n%s", m)
	}
}

// TestKillUnasked: a task is killed while commits wait for an acknowledgement and the server cannot be asked about them: it is killed.
// Stopped in good order it would let them through (I1).
func TestKillUnasked(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	g.open()
	server := g.i.server
	if err := mysql.SetSemiSyncSource(t.Context(), server.DB(), server.Version(), mysql.SemiSyncSource{Enabled: true}); err != nil {
		t.Fatal(err)
	}
	conn := g.app()
	told := make(chan error, 1)
	go func() {
		_, err := conn.ExecContext(context.Background(), "INSERT INTO d.t VALUES (2)")
		told <- err
	}()
	testkit.Eventually(t, patience, "the commit waits, and was seen to", func() bool {
		g.i.guard.mu.Lock()
		defer g.i.guard.mu.Unlock()
		return g.i.guard.pulse.exposure.Waiting == 1
	})
	over := server.Done()
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	g.x.stopInstance(30 * time.Second)
	testkit.Eventually(t, patience, "it is killed, or asked to stop", func() bool {
		select {
		case <-over:
			return true
		default:
			return sigTermPends(server.Pid())
		}
	})
	_ = server.Resume() // one that was only asked goes on now
	<-over
	if err := <-told; err == nil {
		t.Error("a commit was acknowledged that no replica has (I1)")
	}
	if g.end(); !strings.Contains(g.why, "killed, since sessions may wait for an acknowledgement of a replica") {
		t.Errorf("it ended: %s", g.why)
	}
}

// sigTermPends tells whether a process was sent a SIGTERM that it has not taken yet.
func sigTermPends(pid int) bool {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if set, ok := strings.CutPrefix(line, "ShdPnd:"); ok {
			mask, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64)
			return err == nil && mask&(1<<14) != 0
		}
	}
	return false
}

// TestLeaseAgainstElection: whatever a server does, and whatever times are accepted, it is closed or dead before the scheduler elects
// another, as long as no replica acknowledges to it after its replicas were stopped.
func TestLeaseAgainstElection(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	upTo := func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d) + 1)) }
	worst, n := 0.0, 0
	for range 20_000 {
		d := cotton.DefaultTiming()
		d.Close, d.Kill, d.Alone, d.Killed, d.Pulse = d.Close/2+upTo(d.Close), upTo(d.Kill)+1, upTo(d.Alone)+1, upTo(d.Killed)+1, upTo(d.Pulse)+4
		d.PulseLimit, d.Hung, d.Elect, d.Quiet = upTo(2*d.PulseLimit)+1, d.Hung/2+upTo(d.Hung), d.Elect+upTo(d.Elect), d.Quiet+upTo(d.Quiet)
		if d.Validate() != nil {
			continue
		}
		n++
		w := world{Timing: d, upTo: upTo, zero: time.Unix(0, 0)}
		// The replicas are stopped at some moment; the scheduler elects when both times are over.
		stopped := upTo(2 * d.Elect)
		elect := max(d.Elect, stopped+d.Quiet)
		end := w.run(stopped)
		if worst = max(worst, float64(end)/float64(elect)); end >= elect {
			t.Fatalf("open for %s, another is elected after %s, the replicas were stopped after %s: %+v\n%s", end, elect, stopped, d,
				strings.Join(w.log, "\n"))
		}
	}
	if n < 100 {
		t.Errorf("%d timings were accepted: this tests nothing", n)
	}
	t.Logf("%d timings; at worst a server was open for %.0f%% of the time after which another is elected", n, 100*worst)
}

// world is an executor whose server answers when it likes. Times are since the reading from which its lease counts.
type world struct {
	cotton.Timing
	upTo func(time.Duration) time.Duration
	zero time.Time
	log  []string
}

func (w *world) say(at time.Duration, what string) { w.log = append(w.log, fmt.Sprint(at, " ", what)) }

// run returns when the server is closed or dead.
func (w *world) run(stopped time.Duration) time.Duration {
	l := lease{length: w.Lease, until: w.zero.Add(w.Lease)}
	deaf := stopped + w.upTo(2*w.Heartbeat) // when the server notices
	hangs := w.upTo(2*stopped + 2*w.Elect)  // from when on it answers nothing
	slow := w.upTo(3) == 0
	p := pulse{exposure: mysql.Exposure{SemiSync: true, Acknowledgers: 1}, openBefore: true, answers: true, at: w.zero, heard: w.zero}
	asked, began := time.Duration(-1), w.upTo(w.Tick()) // no look is under way
	var answers time.Duration
	for now := w.upTo(w.Tick()); ; now += w.Tick() {
		at := w.zero.Add(now)
		if asked < 0 && now >= began { // a look begins
			asked, answers = now, now
			if slow {
				answers += w.upTo(w.PulseLimit)
			}
		}
		if asked >= 0 && now >= answers {
			if answers >= hangs || asked >= hangs {
				if now >= asked+w.PulseLimit {
					p.answers, asked = false, -1
					began = now
				}
			} else {
				e := p.exposure
				e.Acknowledgers = 0
				if asked < deaf {
					e.Acknowledgers = 1
				}
				p.at, p.answers, p.exposure = w.zero.Add(asked), true, e
				if e.Acknowledged() {
					p.heard = p.at
				}
				if p.unheard++; e.Acknowledged() || p.at.Before(l.until) {
					p.unheard = 0
				}
				began = asked + w.Pulse
				if p.at.Before(l.until) || p.unheard > 0 {
					began = now
				}
				asked = -1
			}
		}
		switch l.judge(p, at, w.Timing) {
		case killIt:
			w.say(now, "killed")
			return now + w.upTo(w.Kill)
		case closeIt:
			within := limit{w.Alone, w.Killed}.within(l.deadline(p, w.Timing).Sub(at))
			w.say(now, fmt.Sprint("being closed within ", within))
			return now + within.alone + within.killed + w.upTo(w.Kill)
		}
	}
}
