package framework_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/testkit"
)

// closing are the points at which an executor is killed while it closes its server: one, or all (make faults).
func closing() []string {
	if os.Getenv("AOSC_E2E") != "full" {
		return []string{"cotton.executor.close.kill"}
	}
	return []string{"cotton.executor.fence.ordered", "cotton.executor.close.kill", "cotton.executor.closed",
		"cotton.executor.lease.unheard", "cotton.executor.lease.expired"}
}

// TestExecutorKilledWhileClosing: wherever the executor of a primary that must not be open is killed, its mysqld goes with it, the
// cluster goes on with one primary, and nothing that was acknowledged is lost (I1, I2).
func TestExecutorKilledWhileClosing(t *testing.T) {
	for _, point := range closing() {
		t.Run(point, func(t *testing.T) {
			s, f, stop, l := begins(t, 3, func(set *settings) { set.Executor.Env[fault.EnvVar] = point + "=kill" })
			v, err := f.Cluster(t.Context(), "c0")
			if err != nil {
				t.Fatal(err)
			}
			stop()
			delete(s.Executor.Env, fault.EnvVar) // for those that are launched from here on
			old := member(v, v.Record.Primary)
			executor, server := s.executors()[old.TaskID], s.mysqldOf(old.TaskID)
			begun := time.Now()
			lease := strings.HasPrefix(point, "cotton.executor.lease.")
			if lease {
				for _, e := range v.Endpoints.Replicas { // nobody acknowledges, and no scheduler renews the lease
					s.endExecutor(member(v, e.ID).TaskID)
				}
			} else {
				if err := syscall.Kill(server, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				f, stop = s.scheduler()
			}
			testkit.Eventually(t, patience, "its executor is killed", func() bool { return over(executor) })
			if !s.passed(old.TaskID, point) {
				t.Errorf("the executor of %s ended elsewhere than at %s", old.TaskID, point)
			}
			testkit.Eventually(t, patience, "its mysqld goes with it", func() bool { return over(server) })
			if lease {
				f, stop = s.scheduler()
			}
			defer stop()
			testkit.Eventually(t, 4*patience, "the cluster is complete again", func() bool {
				v, err = f.Cluster(t.Context(), "c0")
				return err == nil && v.Record.Change == nil && complete(3)(v) && member(v, old.ID).TaskID != old.TaskID
			})
			t.Logf("| executor | %s | primary %d -> %d | %.1f s |", point, old.ID, v.Record.Primary, time.Since(begun).Seconds())
			l.writes(20)
			l.settle(v)
			s.healthy(v, 3)
		})
	}
}

// over tells whether a process has ended, waited for or not.
func over(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return true
	}
	_, rest, _ := bytes.Cut(stat, []byte(") ")) // after the name
	return bytes.HasPrefix(rest, []byte("Z"))
}

// passed tells whether the executor of a task came to its fault point, by what it wrote.
func (s *site) passed(task, point string) bool {
	found, _ := filepath.Glob(filepath.Join(s.Dir, "mesos/agents/*/slaves/*/frameworks/*/executors", task, "runs/*/stderr"))
	for _, path := range found {
		if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte("fault point "+point+": kill")) {
			return true
		}
	}
	return false
}
