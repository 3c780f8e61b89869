package framework_test

import (
	"errors"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/mesos/mini"
	"github.com/aosc/aosc/internal/testkit"
)

// TestLaunchAndDelete: every member gets one task, on an agent of its own, with its reservation and volume; after a
// delete nothing is left: no task, volume, reservation, record or publication.
func TestLaunchAndDelete(t *testing.T) {
	t.Parallel()
	s := newSite(t, "stand-in", 3)
	f, _ := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Create(t.Context(), spec("c0", 1)); !isExists(err) {
		t.Errorf("a name was taken twice: %v", err)
	}
	v := s.await(f, "c0", "all members run", running)
	hosts, ports := map[string]bool{}, map[int]bool{}
	for _, m := range v.Record.Members {
		hosts[m.Hostname], ports[m.Port] = true, true
	}
	if len(hosts) != 3 || len(ports) != 3 {
		t.Errorf("members are not spread: %+v", v.Record.Members)
	}
	if got := s.tasks(); len(got) != 3 {
		t.Errorf("tasks: %v", got)
	}
	if got := s.reserved(); len(got) != 3 {
		t.Errorf("reserved: %v", got)
	}
	if err := f.Delete(t.Context(), "c0"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, "the cluster is forgotten", func() bool {
		_, err := f.Cluster(t.Context(), "c0")
		return isUnknown(err)
	})
	if got := s.reserved(); len(got) != 0 {
		t.Errorf("still reserved: %v", got)
	}
	if got := s.tasks(); len(got) != 0 {
		t.Errorf("still running: %v", got)
	}
	if e, ok := (bulletin{s.Dir + "/published"}).read("c0"); ok {
		t.Errorf("still published: %+v", e)
	}
}

// TestAgentReturns: the agent of a member is stopped and comes back: the member is on its volume and port again, and
// nobody else was launched in between.
func TestAgentReturns(t *testing.T) {
	t.Parallel()
	s := newSite(t, "stand-in", 3)
	f, _ := s.scheduler()
	before := s.launched(f, "c0", 2)
	m := before.Record.Members[0]
	if err := s.mini.KillAgent(m.Hostname); err != nil {
		t.Fatal(err)
	}
	s.await(f, "c0", "the loss is seen", func(v framework.View) bool { return v.Record.Members[0].TaskState != "TASK_RUNNING" })
	if err := s.mini.StartAgent(m.Hostname); err != nil {
		t.Fatal(err)
	}
	after := s.await(f, "c0", "the member runs again", running).Record.Members[0]
	if after.Port != m.Port || after.VolumeID != m.VolumeID || after.ResourceID != m.ResourceID {
		t.Errorf("before %+v, after %+v", m, after)
	}
	if got := s.tasks(); len(got) != 2 {
		t.Errorf("tasks: %v", got)
	}
}

// TestAgentForgets: an agent that comes back under another id has ended what ran on it, and offers its volumes again (R14).
// Its member is on its volume, once, whether Mesos says that its task is lost or, having found the agent unreachable, says
// nothing; of a cluster that is being deleted nothing is left.
func TestAgentForgets(t *testing.T) {
	for _, tc := range []struct {
		name                  string
		unreachable, deleting bool
	}{{"at once", false, false}, {"found unreachable", true, false}, {"found unreachable, its cluster is deleted", true, true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "stand-in", 3, func(c *mini.Config) {
				if !tc.unreachable {
					c.AgentPingTimeout = time.Minute
				}
			})
			f, _ := s.scheduler()
			if _, err := f.Create(t.Context(), spec("c0", 2)); err != nil {
				t.Fatal(err)
			}
			m := s.await(f, "c0", "all members run", running).Record.Members[0]
			if err := s.mini.KillAgent(m.Hostname); err != nil {
				t.Fatal(err)
			}
			if tc.unreachable {
				s.await(f, "c0", "it is out of sight", func(v framework.View) bool { return v.Record.Members[0].TaskState == "TASK_UNREACHABLE" })
			}
			if tc.deleting {
				if err := f.Delete(t.Context(), "c0"); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(s.mini.ForgetAgent(m.Hostname), s.mini.StartAgent(m.Hostname)); err != nil {
				t.Fatal(err)
			}
			if tc.deleting {
				testkit.Eventually(t, patience, "the cluster is forgotten", func() bool {
					_, err := f.Cluster(t.Context(), "c0")
					return isUnknown(err)
				})
				if got := s.reserved(); len(got) != 0 {
					t.Errorf("still reserved: %v", got)
				}
				return
			}
			after := s.await(f, "c0", "the member runs again", func(v framework.View) bool {
				return running(v) && v.Record.Members[0].TaskID != m.TaskID
			}).Record.Members[0]
			if after.AgentID == m.AgentID || after.Port != m.Port || after.VolumeID != m.VolumeID || after.ResourceID != m.ResourceID {
				t.Errorf("before %+v, after %+v", m, after)
			}
			if starts := s.starts(); after.Launches != 2 || len(starts) != 3 || len(s.tasks()) != 2 || len(s.reserved()) != 2 {
				t.Errorf("%d launches, starts %v, tasks %v, reserved %v", after.Launches, starts, s.tasks(), s.reserved())
			}
		})
	}
}
