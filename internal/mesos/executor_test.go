package mesos_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mesosapi "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/executor/config"

	"github.com/aosc/aosc/internal/mesos"
)

// fakeAgent answers an executor in ways that the single-machine Mesos has no reason to.
type fakeAgent struct {
	*httptest.Server
	t  *testing.T
	mu sync.Mutex
	// subscribes and updates as they came.
	subscribes []*executor.Call_Subscribe
	updates    []mesosapi.TaskStatus
	// onSubscribe answers the n-th SUBSCRIBE, from 0; onUpdate the n-th UPDATE, with its status code.
	onSubscribe func(n int, w http.ResponseWriter, r *http.Request)
	onUpdate    func(n int) int
}

func newFakeAgent(t *testing.T) *fakeAgent {
	a := &fakeAgent{t: t}
	a.Server = httptest.NewServer(a)
	t.Cleanup(func() { a.CloseClientConnections(); a.Close() })
	return a
}

func (a *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/api/v1/executor" || r.Header.Get("Authorization") != "Bearer t0ken" || r.Header.Get("Mesos-Stream-Id") != "" {
		a.t.Errorf("%s with %v", r.URL, r.Header)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	call := new(executor.Call)
	if err := call.Unmarshal(body); err != nil || call.FrameworkID.Value != "f" || call.ExecutorID.Value != "x" {
		a.t.Errorf("call %+v, %v", call, err)
		return
	}
	a.mu.Lock()
	switch call.Type {
	case executor.Call_SUBSCRIBE:
		n := len(a.subscribes)
		a.subscribes = append(a.subscribes, call.Subscribe)
		a.mu.Unlock()
		a.onSubscribe(n, w, r)
		return
	case executor.Call_UPDATE:
		n := len(a.updates)
		a.updates = append(a.updates, call.Update.Status)
		w.WriteHeader(a.onUpdate(n))
	}
	a.mu.Unlock()
}

func (a *fakeAgent) send(w http.ResponseWriter, events ...*executor.Event) {
	for _, e := range events {
		data, err := e.Marshal()
		if err != nil {
			a.t.Error(err)
		}
		fmt.Fprintf(w, "%d\n%s", len(data), data)
		w.(http.Flusher).Flush()
	}
}

func agentSubscribed() *executor.Event {
	return &executor.Event{Type: executor.Event_SUBSCRIBED, Subscribed: &executor.Event_Subscribed{
		ExecutorInfo:  mesosapi.ExecutorInfo{ExecutorID: mesosapi.ExecutorID{Value: "x"}},
		FrameworkInfo: mesosapi.FrameworkInfo{User: "root", Name: "f"}, AgentInfo: mesosapi.AgentInfo{Hostname: "agent1.example"}}}
}

func launchEvent(id string) *executor.Event {
	return &executor.Event{Type: executor.Event_LAUNCH, Launch: &executor.Event_Launch{Task: mesosapi.TaskInfo{
		Name: id, TaskID: mesosapi.TaskID{Value: id}, AgentID: mesosapi.AgentID{Value: "S0"}}}}
}

func acknowledged(s mesosapi.TaskStatus) *executor.Event {
	return &executor.Event{Type: executor.Event_ACKNOWLEDGED, Acknowledged: &executor.Event_Acknowledged{TaskID: s.TaskID, UUID: s.UUID}}
}

// executorJournal is an ExecutorHandler that writes down what it is told.
type executorJournal struct {
	mu    sync.Mutex
	lines []string
}

func (j *executorJournal) note(s string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, s)
	return nil
}

func (j *executorJournal) Connected(context.Context, *executor.Event_Subscribed) error {
	return j.note("connected")
}
func (j *executorJournal) Event(_ context.Context, e *executor.Event) error {
	return j.note(e.Type.String())
}
func (j *executorJournal) Disconnected(error) { j.note("disconnected") }

func (j *executorJournal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, " ")
}

// runExecutor runs one until the test ends, and returns how Run ended.
func runExecutor(t *testing.T, a *fakeAgent, h mesos.ExecutorHandler) (*mesos.Executor, <-chan error) {
	t.Helper()
	x, err := mesos.NewExecutor(mesos.ExecutorConfig{AuthToken: "t0ken", Log: quiet, Config: config.Config{
		FrameworkID: "f", ExecutorID: "x", AgentEndpoint: strings.TrimPrefix(a.URL, "http://"),
		Checkpoint: true, RecoveryTimeout: 10 * time.Second, SubscriptionBackoffMax: 20 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, result := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(ended)
		result <- x.Run(ctx, h)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return x, result
}

func status(id string, state mesosapi.TaskState) mesosapi.TaskStatus {
	return mesosapi.TaskStatus{TaskID: mesosapi.TaskID{Value: id}, State: &state}
}

// TestExecutorFindsRestartedAgent: an agent ends every executor that is not back within 2 s of its start, so that one that
// finds nobody there for a while must not come to wait as long as that.
func TestExecutorFindsRestartedAgent(t *testing.T) {
	a := newFakeAgent(t)
	attempts := make(chan time.Time, 100)
	a.onSubscribe = func(n int, w http.ResponseWriter, r *http.Request) {
		attempts <- time.Now()
		http.Error(w, "Agent has not finished recovery", http.StatusServiceUnavailable)
	}
	x, err := mesos.NewExecutor(mesos.ExecutorConfig{AuthToken: "t0ken", Log: quiet, Config: config.Config{
		FrameworkID: "f", ExecutorID: "x", AgentEndpoint: strings.TrimPrefix(a.URL, "http://"),
		Checkpoint: true, RecoveryTimeout: time.Minute, SubscriptionBackoffMax: 400 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- x.Run(ctx, &executorJournal{}) }()
	// The pauses grow to their longest by the fourth; the shortest of many is free of what a busy machine adds.
	shortest := time.Hour
	var last time.Time
	for n := range 12 {
		at := <-attempts
		if n > 5 {
			shortest = min(shortest, at.Sub(last))
		}
		last = at
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// Pauses are between half and all of their bound: were that 400 ms, none would be shorter than 200 ms.
	if shortest >= 200*time.Millisecond {
		t.Errorf("it waits %s and more between two attempts", shortest)
	}
}

// TestExecutorCarriesUnacknowledged: SUBSCRIBE names the tasks and updates that the agent has not acknowledged, and no
// others; what could not be sent is sent again with the same uuid, and in order (rules 35, 36).
func TestExecutorCarriesUnacknowledged(t *testing.T) {
	a := newFakeAgent(t)
	events := make(chan *executor.Event)
	drop := make(chan struct{})
	a.onSubscribe = func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 1 {
			http.Error(w, "Agent has not finished recovery", http.StatusServiceUnavailable)
			return
		}
		a.send(w, agentSubscribed())
		for {
			select {
			case e := <-events:
				a.send(w, e)
			case <-drop:
				return
			case <-r.Context().Done():
				return
			}
		}
	}
	a.onUpdate = func(n int) int {
		if n == 0 { // once it fails
			return http.StatusServiceUnavailable
		}
		return http.StatusAccepted
	}
	j := &executorJournal{}
	x, _ := runExecutor(t, a, j)
	events <- launchEvent("t1")
	events <- launchEvent("t2")
	if err := x.Update(status("t1", mesosapi.TASK_STARTING)); err != nil {
		t.Fatal(err)
	}
	if err := x.Update(status("t1", mesosapi.TASK_RUNNING)); err != nil {
		t.Fatal(err)
	}
	sent := func() []mesosapi.TaskStatus {
		a.mu.Lock()
		defer a.mu.Unlock()
		return append([]mesosapi.TaskStatus(nil), a.updates...)
	}
	eventually(t, "three updates", func() bool { return len(sent()) == 3 })
	u := sent()
	if u[0].GetState() != mesosapi.TASK_STARTING || string(u[1].UUID) != string(u[0].UUID) || u[2].GetState() != mesosapi.TASK_RUNNING {
		t.Errorf("sent: %+v", u)
	}
	for _, s := range u {
		if len(s.UUID) != 16 || s.GetSource() != mesosapi.SOURCE_EXECUTOR || s.ExecutorID.GetValue() != "x" || s.GetTimestamp() == 0 {
			t.Errorf("sent: %+v", s)
		}
	}
	events <- acknowledged(u[1])
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := x.Flush(ctx); err == nil || !strings.Contains(err.Error(), "1 status") {
		t.Errorf("flush with one left: %v", err)
	}
	drop <- struct{}{}
	events <- acknowledged(u[2]) // by the third subscription
	if err := x.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	third := a.subscribes[2]
	if len(third.UnacknowledgedUpdates) != 1 || string(third.UnacknowledgedUpdates[0].Status.UUID) != string(u[2].UUID) {
		t.Errorf("carried updates: %+v", third.UnacknowledgedUpdates)
	}
	if len(third.UnacknowledgedTasks) != 1 || third.UnacknowledgedTasks[0].TaskID.Value != "t2" {
		t.Errorf("carried tasks: %+v", third.UnacknowledgedTasks)
	}
	if got, want := j.text(), "connected LAUNCH LAUNCH disconnected connected"; got != want {
		t.Errorf("the handler was told %s, want %s", got, want)
	}
	if len(sent()) != 3 {
		t.Errorf("sent: %+v", sent())
	}
}

// TestExecutorRefused: an agent that does not know the executor, or will not have an update, ends Run with the reason.
func TestExecutorRefused(t *testing.T) {
	a := newFakeAgent(t)
	a.onSubscribe = func(_ int, w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Executor cannot be found", http.StatusBadRequest)
	}
	_, ended := runExecutor(t, a, &executorJournal{})
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "Executor cannot be found") {
		t.Errorf("Run ended with %v", err)
	}

	a = newFakeAgent(t)
	a.onSubscribe = func(_ int, w http.ResponseWriter, r *http.Request) {
		a.send(w, agentSubscribed())
		<-r.Context().Done()
	}
	a.onUpdate = func(int) int { return http.StatusBadRequest }
	x, ended := runExecutor(t, a, &executorJournal{})
	eventually(t, "a subscription", x.Connected) // what is there before goes with SUBSCRIBE
	if err := x.Update(status("t1", mesosapi.TASK_RUNNING)); err != nil {
		t.Fatal(err)
	}
	var refused *mesos.StatusError
	if err := <-ended; !errors.As(err, &refused) || !strings.Contains(err.Error(), "TASK_RUNNING of task t1") {
		t.Errorf("Run ended with %v", err)
	}
}

// TestExecutorRefusedForAWhile: an executor whose token was taken once is not ended by an agent that refuses it for a while; one whose
// token was never taken is, and says that it is the token.
func TestExecutorRefusedForAWhile(t *testing.T) {
	a := newFakeAgent(t)
	a.onSubscribe = func(n int, w http.ResponseWriter, r *http.Request) {
		switch n {
		case 0:
			a.send(w, agentSubscribed())
		case 1:
			http.Error(w, "401 Unauthorized.", http.StatusUnauthorized)
		case 2:
			w.WriteHeader(http.StatusForbidden)
		default:
			a.send(w, agentSubscribed(), &executor.Event{Type: executor.Event_SHUTDOWN})
			<-r.Context().Done()
		}
	}
	j := &executorJournal{}
	_, ended := runExecutor(t, a, j)
	eventually(t, "the second subscription", func() bool { return strings.HasSuffix(j.text(), "SHUTDOWN") })
	select {
	case err := <-ended:
		t.Errorf("Run ended with %v", err)
	default:
	}

	a = newFakeAgent(t)
	a.onSubscribe = func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }
	_, ended = runExecutor(t, a, &executorJournal{})
	var status *mesos.StatusError
	if err := <-ended; !errors.As(err, &status) || !strings.Contains(err.Error(), "the token that it gave") {
		t.Errorf("Run ended with %v", err)
	}
}

// TestFlushEndsWithRun: what is not acknowledged is not waited for any more once nothing is sent.
func TestFlushEndsWithRun(t *testing.T) {
	a := newFakeAgent(t)
	a.onSubscribe = func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 0 {
			a.send(w, agentSubscribed())
			<-r.Context().Done()
		}
	}
	a.onUpdate = func(int) int { return http.StatusAccepted } // and never ACKNOWLEDGED
	x, err := mesos.NewExecutor(mesos.ExecutorConfig{AuthToken: "t0ken", Log: quiet, Config: config.Config{
		FrameworkID: "f", ExecutorID: "x", AgentEndpoint: strings.TrimPrefix(a.URL, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- x.Run(ctx, &executorJournal{}) }()
	eventually(t, "a subscription", x.Connected)
	if err := x.Update(status("t1", mesosapi.TASK_KILLED)); err != nil {
		t.Fatal(err)
	}
	flushed := make(chan error, 1)
	go func() { flushed <- x.Flush(context.Background()) }()
	eventually(t, "the update is sent", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return len(a.updates) == 1 })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	select {
	case err := <-flushed:
		if err == nil || !strings.Contains(err.Error(), "1 status updates are not acknowledged") {
			t.Errorf("Flush: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Flush waits for an agent that is not spoken to any more")
	}
}

// TestUpdateRefuses: what the agent would answer with 400 is not queued (rule 36).
func TestUpdateRefuses(t *testing.T) {
	x, err := mesos.NewExecutor(mesos.ExecutorConfig{Config: config.Config{FrameworkID: "f", ExecutorID: "x", AgentEndpoint: "127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]mesosapi.TaskStatus{
		"staging": status("t1", mesosapi.TASK_STAGING), "no state": {TaskID: mesosapi.TaskID{Value: "t1"}}, "no task": status("", mesosapi.TASK_RUNNING),
	} {
		if err := x.Update(s); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := x.Flush(t.Context()); err != nil {
		t.Errorf("something is queued: %v", err)
	}
	if _, err := mesos.NewExecutor(mesos.ExecutorConfig{}); err == nil {
		t.Error("an executor without ids")
	}
}

// TestExecutorEnvironment: as a real agent sets it (recording 11), and what is said when there is none.
func TestExecutorEnvironment(t *testing.T) {
	if _, err := mesos.ExecutorFromEnvironment(); err == nil || !strings.Contains(err.Error(), "MESOS_FRAMEWORK_ID") {
		t.Errorf("without an environment: %v", err)
	}
	for k, v := range map[string]string{
		"MESOS_FRAMEWORK_ID": "f", "MESOS_EXECUTOR_ID": "x", "MESOS_DIRECTORY": "/s", "MESOS_SANDBOX": "/s", "MESOS_AGENT_ENDPOINT": "127.0.0.1:5051",
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "5secs", "MESOS_CHECKPOINT": "1", "MESOS_RECOVERY_TIMEOUT": "15mins", "MESOS_SUBSCRIPTION_BACKOFF_MAX": "2secs",
		"MESOS_EXECUTOR_AUTHENTICATION_TOKEN": "t0ken",
	} {
		t.Setenv(k, v)
	}
	c, err := mesos.ExecutorFromEnvironment()
	if err != nil || !c.Checkpoint || c.RecoveryTimeout != 15*time.Minute || c.SubscriptionBackoffMax != 2*time.Second ||
		c.ExecutorShutdownGracePeriod != 5*time.Second || c.AuthToken != "t0ken" || c.TLS != nil {
		t.Errorf("%+v, %v", c, err)
	}
	if token, there := os.LookupEnv("MESOS_EXECUTOR_AUTHENTICATION_TOKEN"); there {
		t.Errorf("children would have the agent's token %q", token)
	}
}

// TestAgentWithTLS: an agent that speaks TLS says so by the variables that it passes on.
func TestAgentWithTLS(t *testing.T) {
	connected := make(chan struct{}, 1)
	agent := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case connected <- struct{}{}:
		default:
		}
	}))
	agent.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // of the handshake that fails
	agent.StartTLS()
	t.Cleanup(agent.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: agent.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{
		"MESOS_FRAMEWORK_ID": "f", "MESOS_EXECUTOR_ID": "x", "MESOS_DIRECTORY": "/s", "MESOS_SANDBOX": "/s",
		"MESOS_AGENT_ENDPOINT": strings.TrimPrefix(agent.URL, "https://"), "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "5secs",
		"LIBPROCESS_SSL_ENABLED": "1",
	} {
		t.Setenv(k, v)
	}
	for _, tc := range []struct {
		name, verify, ca string
		reaches          bool
	}{
		{"nothing is checked", "", "", true},
		{"checked, and trusted", "true", ca, true},
		{"checked, and unknown", "true", "", false},
	} {
		t.Setenv("LIBPROCESS_SSL_VERIFY_SERVER_CERT", tc.verify)
		t.Setenv("LIBPROCESS_SSL_CA_FILE", tc.ca)
		c, err := mesos.ExecutorFromEnvironment()
		if err != nil {
			t.Fatal(err)
		}
		c.Log = quiet
		x, err := mesos.NewExecutor(c)
		if err != nil {
			t.Fatal(err)
		}
		err = x.Message(t.Context(), []byte("hello"))
		if (err == nil) != tc.reaches {
			t.Errorf("%s: %v", tc.name, err)
		}
		select {
		case <-connected:
			if !tc.reaches {
				t.Errorf("%s: it was sent all the same", tc.name)
			}
		default:
			if tc.reaches {
				t.Errorf("%s: nothing came", tc.name)
			}
		}
	}
	t.Setenv("LIBPROCESS_SSL_CA_FILE", filepath.Join(t.TempDir(), "none"))
	if _, err := mesos.ExecutorFromEnvironment(); err == nil || !strings.Contains(err.Error(), "LIBPROCESS_SSL_CA_FILE") {
		t.Errorf("without the file: %v", err)
	}
}
