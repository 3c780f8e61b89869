package mini

import (
	"net/http"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	masterapi "github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/aosc/aosc/internal/mesos/mini/wire"
)

// serveOperatorStream is the event stream of the operator API: the state as it
// is, then what changes.
func (m *master) serveOperatorStream(w http.ResponseWriter, r *http.Request, media wire.Media) {
	s := newStream(media)
	err := m.do(r.Context(), func() {
		s.send(&masterapi.Event{Type: masterapi.Event_SUBSCRIBED, Subscribed: &masterapi.Event_Subscribed{
			GetState: m.getState(), HeartbeatIntervalSeconds: ptr(m.cfg.HeartbeatInterval.Seconds())}})
		m.operators[s] = nil
		m.beatOperator(s)
	})
	leave := func() {
		m.post(func() {
			stopTimer(m.operators[s])
			delete(m.operators, s)
		})
	}
	defer leave()
	if err != nil {
		writeError(w, err)
		return
	}
	s.serve(w, r)
}

func (m *master) beatOperator(s *stream) {
	if _, there := m.operators[s]; !there {
		return
	}
	s.send(&masterapi.Event{Type: masterapi.Event_HEARTBEAT})
	m.operators[s] = m.after(m.cfg.HeartbeatInterval, func() { m.beatOperator(s) })
}

func (m *master) tellOperators(e *masterapi.Event) {
	for s := range m.operators {
		s.send(e)
	}
}

func (m *master) tellOperatorsTask(t *task) {
	m.tellOperators(&masterapi.Event{Type: masterapi.Event_TASK_ADDED, TaskAdded: &masterapi.Event_TaskAdded{Task: t.proto}})
}

func (m *master) tellOperatorsUpdate(t *task, status mesos.TaskStatus) {
	m.tellOperators(&masterapi.Event{Type: masterapi.Event_TASK_UPDATED, TaskUpdated: &masterapi.Event_TaskUpdated{
		FrameworkID: *t.framework.info.ID, State: t.proto.State, Status: status}})
}

func (m *master) tellOperatorsAgent(a *agentRecord, added bool) {
	if added {
		m.tellOperators(&masterapi.Event{Type: masterapi.Event_AGENT_ADDED, AgentAdded: &masterapi.Event_AgentAdded{Agent: m.agentProto(a)}})
		return
	}
	m.tellOperators(&masterapi.Event{Type: masterapi.Event_AGENT_REMOVED, AgentRemoved: &masterapi.Event_AgentRemoved{AgentID: mesos.AgentID{Value: a.id}}})
}

func (m *master) tellOperatorsFramework(f *framework, removed bool) {
	if removed {
		m.tellOperators(&masterapi.Event{Type: masterapi.Event_FRAMEWORK_REMOVED, FrameworkRemoved: &masterapi.Event_FrameworkRemoved{FrameworkInfo: f.info}})
		return
	}
	framework := m.frameworkProto(f)
	framework.UnregisteredTime = &mesos.TimeInfo{} // which GET_FRAMEWORKS leaves out (recordings 33, 36)
	m.tellOperators(&masterapi.Event{Type: masterapi.Event_FRAMEWORK_ADDED,
		FrameworkAdded: &masterapi.Event_FrameworkAdded{Framework: framework}})
}
