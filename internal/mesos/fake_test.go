package mesos_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	mesosapi "github.com/mesos/mesos-go/api/v1/lib"
	masterapi "github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/aosc/aosc/internal/mesos"
	"github.com/aosc/aosc/internal/testkit"
)

const frameworkID = "67682d99-3301-43b2-83b8-2f6d4067b99b-0000"

var quiet = slog.New(slog.DiscardHandler)

// fakeMaster answers as recorded, and in ways that the single-machine Mesos has no reason to.
type fakeMaster struct {
	*httptest.Server
	t *testing.T

	mu         sync.Mutex
	subscribes []*scheduler.Call
	calls      []receivedCall
	// onSubscribe answers the n-th SUBSCRIBE, from 0.
	onSubscribe func(n int, w http.ResponseWriter, r *http.Request)
	// onCall answers another call; 202 when nil.
	onCall func(call *scheduler.Call, w http.ResponseWriter)
}

type receivedCall struct {
	*scheduler.Call
	streamID string
	auth     string
}

func newFakeMaster(t *testing.T) *fakeMaster {
	f := &fakeMaster{t: t}
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.CloseClientConnections() // streams that a test left open
		f.Close()
	})
	return f
}

func (f *fakeMaster) addr() string { return strings.TrimPrefix(f.URL, "http://") }

func (f *fakeMaster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("Accept") != "application/x-protobuf" {
		f.t.Errorf("headers %v: a current master's JSON is not for mesos-go", r.Header)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if r.URL.Path == "/api/v1" { // the detector's question
		answer, err := (&masterapi.Response{Type: masterapi.Response_GET_HEALTH, GetHealth: &masterapi.Response_GetHealth{Healthy: true}}).Marshal()
		if err != nil {
			f.t.Error(err)
		}
		w.Write(answer)
		return
	}
	call := new(scheduler.Call)
	if err := call.Unmarshal(body); err != nil {
		f.t.Errorf("%s: %v", r.URL, err)
		return
	}
	f.mu.Lock()
	n := len(f.subscribes)
	if call.Type == scheduler.Call_SUBSCRIBE {
		f.subscribes = append(f.subscribes, call)
	} else {
		f.calls = append(f.calls, receivedCall{call, r.Header.Get("Mesos-Stream-Id"), r.Header.Get("Authorization")})
	}
	f.mu.Unlock()
	switch {
	case call.Type == scheduler.Call_SUBSCRIBE:
		if r.Header.Get("Mesos-Stream-Id") != "" {
			f.t.Error("SUBSCRIBE with a stream id: 400 from a real master")
		}
		f.onSubscribe(n, w, r)
	case f.onCall != nil:
		f.onCall(call, w)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

func (f *fakeMaster) received() []receivedCall {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]receivedCall(nil), f.calls...)
}

// begin answers SUBSCRIBE with 200 and these events.
func (f *fakeMaster) begin(w http.ResponseWriter, streamID string, events ...*scheduler.Event) {
	w.Header().Set("Mesos-Stream-Id", streamID)
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.WriteHeader(http.StatusOK)
	f.send(w, events...)
}

func (f *fakeMaster) send(w http.ResponseWriter, events ...*scheduler.Event) {
	for _, e := range events {
		data, err := e.Marshal()
		if err != nil {
			f.t.Error(err)
		}
		fmt.Fprintf(w, "%d\n%s", len(data), data)
		w.(http.Flusher).Flush()
	}
}

func subscribed(heartbeat float64) *scheduler.Event {
	return &scheduler.Event{Type: scheduler.Event_SUBSCRIBED, Subscribed: &scheduler.Event_Subscribed{
		FrameworkID: &mesosapi.FrameworkID{Value: frameworkID}, HeartbeatIntervalSeconds: &heartbeat}}
}

func heartbeat() *scheduler.Event { return &scheduler.Event{Type: scheduler.Event_HEARTBEAT} }

func offers(id string) *scheduler.Event {
	return &scheduler.Event{Type: scheduler.Event_OFFERS, Offers: &scheduler.Event_Offers{Offers: []mesosapi.Offer{{
		ID: mesosapi.OfferID{Value: id}, FrameworkID: mesosapi.FrameworkID{Value: frameworkID},
		AgentID: mesosapi.AgentID{Value: "S0"}, Hostname: "agent1.example"}}}}
}

func errorEvent(message string) *scheduler.Event {
	return &scheduler.Event{Type: scheduler.Event_ERROR, Error: &scheduler.Event_Error{Message: message}}
}

// journal is a Handler that writes down what it is told.
type journal struct {
	mu        sync.Mutex
	lines     []string
	ended     []error
	onConnect func(context.Context, *scheduler.Event_Subscribed) error
	onEvent   func(context.Context, *scheduler.Event) error
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) Connected(ctx context.Context, e *scheduler.Event_Subscribed) error {
	j.note("connected %s", e.FrameworkID.Value)
	if j.onConnect != nil {
		return j.onConnect(ctx, e)
	}
	return nil
}

func (j *journal) Event(ctx context.Context, e *scheduler.Event) error {
	line := e.Type.String()
	if e.Offers != nil {
		line += " " + e.Offers.Offers[0].ID.Value
	}
	j.note("%s", line)
	if j.onEvent != nil {
		return j.onEvent(ctx, e)
	}
	return nil
}

func (j *journal) Disconnected(err error) {
	j.note("disconnected")
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended = append(j.ended, err)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, ", ")
}

func frameworkInfo() mesosapi.FrameworkInfo {
	checkpoint, failover, principal := true, 600.0, "cotton"
	return mesosapi.FrameworkInfo{User: "root", Name: "test", Roles: []string{"demo"}, Checkpoint: &checkpoint,
		FailoverTimeout: &failover, Principal: &principal, Capabilities: []mesosapi.FrameworkInfo_Capability{
			{Type: mesosapi.FrameworkInfo_Capability_MULTI_ROLE}, {Type: mesosapi.FrameworkInfo_Capability_RESERVATION_REFINEMENT},
			{Type: mesosapi.FrameworkInfo_Capability_PARTITION_AWARE}}}
}

func parseMaster(t *testing.T, s string) *mesos.Detector {
	t.Helper()
	d, err := mesos.ParseMaster(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// running is a scheduler with its Run under way.
type running struct {
	*mesos.Scheduler
	t    *testing.T
	done chan error
	stop context.CancelFunc
}

func run(t *testing.T, master string, h mesos.Handler, change func(*mesos.SchedulerConfig)) *running {
	t.Helper()
	cfg := mesos.SchedulerConfig{Master: parseMaster(t, master), Framework: frameworkInfo(), Secret: "s3cret", Log: quiet,
		MinBackoff: 5 * time.Millisecond, MaxBackoff: 50 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	s, err := mesos.NewScheduler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Scheduler: s, t: t, done: make(chan error, 1), stop: cancel}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.done <- s.Run(ctx, h)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return r
}

// wait is how Run ended.
func (r *running) wait() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(20 * time.Second):
		r.t.Fatal("Run has not ended")
		return nil
	}
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	testkit.Eventually(t, testkit.Patience, what, condition)
}
