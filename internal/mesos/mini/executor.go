package mini

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	executorapi "github.com/mesos/mesos-go/api/v1/lib/executor"
)

// executor is one run of an executor on its agent.
type executor struct {
	key        executorKey
	container  string
	info       mesos.ExecutorInfo
	framework  mesos.FrameworkInfo
	pid        int // 0 until it is started
	ticks      uint64
	subscribed bool // it has been subscribed at least once
	tasks      map[string]*agentTask
	queue      []string // tasks that wait for the first subscription

	stream    *stream
	silent    bool // its framework is over: nobody is told of its end
	over      bool // the process has ended; updates may still wait
	timer     *time.Timer
	heartbeat *time.Timer
	failure   endedUnseen
	launched  bool // the process was to be started: fetching has begun
}

func (e *executor) stopTimers() {
	stopTimer(e.timer)
	stopTimer(e.heartbeat)
	for _, t := range e.tasks {
		t.retry.stop()
	}
}

// endedUnseen is what tasks are told of an executor's end when it is not
// simply that it terminated.
type endedUnseen struct {
	reason  mesos.TaskStatus_Reason
	message string
}

// executorState is what an agent keeps of an executor over restarts.
type executorState struct {
	Container  string
	Info       mesosBytes
	Framework  mesosBytes
	PID        int
	Ticks      uint64
	Subscribed bool
	Queue      []string
	Tasks      []taskState
}

func (a *agent) executorPath(container string) string {
	return filepath.Join(a.executorsDir(), container+".json")
}

// keep checkpoints an executor. Those of frameworks that do not checkpoint
// are not kept: they end with their agent.
func (a *agent) keep(e *executor) error {
	if !e.framework.GetCheckpoint() {
		return nil
	}
	state := executorState{Container: e.container, PID: e.pid, Ticks: e.ticks, Subscribed: e.subscribed, Queue: e.queue}
	var err error
	if state.Info, err = e.info.Marshal(); err != nil {
		return err
	}
	if state.Framework, err = e.framework.Marshal(); err != nil {
		return err
	}
	for _, id := range sortedKeys(e.tasks) {
		t, err := e.tasks[id].state()
		if err != nil {
			return err
		}
		state.Tasks = append(state.Tasks, t)
	}
	return save(a.executorPath(e.container), state)
}

func (a *agent) mustKeep(e *executor) {
	if err := a.keep(e); err != nil {
		slog.Error("mini: executor not checkpointed; a restart of the agent will lose it", "executor", e.key.executor, "error", err)
	}
}

func (a *agent) restoreExecutors() error {
	paths, err := filepath.Glob(a.executorPath("*"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		var state executorState
		if _, err := load(path, &state); err != nil {
			return err
		}
		e := &executor{container: state.Container, pid: state.PID, ticks: state.Ticks, subscribed: state.Subscribed,
			launched: true, queue: state.Queue, tasks: map[string]*agentTask{}}
		if err := e.info.Unmarshal(state.Info); err != nil {
			return err
		}
		if err := e.framework.Unmarshal(state.Framework); err != nil {
			return err
		}
		e.key = executorKey{e.framework.ID.Value, e.info.ExecutorID.Value}
		for _, s := range state.Tasks {
			t, err := s.task()
			if err != nil {
				return err
			}
			e.tasks[t.info.TaskID.Value] = t
		}
		a.executors[e.container] = e
		a.frameworks[e.key.framework] = e.framework
	}
	return nil
}

// find is the executor that runs under key, or nil.
func (a *agent) find(key executorKey) *executor {
	for _, e := range a.executors {
		if e.key == key && !e.over {
			return e
		}
	}
	return nil
}

// sandbox is the executor's directory.
func (a *agent) sandbox(e *executor) string {
	return filepath.Join(a.dir, "slaves", a.id, "frameworks", e.key.framework, "executors", e.key.executor, "runs", e.container)
}

// launch runs a task: in the executor that is there, or in a new one.
func (a *agent) launch(framework mesos.FrameworkInfo, info mesos.TaskInfo) {
	key := executorKey{framework.ID.Value, info.Executor.ExecutorID.Value}
	a.frameworks[key.framework] = framework
	e := a.find(key)
	if e == nil {
		e = &executor{key: key, container: uuidText(newUUID()), info: *info.Executor, framework: framework, tasks: map[string]*agentTask{}}
		a.executors[e.container] = e
	}
	t := newAgentTask(info)
	e.tasks[info.TaskID.Value] = t
	if !e.subscribed {
		e.queue = append(e.queue, info.TaskID.Value)
	}
	if !e.launched {
		e.launched = true
		a.prepare(e)
		return
	}
	a.mustKeep(e)
	if err := a.linkVolumes(e, info.Resources); err != nil {
		slog.Error("mini: volume not linked into the sandbox", "task", info.TaskID.Value, "error", err)
	}
	if e.subscribed && e.stream != nil {
		e.stream.send(launchEvent(info))
	}
	// With no executor connected the LAUNCH is lost (rule 34).
}

func launchEvent(info mesos.TaskInfo) *executorapi.Event {
	return &executorapi.Event{Type: executorapi.Event_LAUNCH, Launch: &executorapi.Event_Launch{Task: info}}
}

// watch has the agent told when the executor's process is over.
func (a *agent) watch(e *executor) {
	a.procs.watch(e.pid, e.ticks, func(status int) {
		a.post(func() { a.executorExited(e, status) })
	})
}

// executorExited is told when an executor's process is over. Its framework is
// told with FAILURE before its tasks are failed (rule 27).
func (a *agent) executorExited(e *executor, status int) {
	if e.over {
		return
	}
	// Of an end seen before the agent is registered there is no FAILURE
	// (recording 31).
	if !e.silent && a.ready {
		id := a.id
		a.toMaster(func(m *master) { m.executorExited(id, e.key.framework, e.key.executor, status) })
	}
	a.executorEnded(e, e.failure)
}

// executorEnded closes an executor's books: what is left of its session is
// killed and its live tasks have failed.
func (a *agent) executorEnded(e *executor, why endedUnseen) {
	e.over = true
	stopTimer(e.timer)
	stopTimer(e.heartbeat)
	if e.pid != 0 {
		killSession(e.pid)
	}
	if e.stream != nil {
		e.stream.end()
		e.stream = nil
	}
	if why.message == "" {
		why = endedUnseen{mesos.REASON_EXECUTOR_TERMINATED, "Executor terminated"}
	}
	for _, id := range sortedKeys(e.tasks) {
		if t := e.tasks[id]; !e.silent && !terminal(t.latest) {
			a.addUpdate(e, t, a.ownStatus(e, t, mesos.TASK_FAILED, why.reason, why.message))
		}
	}
	if e.silent {
		for id, t := range e.tasks {
			t.retry.stop()
			delete(e.tasks, id)
		}
	}
	a.tidy(e)
}

// tidy forgets an executor that is over when none of its updates waits.
func (a *agent) tidy(e *executor) {
	if !e.over || len(e.tasks) > 0 {
		return
	}
	delete(a.executors, e.container)
	a.endWhenEmpty()
	if err := os.Remove(a.executorPath(e.container)); err != nil && !os.IsNotExist(err) {
		slog.Error("mini: checkpoint of an executor not removed", "executor", e.key.executor, "error", err)
	}
	for _, other := range a.executors {
		if other.key.framework == e.key.framework {
			return
		}
	}
	delete(a.frameworks, e.key.framework)
}

// shutdown asks an executor to end, and ends it when it does not.
func (a *agent) shutdown(e *executor) {
	if e.over {
		return
	}
	if e.pid == 0 {
		// Not started yet: its fetch is given up.
		a.executorEnded(e, endedUnseen{})
		return
	}
	if e.stream != nil {
		e.stream.send(&executorapi.Event{Type: executorapi.Event_SHUTDOWN})
	}
	stopTimer(e.timer)
	e.timer = a.after(a.gracePeriod(e), func() {
		if !e.over {
			killSession(e.pid)
		}
	})
}

func (a *agent) gracePeriod(e *executor) time.Duration {
	if p := e.info.ShutdownGracePeriod; p != nil {
		return time.Duration(p.Nanoseconds)
	}
	return a.cfg.ExecutorShutdownGracePeriod
}

func (a *agent) shutdownExecutor(key executorKey) {
	if e := a.find(key); e != nil {
		a.shutdown(e)
	}
}

// shutdownFramework ends all executors of a framework that is over. Nobody is
// told of their tasks any more.
func (a *agent) shutdownFramework(id string) {
	for _, e := range a.executors {
		if e.key.framework != id {
			continue
		}
		e.silent = true
		if e.over {
			a.executorEnded(e, endedUnseen{})
			continue
		}
		a.shutdown(e)
	}
	for uuid, op := range a.operations {
		if op.framework == id {
			op.retry.stop()
			delete(a.operations, uuid)
		}
	}
}

// kill passes a KILL to the executor, which decides (rule 30). A task that no
// executor has seen yet is killed here.
func (a *agent) kill(framework string, id mesos.TaskID, policy *mesos.KillPolicy) {
	for _, e := range a.executors {
		t := e.tasks[id.Value]
		if e.key.framework != framework || t == nil || e.over {
			continue
		}
		if !e.subscribed {
			e.dequeue(id.Value)
			a.addUpdate(e, t, a.ownStatus(e, t, mesos.TASK_KILLED, mesos.REASON_TASK_KILLED_DURING_LAUNCH, "Killed before delivery to the executor"))
			if len(e.queue) == 0 {
				a.shutdown(e)
			}
			return
		}
		if e.stream != nil {
			e.stream.send(&executorapi.Event{Type: executorapi.Event_KILL, Kill: &executorapi.Event_Kill{TaskID: id, KillPolicy: policy}})
		}
		return
	}
}

func (e *executor) dequeue(task string) {
	kept := e.queue[:0]
	for _, id := range e.queue {
		if id != task {
			kept = append(kept, id)
		}
	}
	e.queue = kept
}

// message passes a scheduler's MESSAGE on; to an executor that is not
// connected it is lost.
func (a *agent) message(key executorKey, data []byte) {
	if e := a.find(key); e != nil && e.stream != nil {
		e.stream.send(&executorapi.Event{Type: executorapi.Event_MESSAGE, Message: &executorapi.Event_Message{Data: data}})
	}
}

// subscribe connects an executor. One that was connected under the same ids is
// cut off (rule 33).
func (a *agent) subscribe(e *executor, call *executorapi.Call_Subscribe, s *stream) {
	if e.stream != nil {
		e.stream.end()
	}
	e.stream = s
	stopTimer(e.timer)
	info := a.info
	s.send(&executorapi.Event{Type: executorapi.Event_SUBSCRIBED, Subscribed: &executorapi.Event_Subscribed{
		ExecutorInfo: e.info, FrameworkInfo: a.frameworks[e.key.framework], AgentInfo: info,
		ContainerID: &mesos.ContainerID{Value: e.container}}})
	a.beat(e, s)
	for _, u := range call.UnacknowledgedUpdates {
		a.executorUpdate(e, u.Status)
	}
	if !e.subscribed {
		e.subscribed = true
		for _, id := range e.queue {
			s.send(launchEvent(e.tasks[id].info))
		}
		e.queue = nil
		a.mustKeep(e)
		return
	}
	has := map[string]bool{}
	for _, t := range call.UnacknowledgedTasks {
		has[t.TaskID.Value] = true
	}
	for _, id := range sortedKeys(e.tasks) {
		if t := e.tasks[id]; len(t.seen) == 0 && !has[id] {
			a.addUpdate(e, t, a.ownStatus(e, t, mesos.TASK_DROPPED, mesos.REASON_AGENT_RESTARTED, "Task launched during agent restart"))
		}
	}
}

// beat plans the next heartbeat, for as long as s is the executor's stream. There
// is none at the start.
func (a *agent) beat(e *executor, s *stream) {
	stopTimer(e.heartbeat)
	e.heartbeat = a.after(a.cfg.ExecutorHeartbeatInterval, func() {
		if e.stream == s {
			s.send(&executorapi.Event{Type: executorapi.Event_HEARTBEAT})
			a.beat(e, s)
		}
	})
}

// executorDisconnected is told when an executor's connection is gone. Nothing
// is done about it (rule 34).
func (a *agent) executorDisconnected(e *executor, s *stream) {
	if e.stream == s {
		e.stream = nil
	}
}

// killExecutors ends the executors that an agent's directory knows of. The
// agent must not run.
func killExecutors(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "meta", "executors", "*.json"))
	for _, path := range paths {
		var state executorState
		if _, loadErr := load(path, &state); loadErr != nil {
			err = errors.Join(err, loadErr)
			continue
		}
		if state.PID != 0 && alive(state.PID, state.Ticks) {
			killSession(state.PID)
		}
	}
	return err
}
