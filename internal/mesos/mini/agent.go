package mini

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/mesos/mini/resources"
)

// agent is one agent's process. All fields below actor are owned by its
// goroutine, but for those said to be constant.
type agent struct {
	*actor
	cfg    Config      // constant
	conf   AgentConfig // constant
	dir    string      // constant: the work_dir
	addr   string      // constant
	master *master     // constant
	procs  *processes  // constant
	server *server

	// cut is set while the agent and the master do not hear each other.
	cut atomic.Bool
	// fetching waits for those who fetch an executor's files.
	fetching sync.WaitGroup
	// leaving is set when the agent was told to end in good order, executors
	// first, and ended when nothing runs any more.
	leaving, ended atomic.Bool
	stopped        context.Context
	cancel         context.CancelFunc

	id         string
	info       mesos.AgentInfo
	total      resources.List
	ready      bool // registered with the master
	closing    bool
	executors  map[string]*executor // by container id
	frameworks map[string]mesos.FrameworkInfo
	operations map[string]*agentOperation
	recovery   *time.Timer
	drain      *mesos.DrainConfig // while an operator has it drained and something is left
}

// agentState is what an agent keeps over restarts, beside its executors.
type agentState struct {
	ID         string
	Port       int
	Resources  []mesosBytes // empty before the first operation
	Operations []operationState
	Gone       bool
}

type operationState struct {
	Framework string
	Status    mesosBytes
}

// agentOperation is feedback on its way: repeated until it is acknowledged.
type agentOperation struct {
	framework string
	status    mesos.OperationStatus
	retry     retry
}

// mesosBytes is a message in protobuf, which JSON keeps as base64.
type mesosBytes = []byte

// retry repeats something at growing intervals.
type retry struct {
	timer    *time.Timer
	interval time.Duration
}

func (r *retry) stop() {
	stopTimer(r.timer)
	r.timer, r.interval = nil, 0
}

// next plans another turn of f.
func (a *agent) next(r *retry, f func()) {
	stopTimer(r.timer)
	if r.interval *= 2; r.interval == 0 {
		r.interval = a.cfg.UpdateRetryInterval
	}
	r.interval = min(r.interval, a.cfg.UpdateRetryIntervalMax)
	r.timer = a.after(r.interval, f)
}

func startAgent(cfg Config, conf AgentConfig, dir string, m *master, procs *processes) (*agent, error) {
	a := &agent{cfg: cfg, conf: conf, dir: dir, master: m, procs: procs,
		executors: map[string]*executor{}, frameworks: map[string]mesos.FrameworkInfo{}, operations: map[string]*agentOperation{}}
	a.stopped, a.cancel = context.WithCancel(context.Background())
	var state agentState
	if _, err := load(a.statePath(), &state); err != nil {
		return nil, err
	}
	if state.Gone {
		// What was marked gone comes back as another agent, with nothing
		// reserved; its volumes' files are left to the operator.
		if err := os.RemoveAll(a.metaDir()); err != nil {
			return nil, err
		}
		state = agentState{Port: state.Port}
	}
	if state.ID == "" {
		// A new agent, or one that forgot what ran: that must not go on.
		if err := errors.Join(killExecutors(dir), os.RemoveAll(a.executorsDir())); err != nil {
			return nil, err
		}
	}
	if err := a.restore(state); err != nil {
		return nil, err
	}
	listener, err := listen("127.0.0.1:0", state.Port)
	if err != nil {
		return nil, err
	}
	a.addr = listener.Addr().String()
	_, port := splitAddr(a.addr)
	plain, err := conf.resources()
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	a.info = mesos.AgentInfo{Hostname: conf.hostname(), Port: ptr(int32(port)),
		Resources: plain.ToProto("", resources.Refined), Attributes: conf.attributes()}
	if a.id != "" {
		a.info.ID = &mesos.AgentID{Value: a.id}
	}
	a.actor = newActor()
	a.server = serve(listener, a.handler())
	a.post(a.recoverExecutors)
	return a, nil
}

func (a *agent) metaDir() string      { return filepath.Join(a.dir, "meta") }
func (a *agent) statePath() string    { return statePath(a.dir) }
func (a *agent) executorsDir() string { return filepath.Join(a.metaDir(), "executors") }

func statePath(dir string) string { return filepath.Join(dir, "meta", "agent.json") }

// forget takes an agent's id from its state; the agent must not run.
func forget(dir string) error {
	var state agentState
	found, err := load(statePath(dir), &state)
	if err == nil && !found {
		err = errors.New("it has never run")
	}
	if err != nil {
		return err
	}
	state.ID, state.Operations = "", nil
	return save(statePath(dir), state)
}

func (a *agent) restore(state agentState) error {
	a.id = state.ID
	plain, err := a.conf.resources()
	if err != nil {
		return err
	}
	a.total = plain
	if len(state.Resources) > 0 {
		var list []mesos.Resource
		for _, data := range state.Resources {
			var r mesos.Resource
			if err := r.Unmarshal(data); err != nil {
				return fmt.Errorf("%s: %w", a.statePath(), err)
			}
			list = append(list, r)
		}
		kept, err := resources.FromProto(list)
		if err != nil {
			return fmt.Errorf("%s: %w", a.statePath(), err)
		}
		if a.total, err = rebase(plain, kept); err != nil {
			return err
		}
	}
	for _, op := range state.Operations {
		known := &agentOperation{framework: op.Framework}
		if err := known.status.Unmarshal(op.Status); err != nil {
			return fmt.Errorf("%s: %w", a.statePath(), err)
		}
		a.operations[string(known.status.UUID.GetValue())] = known
	}
	return a.restoreExecutors()
}

// rebase puts the reservations and volumes that were kept on what the agent
// has by its configuration, which may have changed.
func rebase(plain, kept resources.List) (resources.List, error) {
	for _, r := range kept {
		if !r.Reserved() {
			continue
		}
		bare := r.WithoutVolume()
		bare.Reservations = nil
		rest, ok := plain.Minus(bare)
		if !ok {
			return nil, fmt.Errorf("the agent is configured with %s, which is less than is reserved on it (%s)", plain.Text(""), r.Text(""))
		}
		plain = rest.Plus(r)
	}
	return plain, nil
}

func (a *agent) checkpoint() error {
	_, port := splitAddr(a.addr)
	state := agentState{ID: a.id, Port: port, Gone: a.closing}
	for _, r := range a.total.ToProto("", resources.Refined) {
		data, err := r.Marshal()
		if err != nil {
			return err
		}
		state.Resources = append(state.Resources, data)
	}
	for _, uuid := range sortedKeys(a.operations) {
		op := a.operations[uuid]
		data, err := op.status.Marshal()
		if err != nil {
			return err
		}
		state.Operations = append(state.Operations, operationState{op.framework, data})
	}
	return save(a.statePath(), state)
}

func (a *agent) mustCheckpoint() {
	if err := a.checkpoint(); err != nil {
		slog.Error("mini: agent state not kept; a restart will forget it", "agent", a.conf.Name, "error", err)
	}
}

// stop ends the agent. In order, executors that cannot outlive it are killed.
func (a *agent) stop(orderly bool) error {
	a.cancel()
	a.actor.stop()
	a.fetching.Wait()
	stopTimer(a.recovery)
	for _, op := range a.operations {
		op.retry.stop()
	}
	for _, e := range a.executors {
		e.stopTimers()
		if e.pid == 0 {
			continue
		}
		a.procs.unwatch(e.pid)
		if orderly && !e.framework.GetCheckpoint() {
			killSession(e.pid)
		}
	}
	err := a.server.stop()
	if !a.cut.Load() {
		id := a.id
		a.master.post(func() { a.master.agentDisconnected(id, a) })
	}
	return err
}

func (a *agent) toMaster(f func(*master)) {
	if !a.cut.Load() {
		a.master.post(func() { f(a.master) })
	}
}

// fromMaster posts what the master sends.
func (a *agent) fromMaster(f func(*agent)) {
	if !a.cut.Load() {
		a.post(func() { f(a) })
	}
}

func (a *agent) cutLink() {
	a.post(func() {
		id := a.id
		a.toMaster(func(m *master) { m.agentCutOff(id, a) })
		a.cut.Store(true)
		a.ready = false
	})
}

// restoreLink ends a cut; it reports whether there was one.
func (a *agent) restoreLink() bool {
	if !a.cut.CompareAndSwap(true, false) {
		return false
	}
	a.post(a.register)
	return true
}

// recoverExecutors takes up its former executors, waits for those that live to
// subscribe again, and then registers.
func (a *agent) recoverExecutors() {
	living := false
	for _, e := range a.executors {
		if e.pid != 0 && alive(e.pid, e.ticks) {
			living = true
			a.watch(e)
			continue
		}
		a.executorEnded(e, endedUnseen{})
	}
	if !living {
		a.register()
		return
	}
	a.recovery = a.after(a.cfg.ExecutorReregistrationTimeout, func() {
		for _, e := range a.executors {
			if !e.over && e.stream == nil {
				killSession(e.pid)
				a.procs.unwatch(e.pid)
				a.executorEnded(e, endedUnseen{reason: mesos.REASON_EXECUTOR_REREGISTRATION_TIMEOUT,
					message: "Executor did not reregister within " + duration(a.cfg.ExecutorReregistrationTimeout)})
			}
		}
		a.register()
	})
}

// register tells the master all that the agent has.
func (a *agent) register() {
	r := registration{id: a.id, info: a.info, addr: a.addr, total: a.total.Clone()}
	for _, id := range sortedKeys(a.frameworks) {
		r.frameworks = append(r.frameworks, a.frameworks[id])
	}
	for _, id := range sortedKeys(a.executors) {
		e := a.executors[id]
		if !e.over {
			r.executors = append(r.executors, e.info)
		}
		for _, id := range sortedKeys(e.tasks) {
			r.tasks = append(r.tasks, e.tasks[id].registered(e.key.framework))
		}
	}
	for _, uuid := range sortedKeys(a.operations) {
		op := a.operations[uuid]
		r.operations = append(r.operations, registeredOperation{op.framework, op.status})
	}
	a.toMaster(func(m *master) { m.register(r, a) })
}

// registered is the master's answer. Updates that wait are sent at once, and
// once more when the master says who is subscribed: twice in all, as a real
// agent does (rule 24).
func (a *agent) registered(id string) {
	a.ready = true
	if a.id != id {
		a.id = id
		a.info.ID = &mesos.AgentID{Value: id}
		a.mustCheckpoint()
	}
	for _, e := range a.executors {
		a.resend(e)
	}
	for _, op := range a.operations {
		op.retry.stop()
		a.sendOperation(op)
	}
}

// frameworkSubscribed is told when a scheduler has connected: what it did not
// acknowledge is sent again at once.
func (a *agent) frameworkSubscribed(info mesos.FrameworkInfo) {
	id := info.ID.Value
	if _, known := a.frameworks[id]; !known {
		return
	}
	a.frameworks[id] = info
	for _, e := range a.executors {
		if e.key.framework == id {
			a.resend(e)
		}
	}
	for _, op := range a.operations {
		if op.framework == id {
			op.retry.stop()
			a.sendOperation(op)
		}
	}
}

// convert carries out an operation on the agent's resources and its volumes'
// directories.
func (a *agent) convert(c conversion, tell feedback) {
	total, ok := c.apply(a.total)
	var err error
	if ok {
		err = a.changeVolumes(c)
	}
	status := mesos.OperationStatus{OperationID: tell.operation, State: mesos.OPERATION_FINISHED,
		UUID: &mesos.UUID{Value: newUUID()}, AgentID: &mesos.AgentID{Value: a.id}}
	switch {
	case !ok:
		status.State, status.Message = mesos.OPERATION_FAILED, ptr("the agent does not have these resources")
	case err != nil:
		status.State, status.Message = mesos.OPERATION_FAILED, ptr(err.Error())
		slog.Error("mini: volume not changed", "agent", a.conf.Name, "error", err)
	default:
		a.total = total
	}
	var op *agentOperation
	if tell.operation != nil {
		op = &agentOperation{framework: tell.framework, status: status}
		a.operations[string(status.UUID.Value)] = op
	}
	a.mustCheckpoint()
	if op != nil {
		a.sendOperation(op)
	}
}

func (a *agent) changeVolumes(c conversion) error {
	for _, r := range c.converted {
		if r.Volume != nil {
			if err := os.MkdirAll(a.volumeDir(r), 0o755); err != nil {
				return err
			}
		}
	}
	for _, r := range c.consumed {
		if r.Volume != nil {
			if err := os.RemoveAll(a.volumeDir(r)); err != nil {
				return err
			}
		}
	}
	return nil
}

// volumeDir is where a persistent volume's files are (rule 21). The slashes of
// a hierarchical role would be directories; Mesos makes them spaces.
func (a *agent) volumeDir(r resources.Resource) string {
	return filepath.Join(a.dir, "volumes", "roles", strings.ReplaceAll(r.Role(), "/", " "), r.Volume.ID)
}

func (a *agent) sendOperation(op *agentOperation) {
	if !a.ready {
		return
	}
	id, status := a.id, op.status
	a.toMaster(func(m *master) { m.operationStatus(id, op.framework, status) })
	a.next(&op.retry, func() {
		if a.operations[string(op.status.UUID.Value)] == op {
			a.sendOperation(op)
		}
	})
}

func (a *agent) acknowledgeOperation(uuid []byte) {
	if op := a.operations[string(uuid)]; op != nil {
		op.retry.stop()
		delete(a.operations, string(uuid))
		a.mustCheckpoint()
		a.toMaster(func(m *master) { m.operationForgotten(op.framework, uuid) })
	}
}

// shutdownGone ends an agent that an operator marked gone: it kills its
// executors and never comes back under its id.
func (a *agent) shutdownGone() {
	a.closing, a.ready = true, false
	for _, e := range a.executors {
		e.silent = true
		a.shutdown(e)
	}
	a.mustCheckpoint()
	a.cut.Store(true)
}

// unregister is SIGUSR1: the agent leaves the master in good order.
func (a *agent) unregister() {
	id := a.id
	a.toMaster(func(m *master) { m.unregister(id, a) })
	a.leave()
}

// leave ends all executors, whose tasks the master has written off, and then
// the agent. Of what they still say nobody hears.
func (a *agent) leave() {
	a.ready = false
	a.leaving.Store(true)
	a.cut.Store(true)
	stopTimer(a.recovery)
	for _, id := range sortedKeys(a.executors) {
		e := a.executors[id]
		e.silent = true
		if e.over {
			a.executorEnded(e, endedUnseen{})
			continue
		}
		a.shutdown(e)
	}
	a.endWhenEmpty()
}

func (a *agent) endWhenEmpty() {
	if a.leaving.Load() && len(a.executors) == 0 {
		a.ended.Store(true)
	}
}

// duration writes a time as Mesos does: in the largest unit that keeps it
// whole.
func duration(d time.Duration) string {
	units := []struct {
		name string
		unit time.Duration
	}{{"weeks", 168 * time.Hour}, {"days", 24 * time.Hour}, {"hrs", time.Hour}, {"mins", time.Minute},
		{"secs", time.Second}, {"ms", time.Millisecond}, {"us", time.Microsecond}}
	for _, u := range units {
		if d != 0 && d%u.unit == 0 {
			return fmt.Sprintf("%d%s", d/u.unit, u.name)
		}
	}
	return fmt.Sprintf("%dns", d)
}
