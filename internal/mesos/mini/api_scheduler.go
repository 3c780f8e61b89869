package mini

import (
	"net/http"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	allocatorapi "github.com/mesos/mesos-go/api/v1/lib/allocator"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/aosc/aosc/internal/mesos/mini/wire"
)

const streamIDHeader = "Mesos-Stream-Id"

func (m *master) serveScheduler(w http.ResponseWriter, r *http.Request) {
	principal, err := authenticate(r, m.secretsOr(m.cfg.FrameworkAuth), "mesos-master-scheduler")
	if err != nil {
		writeError(w, err)
		return
	}
	var call scheduler.Call
	if err = readCall(r, &call); err == nil {
		err = validSchedulerCall(&call)
	}
	if err != nil {
		writeError(w, err)
		return
	}
	if call.Type == scheduler.Call_SUBSCRIBE {
		m.serveSubscribe(w, r, &call, principal)
		return
	}
	status := http.StatusAccepted
	if call.Type == scheduler.Call_UPDATE_FRAMEWORK {
		status = http.StatusOK
	}
	var refusal error
	err = m.do(r.Context(), func() { refusal = m.schedulerCall(&call, r.Header.Values(streamIDHeader)) })
	if err == nil {
		err = refusal
	}
	if err != nil {
		writeError(w, err)
		return
	}
	w.WriteHeader(status)
}

// missing is what a call lacks beside its type; present says whether it does.
func missing(field string, present bool) error {
	if present {
		return nil
	}
	return badRequest("Failed to validate scheduler::Call: Expecting '%s' to be present", field)
}

// validSchedulerCall is what Mesos checks before it looks at who is calling.
func validSchedulerCall(c *scheduler.Call) error {
	id := c.FrameworkID.GetValue()
	switch c.Type {
	case scheduler.Call_UNKNOWN:
		return missing("type", false)
	case scheduler.Call_SUBSCRIBE:
		if c.Subscribe == nil {
			return missing("subscribe", false)
		}
		if c.Subscribe.FrameworkInfo.GetID().GetValue() != id {
			return badRequest("Failed to validate scheduler::Call: 'framework_id' differs from 'subscribe.framework_info.id'")
		}
		return nil
	}
	if c.FrameworkID == nil {
		return missing("framework_id", false)
	}
	switch c.Type {
	case scheduler.Call_ACCEPT:
		return missing("accept", c.Accept != nil)
	case scheduler.Call_DECLINE:
		return missing("decline", c.Decline != nil)
	case scheduler.Call_ACCEPT_INVERSE_OFFERS:
		return missing("accept_inverse_offers", c.AcceptInverseOffers != nil)
	case scheduler.Call_DECLINE_INVERSE_OFFERS:
		return missing("decline_inverse_offers", c.DeclineInverseOffers != nil)
	case scheduler.Call_KILL:
		return missing("kill", c.Kill != nil)
	case scheduler.Call_SHUTDOWN:
		return missing("shutdown", c.Shutdown != nil)
	case scheduler.Call_RECONCILE:
		return missing("reconcile", c.Reconcile != nil)
	case scheduler.Call_MESSAGE:
		return missing("message", c.Message != nil)
	case scheduler.Call_ACKNOWLEDGE:
		if c.Acknowledge != nil && len(c.Acknowledge.UUID) != 16 {
			return badRequest("Failed to validate scheduler::Call: Not a valid UUID")
		}
		return missing("acknowledge", c.Acknowledge != nil)
	case scheduler.Call_ACKNOWLEDGE_OPERATION_STATUS:
		if c.AcknowledgeOperationStatus != nil && len(c.AcknowledgeOperationStatus.UUID) != 16 {
			return badRequest("Failed to validate scheduler::Call: Not a valid UUID")
		}
		return missing("acknowledge_operation_status", c.AcknowledgeOperationStatus != nil)
	case scheduler.Call_RECONCILE_OPERATIONS:
		return missing("reconcile_operations", c.ReconcileOperations != nil)
	case scheduler.Call_UPDATE_FRAMEWORK:
		if c.UpdateFramework != nil && c.UpdateFramework.FrameworkInfo.GetID().GetValue() != id {
			return badRequest("Failed to validate scheduler::Call: 'framework_id' differs from 'update_framework.framework_info.id'")
		}
		return missing("update_framework", c.UpdateFramework != nil)
	}
	return nil
}

func (m *master) serveSubscribe(w http.ResponseWriter, r *http.Request, call *scheduler.Call, principal string) {
	if len(r.Header.Values(streamIDHeader)) > 0 {
		writeError(w, badRequest("Subscribe calls should not include the '%s' header", streamIDHeader))
		return
	}
	media, err := accepted(r)
	if err == nil && principal != "" && call.Subscribe.FrameworkInfo.GetPrincipal() != principal {
		err = httpError{status: http.StatusForbidden,
			text: "Authenticated principal '" + principal + "' does not match principal '" + call.Subscribe.FrameworkInfo.GetPrincipal() + "' set in `FrameworkInfo`"}
	}
	if err != nil {
		writeError(w, err)
		return
	}
	var s *stream
	var streamID, id string
	err = m.do(r.Context(), func() {
		s, streamID = m.subscribe(call.Subscribe, media)
		id = m.frameworkOf(s)
	})
	if err != nil {
		// If the call was queued after all, its stream has no reader.
		m.post(func() {
			if s != nil {
				m.disconnected(m.frameworkOf(s), s)
			}
		})
		writeError(w, err)
		return
	}
	w.Header().Set(streamIDHeader, streamID)
	defer m.post(func() { m.disconnected(id, s) })
	s.serve(w, r)
}

func (m *master) frameworkOf(s *stream) string {
	for id, f := range m.frameworks {
		if f.stream == s {
			return id
		}
	}
	return ""
}

// schedulerCall carries out a call that is well formed.
func (m *master) schedulerCall(c *scheduler.Call, streamIDs []string) error {
	f := m.frameworks[c.FrameworkID.Value]
	switch {
	case f == nil || f.recovered:
		return badRequest("Framework cannot be found")
	case f.stream == nil:
		return httpError{status: http.StatusForbidden, text: "Framework is not subscribed"}
	case len(streamIDs) == 0:
		return badRequest("All non-subscribe calls should include the '%s' header", streamIDHeader)
	case streamIDs[0] != f.streamID:
		return badRequest("The stream ID '%s' included in this request didn't match the stream ID currently associated with framework ID %s", streamIDs[0], f.id)
	}
	switch c.Type {
	case scheduler.Call_ACCEPT:
		m.accept(f, c.Accept)
	case scheduler.Call_DECLINE:
		m.decline(f, c.Decline)
	case scheduler.Call_ACCEPT_INVERSE_OFFERS:
		m.answerInverse(f, c.AcceptInverseOffers.InverseOfferIDs, c.AcceptInverseOffers.Filters, allocatorapi.InverseOfferStatus_ACCEPT)
	case scheduler.Call_DECLINE_INVERSE_OFFERS:
		m.answerInverse(f, c.DeclineInverseOffers.InverseOfferIDs, c.DeclineInverseOffers.Filters, allocatorapi.InverseOfferStatus_DECLINE)
	case scheduler.Call_SUPPRESS:
		m.suppress(f, c.Suppress.GetRoles())
	case scheduler.Call_REVIVE:
		m.revive(f, c.Revive.GetRoles())
	case scheduler.Call_KILL:
		m.kill(f, c.Kill)
	case scheduler.Call_SHUTDOWN:
		if a := m.agents[c.Shutdown.AgentID.Value]; a != nil {
			key := executorKey{f.id, c.Shutdown.ExecutorID.Value}
			a.send(func(a *agent) { a.shutdownExecutor(key) })
		}
	case scheduler.Call_ACKNOWLEDGE:
		m.acknowledge(f, c.Acknowledge)
	case scheduler.Call_ACKNOWLEDGE_OPERATION_STATUS:
		m.acknowledgeOperation(f, c.AcknowledgeOperationStatus)
	case scheduler.Call_RECONCILE:
		m.reconcileAll(f, c.Reconcile)
	case scheduler.Call_RECONCILE_OPERATIONS:
		m.reconcileOperations(f, c.ReconcileOperations)
	case scheduler.Call_MESSAGE:
		if a := m.agents[c.Message.AgentID.Value]; a != nil {
			key := executorKey{f.id, c.Message.ExecutorID.Value}
			a.send(func(a *agent) { a.message(key, c.Message.Data) })
		}
	case scheduler.Call_TEARDOWN:
		m.removeFramework(f)
	case scheduler.Call_UPDATE_FRAMEWORK:
		return m.updateFramework(f, c.UpdateFramework)
	}
	return nil
}

// updateFramework changes what may be changed without subscribing again.
func (m *master) updateFramework(f *framework, call *scheduler.Call_UpdateFramework) error {
	info := call.FrameworkInfo
	problem := invalidFramework(info, call.SuppressedRoles)
	switch {
	case problem != "":
	case info.GetPrincipal() != f.info.GetPrincipal():
		problem = "Changing framework's principal is not allowed."
	case info.User != f.info.User:
		problem = "Updating 'FrameworkInfo.user' is unsupported; attempted to update from '" + f.info.User + "' to '" + info.User + "'"
	case info.GetCheckpoint() != f.info.GetCheckpoint():
		problem = "Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from '" +
			boolText(f.info.GetCheckpoint()) + "' to '" + boolText(info.GetCheckpoint()) + "'"
	}
	if problem != "" {
		return badRequest("FrameworkInfo update is not valid: %s", problem)
	}
	f.info = info
	f.info.ID = &mesos.FrameworkID{Value: f.id}
	subscribed := map[string]bool{}
	for _, role := range f.roles() {
		subscribed[role] = true
	}
	for _, o := range f.offers {
		if !subscribed[o.role] {
			m.rescind(o)
		}
	}
	f.suppressed = map[string]bool{}
	for _, role := range call.SuppressedRoles {
		f.suppressed[role] = true
	}
	m.mustCheckpoint()
	m.allocate()
	return nil
}

func boolText(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// respond writes one message as the whole response.
func respond(w http.ResponseWriter, media wire.Media, msg message) {
	data, err := wire.Marshal(media, msg)
	if err != nil {
		writeError(w, httpError{status: http.StatusInternalServerError, text: err.Error()})
		return
	}
	w.Header().Set("Content-Type", media.String())
	w.Write(data) // a reader that has gone does not matter
}
