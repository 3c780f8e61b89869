package mini

import (
	"fmt"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/aosc/aosc/internal/mesos/mini/resources"
)

// registration is what an agent tells the master when it comes, or comes back.
type registration struct {
	id         string // empty for one that never registered
	info       mesos.AgentInfo
	addr       string
	total      resources.List
	tasks      []registeredTask
	executors  []mesos.ExecutorInfo
	operations []registeredOperation
	frameworks []mesos.FrameworkInfo
}

type registeredTask struct {
	framework string
	info      mesos.TaskInfo
	latest    mesos.TaskState
	// forwarded is the last update that the agent knows the scheduler to have
	// been sent; nil before the first.
	forwarded *mesos.TaskStatus
}

type registeredOperation struct {
	framework string
	status    mesos.OperationStatus
}

// register takes an agent in. One that was marked gone, or whose machine is
// down for maintenance, is told to end.
func (m *master) register(r registration, from *agent) {
	if m.gone[r.id] != nil {
		from.fromMaster(func(a *agent) { a.shutdownGone() })
		return
	}
	host, _ := splitAddr(r.addr)
	if known := m.machines[machineID{strings.ToLower(r.info.Hostname), host}]; known != nil && known.down {
		from.fromMaster(func(a *agent) { a.leave() })
		return
	}
	if r.id == "" {
		m.forgotten(r.addr)
	}
	now := time.Now()
	a := m.agents[r.id]
	wasUnreachable := m.unreachable[r.id] != nil
	if a == nil {
		a = &agentRecord{id: r.id, registered: now,
			tasks: map[taskKey]*task{}, executors: map[executorKey]*executorRecord{}, offers: map[string]*offer{}}
		if r.id == "" {
			a.id = fmt.Sprintf("%s-S%d", m.id, m.nextAgent)
			m.nextAgent++
		}
	}
	if r.id != "" {
		a.reregistered = now
	}
	stopTimer(a.pingTimer)
	delete(m.unreachable, r.id)
	delete(m.recovered, r.id)
	// Offers made before are void: what they held is counted anew.
	m.withdraw(a)
	a.info, a.addr, a.total, a.link, a.connected = r.info, r.addr, r.total, from, true
	a.info.ID = &mesos.AgentID{Value: a.id}
	m.agents[a.id] = a
	m.takeFrameworks(a, r)
	m.takeExecutors(a, r)
	m.takeTasks(a, r, wasUnreachable)
	m.takeOperations(a, r)
	m.mustCheckpoint()
	m.tellOperatorsAgent(a, true)
	id := a.id
	from.fromMaster(func(a *agent) { a.registered(id) })
	m.tellToDrain(a)
	for _, f := range m.frameworks {
		if f.stream != nil {
			info := f.info
			from.fromMaster(func(a *agent) { a.frameworkSubscribed(info) })
		}
	}
	m.allocate()
}

// forgotten removes the agent at whose address one without an id registers: it
// does not know who it was. One that was found unreachable before stays so.
func (m *master) forgotten(addr string) {
	for _, id := range sortedKeys(m.agents) {
		if a := m.agents[id]; a.addr == addr {
			m.removeAgent(a, "a new agent registered at the same address")
		}
	}
}

// takeFrameworks learns of frameworks that the master forgot, and has the
// agent end those that are over.
func (m *master) takeFrameworks(a *agentRecord, r registration) {
	for _, info := range r.frameworks {
		id := info.ID.Value
		switch {
		case m.completed[id] != nil:
			a.send(func(a *agent) { a.shutdownFramework(id) })
		case m.frameworks[id] == nil:
			f := newFramework(id, info)
			f.recovered = true
			m.frameworks[id] = f
		}
	}
}

func (m *master) takeExecutors(a *agentRecord, r registration) {
	a.executors = map[executorKey]*executorRecord{}
	for _, info := range r.executors {
		id := info.FrameworkID.GetValue()
		if m.frameworks[id] == nil {
			continue
		}
		used, err := resources.FromProto(info.Resources)
		if err == nil {
			a.executors[executorKey{id, info.ExecutorID.Value}] = &executorRecord{info: info, used: used, role: allocatedTo(info.Resources)}
		}
	}
}

// takeTasks brings the master's tasks in line with the agent's.
func (m *master) takeTasks(a *agentRecord, r registration, wasUnreachable bool) {
	known := a.tasks
	a.tasks = map[taskKey]*task{}
	for _, has := range r.tasks {
		f := m.frameworks[has.framework]
		if f == nil {
			continue
		}
		key := taskKey{f.id, has.info.TaskID.Value}
		t := known[key]
		delete(known, key)
		if t == nil {
			t = f.lost[key.task]
		}
		if t == nil {
			used, err := resources.FromProto(has.info.Resources)
			if err != nil {
				continue
			}
			t = newTask(f, has.info, used, allocatedTo(has.info.Resources))
			if has.forwarded != nil {
				t.record(*has.forwarded)
			}
		}
		delete(f.lost, key.task)
		t.agentID = a.id
		t.setState(has.latest)
		t.freed = terminal(has.latest)
		m.addTask(a, t)
		if wasUnreachable && !t.freed {
			m.taskReturned(f, t)
		}
	}
	// What the master has and the agent has not never got there.
	for _, t := range known {
		status := masterStatus(t.proto.TaskID, t.framework.aware(mesos.TASK_DROPPED), mesos.REASON_RECONCILIATION, "Task is unknown to the agent")
		m.endTask(t, status)
	}
}

// taskReturned says that a task is there again, also to a framework that was
// told it was lost.
func (m *master) taskReturned(f *framework, t *task) {
	state, last := t.forwarded()
	status := masterStatus(t.proto.TaskID, state, mesos.REASON_AGENT_REREGISTERED, "Unreachable agent re-reregistered")
	status.AgentID = &mesos.AgentID{Value: t.agentID}
	status.ExecutorID = t.executorID()
	if last != nil {
		status.ContainerStatus = last.ContainerStatus
	}
	f.sendStatus(status)
}

// takeOperations learns which operations the agent still has feedback of.
func (m *master) takeOperations(a *agentRecord, r registration) {
	for _, f := range m.frameworks {
		for uuid, op := range f.operations {
			if op.agentID == a.id {
				delete(f.operations, uuid)
			}
		}
	}
	for _, op := range r.operations {
		if f := m.frameworks[op.framework]; f != nil {
			f.operations[string(op.status.UUID.GetValue())] = &operation{agentID: a.id, status: op.status}
		}
	}
}

// allocatedTo is the role that resources in a message are allocated to.
func allocatedTo(list []mesos.Resource) string {
	for _, r := range list {
		if r.AllocationInfo != nil {
			return r.AllocationInfo.GetRole()
		}
	}
	return ""
}

// agentDisconnected is told when the agent's process is gone. Tasks that
// cannot outlive it are lost; the others are waited for.
func (m *master) agentDisconnected(id string, from *agent) {
	a := m.agents[id]
	if a == nil || a.link != from || !a.connected {
		return
	}
	a.connected = false
	m.withdraw(a)
	for _, t := range a.tasks {
		if t.checkpointed {
			continue
		}
		m.endTask(t, masterStatus(t.proto.TaskID, mesos.TASK_LOST, mesos.REASON_AGENT_DISCONNECTED,
			fmt.Sprintf("Agent %s disconnected", a.info.Hostname)))
	}
	for k := range a.executors {
		if f := m.frameworks[k.framework]; f == nil || !f.info.GetCheckpoint() {
			delete(a.executors, k)
		}
	}
	m.awaitPings(a)
}

// awaitPings marks the agent unreachable when it stays away.
func (m *master) awaitPings(a *agentRecord) {
	stopTimer(a.pingTimer)
	link := a.link
	a.pingTimer = m.after(m.cfg.AgentPingTimeout*time.Duration(m.cfg.MaxAgentPingTimeouts), func() {
		if m.agents[a.id] == a && a.link == link {
			m.markUnreachable(a)
		}
	})
}

// agentCutOff starts the wait for the pings of an agent that is there and does
// not answer; agentHeard ends it.
func (m *master) agentCutOff(id string, from *agent) {
	if a := m.agents[id]; a != nil && a.link == from && a.connected {
		m.awaitPings(a)
	}
}

func (m *master) markUnreachable(a *agentRecord) {
	now := time.Now()
	a.unreachable, a.connected = now, false
	delete(m.agents, a.id)
	m.unreachable[a.id] = a
	for _, t := range a.tasks {
		f := t.framework
		if t.freed {
			m.finish(f, t)
			continue
		}
		status := masterStatus(t.proto.TaskID, f.aware(mesos.TASK_UNREACHABLE), mesos.REASON_AGENT_REMOVED, "health check timed out")
		status.AgentID = &mesos.AgentID{Value: a.id}
		status.ExecutorID = t.executorID()
		status.UnreachableTime = &mesos.TimeInfo{Nanoseconds: now.UnixNano()}
		t.setState(status.GetState())
		t.lostAt = now
		delete(f.tasks, t.id())
		f.lost[t.id()] = t
		f.sendStatus(status)
		m.tellOperatorsUpdate(t, status)
	}
	m.withdraw(a)
	m.agentFailed(a)
	m.mustCheckpoint()
}

// agentFailed tells all frameworks of an agent that is no more.
func (m *master) agentFailed(a *agentRecord) {
	for _, f := range m.frameworks {
		f.send(&scheduler.Event{Type: scheduler.Event_FAILURE,
			Failure: &scheduler.Event_Failure{AgentID: &mesos.AgentID{Value: a.id}}})
	}
	m.tellOperatorsAgent(a, false)
}

// markGone ends an agent on an operator's word: its tasks are over for good.
func (m *master) markGone(id string) (found bool) {
	a := m.agents[id]
	if a == nil {
		a = m.unreachable[id]
	}
	if a == nil {
		info, ok := m.recovered[id]
		if !ok {
			return m.gone[id] != nil
		}
		a = &agentRecord{id: id, info: info}
	}
	a.send(func(a *agent) { a.shutdownGone() })
	stopTimer(a.pingTimer)
	delete(m.agents, id)
	delete(m.unreachable, id)
	delete(m.recovered, id)
	delete(m.drains, id)
	m.gone[id] = a
	for _, t := range a.tasks {
		reason := mesos.REASON_AGENT_REMOVED
		if t.framework.partitionAware() {
			reason = mesos.REASON_AGENT_REMOVED_BY_OPERATOR
		}
		m.endTask(t, masterStatus(t.proto.TaskID, t.framework.aware(mesos.TASK_GONE_BY_OPERATOR), reason, "Agent has been marked gone"))
	}
	m.withdraw(a)
	m.agentFailed(a)
	m.mustCheckpoint()
	return true
}

// update is an update on its way from an agent to a scheduler. latest is the
// state the task has really reached: it frees resources before the update
// that says so is its turn.
func (m *master) update(agentID, frameworkID string, status mesos.TaskStatus, latest mesos.TaskState) {
	f := m.frameworks[frameworkID]
	if f == nil {
		return
	}
	if t := f.tasks[status.TaskID.Value]; t != nil && t.agentID == agentID {
		t.setState(latest)
		t.freed = terminal(latest)
		t.record(status)
		m.tellOperatorsUpdate(t, status)
	}
	f.sendStatus(status)
}

// taskState is told what state a task has reached while its updates still
// wait for their turn.
func (m *master) taskState(frameworkID, taskID string, latest mesos.TaskState) {
	if f := m.frameworks[frameworkID]; f != nil && f.tasks[taskID] != nil {
		f.tasks[taskID].setState(latest)
		f.tasks[taskID].freed = terminal(latest)
	}
}

// acknowledge passes an ACKNOWLEDGE on. When it is that of the update that
// ended the task, the task leaves the books.
func (m *master) acknowledge(f *framework, call *scheduler.Call_Acknowledge) {
	a := m.agents[call.AgentID.Value]
	if a == nil || !a.connected {
		return
	}
	t := f.tasks[call.TaskID.Value]
	if t != nil && t.agentID == a.id && terminalStatus(t, call.UUID) {
		m.finish(f, t)
	}
	a.send(func(a *agent) { a.acknowledge(f.id, call.TaskID.Value, call.UUID) })
}

func terminalStatus(t *task, uuid []byte) bool {
	return t.proto.StatusUpdateState != nil && terminal(*t.proto.StatusUpdateState) && string(t.proto.StatusUpdateUUID) == string(uuid)
}

// executorExited frees an executor's resources and tells its framework.
func (m *master) executorExited(agentID, frameworkID, executorID string, status int) {
	if a := m.agents[agentID]; a != nil {
		delete(a.executors, executorKey{frameworkID, executorID})
	}
	if f := m.frameworks[frameworkID]; f != nil {
		f.send(&scheduler.Event{Type: scheduler.Event_FAILURE, Failure: &scheduler.Event_Failure{
			AgentID: &mesos.AgentID{Value: agentID}, ExecutorID: &mesos.ExecutorID{Value: executorID}, Status: ptr(int32(status))}})
	}
}

// executorGone frees an executor that ended while its agent was away: of that
// no FAILURE is told (recording 31).
func (m *master) executorGone(agentID, frameworkID, executorID string) {
	if a := m.agents[agentID]; a != nil {
		delete(a.executors, executorKey{frameworkID, executorID})
	}
}

// message passes a MESSAGE between a scheduler and its executor; to one that
// is not there it is lost.
func (m *master) messageFromExecutor(agentID, frameworkID, executorID string, data []byte) {
	if f := m.frameworks[frameworkID]; f != nil {
		f.send(&scheduler.Event{Type: scheduler.Event_MESSAGE, Message: &scheduler.Event_Message{
			AgentID: mesos.AgentID{Value: agentID}, ExecutorID: mesos.ExecutorID{Value: executorID}, Data: data}})
	}
}
