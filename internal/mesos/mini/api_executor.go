package mini

import (
	"net/http"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	executorapi "github.com/mesos/mesos-go/api/v1/lib/executor"
)

// handler routes an agent's endpoints.
func (a *agent) handler() http.Handler {
	return guard(a.cfg, agentPrefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := endpoint(r, agentPrefix)
		switch {
		case path == executorPath:
			a.serveExecutor(w, r)
		case path == "/api/v1" || strings.HasPrefix(path, "/api/v1/"):
			a.serveOperator(w, r)
		case path == "/health":
			w.WriteHeader(http.StatusOK)
		default:
			http.NotFound(w, r)
		}
	}))
}

func (a *agent) serveExecutor(w http.ResponseWriter, r *http.Request) {
	var call executorapi.Call
	err := readCall(r, &call)
	if err == nil {
		err = authorizeExecutor(r, a.cfg.Secret, executorKey{call.FrameworkID.GetValue(), call.ExecutorID.GetValue()})
	}
	if err == nil {
		err = validExecutorCall(&call)
	}
	if err != nil {
		writeError(w, err)
		return
	}
	if call.Type == executorapi.Call_SUBSCRIBE {
		a.serveExecutorStream(w, r, &call)
		return
	}
	var refusal error
	err = a.do(r.Context(), func() { refusal = a.executorCall(&call) })
	if err == nil {
		err = refusal
	}
	if err != nil {
		writeError(w, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// validExecutorCall is what Mesos checks before it looks at who is calling
// (rule 36).
func validExecutorCall(c *executorapi.Call) error {
	refuse := func(format string, args ...any) error {
		return badRequest("Failed to validate Executor::Call: "+format, args...)
	}
	expect := func(field string, present bool) error {
		if present {
			return nil
		}
		return refuse("Expecting '%s' to be present", field)
	}
	switch c.Type {
	case executorapi.Call_SUBSCRIBE:
		return expect("subscribe", c.Subscribe != nil)
	case executorapi.Call_MESSAGE:
		return expect("message", c.Message != nil)
	case executorapi.Call_UPDATE:
		if c.Update == nil {
			return expect("update", false)
		}
	case executorapi.Call_HEARTBEAT:
		return nil
	default:
		return expect("type", false)
	}
	s := c.Update.Status
	switch {
	case s.UUID == nil:
		return expect("uuid", false)
	case len(s.UUID) != 16:
		return refuse("Not a valid UUID")
	case s.ExecutorID != nil && s.ExecutorID.Value != c.ExecutorID.Value:
		return refuse("ExecutorID in Call: %s does not match ExecutorID in TaskStatus: %s", c.ExecutorID.Value, s.ExecutorID.Value)
	case s.GetSource() != mesos.SOURCE_EXECUTOR:
		return refuse("Received Call from executor %s of framework %s with invalid source, expecting 'SOURCE_EXECUTOR'", c.ExecutorID.Value, c.FrameworkID.Value)
	case s.GetState() == mesos.TASK_STAGING:
		return refuse("Received TASK_STAGING from executor %s of framework %s which is not allowed", c.ExecutorID.Value, c.FrameworkID.Value)
	}
	return nil
}

// caller finds the executor that a call is from.
func (a *agent) caller(c *executorapi.Call) (*executor, error) {
	if _, known := a.frameworks[c.FrameworkID.Value]; !known {
		return nil, badRequest("Framework cannot be found")
	}
	e := a.find(executorKey{c.FrameworkID.Value, c.ExecutorID.Value})
	if e == nil {
		return nil, badRequest("Executor cannot be found")
	}
	return e, nil
}

func (a *agent) executorCall(c *executorapi.Call) error {
	e, err := a.caller(c)
	if err != nil {
		return err
	}
	switch c.Type {
	case executorapi.Call_UPDATE:
		a.executorUpdate(e, c.Update.Status)
	case executorapi.Call_MESSAGE:
		id, data := a.id, c.Message.Data
		a.toMaster(func(m *master) { m.messageFromExecutor(id, e.key.framework, e.key.executor, data) })
	}
	return nil
}

func (a *agent) serveExecutorStream(w http.ResponseWriter, r *http.Request, call *executorapi.Call) {
	media, err := accepted(r)
	if err != nil {
		writeError(w, err)
		return
	}
	s := newStream(media)
	var e *executor
	var refusal error
	err = a.do(r.Context(), func() {
		if e, refusal = a.caller(call); refusal == nil {
			a.subscribe(e, call.Subscribe, s)
		}
	})
	if err == nil {
		err = refusal
	}
	if err != nil {
		a.post(func() {
			if e != nil {
				a.executorDisconnected(e, s)
			}
		})
		writeError(w, err)
		return
	}
	defer a.post(func() { a.executorDisconnected(e, s) })
	s.serve(w, r)
}
