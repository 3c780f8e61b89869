package mini

import (
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/mesos/mini/resources"
)

// task is a task as the master knows it.
type task struct {
	framework *framework
	agentID   string
	proto     mesos.Task
	used      resources.List
	// freed is set when the task is over and its resources are free, while its
	// last update may still wait for an acknowledgement.
	freed bool
	// checkpointed holds of tasks of frameworks that outlive their agent.
	checkpointed bool
	lostAt       time.Time
}

func (t *task) id() string { return t.proto.TaskID.Value }

func (t *task) executorID() *mesos.ExecutorID { return t.proto.ExecutorID }

func (t *task) setState(s mesos.TaskState) { t.proto.State = &s }

// forwarded is the state of the last update that the scheduler was sent, and
// the status itself when there is one (rule 23).
func (t *task) forwarded() (mesos.TaskState, *mesos.TaskStatus) {
	if t.proto.StatusUpdateState == nil {
		return mesos.TASK_STAGING, nil
	}
	for i := len(t.proto.Statuses) - 1; i >= 0; i-- {
		if s := &t.proto.Statuses[i]; s.GetState() == *t.proto.StatusUpdateState {
			return *t.proto.StatusUpdateState, s
		}
	}
	return *t.proto.StatusUpdateState, nil
}

// record notes an update that is being forwarded. Repetitions of the last one
// leave no second entry.
func (t *task) record(status mesos.TaskStatus) {
	t.proto.StatusUpdateState, t.proto.StatusUpdateUUID = status.State, status.UUID
	if n := len(t.proto.Statuses); n > 0 && string(t.proto.Statuses[n-1].UUID) == string(status.UUID) {
		return
	}
	status.Data = nil // for the scheduler alone
	t.proto.Statuses = append(t.proto.Statuses, status)
}

// terminal reports whether a task in state s is over.
func terminal(s mesos.TaskState) bool {
	switch s {
	case mesos.TASK_FINISHED, mesos.TASK_FAILED, mesos.TASK_KILLED, mesos.TASK_ERROR, mesos.TASK_LOST,
		mesos.TASK_DROPPED, mesos.TASK_GONE, mesos.TASK_GONE_BY_OPERATOR:
		return true
	}
	return false
}

// newTask is a task that is being launched.
func newTask(f *framework, info mesos.TaskInfo, used resources.List, role string) *task {
	t := &task{framework: f, agentID: info.AgentID.Value, used: used, checkpointed: f.info.GetCheckpoint()}
	t.proto = mesos.Task{
		Name: info.Name, TaskID: info.TaskID, FrameworkID: *f.info.ID, AgentID: info.AgentID,
		State: mesos.TASK_STAGING.Enum(), Resources: used.ToProto(role, resources.Refined),
		Labels: info.Labels, Discovery: info.Discovery, Container: info.Container,
		HealthCheck: info.HealthCheck, KillPolicy: info.KillPolicy,
	}
	if info.Executor != nil {
		id := info.Executor.ExecutorID
		t.proto.ExecutorID = &id
	}
	return t
}

// masterStatus is a status that the master makes: it has no uuid and is not to
// be acknowledged (rule 22).
func masterStatus(id mesos.TaskID, state mesos.TaskState, reason mesos.TaskStatus_Reason, message string) mesos.TaskStatus {
	return mesos.TaskStatus{TaskID: id, State: &state, Message: ptr(message), Source: mesos.SOURCE_MASTER.Enum(),
		Reason: &reason, Timestamp: ptr(seconds(time.Now()))}
}

// addTask takes a task into the books of its framework and agent.
func (m *master) addTask(a *agentRecord, t *task) {
	t.framework.tasks[t.id()] = t
	a.tasks[taskKey{t.framework.id, t.id()}] = t
}

// finish takes a task out of the books.
func (m *master) finish(f *framework, t *task) {
	delete(f.tasks, t.id())
	delete(f.lost, t.id())
	if a := m.agents[t.agentID]; a != nil {
		delete(a.tasks, taskKey{f.id, t.id()})
		m.post(func() { m.checkDrained(t.agentID) }) // once the books are in order again
	}
	const keep = 1000 // as --max_completed_tasks_per_framework
	f.finished = append(f.finished, t)
	if n := len(f.finished); n > keep {
		f.finished = f.finished[n-keep:]
	}
}

// endTask is for tasks whose end the master itself decides.
func (m *master) endTask(t *task, status mesos.TaskStatus) {
	status.AgentID = &mesos.AgentID{Value: t.agentID}
	status.ExecutorID = t.executorID()
	t.setState(status.GetState())
	t.proto.Statuses = append(t.proto.Statuses, status)
	m.finish(t.framework, t)
	t.framework.sendStatus(status)
	m.tellOperatorsUpdate(t, status)
}
