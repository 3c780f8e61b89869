package mini

import (
	"fmt"
	"net/http"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	masterapi "github.com/mesos/mesos-go/api/v1/lib/master"
)

// drain is what the master keeps of an agent that an operator has deactivated. It outlives restarts of both.
type drain struct {
	info  *mesos.DrainInfo // nil for one that is only deactivated
	began time.Time        // when the agent was told to drain; zero while it was not there
}

// drainingCall carries out the operator's calls that keep an agent from being used; known is false for any other.
func (m *master) drainingCall(c *masterapi.Call) (known bool, err error) {
	expect := func(field string) (bool, error) {
		return true, badRequest("Failed to validate master::Call: Expecting '%s' to be present", field)
	}
	switch c.Type {
	case masterapi.Call_DRAIN_AGENT:
		if c.DrainAgent == nil {
			return expect("drain_agent")
		}
		return true, m.drainAgent(c.DrainAgent)
	case masterapi.Call_DEACTIVATE_AGENT:
		if c.DeactivateAgent == nil {
			return expect("deactivate_agent")
		}
		return true, m.deactivateAgent(c.DeactivateAgent.AgentID.Value)
	case masterapi.Call_REACTIVATE_AGENT:
		if c.ReactivateAgent == nil {
			return expect("reactivate_agent")
		}
		return true, m.reactivateAgent(c.ReactivateAgent.AgentID.Value)
	}
	return false, nil
}

// knows tells whether an agent is registered, recovered or unreachable.
func (m *master) knows(id string) bool {
	_, recovered := m.recovered[id]
	return recovered || m.agents[id] != nil || m.unreachable[id] != nil
}

// drainAgent deactivates an agent and has it kill its tasks; one that is away does so when it is back. Asking again changes
// how.
func (m *master) drainAgent(c *masterapi.Call_DrainAgent) error {
	id := c.AgentID.Value
	if a := m.agents[id]; a != nil && m.machines[a.machine()] != nil {
		return badRequest("Agent %s is part of a maintenance schedule under Machine %s", id, a.machine())
	}
	if !m.knows(id) {
		return badRequest("Unknown agent")
	}
	info := &mesos.DrainInfo{State: mesos.DrainState_DRAINING}
	info.Config.MarkGone = ptr(c.MarkGone != nil && *c.MarkGone)
	if p := c.MaxGracePeriod; p != nil {
		info.Config.MaxGracePeriod = &mesos.DurationInfo{Nanoseconds: p.Seconds*int64(time.Second) + int64(p.Nanos)}
	}
	m.drains[id] = &drain{info: info}
	m.mustCheckpoint()
	if a := m.agents[id]; a != nil {
		m.withdraw(a)
		m.tellToDrain(a)
	}
	return nil
}

// tellToDrain has a registered agent begin what the operator asked for.
func (m *master) tellToDrain(a *agentRecord) {
	d := m.drains[a.id]
	if d == nil || d.info == nil {
		return
	}
	config := d.info.Config
	if d.info.State == mesos.DrainState_DRAINING {
		d.began = time.Now()
		a.send(func(a *agent) { a.drainTasks(config) })
	}
	m.checkDrained(a.id)
}

// checkDrained is called whenever something of an agent's has ended: one that drains and has nothing left is drained, and gone
// if the operator said so.
func (m *master) checkDrained(id string) {
	d, a := m.drains[id], m.agents[id]
	if d == nil || d.info == nil || a == nil || len(a.tasks) > 0 {
		return
	}
	for _, f := range m.frameworks {
		for _, op := range f.operations {
			if op.agentID == id {
				return
			}
		}
	}
	if d.info.State == mesos.DrainState_DRAINING {
		d.info.State = mesos.DrainState_DRAINED
		m.mustCheckpoint()
	}
	if *d.info.Config.MarkGone {
		m.markGone(id)
	}
}

func (m *master) deactivateAgent(id string) error {
	if !m.knows(id) {
		return badRequest("Unknown agent")
	}
	if m.drains[id] == nil {
		m.drains[id] = &drain{}
		m.mustCheckpoint()
	}
	if a := m.agents[id]; a != nil {
		m.withdraw(a)
	}
	return nil
}

func (m *master) reactivateAgent(id string) error {
	d := m.drains[id]
	switch {
	case d == nil:
		return badRequest("Agent is not deactivated")
	case d.info != nil && d.info.State == mesos.DrainState_DRAINING:
		return badRequest("Agent is still in the DRAINING state")
	}
	delete(m.drains, id)
	m.mustCheckpoint()
	if m.agents[id] == nil {
		return httpError{status: http.StatusConflict, text: "Agent removed while processing the call"}
	}
	m.allocate()
	return nil
}

// agentProto is an agent as the operator sees it.
func (m *master) agentProto(a *agentRecord) masterapi.Response_GetAgents_Agent {
	out := a.proto()
	if d := m.drains[a.id]; d != nil {
		out.Active, out.Deactivated = false, ptr(true)
		if d.info != nil {
			info := *d.info
			out.DrainInfo = &info
		}
		if !d.began.IsZero() {
			out.EstimatedDrainStartTime = &mesos.TimeInfo{Nanoseconds: d.began.UnixNano()}
		}
	}
	return out
}

// drainState is what a master keeps of a deactivated agent over restarts.
type drainState struct{ Info mesosBytes }

func (d *drain) state() (s drainState, err error) {
	if d.info != nil {
		s.Info, err = d.info.Marshal()
	}
	return s, err
}

func (s drainState) drain() (*drain, error) {
	if s.Info == nil {
		return &drain{}, nil
	}
	d := &drain{info: &mesos.DrainInfo{}}
	if err := d.info.Unmarshal(s.Info); err != nil {
		return nil, fmt.Errorf("drain info: %w", err)
	}
	return d, nil
}

// drainTasks kills all that runs, within the grace that the operator allows at most.
func (a *agent) drainTasks(config mesos.DrainConfig) {
	a.drain = &config
	for _, id := range sortedKeys(a.executors) {
		e := a.executors[id]
		for _, name := range sortedKeys(e.tasks) {
			t := e.tasks[name]
			if terminal(t.latest) || e.over {
				continue
			}
			var policy *mesos.KillPolicy
			if most := config.MaxGracePeriod; most != nil {
				policy = &mesos.KillPolicy{GracePeriod: most}
				if own := t.info.KillPolicy.GetGracePeriod(); own != nil && own.Nanoseconds < most.Nanoseconds {
					policy.GracePeriod = own
				}
			}
			a.kill(e.key.framework, t.info.TaskID, policy)
		}
	}
	a.endDraining()
}

// endDraining: the agent has nothing left, so that whatever comes next comes after a reactivation.
func (a *agent) endDraining() {
	for _, e := range a.executors {
		if len(e.tasks) > 0 {
			return
		}
	}
	a.drain = nil
}

// underDraining says why a task ends that is killed on an agent that is drained, and that it will not come back where the
// agent goes for good.
func (a *agent) underDraining(e *executor, status *mesos.TaskStatus) {
	if a.drain == nil {
		return
	}
	switch status.GetState() {
	case mesos.TASK_KILLED:
		if a.drain.GetMarkGone() && (&framework{info: e.framework}).partitionAware() {
			status.State = mesos.TASK_GONE_BY_OPERATOR.Enum()
		}
	case mesos.TASK_KILLING, mesos.TASK_GONE_BY_OPERATOR:
	default:
		return
	}
	status.Reason = mesos.REASON_AGENT_DRAINING.Enum()
}
