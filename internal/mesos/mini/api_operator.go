package mini

import (
	"errors"
	"fmt"
	"net/http"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	masterapi "github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/aosc/aosc/internal/mesos/mini/resources"
	"github.com/aosc/aosc/internal/mesos/mini/wire"
)

func (m *master) serveOperator(w http.ResponseWriter, r *http.Request) {
	var call masterapi.Call
	_, err := authenticate(r, m.secretsOr(m.cfg.OperatorAuth), "mesos-master-readwrite")
	if err == nil {
		err = readCall(r, &call)
	}
	if err == nil && call.Type == masterapi.Call_UNKNOWN {
		err = badRequest("Failed to validate master::Call: Expecting 'type' to be present")
	}
	var media wire.Media
	if err == nil {
		media, err = accepted(r)
	}
	if err != nil {
		writeError(w, err)
		return
	}
	if call.Type == masterapi.Call_SUBSCRIBE {
		m.serveOperatorStream(w, r, media)
		return
	}
	var answer *masterapi.Response
	status := http.StatusOK
	var refusal error
	err = m.do(r.Context(), func() { answer, status, refusal = m.operatorCall(&call) })
	switch {
	case err != nil:
		writeError(w, err)
	case refusal != nil:
		writeError(w, refusal)
	case answer == nil:
		w.WriteHeader(status)
	default:
		respond(w, media, answer)
	}
}

// operatorCall carries out a call of the operator API: with an answer, or with
// a status alone.
func (m *master) operatorCall(c *masterapi.Call) (*masterapi.Response, int, error) {
	expect := func(field string) error {
		return badRequest("Failed to validate master::Call: Expecting '%s' to be present", field)
	}
	switch c.Type {
	case masterapi.Call_RESERVE_RESOURCES:
		if c.ReserveResources == nil {
			return nil, 0, expect("reserve_resources")
		}
		return m.operate(c.ReserveResources.AgentID, func(in operationInput) (conversion, error) { return in.reserve(c.ReserveResources.Resources) })
	case masterapi.Call_UNRESERVE_RESOURCES:
		if c.UnreserveResources == nil {
			return nil, 0, expect("unreserve_resources")
		}
		return m.operate(c.UnreserveResources.AgentID, func(in operationInput) (conversion, error) { return in.unreserve(c.UnreserveResources.Resources) })
	case masterapi.Call_CREATE_VOLUMES:
		if c.CreateVolumes == nil {
			return nil, 0, expect("create_volumes")
		}
		return m.operate(c.CreateVolumes.AgentID, func(in operationInput) (conversion, error) { return in.create(c.CreateVolumes.Volumes) })
	case masterapi.Call_DESTROY_VOLUMES:
		if c.DestroyVolumes == nil {
			return nil, 0, expect("destroy_volumes")
		}
		return m.operate(c.DestroyVolumes.AgentID, func(in operationInput) (conversion, error) { return in.destroy(c.DestroyVolumes.Volumes) })
	case masterapi.Call_TEARDOWN:
		if c.Teardown == nil {
			return nil, 0, expect("teardown")
		}
		return nil, http.StatusOK, m.teardown(c.Teardown.FrameworkID.Value)
	case masterapi.Call_MARK_AGENT_GONE:
		if c.MarkAgentGone == nil {
			return nil, 0, expect("mark_agent_gone")
		}
		if id := c.MarkAgentGone.AgentID.Value; !m.markGone(id) {
			return nil, 0, httpError{status: http.StatusNotFound, text: fmt.Sprintf("Agent '%s' not found", id)}
		}
		return nil, http.StatusOK, nil
	}
	if known, err := m.drainingCall(c); known {
		return nil, http.StatusOK, err
	}
	if known, err := m.maintenanceCall(c); known {
		return nil, http.StatusOK, err
	}
	if answer := m.read(c.Type); answer != nil {
		return answer, http.StatusOK, nil
	}
	return nil, 0, httpError{status: http.StatusNotImplemented, text: "Not known to a single-machine Mesos: " + c.Type.String()}
}

// operate changes an agent's resources on an operator's word. Offers that hold
// what is needed are rescinded. What is not there, or in use, is 409.
func (m *master) operate(id mesos.AgentID, judge func(operationInput) (conversion, error)) (*masterapi.Response, int, error) {
	a := m.agents[id.Value]
	if a == nil {
		return nil, 0, badRequest("No agent found with specified ID")
	}
	rest, _ := a.total.Minus(a.used()...)
	c, err := judge(operationInput{available: rest, total: a.total, used: a.used()})
	var refusal refusalError
	switch {
	case errors.As(err, &refusal) && !refusal.missing && !a.total.Contains(c.consumed...):
		return nil, 0, badRequest("%s", refusal.text)
	case err != nil:
		return nil, 0, httpError{status: http.StatusConflict, text: err.Error()}
	}
	for _, o := range a.offers {
		if free := a.free(); free.Contains(c.consumed...) {
			break
		}
		m.rescind(o)
	}
	m.convert(a, c, feedback{})
	return nil, http.StatusAccepted, nil
}

func (m *master) teardown(id string) error {
	f := m.frameworks[id]
	if f == nil {
		return badRequest("No framework found with specified ID")
	}
	m.removeFramework(f)
	return nil
}

func (m *master) serveTeardown(w http.ResponseWriter, r *http.Request) {
	id := r.PostFormValue("frameworkId")
	var refusal error
	err := m.do(r.Context(), func() { refusal = m.teardown(id) })
	if err = errors.Join(err, refusal); err != nil {
		writeError(w, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// read answers the calls that only look; nil for one that is not known.
func (m *master) read(t masterapi.Call_Type) *masterapi.Response {
	switch t {
	case masterapi.Call_GET_HEALTH:
		return &masterapi.Response{Type: masterapi.Response_GET_HEALTH, GetHealth: &masterapi.Response_GetHealth{Healthy: true}}
	case masterapi.Call_GET_VERSION:
		return &masterapi.Response{Type: masterapi.Response_GET_VERSION,
			GetVersion: &masterapi.Response_GetVersion{VersionInfo: mesos.VersionInfo{Version: Version}}}
	case masterapi.Call_GET_MASTER:
		return &masterapi.Response{Type: masterapi.Response_GET_MASTER, GetMaster: &masterapi.Response_GetMaster{
			MasterInfo: m.info(), StartTime: ptr(seconds(m.started)), ElectedTime: ptr(seconds(m.started))}}
	case masterapi.Call_GET_AGENTS:
		return &masterapi.Response{Type: masterapi.Response_GET_AGENTS, GetAgents: m.getAgents()}
	case masterapi.Call_GET_FRAMEWORKS:
		return &masterapi.Response{Type: masterapi.Response_GET_FRAMEWORKS, GetFrameworks: m.getFrameworks()}
	case masterapi.Call_GET_EXECUTORS:
		return &masterapi.Response{Type: masterapi.Response_GET_EXECUTORS, GetExecutors: m.getExecutors()}
	case masterapi.Call_GET_TASKS:
		return &masterapi.Response{Type: masterapi.Response_GET_TASKS, GetTasks: m.getTasks()}
	case masterapi.Call_GET_ROLES:
		return &masterapi.Response{Type: masterapi.Response_GET_ROLES, GetRoles: m.getRoles()}
	case masterapi.Call_GET_OPERATIONS:
		return &masterapi.Response{Type: masterapi.Response_GET_OPERATIONS, GetOperations: &masterapi.Response_GetOperations{}}
	case masterapi.Call_GET_MAINTENANCE_STATUS:
		return &masterapi.Response{Type: masterapi.Response_GET_MAINTENANCE_STATUS,
			GetMaintenanceStatus: &masterapi.Response_GetMaintenanceStatus{Status: m.maintenanceStatus()}}
	case masterapi.Call_GET_MAINTENANCE_SCHEDULE:
		return &masterapi.Response{Type: masterapi.Response_GET_MAINTENANCE_SCHEDULE,
			GetMaintenanceSchedule: &masterapi.Response_GetMaintenanceSchedule{Schedule: m.maintenanceSchedule()}}
	case masterapi.Call_GET_STATE:
		return &masterapi.Response{Type: masterapi.Response_GET_STATE, GetState: m.getState()}
	}
	return nil
}

func (m *master) getState() *masterapi.Response_GetState {
	return &masterapi.Response_GetState{GetTasks: m.getTasks(), GetExecutors: m.getExecutors(),
		GetFrameworks: m.getFrameworks(), GetAgents: m.getAgents()}
}

func (m *master) getAgents() *masterapi.Response_GetAgents {
	out := &masterapi.Response_GetAgents{}
	for _, id := range sortedKeys(m.agents) {
		out.Agents = append(out.Agents, m.agentProto(m.agents[id]))
	}
	for _, id := range sortedKeys(m.recovered) {
		info := m.recovered[id]
		info.ID = &mesos.AgentID{Value: id}
		out.RecoveredAgents = append(out.RecoveredAgents, info)
	}
	return out
}

// allocated is resources per role in the operator's format.
type allocated map[string]resources.List

func (l allocated) add(role string, list resources.List) { l[role] = l[role].Plus(list...) }

func (l allocated) proto() []mesos.Resource {
	var out []mesos.Resource
	for _, role := range sortedKeys(l) {
		out = append(out, l[role].ToProto(role, resources.Operator)...)
	}
	return out
}

func (a *agentRecord) proto() masterapi.Response_GetAgents_Agent {
	used, offered := allocated{}, allocated{}
	for _, t := range a.tasks {
		if !t.freed {
			used.add(allocatedTo(t.proto.Resources), t.used)
		}
	}
	for _, e := range a.executors {
		used.add(e.role, e.used)
	}
	for _, o := range a.offers {
		offered.add(o.role, o.resources)
	}
	out := masterapi.Response_GetAgents_Agent{
		AgentInfo: a.info, Active: a.connected, Deactivated: ptr(false), Version: Version, PID: ptr(a.pid()),
		RegisteredTime: &mesos.TimeInfo{Nanoseconds: a.registered.UnixNano()},
		TotalResources: a.total.ToProto("", resources.Operator), AllocatedResources: used.proto(), OfferedResources: offered.proto(),
	}
	if !a.reregistered.IsZero() {
		out.ReregisteredTime = &mesos.TimeInfo{Nanoseconds: a.reregistered.UnixNano()}
	}
	for _, c := range []mesos.AgentInfo_Capability_Type{
		mesos.AgentInfo_Capability_MULTI_ROLE, mesos.AgentInfo_Capability_HIERARCHICAL_ROLE, mesos.AgentInfo_Capability_RESERVATION_REFINEMENT,
		mesos.AgentInfo_Capability_RESOURCE_PROVIDER, mesos.AgentInfo_Capability_RESIZE_VOLUME, mesos.AgentInfo_Capability_AGENT_OPERATION_FEEDBACK,
		mesos.AgentInfo_Capability_AGENT_DRAINING, mesos.AgentInfo_Capability_TASK_RESOURCE_LIMITS,
	} {
		out.Capabilities = append(out.Capabilities, mesos.AgentInfo_Capability{Type: c})
	}
	return out
}

func (m *master) getFrameworks() *masterapi.Response_GetFrameworks {
	out := &masterapi.Response_GetFrameworks{}
	for _, id := range sortedKeys(m.frameworks) {
		out.Frameworks = append(out.Frameworks, m.frameworkProto(m.frameworks[id]))
	}
	for _, id := range sortedKeys(m.completed) {
		out.CompletedFrameworks = append(out.CompletedFrameworks, m.frameworkProto(m.completed[id]))
	}
	return out
}

func (m *master) frameworkProto(f *framework) masterapi.Response_GetFrameworks_Framework {
	used, offered := allocated{}, allocated{}
	for _, a := range m.agents {
		for k, t := range a.tasks {
			if k.framework == f.id && !t.freed {
				used.add(allocatedTo(t.proto.Resources), t.used)
			}
		}
		for k, e := range a.executors {
			if k.framework == f.id {
				used.add(e.role, e.used)
			}
		}
	}
	out := masterapi.Response_GetFrameworks_Framework{FrameworkInfo: f.info, Active: f.stream != nil, Connected: f.stream != nil, Recovered: f.recovered}
	for _, id := range sortedKeys(f.offers) {
		o := f.offers[id]
		offered.add(o.role, o.resources)
		out.Offers = append(out.Offers, o.proto())
	}
	out.AllocatedResources, out.OfferedResources = used.proto(), offered.proto()
	if !f.registered.IsZero() {
		out.RegisteredTime = &mesos.TimeInfo{Nanoseconds: f.registered.UnixNano()}
		out.ReregisteredTime = &mesos.TimeInfo{Nanoseconds: f.reregistered.UnixNano()}
	}
	if !f.unregistered.IsZero() {
		out.UnregisteredTime = &mesos.TimeInfo{Nanoseconds: f.unregistered.UnixNano()}
	}
	return out
}

func (m *master) getExecutors() *masterapi.Response_GetExecutors {
	out := &masterapi.Response_GetExecutors{}
	for _, id := range sortedKeys(m.agents) {
		a := m.agents[id]
		for _, e := range a.executors {
			out.Executors = append(out.Executors, masterapi.Response_GetExecutors_Executor{ExecutorInfo: e.info, AgentID: mesos.AgentID{Value: a.id}})
		}
	}
	return out
}

func (m *master) getTasks() *masterapi.Response_GetTasks {
	out := &masterapi.Response_GetTasks{}
	for _, id := range sortedKeys(m.frameworks) {
		f := m.frameworks[id]
		for _, task := range sortedKeys(f.tasks) {
			out.Tasks = append(out.Tasks, f.tasks[task].proto)
		}
		for _, task := range sortedKeys(f.lost) {
			out.UnreachableTasks = append(out.UnreachableTasks, f.lost[task].proto)
		}
	}
	for _, set := range []map[string]*framework{m.frameworks, m.completed} {
		for _, id := range sortedKeys(set) {
			for _, t := range set[id].finished {
				out.CompletedTasks = append(out.CompletedTasks, t.proto)
			}
		}
	}
	return out
}

func (m *master) getRoles() *masterapi.Response_GetRoles {
	frameworks := map[string][]mesos.FrameworkID{}
	for _, id := range sortedKeys(m.frameworks) {
		for _, role := range m.frameworks[id].roles() {
			frameworks[role] = append(frameworks[role], mesos.FrameworkID{Value: id})
		}
	}
	out := &masterapi.Response_GetRoles{}
	for _, role := range sortedKeys(frameworks) {
		out.Roles = append(out.Roles, mesos.Role{Name: role, Weight: 1, Frameworks: frameworks[role]})
	}
	return out
}

func (m *master) serveOld(w http.ResponseWriter, path string) {
	w.Header().Set("Content-Type", "application/json")
	if path == "/version" {
		fmt.Fprintf(w, `{"version":%q}`, Version)
		return
	}
	fmt.Fprintf(w, `{"version":%q,"id":%q,"pid":%q,"hostname":"localhost","leader":%q}`, Version, m.id, "master@"+m.addr, "master@"+m.addr)
}
