package mini

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/testkit"
)

// known is an agent as GET_AGENTS has it; nil when it has none.
func known(t *testing.T, m *Mini, host string) any {
	t.Helper()
	_, body := operate(t, m, `{"type":"GET_AGENTS"}`)
	var answer map[string]any
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	list, _ := at(answer, "get_agents", "agents").([]any)
	for _, a := range list {
		if str(a, "agent_info", "hostname") == host {
			return a
		}
	}
	return nil
}

func agentID(t *testing.T, m *Mini, host string) string {
	t.Helper()
	var id string
	testkit.Eventually(t, testkit.Patience, host+" is registered", func() bool {
		id = str(known(t, m, host), "agent_info", "id", "value")
		return id != ""
	})
	return id
}

// draining is an operator's call on an agent; more goes into its message.
func draining(call, id, more string) string {
	return `{"type":"` + call + `","` + strings.ToLower(call) + `":{"agent_id":{"value":"` + id + `"}` + more + `}}`
}

func mustOperate(t *testing.T, m *Mini, call string) {
	t.Helper()
	if code, body := operate(t, m, call); code != http.StatusOK {
		t.Fatalf("%s gives %d %s", call, code, body)
	}
}

// unanswered is the next update of a task in a state, which is not acknowledged.
func (s *sched) unanswered(task, state string) map[string]any {
	s.t.Helper()
	for {
		st := at(s.next("UPDATE"), "update", "status").(map[string]any)
		if str(st, "task_id", "value") == task && st["state"] == state {
			return st
		}
	}
}

// TestDrainAgent: the tasks of an agent that is drained are killed, which says why; it is drained once the scheduler has
// acknowledged that, is offered again only after REACTIVATE_AGENT, and all that holds through restarts.
func TestDrainAgent(t *testing.T) {
	m, s, id := oneTask(t)
	mustOperate(t, m, draining("DRAIN_AGENT", id, `,"max_grace_period":{"seconds":7}`))
	a := known(t, m, "agent1.example")
	if at(a, "deactivated") != true || at(a, "active") != false || str(a, "drain_info", "state") != "DRAINING" ||
		at(a, "drain_info", "config", "max_grace_period", "nanoseconds") != 7e9 || at(a, "estimated_drain_start_time") == nil {
		t.Errorf("while it drains: %v", a)
	}
	if st := s.status("one", "TASK_KILLING"); st["reason"] != "REASON_AGENT_DRAINING" {
		t.Errorf("%v", st)
	}
	last := s.unanswered("one", "TASK_KILLED")
	if last["reason"] != "REASON_AGENT_DRAINING" || last["source"] != "SOURCE_EXECUTOR" {
		t.Errorf("%v", last)
	}
	if code, body := operate(t, m, draining("REACTIVATE_AGENT", id, "")); code != http.StatusBadRequest ||
		body != "Agent is still in the DRAINING state" {
		t.Errorf("REACTIVATE_AGENT before the end is acknowledged: %d %q", code, body)
	}
	s.call(map[string]any{"type": "ACKNOWLEDGE", "acknowledge": map[string]any{"agent_id": last["agent_id"], "task_id": last["task_id"],
		"uuid": last["uuid"]}})
	drained := func(m *Mini) {
		t.Helper()
		testkit.Eventually(t, testkit.Patience, "the agent is drained", func() bool {
			return str(known(t, m, "agent1.example"), "drain_info", "state") == "DRAINED"
		})
	}
	drained(m)
	if err := m.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	m = startWith(t, m.cfg)
	agentID(t, m, "agent1.example")
	drained(m)
	s = subscribe(t, m.URL(), s.id, frameworkInfo(true))
	o := s.offer("agent2.example", nil) // every allocation is for all agents
	s.call(map[string]any{"type": "DECLINE", "decline": map[string]any{"offer_ids": []any{o["id"]},
		"filters": map[string]any{"refuse_seconds": 0}}})
	s.offer("agent2.example", nil)
	if o := s.offers["agent1.example"]; o != nil {
		t.Errorf("offered while it is drained: %v", o)
	}
	mustOperate(t, m, draining("REACTIVATE_AGENT", id, ""))
	again := s.offer("agent1.example", func(o map[string]any) bool { return str(volumeIn(o), "disk", "persistence", "id") == "vol-one" })
	s.call(map[string]any{"type": "DECLINE", "decline": map[string]any{"offer_ids": []any{again["id"]},
		"filters": map[string]any{"refuse_seconds": 0}}})
	if a := known(t, m, "agent1.example"); at(a, "deactivated") != false || at(a, "drain_info") != nil || at(a, "active") != true {
		t.Errorf("once it is reactivated: %v", a)
	}
	launchOnVolume(s, "agent1.example", "two", 31001)
	s.status("two", "TASK_RUNNING")
	s.call(map[string]any{"type": "KILL", "kill": map[string]any{"task_id": value("two")}})
	if st := s.status("two", "TASK_KILLED"); st["reason"] != nil {
		t.Errorf("a task that was launched afterwards says %v", st)
	}
}

// oneTask is a cluster of agents with a task, "one", on agent1.example, whose id it returns.
func oneTask(t *testing.T) (m *Mini, s *sched, agent string) {
	t.Helper()
	m = start(t, nil)
	s = subscribe(t, m.URL(), "", frameworkInfo(true))
	launchOnVolume(s, "agent1.example", "one", 31000)
	s.status("one", "TASK_RUNNING")
	return m, s, agentID(t, m, "agent1.example")
}

// TestDrainAgentGone: with mark_gone the tasks are gone with the agent, which ends; it is no agent any more.
func TestDrainAgentGone(t *testing.T) {
	m, s, id := oneTask(t)
	mustOperate(t, m, draining("DRAIN_AGENT", id, `,"mark_gone":true`))
	if st := s.status("one", "TASK_GONE_BY_OPERATOR"); st["reason"] != "REASON_AGENT_DRAINING" || st["uuid"] == nil {
		t.Errorf("%v", st)
	}
	f := s.next("FAILURE")
	for at(f, "failure", "executor_id") != nil {
		f = s.next("FAILURE")
	}
	if str(f, "failure", "agent_id", "value") != id {
		t.Errorf("%v", f)
	}
	if a := known(t, m, "agent1.example"); a != nil {
		t.Errorf("it is known still: %v", a)
	}
}

// TestDrainUnreachableAgent: an agent that is away is drained when it is back.
func TestDrainUnreachableAgent(t *testing.T) {
	m, s, id := oneTask(t)
	if err := m.LoseAgent("agent1"); err != nil {
		t.Fatal(err)
	}
	s.status("one", "TASK_UNREACHABLE")
	mustOperate(t, m, draining("DRAIN_AGENT", id, ""))
	if err := m.StartAgent("agent1"); err != nil {
		t.Fatal(err)
	}
	s.status("one", "TASK_RUNNING")
	if st := s.status("one", "TASK_KILLED"); st["reason"] != "REASON_AGENT_DRAINING" {
		t.Errorf("%v", st)
	}
}

// TestDeactivateAgent: nothing of a deactivated agent is offered, offers that are out are rescinded, and what runs there goes
// on.
func TestDeactivateAgent(t *testing.T) {
	m, s, id := oneTask(t)
	rest := s.offer("agent1.example", nil) // what is left of it
	mustOperate(t, m, draining("DEACTIVATE_AGENT", id, ""))
	if e := s.next("RESCIND"); str(e, "rescind", "offer_id", "value") != str(rest, "id", "value") {
		t.Errorf("%v, not of %v", e, rest["id"])
	}
	a := known(t, m, "agent1.example")
	if at(a, "deactivated") != true || at(a, "drain_info") != nil {
		t.Errorf("while it is deactivated: %v", a)
	}
	s.call(map[string]any{"type": "RECONCILE", "reconcile": map[string]any{"tasks": []any{map[string]any{"task_id": value("one")}}}})
	if st := s.status("one", "TASK_RUNNING"); st["reason"] != "REASON_RECONCILIATION" {
		t.Errorf("%v", st)
	}
	mustOperate(t, m, draining("REACTIVATE_AGENT", id, ""))
	s.offer("agent1.example", nil)
}

// TestDrainingRefused: what cannot be is refused in Mesos' words, and changes nothing.
func TestDrainingRefused(t *testing.T) {
	m := start(t, nil)
	id := agentID(t, m, "agent1.example")
	mustOperate(t, m, plan1)
	for call, want := range map[string]string{
		`{"type":"DRAIN_AGENT"}`:                   "Failed to validate master::Call: Expecting 'drain_agent' to be present",
		`{"type":"DEACTIVATE_AGENT"}`:              "Failed to validate master::Call: Expecting 'deactivate_agent' to be present",
		`{"type":"REACTIVATE_AGENT"}`:              "Failed to validate master::Call: Expecting 'reactivate_agent' to be present",
		draining("DRAIN_AGENT", "nobody", ""):      "Unknown agent",
		draining("DEACTIVATE_AGENT", "nobody", ""): "Unknown agent",
		draining("REACTIVATE_AGENT", id, ""):       "Agent is not deactivated",
		draining("DRAIN_AGENT", id, ""):            "Agent " + id + " is part of a maintenance schedule under Machine agent1.example (127.0.0.1)",
	} {
		if code, body := operate(t, m, call); code != http.StatusBadRequest || body != want {
			t.Errorf("%s gives %d %q", call, code, body)
		}
	}
	if a := known(t, m, "agent1.example"); at(a, "deactivated") != false {
		t.Errorf("after them: %v", a)
	}
}
