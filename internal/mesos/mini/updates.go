package mini

import (
	"bytes"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	executorapi "github.com/mesos/mesos-go/api/v1/lib/executor"
)

// agentTask is a task as its agent knows it, with the updates that are not
// acknowledged: one at a time is out, the others wait in line (rule 23).
type agentTask struct {
	info    mesos.TaskInfo
	latest  mesos.TaskState
	pending []mesos.TaskStatus
	last    *mesos.TaskStatus // the last one that was acknowledged
	seen    [][]byte          // uuids of all updates there ever were
	retry   retry
}

func newAgentTask(info mesos.TaskInfo) *agentTask {
	return &agentTask{info: info, latest: mesos.TASK_STAGING}
}

// taskState is what an agent keeps of a task over restarts.
type taskState struct {
	Info    mesosBytes
	Latest  mesos.TaskState
	Pending []mesosBytes
	Last    mesosBytes
	Seen    [][]byte
}

func (t *agentTask) state() (s taskState, err error) {
	s = taskState{Latest: t.latest, Seen: t.seen}
	if s.Info, err = t.info.Marshal(); err != nil {
		return s, err
	}
	for _, status := range t.pending {
		data, err := status.Marshal()
		if err != nil {
			return s, err
		}
		s.Pending = append(s.Pending, data)
	}
	if t.last != nil {
		s.Last, err = t.last.Marshal()
	}
	return s, err
}

func (s taskState) task() (*agentTask, error) {
	t := &agentTask{latest: s.Latest, seen: s.Seen}
	if err := t.info.Unmarshal(s.Info); err != nil {
		return nil, err
	}
	for _, data := range s.Pending {
		var status mesos.TaskStatus
		if err := status.Unmarshal(data); err != nil {
			return nil, err
		}
		t.pending = append(t.pending, status)
	}
	if s.Last != nil {
		t.last = &mesos.TaskStatus{}
		return t, t.last.Unmarshal(s.Last)
	}
	return t, nil
}

// registered is the task as a registering agent tells it.
func (t *agentTask) registered(framework string) registeredTask {
	r := registeredTask{framework: framework, info: t.info, latest: t.latest, forwarded: t.last}
	if len(t.pending) > 0 {
		head := t.pending[0]
		r.forwarded = &head
	}
	return r
}

func (t *agentTask) saw(uuid []byte) bool {
	for _, have := range t.seen {
		if bytes.Equal(have, uuid) {
			return true
		}
	}
	return false
}

// ownStatus is a status that the agent makes for a task.
func (a *agent) ownStatus(e *executor, t *agentTask, state mesos.TaskState, reason mesos.TaskStatus_Reason, message string) mesos.TaskStatus {
	id := e.info.ExecutorID
	return mesos.TaskStatus{
		TaskID: t.info.TaskID, State: &state, Message: &message, Source: mesos.SOURCE_AGENT.Enum(), Reason: &reason,
		AgentID: &mesos.AgentID{Value: a.id}, ExecutorID: &id, Timestamp: ptr(seconds(time.Now())), UUID: newUUID(),
	}
}

// executorUpdate takes an update from an executor and, once it is kept,
// acknowledges it (rule 25). One that was kept before is only acknowledged.
func (a *agent) executorUpdate(e *executor, status mesos.TaskStatus) {
	if a.leaving.Load() || a.closing {
		return // an agent that ends itself takes nothing more, and acknowledges nothing
	}
	a.fillIn(e, &status)
	t := e.tasks[status.TaskID.Value]
	switch {
	case t == nil:
		// Of a task that is over or never was: passed on once, and not kept.
		id := a.id
		a.toMaster(func(m *master) { m.update(id, e.key.framework, status, status.GetState()) })
	case !t.saw(status.UUID):
		a.addUpdate(e, t, status)
	}
	if e.stream != nil {
		e.stream.send(&executorapi.Event{Type: executorapi.Event_ACKNOWLEDGED,
			Acknowledged: &executorapi.Event_Acknowledged{TaskID: status.TaskID, UUID: status.UUID}})
	}
}

// fillIn adds what the agent knows of a status (rule 26).
func (a *agent) fillIn(e *executor, status *mesos.TaskStatus) {
	status.AgentID = &mesos.AgentID{Value: a.id}
	if status.ExecutorID == nil {
		id := e.info.ExecutorID
		status.ExecutorID = &id
	}
	if status.Timestamp == nil {
		status.Timestamp = ptr(seconds(time.Now()))
	}
	if status.ContainerStatus == nil {
		status.ContainerStatus = &mesos.ContainerStatus{}
	}
	c := *status.ContainerStatus
	host, _ := splitAddr(a.addr)
	c.ContainerID = &mesos.ContainerID{Value: e.container}
	c.NetworkInfos = []mesos.NetworkInfo{{IPAddresses: []mesos.NetworkInfo_IPAddress{
		{Protocol: mesos.IPv4.Enum(), IPAddress: ptr(host)}}}}
	c.ExecutorPID = ptr(uint32(e.pid))
	status.ContainerStatus = &c
}

// addUpdate keeps an update and sends it if it is its turn.
func (a *agent) addUpdate(e *executor, t *agentTask, status mesos.TaskStatus) {
	a.underDraining(e, &status)
	t.pending = append(t.pending, status)
	t.seen = append(t.seen, status.UUID)
	if !terminal(t.latest) {
		t.latest = status.GetState()
	}
	a.mustKeep(e)
	if len(t.pending) == 1 {
		a.forward(e, t)
		return
	}
	latest, id := t.latest, t.info.TaskID.Value
	a.toMaster(func(m *master) { m.taskState(e.key.framework, id, latest) })
}

// forward sends the update at the head of the line, again and again until it
// is acknowledged.
func (a *agent) forward(e *executor, t *agentTask) {
	if !a.ready || len(t.pending) == 0 {
		return
	}
	id, status, latest := a.id, t.pending[0], t.latest
	a.toMaster(func(m *master) { m.update(id, e.key.framework, status, latest) })
	a.next(&t.retry, func() {
		if len(t.pending) > 0 && bytes.Equal(t.pending[0].UUID, status.UUID) {
			a.forward(e, t)
		}
	})
}

// resend sends again, at once, what is not acknowledged.
func (a *agent) resend(e *executor) {
	for _, id := range sortedKeys(e.tasks) {
		if t := e.tasks[id]; len(t.pending) > 0 {
			t.retry.stop()
			a.forward(e, t)
		}
	}
}

// acknowledge is a scheduler's ACKNOWLEDGE. Late, double and unknown ones are
// passed over.
func (a *agent) acknowledge(framework, task string, uuid []byte) {
	for _, e := range a.executors {
		t := e.tasks[task]
		if e.key.framework != framework || t == nil || len(t.pending) == 0 || !bytes.Equal(t.pending[0].UUID, uuid) {
			continue
		}
		t.retry.stop()
		head := t.pending[0]
		t.last, t.pending = &head, t.pending[1:]
		if terminal(head.GetState()) {
			// Nothing counts after the end, whatever else an executor sent.
			delete(e.tasks, task)
		}
		a.mustKeep(e)
		a.forward(e, t)
		a.tidy(e)
		a.endDraining()
		return
	}
}
