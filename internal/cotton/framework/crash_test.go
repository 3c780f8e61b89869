package framework_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/process"
	"github.com/aosc/aosc/internal/testkit"
)

// killed waits until a scheduler has been ended by its fault point.
func killed(t testing.TB, p *process.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.WaitFor(ctx); !p.Ended() {
		t.Fatalf("the scheduler never came to its fault point: %v", err)
	}
	var exit *exec.ExitError
	if !errors.As(p.Wait(), &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the scheduler was not killed but ended with %v", p.Wait())
	}
}

// TestKilledWhileLaunching: wherever a scheduler is killed between storing a launch and acknowledging its status, the next
// one ends up with exactly one task, one reservation and one volume for each member (I8, I9).
func TestKilledWhileLaunching(t *testing.T) {
	t.Parallel()
	for _, faults := range []string{
		"cotton.store.written=kill", "cotton.store.written=kill@3", "cotton.accept.sent=kill", "cotton.accept.sent=kill@2",
		"cotton.status.stored=kill", "cotton.status.stored=kill@3",
	} {
		t.Run(faults, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "stand-in", 3)
			c := spec("c0", 3)
			killed(t, s.process(faults, func(s *settings) { s.Create = &c }))
			f, _ := s.scheduler()
			v := s.await(f, "c0", "all members run", running)
			tasks := s.tasks()
			for _, m := range v.Record.Members {
				if tasks[v.Record.MemberName(m.ID)] != m.TaskID {
					t.Errorf("member %d: task %q runs, %q is stored (I9)", m.ID, tasks[v.Record.MemberName(m.ID)], m.TaskID)
				}
			}
			if len(tasks) != 3 {
				t.Errorf("%d tasks for 3 members: %v (I8)", len(tasks), tasks)
			}
			for id, n := range s.starts() {
				if n != 1 {
					t.Errorf("task %s was started %d times", id, n)
				}
			}
			testkit.Eventually(t, patience, "exactly three placements are reserved", func() bool {
				r := s.reserved()
				for _, m := range v.Record.Members {
					if v := r[m.ResourceID]; len(v) != 1 || v[0] != m.VolumeID {
						return false
					}
				}
				return len(r) == 3
			})
		})
	}
}

// TestKilledWhileDeleting: a deletion goes on after the scheduler was killed in any of its steps, and leaves nothing.
func TestKilledWhileDeleting(t *testing.T) {
	t.Parallel()
	for _, faults := range []string{
		"cotton.delete.stored=kill", "cotton.delete.killed=kill@2", "cotton.delete.released=kill",
		"cotton.delete.reclaimed=kill", "cotton.delete.forget=kill", "cotton.delete.unpublished=kill",
	} {
		t.Run(faults, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "stand-in", 3)
			f, stop := s.scheduler()
			if _, err := f.Create(t.Context(), spec("c0", 3)); err != nil {
				t.Fatal(err)
			}
			s.await(f, "c0", "all members run", running)
			stop()
			killed(t, s.process(faults, func(s *settings) { s.Delete = "c0" }))
			f, _ = s.scheduler()
			testkit.Eventually(t, patience, "the cluster is forgotten", func() bool {
				_, err := f.Cluster(t.Context(), "c0")
				return isUnknown(err)
			})
			if r, tasks := s.reserved(), s.tasks(); len(r)+len(tasks) != 0 {
				t.Errorf("left behind: %v, %v", r, tasks)
			}
			if stored, _ := filepath.Glob(filepath.Join(s.Dir, "store", "*", "c0*")); len(stored) != 0 {
				t.Errorf("still stored: %v", stored)
			}
		})
	}
}

// TestKilledWhileOpening: a scheduler killed after it stored the primary, or before it published it: the next one opens
// that member and no other, and publishes what takes writes (I2, I8, I10).
func TestKilledWhileOpening(t *testing.T) {
	t.Parallel()
	for _, faults := range []string{"cotton.primary.stored=kill", "cotton.publish.before=kill@2"} {
		t.Run(faults, func(t *testing.T) {
			s := newSite(t, "executor", 2)
			c := spec("c0", 2)
			killed(t, s.process(faults, func(s *settings) { s.Create = &c }))
			f, _ := s.scheduler()
			v := s.await(f, "c0", "the cluster is complete", complete(2))
			if v.Record.Epoch != 1 {
				t.Errorf("epoch %d: the primary was chosen more than once", v.Record.Epoch)
			}
			s.healthy(v, 2)
		})
	}
}

// TestAgentWithoutMySQL: an instance that cannot start is tried elsewhere, slower and slower; `why` and the cluster say
// what is wrong, and what was reserved for it is given back.
func TestAgentWithoutMySQL(t *testing.T) {
	t.Parallel()
	s := newSite(t, "stand-in", 1)
	s.Executor.Env["STAND_IN_FAILS"] = "no usable mysqld here"
	f, _ := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 1)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, "why says what was wrong", func() bool {
		w, err := f.Why(t.Context(), "c0")
		return err == nil && len(w.Refusals) == 1 && contains(w.Refusals[0].Reason, "no usable mysqld here")
	})
	testkit.Eventually(t, patience, "nothing stays reserved", func() bool { return len(s.reserved()) == 0 })
	v, err := f.Cluster(t.Context(), "c0")
	if err != nil || v.Record.Members[0].Launches != 3 || len(v.Problems) == 0 {
		t.Errorf("%+v, %v", v, err)
	}
	if why := v.Instances[0].Problem; !contains(why, "no usable mysqld here") {
		t.Errorf("the instance's problem is %q", why)
	}
	if err := f.Delete(t.Context(), "c0"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, "it can be deleted", func() bool {
		_, err := f.Cluster(t.Context(), "c0")
		return isUnknown(err)
	})
}

// TestRelaunchOnVolume: a task that ends is launched again on its volume, with its port, under a new id; one that nobody
// knows is killed.
func TestRelaunchOnVolume(t *testing.T) {
	t.Parallel()
	s := newSite(t, "stand-in", 2)
	f, _ := s.scheduler()
	m := s.launched(f, "c0", 1).Record.Members[0]
	s.endExecutor(m.TaskID)
	after := s.await(f, "c0", "it runs again", func(v framework.View) bool {
		return running(v) && v.Record.Members[0].TaskID != m.TaskID
	}).Record.Members[0]
	if after.Port != m.Port || after.VolumeID != m.VolumeID || after.Hostname != m.Hostname {
		t.Errorf("before %+v, after %+v", m, after)
	}
	if got := fmt.Sprint(len(s.starts()), len(s.tasks())); got != "2 1" {
		t.Errorf("starts on the volume and tasks: %s", got)
	}
}

// TestWhy: a cluster that nothing serves says so, per agent.
func TestWhy(t *testing.T) {
	t.Parallel()
	s := newSite(t, "stand-in", 2)
	f, _ := s.scheduler()
	big := spec("c9", 1)
	big.Size = cotton.Size{CPUs: 99, MemMB: 512, DiskMB: 1 << 20}
	if _, err := f.Create(t.Context(), big); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Create(t.Context(), spec("c1", 3)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, "both say why", func() bool {
		w9, err9 := f.Why(t.Context(), "c9")
		w1, err1 := f.Why(t.Context(), "c1")
		return err9 == nil && err1 == nil && len(w9.Refusals) == 2 && contains(w9.Refusals[0].Reason, "cpus: 99 wanted") &&
			contains(w9.Refusals[1].Reason, "disk: 1.048576e+06 wanted") && len(w1.Members) == 1 && len(w1.Refusals) == 2 &&
			contains(w1.Refusals[0].Reason, "has a member")
	})
}
