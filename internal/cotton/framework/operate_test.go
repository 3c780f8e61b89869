package framework_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// perform begins an operation and waits for its end.
func (s *site) perform(f *framework.Framework, req cotton.Request, nodes int) framework.View {
	s.t.Helper()
	begun := time.Now()
	var p framework.Planned
	problem := errors.New("not asked")
	testkit.Eventually(s.t, patience, "the operation is begun", func() bool {
		p, problem = f.Operate(s.t.Context(), "c0", req, false)
		return problem == nil
	})
	v := s.ended(f, p.Operation.ID, cotton.ResultDone, nodes)
	s.t.Logf("%s: %s", p.Text, time.Since(begun).Round(10*time.Millisecond))
	return v
}

// ended waits until an operation is over, all is well, and what left is forgotten.
func (s *site) ended(f *framework.Framework, id int, result cotton.OperationResult, nodes int) framework.View {
	s.t.Helper()
	if op := s.over(f, id); op.Result != result {
		s.t.Fatalf("operation %d ended as %q, want %q", id, op.Result, result)
	}
	return s.await(f, "c0", "all is well after the operation", func(v framework.View) bool {
		return complete(nodes)(v) && len(v.Record.Members) == nodes && v.Record.Spec.Nodes == nodes && len(s.reserved()) == nodes
	})
}

// refused: an operation is not begun, the reason is told, and nothing is changed.
func (s *site) refused(f *framework.Framework, why string, req cotton.Request) {
	s.t.Helper()
	before, err := f.Cluster(s.t.Context(), "c0")
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = f.Operate(s.t.Context(), "c0", req, false)
	var refused *cotton.RefusedError
	if !errors.As(err, &refused) || !contains(refused.Why, why) {
		s.t.Errorf("%s: %v; want a refusal with %q", req.Kind, err, why)
	}
	after, err := f.Cluster(s.t.Context(), "c0")
	if err != nil || after.Record.Version != before.Record.Version {
		s.t.Errorf("a refusal changed the record: %v", err)
	}
}

// setting reads a variable of every member.
func (s *site) setting(v framework.View, name string) map[string]int {
	s.t.Helper()
	values := map[string]int{}
	for _, m := range v.Record.Members {
		db := s.administrator("c0", mysql.Addr{Host: m.Host, Port: m.Port})
		var value string
		if err := db.QueryRowContext(s.t.Context(), "SELECT @@GLOBAL."+name).Scan(&value); err != nil {
			s.t.Fatal(err)
		}
		values[value]++
	}
	return values
}

// begins is a complete cluster of three on so many agents, under a light load: what joins has a short history to catch up with.
func begins(t *testing.T, agents int, edit func(*settings)) (*site, *framework.Framework, func(), *load) {
	s := newSite(t, "executor", agents)
	if edit != nil {
		edit(&s.settings)
	}
	f, stop := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 3)); err != nil {
		t.Fatal(err)
	}
	s.await(f, "c0", "the cluster is complete", complete(3))
	l := s.loadOf(20)
	l.writes(10)
	return s, f, stop, l
}

// TestRolling: settings are changed under load by schedulers of which one is killed in between; every member has them, the
// primary was handed over, nothing that was acknowledged is lost (I1). Scaled up and down again, nothing is left behind.
func TestRolling(t *testing.T) {
	long(t)
	s, f, stop, l := begins(t, 4, nil)
	v, err := f.Cluster(t.Context(), "c0")
	if err != nil {
		t.Fatal(err)
	}
	s.refused(f, "needs 3 nodes", cotton.Request{Kind: cotton.OpScale, Nodes: 2})
	var invalid *cotton.InvalidError
	if _, err := f.Operate(t.Context(), "c0", cotton.Request{Kind: cotton.OpConfigure, Set: map[string]string{"sync_binlog": "0"}}, false); !errors.As(err, &invalid) {
		t.Errorf("a setting that loses data: %v", err)
	}
	primary := v.Record.Primary
	stop()
	killed(t, s.process("cotton.operation.stopping=kill@2", func(set *settings) {
		set.Operate = &cotton.Request{Kind: cotton.OpConfigure, Set: map[string]string{"max_connections": "321"}}
	}))
	f, stop = s.scheduler()
	s.refused(f, "is under way", cotton.Request{Kind: cotton.OpScale, Nodes: 4})
	if _, err := f.Switchover(t.Context(), "c0", framework.SwitchoverOptions{}); err == nil {
		t.Error("a switchover in the middle of a rolling restart is not refused")
	}
	v = s.ended(f, 1, cotton.ResultDone, 3)
	if got := s.setting(v, "max_connections"); got["321"] != 3 {
		t.Errorf("max_connections after configure: %v", got)
	}
	if v.Record.Primary == primary {
		t.Errorf("the primary was restarted without being handed over")
	}
	for _, m := range v.Record.Members {
		if m.Launches != 2 || m.Failures != 0 {
			t.Errorf("member %d was launched %d times, with %d failures", m.ID, m.Launches, m.Failures)
		}
	}
	l.writes(5)
	s.perform(f, cotton.Request{Kind: cotton.OpScale, Nodes: 4}, 4)
	s.refused(f, "no agent has room", cotton.Request{Kind: cotton.OpReplace, Member: v.Record.Primary})
	v = s.perform(f, cotton.Request{Kind: cotton.OpScale, Nodes: 3}, 3)

	p, err := f.Operate(t.Context(), "c0", cotton.Request{Kind: cotton.OpReplace, Member: v.Record.Primary}, false)
	if err != nil {
		t.Fatal(err)
	}
	s.await(f, "c0", "the new member is there", func(v framework.View) bool { return v.Record.Operation != nil && v.Record.Operation.New != 0 })
	stop()
	killed(t, s.process("cotton.operation.canceled=kill", func(set *settings) { set.Cancel = true }))
	f, _ = s.scheduler()
	members := v.Record.Members
	v = s.ended(f, p.Operation.ID, cotton.ResultCanceled, 3)
	for i, m := range v.Record.Members {
		if m.ID != members[i].ID || m.Leaving || m.Joining {
			t.Errorf("after the cancel: %+v", m)
		}
	}
	l.writes(5)
	l.settle(v)
	s.healthy(v, 3)
}

// replacing are the steps of a replacement after which its scheduler is killed: some, or all (make faults).
func replacing() []string {
	if os.Getenv("AOSC_E2E") != "full" {
		return []string{"added", "leaving"}
	}
	return []string{"stored", "added", "joined", "leaving", "removed", "ended"}
}

// TestReplacing: the primary is replaced under load by schedulers that are killed one after the other; then a member's machine
// is gone for good, and another takes its place by itself; and an agent is drained. Nothing that was acknowledged is lost
// (I1), and of what was replaced nothing is left.
func TestReplacing(t *testing.T) {
	long(t)
	s, f, stop, l := begins(t, 5, nil)
	v, err := f.Cluster(t.Context(), "c0")
	if err != nil {
		t.Fatal(err)
	}
	old := v.Record.Primary
	if p, err := f.Operate(t.Context(), "c0", cotton.Request{Kind: cotton.OpReplace, Member: old}, true); err != nil || len(p.Steps) != 3 || p.Operation != nil {
		t.Errorf("a dry run: %+v, %v", p, err)
	}
	stop()
	req := &cotton.Request{Kind: cotton.OpReplace, Member: old, Why: "a test"}
	for _, point := range replacing() {
		killed(t, s.process("cotton.operation."+point+"=kill", func(set *settings) { set.Operate = req }))
		req = nil // the next ones go on with it
	}
	f, _ = s.scheduler()
	v = s.ended(f, 1, cotton.ResultDone, 3)
	if _, there := v.Record.Member(old); there || v.Record.Primary == old {
		t.Errorf("the primary that was replaced is still there")
	}
	l.writes(5)

	gone := member(v, v.Endpoints.Replicas[0].ID)
	if err := s.operator.MarkAgentGone(t.Context(), gone.AgentID); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, "the loss is acted on", func() bool {
		v, err = f.Cluster(t.Context(), "c0")
		return err == nil && v.Record.LastOp == 2
	})
	v = s.ended(f, 2, cotton.ResultDone, 3)
	if _, there := v.Record.Member(gone.ID); there {
		t.Errorf("the member on the machine that is gone is still there")
	}
	l.writes(5)

	host := member(v, v.Record.Primary).Hostname
	if _, err := f.Drain(t.Context(), "nobody", framework.DrainOptions{}); err == nil {
		t.Error("an agent that nobody knows is drained")
	}
	d, err := f.Drain(t.Context(), host, framework.DrainOptions{DryRun: true})
	if err != nil || len(d.Left) != 1 || len(d.Left[0].Steps) != 3 || len(f.Drainings(t.Context())) != 0 {
		t.Errorf("a dry run: %+v, %v", d, err)
	}
	if _, err := f.Drain(t.Context(), host, framework.DrainOptions{Why: "a test"}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 4*patience, "nothing is left on the agent", func() bool {
		all := f.Drainings(t.Context())
		return len(all) == 1 && len(all[0].Left) == 0
	})
	v = s.ended(f, 3, cotton.ResultDone, 3)
	for _, m := range v.Record.Members {
		if m.Hostname == host {
			t.Errorf("member %d is on the drained agent", m.ID)
		}
	}
	if _, err := f.Drain(t.Context(), host, framework.DrainOptions{Undo: true}); err != nil || len(f.Drainings(t.Context())) != 0 {
		t.Errorf("undone: %v", err)
	}
	l.writes(5)
	l.settle(v)
	s.healthy(v, 3)
}

// TestForcedDelete: a cluster whose agent is away is deleted by force, through a scheduler that is killed in between; when the
// agent comes back its task is ended, its volume destroyed and its reservation given back.
func TestForcedDelete(t *testing.T) {
	t.Parallel()
	s := newSite(t, "stand-in", 3)
	f, stop := s.scheduler()
	v := s.launched(f, "c0", 3)
	away := v.Record.Members[1]
	if err := s.mini.KillAgent(away.Hostname); err != nil {
		t.Fatal(err)
	}
	s.await(f, "c0", "the loss is seen", func(v framework.View) bool { return v.Record.Members[1].TaskState != "TASK_RUNNING" })
	if err := f.Delete(t.Context(), "c0"); err != nil {
		t.Fatal(err)
	}
	v = s.await(f, "c0", "the others are gone, and it waits for the agent", func(v framework.View) bool { return len(v.Record.Members) == 1 })
	stop()
	killed(t, s.process("cotton.delete.forced=kill", func(set *settings) { set.ForceDelete = "c0" }))
	f, _ = s.scheduler()
	testkit.Eventually(t, patience, "the cluster is forgotten", func() bool {
		_, err := f.Cluster(t.Context(), "c0")
		return isUnknown(err)
	})
	if left := f.LeftBehind(); len(left) != 1 || left[0].ResourceID != away.ResourceID || left[0].Cluster != "c0" {
		t.Errorf("left behind: %+v", left)
	}
	if err := s.mini.StartAgent(away.Hostname); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 2*patience, "nothing is left of it anywhere", func() bool {
		return len(s.reserved()) == 0 && len(s.tasks()) == 0 && len(f.LeftBehind()) == 0
	})
}
