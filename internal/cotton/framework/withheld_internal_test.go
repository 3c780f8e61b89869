package framework

import (
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/aosc/aosc/internal/cotton"
)

// TestWithheldAmong: which agents are withheld, and how, by what the master says; one that is only not connected is none of them.
func TestWithheldAmong(t *testing.T) {
	agent := func(host string, deactivated bool, d *mesos.DrainInfo, began int64) master.Response_GetAgents_Agent {
		a := master.Response_GetAgents_Agent{AgentInfo: mesos.AgentInfo{ID: &mesos.AgentID{Value: "id-" + host}, Hostname: host},
			Deactivated: &deactivated, DrainInfo: d}
		if began > 0 {
			a.EstimatedDrainStartTime = &mesos.TimeInfo{Nanoseconds: began}
		}
		return a
	}
	info := func(state mesos.DrainState, gone bool) *mesos.DrainInfo {
		return &mesos.DrainInfo{State: state, Config: mesos.DrainConfig{MarkGone: &gone}}
	}
	old := agent("old", false, nil, 0)
	old.Deactivated = nil // a master that knows nothing of it
	got := withheldAmong(&master.Response_GetAgents{Agents: []master.Response_GetAgents_Agent{
		agent("d", true, nil, 0), agent("away", false, nil, 0), old, agent("c", true, info(mesos.DrainState_DRAINED, false), 0),
		agent("b", true, info(mesos.DrainState_DRAINING, true), 1e18),
	}})
	want := []cotton.Withheld{
		{AgentID: "id-b", Hostname: "b", State: cotton.WithheldDraining, Gone: true, Since: time.Unix(1e9, 0).UTC()},
		{AgentID: "id-c", Hostname: "c", State: cotton.WithheldDrained}, {AgentID: "id-d", Hostname: "d", State: cotton.WithheldDeactivated},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
}

// TestWithheldProblems: what is told of a member whose agent an operator of Mesos keeps from being used.
func TestWithheldProblems(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	runs := cotton.Member{ID: 1, Phase: cotton.PhaseRunning, TaskState: "TASK_RUNNING", HasData: true, ResourceID: "r", AgentID: "a",
		Hostname: "h1"}
	ended, fresh, removing := runs, runs, runs
	ended.Phase, ended.TaskState, ended.DownSince = cotton.PhaseLost, "TASK_KILLED", at
	fresh.Phase, fresh.HasData = cotton.PhasePending, false
	removing.Phase = cotton.PhaseRemoving
	elsewhere := runs
	elsewhere.AgentID, elsewhere.Hostname = "b", "h2"
	for _, tc := range []struct {
		name   string
		member cotton.Member
		state  string
		gone   bool
		others int
		after  time.Duration
		want   string // "" = nothing
	}{
		{"deactivated, and it runs", runs, cotton.WithheldDeactivated, false, 1, time.Minute,
			"c-1: its agent h1 is deactivated at Mesos (DEACTIVATE_AGENT); it runs on, and could not"},
		{"it is being ended", runs, cotton.WithheldDraining, false, 1, time.Minute, "is being drained at Mesos (DRAIN_AGENT); it is ended there"},
		{"it waits", ended, cotton.WithheldDrained, false, 1, 10 * time.Minute,
			"waits for REACTIVATE_AGENT, and if that has not come by 2026-03-01 12:10:00 UTC another"},
		{"without --replace-after", ended, cotton.WithheldDrained, false, 1, -1,
			"waits for REACTIVATE_AGENT; another takes its place by: cotton replace c --member 1"},
		{"the only one", ended, cotton.WithheldDrained, false, 0, time.Minute, "it is the only instance: it waits for REACTIVATE_AGENT"},
		{"it never ran", fresh, cotton.WithheldDrained, false, 1, time.Minute, "placed elsewhere"},
		{"the agent goes for good", runs, cotton.WithheldDraining, true, 1, time.Minute, "its data go with the agent"},
		{"it leaves", removing, cotton.WithheldDrained, false, 1, time.Minute, ""},
		{"it is elsewhere", elsewhere, cotton.WithheldDrained, false, 1, time.Minute, ""},
	} {
		r := cotton.Record{Spec: cotton.Spec{Name: "c"}, Members: []cotton.Member{tc.member}}
		for i := range tc.others {
			r.Members = append(r.Members, cotton.Member{ID: 2 + i})
		}
		got := withheldProblems(r, []cotton.Withheld{{AgentID: "a", Hostname: "h1", State: tc.state, Gone: tc.gone}}, tc.after)
		if tc.want == "" && len(got) != 0 || tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)) {
			t.Errorf("%s: %q", tc.name, got)
		}
	}
}
