package framework_test

import (
	"slices"
	"strings"
	"testing"

	mesoslib "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/master/calls"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/testkit"
)

func (s *site) drainAgent(id string, gone bool) {
	s.t.Helper()
	s.operate(calls.DrainAgent(mesoslib.AgentID{Value: id}, func(c *master.Call_DrainAgent) { c.MarkGone = &gone }))
}

// says tells whether one of the problems of a view has all parts.
func says(v framework.View, parts ...string) bool {
	return slices.ContainsFunc(v.Problems, func(p string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(p, part) })
	})
}

// TestDrainedByMesos: an operator of Mesos drains the agent of a primary under load: another takes over before the server ends, the
// member waits for its agent, `why` and the problems say so, and it is back on its volume after REACTIVATE_AGENT. One whose agent
// is drained for good is replaced. Nothing that was acknowledged is lost (I1).
func TestDrainedByMesos(t *testing.T) {
	long(t)
	s, f, _, l := begins(t, 4, nil)
	v, err := f.Cluster(t.Context(), "c0")
	if err != nil {
		t.Fatal(err)
	}
	old := member(v, v.Record.Primary)
	s.drainAgent(old.AgentID, false)
	v = s.await(f, "c0", "the member has ended and says why", func(v framework.View) bool {
		m := member(v, old.ID)
		return m.Phase == cotton.PhaseLost && says(v, v.Record.MemberName(old.ID), old.Hostname, "is drained at Mesos", "REACTIVATE_AGENT")
	})
	m := member(v, old.ID)
	if m.TaskState != "TASK_KILLED" || !strings.Contains(m.Reason, "REASON_AGENT_DRAINING") || m.Failures != 0 || !m.RetryAt.IsZero() ||
		m.DownSince.IsZero() {
		t.Errorf("its record: %+v", m)
	}
	last := v.Record.History[len(v.Record.History)-1]
	for _, step := range last.Log {
		t.Logf("%8d ms  %s: %s", step.At.Sub(last.Began).Milliseconds(), step.Step, step.Note)
	}
	if v.Record.Primary == old.ID || last.Kind != cotton.Switchover || last.Taken || !strings.Contains(last.Why, "REASON_AGENT_DRAINING") {
		t.Errorf("the primary is %d after a %s (%s), it was %d", v.Record.Primary, last.Kind, last.Why, old.ID)
	}
	l.writes(10)
	why, err := f.Why(t.Context(), "c0")
	if err != nil || len(why.Withheld) != 1 || why.Withheld[0].Hostname != old.Hostname || why.Withheld[0].State != cotton.WithheldDrained {
		t.Errorf("why: %+v, %v", why, err)
	}
	s.operate(calls.ReactivateAgent(mesoslib.AgentID{Value: old.AgentID}))
	v = s.await(f, "c0", "all is well again", func(v framework.View) bool { return complete(3)(v) && !says(v, old.Hostname) })
	if m := member(v, old.ID); m.VolumeID != old.VolumeID || m.Port != old.Port || m.Hostname != old.Hostname || m.TaskID == old.TaskID {
		t.Errorf("before %+v, after %+v", old, m)
	}
	if len(f.Withheld()) != 0 {
		t.Errorf("withheld: %+v", f.Withheld())
	}
	l.writes(5)

	gone := member(v, v.Endpoints.Replicas[0].ID)
	s.drainAgent(gone.AgentID, true)
	testkit.Eventually(t, patience, "the loss is acted on", func() bool {
		v, err = f.Cluster(t.Context(), "c0")
		return err == nil && v.Record.LastOp == 1
	})
	v = s.ended(f, 1, cotton.ResultDone, 3)
	if _, there := v.Record.Member(gone.ID); there {
		t.Errorf("the member on the machine that is gone is still there")
	}
	l.writes(5)
	l.settle(v)
	s.healthy(v, 3)
}

// TestDeactivatedByMesos: what runs on a deactivated agent runs on; nothing new comes there, and `why` says which agent is kept
// from being used. A switchover is not made for it.
func TestDeactivatedByMesos(t *testing.T) {
	t.Parallel()
	s := newSite(t, "stand-in", 2)
	f, _ := s.scheduler()
	m := s.launched(f, "c0", 2).Record.Members[0]
	s.operate(calls.DeactivateAgent(mesoslib.AgentID{Value: m.AgentID}))
	s.await(f, "c0", "it is told", func(v framework.View) bool {
		return says(v, v.Record.MemberName(m.ID), m.Hostname, "is deactivated at Mesos", "runs on")
	})
	if v := s.await(f, "c0", "all members run", running); member(v, m.ID).TaskID != m.TaskID {
		t.Errorf("it was started again: %+v", v.Record.Members)
	}
	only := spec("c1", 1)
	only.Constraints = map[string]string{"hostname": m.Hostname}
	if _, err := f.Create(t.Context(), only); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, "the other agent is refused, and this one is named", func() bool {
		why, err := f.Why(t.Context(), "c1")
		return err == nil && len(why.Refusals) > 0 && len(why.Withheld) == 1 && why.Withheld[0].State == cotton.WithheldDeactivated
	})
	why, err := f.Why(t.Context(), "c1")
	if err != nil || len(why.Members) != 1 || slices.ContainsFunc(why.Refusals,
		func(r cotton.Refusal) bool { return r.Hostname == m.Hostname }) {
		t.Errorf("why c1: %+v, %v", why, err)
	}
	s.operate(calls.ReactivateAgent(mesoslib.AgentID{Value: m.AgentID}))
	s.await(f, "c1", "it has its place", running)
}
