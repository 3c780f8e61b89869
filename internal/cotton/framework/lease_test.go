package framework_test

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// open tells whether a member takes writes; one that does not answer does not.
func (s *site) isOpen(m cotton.Member) bool {
	s.t.Helper()
	e, err := mysql.ReadExposure(s.t.Context(), s.administrator("c0", mysql.Addr{Host: m.Host, Port: m.Port}))
	return err == nil && e.Open()
}

// staysOpen looks at a member for a time that is longer than its executor would need to close it.
func (s *site) staysOpen(m cotton.Member, what string) {
	s.t.Helper()
	db := s.administrator("c0", mysql.Addr{Host: m.Host, Port: m.Port})
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(cotton.DefaultTiming().WithLease(s.Lease).Closed() + 2*time.Second); time.Now().Before(end); <-tick.C {
		if e, err := mysql.ReadExposure(s.t.Context(), db); err != nil || !e.Open() {
			s.t.Fatalf("%s, and it was closed: %+v, %v", what, e, err)
		}
	}
}

// TestLease: a primary to which no replica acknowledges is open as long as there is a scheduler, also one that has just taken over; without
// one it closes itself in the time that schedulers count on. The only instance of a cluster stays open in any case, also if it was one
// of several before.
func TestLease(t *testing.T) {
	s := newSite(t, "executor", 2)
	s.Lease = 2 * time.Second
	f, stop := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 2)); err != nil {
		t.Fatal(err)
	}
	v := s.await(f, "c0", "the cluster is complete", complete(2))
	primary, replica := member(v, v.Record.Primary), member(v, v.Endpoints.Replicas[0].ID)
	stop()
	_, stop = s.scheduler()
	if err := s.mini.KillAgent(replica.Hostname); err != nil {
		t.Fatal(err)
	}
	s.endExecutor(replica.TaskID)
	s.staysOpen(primary, "a scheduler has taken over")
	stop()
	watch := testkit.StartStopwatch(t, nil)
	testkit.Eventually(t, patience, "without a scheduler it closes itself", func() bool { return !s.isOpen(primary) })
	// The bound itself is held by TestLeaseAgainstElection and TestHangsAfterLease.
	watch.Within(t, 2*cotton.DefaultTiming().WithLease(s.Lease).Closed(), "closing without a scheduler")
	f, stop = s.scheduler()
	if err := s.mini.StartAgent(replica.Hostname); err != nil {
		t.Fatal(err)
	}
	s.await(f, "c0", "the cluster is complete again", complete(2))
	v = s.perform(f, cotton.Request{Kind: cotton.OpScale, Nodes: 1}, 1)
	primary = member(v, v.Record.Primary)
	s.staysOpen(primary, "it is the only one")
	stop()
	s.staysOpen(primary, "it is the only one, and there is no scheduler")
}

// TestClockIsSet: the clock of the scheduler's machine is set back by an hour while a primary dies, and is an hour behind at the next
// scheduler: a failover comes as soon as at any other time, and so does the one after it, once the cooldown is over.
func TestClockIsSet(t *testing.T) {
	long(t)
	s := newSite(t, "executor", 3)
	var step atomic.Int64
	step.Store(int64(time.Hour))
	s.Wall = func() time.Time { return time.Now().Add(time.Duration(step.Load())) }
	s.Cooldown = 5 * time.Second
	f, stop := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 3)); err != nil {
		t.Fatal(err)
	}
	v := s.await(f, "c0", "the cluster is complete", complete(3))
	for _, change := range []struct {
		what string
		to   time.Duration // of the clock, against what it should be
		anew bool          // by the next scheduler
	}{
		{"set back by an hour", 0, false}, {"set forward by two", 2 * time.Hour, false}, {"three hours behind what is stored", -time.Hour, true},
	} {
		if change.anew {
			stop()
		}
		step.Store(int64(change.to))
		if change.anew {
			f, stop = s.scheduler()
			v = s.await(f, "c0", "the cluster is complete, for the next scheduler", complete(3))
		}
		old := member(v, v.Record.Primary)
		processes := []int{s.executors()[old.TaskID], s.mysqldOf(old.TaskID)}
		for _, pid := range processes {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		v = s.await(f, "c0", "another primary is published", func(v framework.View) bool {
			return v.Record.Change == nil && v.Record.Primary != old.ID && v.Endpoints.Primary != nil && v.Endpoints.Primary.ID != old.ID
		})
		t.Logf("%s: another primary after %s", change.what, time.Since(begun).Round(time.Millisecond)) // while the old one is still frozen
		for _, pid := range processes {
			if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		}
		v = s.await(f, "c0", "the cluster is complete again", complete(3))
		for _, c := range v.Record.History {
			if d := c.Ended.Sub(c.Began); d < 0 || d > time.Minute {
				t.Errorf("a change of primary took %s by the stored times", d)
			}
		}
	}
}
