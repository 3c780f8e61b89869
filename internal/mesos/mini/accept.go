package mini

import (
	"errors"
	"fmt"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/aosc/aosc/internal/mesos/mini/resources"
)

// accept carries out an ACCEPT: its operations in order, each on the result of
// the one before; a bad one is left out and the others stand (rule 18).
func (m *master) accept(f *framework, call *scheduler.Call_Accept) {
	offers, problem := m.takeOffers(f, call.OfferIDs)
	if problem != "" {
		m.refuseAccept(f, call, problem)
		return
	}
	if len(offers) == 0 {
		return
	}
	on := &acceptance{master: m, framework: f, agent: offers[0].agent, role: offers[0].role}
	for _, o := range offers {
		on.rest = on.rest.Plus(o.resources...)
	}
	offered := on.rest.Clone()
	for _, op := range call.Operations {
		on.carryOut(op)
	}
	// What was converted is not refused: only what is left as it was offered (recording 48).
	m.refuse(f, on.agent, on.role, on.rest.Common(offered), call.Filters)
}

// takeOffers uses up the offers that are named, and says what is wrong if they
// do not go together.
func (m *master) takeOffers(f *framework, ids []mesos.OfferID) ([]*offer, string) {
	var out []*offer
	problem := ""
	seen := map[string]bool{}
	for _, id := range ids {
		o := f.offers[id.Value]
		switch {
		case problem != "":
		case seen[id.Value]:
			problem = fmt.Sprintf("Duplicate offer %s in offer list", id.Value)
		case o == nil:
			problem = fmt.Sprintf("Offer %s is no longer valid", id.Value)
		case len(out) > 0 && o.agent != out[0].agent:
			problem = fmt.Sprintf("Aggregated offers must belong to one single agent. Offer %s uses agent %s and agent %s", o.id, o.agent.id, out[0].agent.id)
		case len(out) > 0 && o.role != out[0].role:
			problem = fmt.Sprintf("Aggregated offers must be allocated to the same role. Offer %s uses role %s but another is using role %s", o.id, o.role, out[0].role)
		}
		seen[id.Value] = true
		if o != nil {
			m.dropOffer(o)
			out = append(out, o)
		}
	}
	return out, problem
}

// refuseAccept answers an ACCEPT of offers that are not good (rule 15).
func (m *master) refuseAccept(f *framework, call *scheduler.Call_Accept, problem string) {
	for _, op := range call.Operations {
		for _, info := range tasksOf(op) {
			status := masterStatus(info.TaskID, f.aware(mesos.TASK_DROPPED), mesos.REASON_INVALID_OFFERS,
				"Task launched with invalid offers: "+problem)
			id := info.AgentID
			status.AgentID = &id
			f.sendStatus(status)
		}
		if op.ID != nil {
			m.sendOperation(f, mesos.OperationStatus{OperationID: op.ID, State: mesos.OPERATION_DROPPED,
				Message: ptr("Operation attempted with invalid offers: " + problem)})
		}
	}
}

func tasksOf(op mesos.Offer_Operation) []mesos.TaskInfo {
	switch {
	case op.Launch != nil:
		return op.Launch.TaskInfos
	case op.LaunchGroup != nil:
		return op.LaunchGroup.TaskGroup.Tasks
	}
	return nil
}

// acceptance is an ACCEPT on its way: what is left of the offers.
type acceptance struct {
	master    *master
	framework *framework
	agent     *agentRecord
	role      string
	rest      resources.List
}

func (on *acceptance) carryOut(op mesos.Offer_Operation) {
	switch {
	case op.Type == mesos.Offer_Operation_LAUNCH && op.Launch != nil:
		for _, info := range op.Launch.TaskInfos {
			on.launch(info)
		}
		return
	case op.Type == mesos.Offer_Operation_LAUNCH_GROUP && op.LaunchGroup != nil:
		for _, info := range op.LaunchGroup.TaskGroup.Tasks {
			on.refuseTask(info, "Task groups are not known to a single-machine Mesos: launch a task with an executor of its own")
		}
		return
	}
	in := operationInput{
		principal: on.framework.info.Principal, role: on.role, available: on.rest,
		total: on.agent.total, used: on.agent.used(), where: "; on " + on.agent.place(),
	}
	c, err := in.convert(op)
	var refusal refusalError
	switch {
	case errors.As(err, &refusal):
		if op.ID != nil {
			on.master.sendOperation(on.framework, mesos.OperationStatus{
				OperationID: op.ID, State: mesos.OPERATION_ERROR, Message: ptr(refusal.text)})
		}
		return
	case err != nil:
		return // not an operation that is known: passed over, as Mesos does
	}
	on.rest, _ = c.apply(on.rest)
	on.master.convert(on.agent, c, feedback{framework: on.framework.id, operation: op.ID})
}

var errUnknownOperation = errors.New("unknown operation")

// convert judges an operation on resources.
func (in operationInput) convert(op mesos.Offer_Operation) (conversion, error) {
	switch {
	case op.Type == mesos.Offer_Operation_RESERVE && op.Reserve != nil:
		return in.reserve(op.Reserve.Resources)
	case op.Type == mesos.Offer_Operation_UNRESERVE && op.Unreserve != nil:
		return in.unreserve(op.Unreserve.Resources)
	case op.Type == mesos.Offer_Operation_CREATE && op.Create != nil:
		return in.create(op.Create.Volumes)
	case op.Type == mesos.Offer_Operation_DESTROY && op.Destroy != nil:
		return in.destroy(op.Destroy.Volumes)
	}
	return conversion{}, errUnknownOperation
}

// feedback says who is told of an operation; nobody when it has no id.
type feedback struct {
	framework string
	operation *mesos.OperationID
}

// convert changes what the agent has, and has the agent change it.
func (m *master) convert(a *agentRecord, c conversion, tell feedback) {
	a.total, _ = c.apply(a.total)
	a.send(func(a *agent) { a.convert(c, tell) })
}

func (on *acceptance) launch(info mesos.TaskInfo) {
	j := launch{framework: on.framework, agent: on.agent, role: on.role, available: on.rest, task: info}.judge()
	if j.refusal != "" {
		on.refuseTask(info, j.refusal)
		return
	}
	on.rest, _ = on.rest.Minus(j.task.Plus(j.executor...)...)
	info.Resources = j.task.ToProto(on.role, resources.Refined)
	exec := withCommandDefaults(*info.Executor)
	exec.FrameworkID = on.framework.info.ID
	if list, err := resources.FromProto(exec.Resources); err == nil {
		exec.Resources = list.ToProto(on.role, resources.Refined)
	}
	info.Executor = &exec
	t := newTask(on.framework, info, j.task, on.role)
	on.master.addTask(on.agent, t)
	if j.newExecutor {
		on.agent.executors[executorKey{on.framework.id, exec.ExecutorID.Value}] = &executorRecord{info: exec, used: j.executor, role: on.role}
	}
	on.master.tellOperatorsTask(t)
	frameworkInfo := on.framework.info
	on.agent.send(func(a *agent) { a.launch(frameworkInfo, info) })
}

func (on *acceptance) refuseTask(info mesos.TaskInfo, problem string) {
	status := masterStatus(info.TaskID, mesos.TASK_ERROR, mesos.REASON_TASK_INVALID, problem)
	id := info.AgentID
	status.AgentID = &id
	on.framework.sendStatus(status)
}

func (m *master) sendOperation(f *framework, status mesos.OperationStatus) {
	f.send(&scheduler.Event{Type: scheduler.Event_UPDATE_OPERATION_STATUS,
		UpdateOperationStatus: &scheduler.Event_UpdateOperationStatus{Status: status}})
}

// operationStatus is told by an agent what became of an operation.
func (m *master) operationStatus(agentID, frameworkID string, status mesos.OperationStatus) {
	f := m.frameworks[frameworkID]
	if f == nil {
		return
	}
	key := string(status.UUID.GetValue())
	if op := f.operations[key]; op != nil && op.acknowledged {
		return
	}
	f.operations[key] = &operation{agentID: agentID, status: status}
	m.sendOperation(f, status)
}

func (m *master) acknowledgeOperation(f *framework, call *scheduler.Call_AcknowledgeOperationStatus) {
	op := f.operations[string(call.UUID)]
	if op == nil || op.status.OperationID.Value != call.OperationID.Value {
		return
	}
	// It is kept until the agent answers with operationForgotten: a repetition
	// of the status may be on its way here, and must not bring it back.
	op.acknowledged = true
	if a := m.agents[op.agentID]; a != nil {
		a.send(func(a *agent) { a.acknowledgeOperation(call.UUID) })
	}
}

// operationForgotten is told when an agent has taken an acknowledgement.
func (m *master) operationForgotten(frameworkID string, uuid []byte) {
	if f := m.frameworks[frameworkID]; f != nil {
		delete(f.operations, string(uuid))
	}
	for _, id := range sortedKeys(m.drains) {
		m.checkDrained(id)
	}
}

// reconcileOperations answers with all that is not acknowledged, or with what
// is asked for.
func (m *master) reconcileOperations(f *framework, call *scheduler.Call_ReconcileOperations) {
	if len(call.Operations) == 0 {
		for _, key := range sortedKeys(f.operations) {
			if op := f.operations[key]; !op.acknowledged {
				m.sendOperation(f, op.status)
			}
		}
		return
	}
	for _, asked := range call.Operations {
		id := asked.OperationID
		status := mesos.OperationStatus{OperationID: &id, State: mesos.OPERATION_UNKNOWN,
			Message: ptr("Reconciliation: Operation is unknown"), AgentID: asked.AgentID}
		for _, op := range f.operations {
			if !op.acknowledged && op.status.OperationID.Value == id.Value {
				status = op.status
			}
		}
		m.sendOperation(f, status)
	}
}

func (m *master) decline(f *framework, call *scheduler.Call_Decline) {
	for _, id := range call.OfferIDs {
		if o := f.offers[id.Value]; o != nil {
			m.dropOffer(o)
			m.refuse(f, o.agent, o.role, o.resources, call.Filters)
		}
	}
}

func (m *master) suppress(f *framework, roles []string) {
	for _, role := range orAll(roles, f.roles()) {
		f.suppressed[role] = true
	}
}

// revive drops all filters of the roles, and those of inverse offers, and offers at once.
func (m *master) revive(f *framework, roles []string) {
	revived := map[string]bool{}
	for _, role := range orAll(roles, f.roles()) {
		revived[role] = true
		delete(f.suppressed, role)
	}
	kept := f.filters[:0]
	for _, filter := range f.filters {
		if !revived[filter.role] {
			kept = append(kept, filter)
		}
	}
	f.filters = kept
	f.answered = map[string]time.Time{}
	m.allocate()
}

func orAll(some, all []string) []string {
	if len(some) > 0 {
		return some
	}
	return all
}

// kill passes a KILL on, or answers it as a reconciliation when the master
// does not have the task (rule 28).
func (m *master) kill(f *framework, call *scheduler.Call_Kill) {
	t := f.tasks[call.TaskID.Value]
	if t == nil {
		m.reconcile(f, call.TaskID, call.AgentID)
		return
	}
	if a := m.agents[t.agentID]; a != nil {
		a.send(func(a *agent) { a.kill(f.id, call.TaskID, call.KillPolicy) })
	}
}

// reconcileAll answers a RECONCILE; with no tasks named, for all that live.
func (m *master) reconcileAll(f *framework, call *scheduler.Call_Reconcile) {
	if len(call.Tasks) == 0 {
		for _, id := range sortedKeys(f.tasks) {
			m.reconcile(f, f.tasks[id].proto.TaskID, nil)
		}
		return
	}
	for _, asked := range call.Tasks {
		m.reconcile(f, asked.TaskID, asked.AgentID)
	}
}

// reconcile answers for one task, or not at all while agents that may have it
// are not back (recording 25).
func (m *master) reconcile(f *framework, id mesos.TaskID, agentID *mesos.AgentID) {
	state, message := mesos.TASK_UNKNOWN, "Reconciliation: Task is unknown"
	var lostAt time.Time
	t := f.tasks[id.Value]
	switch agent := agentID.GetValue(); {
	case t != nil:
		m.reconcileKnown(f, t)
		return
	case m.awaited(agent):
		return
	case m.agents[agent] != nil:
		state, message = mesos.TASK_GONE, "Reconciliation: Task is unknown to the agent"
	case f.lost[id.Value] != nil:
		t = f.lost[id.Value]
		state, message, lostAt = mesos.TASK_UNREACHABLE, "Reconciliation: Task is unreachable", t.lostAt
		agentID = &mesos.AgentID{Value: t.agentID}
	case m.unreachable[agent] != nil:
		state, message, lostAt = mesos.TASK_UNREACHABLE, "Reconciliation: Task is unreachable", m.unreachable[agent].unreachable
	case m.gone[agent] != nil:
		state, message = mesos.TASK_GONE_BY_OPERATOR, "Reconciliation: Task is gone"
	}
	status := masterStatus(id, f.aware(state), mesos.REASON_RECONCILIATION, message)
	status.AgentID = agentID
	if !lostAt.IsZero() {
		status.UnreachableTime = &mesos.TimeInfo{Nanoseconds: lostAt.UnixNano()}
	}
	f.sendStatus(status)
}

// awaited holds while an agent known from before is not back; the empty id
// stands for any.
func (m *master) awaited(agent string) bool {
	if agent == "" {
		return len(m.recovered) > 0
	}
	_, ok := m.recovered[agent]
	return ok
}

func (m *master) reconcileKnown(f *framework, t *task) {
	state, last := t.forwarded()
	status := masterStatus(t.proto.TaskID, state, mesos.REASON_RECONCILIATION, "Reconciliation: Latest task state")
	status.AgentID = &mesos.AgentID{Value: t.agentID}
	status.ExecutorID = t.executorID()
	if last != nil {
		status.ContainerStatus, status.Healthy = last.ContainerStatus, last.Healthy
	}
	f.sendStatus(status)
}
