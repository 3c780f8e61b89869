package framework_test

import (
	"syscall"
	"testing"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/testkit"
)

// TestExecutorKilledWhileClosing: an executor is killed in each step of closing a primary that hangs: one that was replaced
// (fenced), or one that neither the scheduler nor a replica counts on any more (lease). Another primary serves, or the same one
// again, nobody was open beside it (I2), and nothing that was acknowledged is lost (I1).
func TestExecutorKilledWhileClosing(t *testing.T) {
	points := []string{"close.kill"}
	if full() {
		points = []string{"fence.ordered", "close.kill", "closed", "lease.expired"}
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			s := newSite(t, "executor", 3)
			s.Executor.Env[fault.EnvVar] = "cotton.executor." + point + "=kill"
			f, stop := s.scheduler()
			if _, err := f.Create(t.Context(), spec("c0", 3)); err != nil {
				t.Fatal(err)
			}
			v := s.await(f, "c0", "the cluster is complete", complete(3))
			l := s.loadOf(100)
			l.writes(20)
			stop()
			delete(s.Executor.Env, fault.EnvVar) // those that are launched from now on live
			primary := member(v, v.Record.Primary)
			alone := point == "lease.expired" // without a scheduler and without replicas
			if alone {
				for _, e := range v.Endpoints.Replicas {
					s.endExecutor(member(v, e.ID).TaskID)
				}
			} else {
				f, _ = s.scheduler()
				if err := syscall.Kill(s.mysqldOf(primary.TaskID), syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			testkit.Eventually(t, patience, "the executor is killed at its fault point", func() bool {
				_, lives := s.executors()[primary.TaskID]
				return !lives
			})
			if alone {
				f, _ = s.scheduler()
			}
			v = s.await(f, "c0", "the cluster is complete again", func(v framework.View) bool { return v.Record.Change == nil && complete(3)(v) })
			if again := member(v, primary.ID); again.Launches != 2 {
				t.Errorf("the instance whose executor was killed was launched %d times", again.Launches)
			}
			if !alone && (v.Record.Primary == primary.ID || v.Record.History[0].Kind != cotton.Failover) {
				t.Errorf("the primary that hung is the primary still: %+v", v.Record.History)
			}
			l.writes(20)
			l.settle(v)
			s.healthy(v, 3)
		})
	}
}
