package mesos_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	mesosapi "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"

	"github.com/aosc/aosc/internal/mesos"
)

// TestSubscribe: SUBSCRIBED reaches the handler before any offer, and its id is in every later call with the stream's id
// and the credentials; HEARTBEAT reaches nobody (rules 1, 2, 7).
func TestSubscribe(t *testing.T) {
	f := newFakeMaster(t)
	f.onSubscribe = func(_ int, w http.ResponseWriter, r *http.Request) {
		if user, secret, ok := r.BasicAuth(); !ok || user != "cotton" || secret != "s3cret" {
			t.Errorf("credentials %q %q", user, secret)
		}
		f.begin(w, "stream-1", subscribed(15), heartbeat(), offers("O1"), heartbeat(), offers("O2"))
		<-r.Context().Done()
	}
	j := &journal{}
	r := run(t, f.URL, j, nil)
	j.onConnect = func(ctx context.Context, _ *scheduler.Event_Subscribed) error {
		return r.Call(ctx, calls.Revive()) // calls can be made from here on
	}
	eventually(t, "two offers", func() bool { return strings.HasSuffix(j.text(), "O2") })
	if got, want := j.text(), "connected "+frameworkID+", OFFERS O1, OFFERS O2"; got != want {
		t.Errorf("the handler was told %s, want %s", got, want)
	}
	if got := f.received(); len(got) != 1 || got[0].Type != scheduler.Call_REVIVE || got[0].streamID != "stream-1" || got[0].FrameworkID.Value != frameworkID {
		t.Errorf("calls: %+v", got)
	}
	if first := f.subscribes[0]; first.FrameworkID != nil || first.Subscribe.FrameworkInfo.ID != nil {
		t.Error("the first SUBSCRIBE has an id")
	}
	r.stop()
	if err := r.wait(); err != nil {
		t.Errorf("stopped: %v", err)
	}
	if err := r.Call(t.Context(), calls.Revive()); !errors.Is(err, mesos.ErrDisconnected) {
		t.Errorf("a call after the end: %v", err)
	}
}

// TestSubscribeAgain: however a stream ends, the next SUBSCRIBE carries the framework's id twice, and calls the new
// stream's id (rules 5, 7).
func TestSubscribeAgain(t *testing.T) {
	endings := map[string]func(*fakeMaster, http.ResponseWriter, *http.Request){
		"zero chunk":          func(*fakeMaster, http.ResponseWriter, *http.Request) {},
		"EOF":                 func(_ *fakeMaster, w http.ResponseWriter, _ *http.Request) { hijack(w).Close() },
		"cut within a record": func(_ *fakeMaster, w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "100\nabc") },
		"not an event":        func(_ *fakeMaster, w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "3\nabc") },
		"silence":             func(_ *fakeMaster, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	}
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			f := newFakeMaster(t)
			again := make(chan struct{})
			f.onSubscribe = func(n int, w http.ResponseWriter, r *http.Request) {
				f.begin(w, fmt.Sprintf("stream-%d", n), subscribed(0.02), heartbeat())
				if n == 0 {
					f.send(w, offers("old"))
					end(f, w, r)
					return
				}
				for {
					select {
					case <-again:
						f.send(w, offers("new"))
						again = nil
					case <-time.After(10 * time.Millisecond):
						f.send(w, heartbeat())
					case <-r.Context().Done():
						return
					}
				}
			}
			j := &journal{}
			r := run(t, f.URL, j, nil)
			eventually(t, "the second subscription", func() bool { return strings.Count(j.text(), "connected "+frameworkID) == 2 })
			if err := r.Call(t.Context(), calls.Revive()); err != nil {
				t.Fatal(err)
			}
			close(again)
			eventually(t, "an offer", func() bool { return strings.HasSuffix(j.text(), "new") })
			if got := f.received(); got[0].streamID != "stream-1" {
				t.Errorf("the call names stream %s", got[0].streamID)
			}
			if second := f.subscribes[1]; second.FrameworkID.GetValue() != frameworkID || second.Subscribe.FrameworkInfo.GetID().GetValue() != frameworkID {
				t.Errorf("second SUBSCRIBE: %+v", second)
			}
			want := "connected " + frameworkID + ", OFFERS old, disconnected, connected " + frameworkID + ", OFFERS new"
			if got := j.text(); got != want {
				t.Errorf("the handler was told %s, want %s", got, want)
			}
		})
	}
}

func hijack(w http.ResponseWriter) net.Conn {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	return conn
}

// TestHeartbeatsKeepStream: a stream with heartbeats only lives on, far past what silence is allowed.
func TestHeartbeatsKeepStream(t *testing.T) {
	f := newFakeMaster(t)
	f.onSubscribe = func(n int, w http.ResponseWriter, r *http.Request) {
		f.begin(w, "stream", subscribed(0.03))
		for range 30 { // 600 ms; silence may last 150
			<-time.After(20 * time.Millisecond)
			f.send(w, heartbeat())
		}
		f.send(w, offers("O1"))
		<-r.Context().Done()
	}
	j := &journal{}
	run(t, f.URL, j, nil)
	eventually(t, "the offer after the heartbeats", func() bool { return strings.Contains(j.text(), "O1") })
	if got := j.text(); strings.Contains(got, "disconnected") {
		t.Errorf("the handler was told %s", got)
	}
}

// TestLeaderElsewhere: 503 until the master has recovered, 404 before its routes are up, a redirection without a scheme
// to /master/... of the leader (rule 9, recording 47).
func TestLeaderElsewhere(t *testing.T) {
	leader, follower := newFakeMaster(t), newFakeMaster(t)
	follower.onSubscribe = func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "//"+leader.addr()+"/master/api/v1/scheduler")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	leader.onSubscribe = func(n int, w http.ResponseWriter, r *http.Request) {
		switch n {
		case 0:
			http.Error(w, "Master has not finished recovery", http.StatusServiceUnavailable)
		case 1:
			http.NotFound(w, r)
		default:
			leader.begin(w, "stream", subscribed(15), offers("O1"))
			<-r.Context().Done()
		}
	}
	j := &journal{}
	r := run(t, follower.URL, j, nil)
	eventually(t, "an offer", func() bool { return strings.Contains(j.text(), "O1") })
	if err := r.Call(t.Context(), calls.Suppress()); err != nil {
		t.Fatal(err)
	}
	if len(leader.received()) != 1 || len(follower.received()) != 0 {
		t.Error("the call did not go to the leader")
	}
}

// TestRefused: what another attempt cannot heal ends Run at once, with Mesos' own words (rules 7, 8).
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"malformed":     {400, "Failed to validate scheduler::Call: Expecting 'subscribe' to be present", "Expecting 'subscribe'"},
		"no secret":     {401, "", "principal and secret"},
		"real master":   {401, "401 Unauthorized.", "principal and secret"},
		"not permitted": {403, "Framework principal is not allowed", "not allowed"},
		"media type":    {415, "Expecting 'Content-Type' of application/json", "Content-Type"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeMaster(t)
			f.onSubscribe = func(_ int, w http.ResponseWriter, _ *http.Request) { http.Error(w, c.body, c.status) }
			err := run(t, f.URL, &journal{}, nil).wait()
			var status *mesos.StatusError
			if !errors.As(err, &status) || status.Code != c.status || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("Run ended with %v", err)
			}
			if len(f.subscribes) != 1 {
				t.Errorf("%d attempts", len(f.subscribes))
			}
		})
	}
}

// TestRefusedForAWhile: a framework that has been subscribed is not given up when its credentials are refused for a while, whatever
// the answer says; each attempt is told.
func TestRefusedForAWhile(t *testing.T) {
	f := newFakeMaster(t)
	f.onSubscribe = func(n int, w http.ResponseWriter, r *http.Request) {
		switch n {
		case 0:
			f.begin(w, "first", subscribed(15))
		case 1:
			http.Error(w, "401 Unauthorized.", http.StatusUnauthorized)
		case 2:
			w.WriteHeader(http.StatusUnauthorized)
		case 3:
			http.Error(w, "", http.StatusForbidden)
		default:
			f.begin(w, "second", subscribed(15), offers("O1"))
			<-r.Context().Done()
		}
	}
	j := &attempts{}
	run(t, f.URL, j, nil)
	eventually(t, "an offer", func() bool { return strings.Contains(j.text(), "O1") })
	j.mu.Lock()
	defer j.mu.Unlock()
	refused := 0
	for _, err := range j.told {
		if mesos.Unauthorized(err) {
			refused++
		}
		var status *mesos.StatusError
		if errors.As(err, &status) && status.Code == http.StatusUnauthorized && !strings.Contains(err.Error(), "principal and secret") {
			t.Errorf("it does not say what to look at: %v", err)
		}
	}
	if refused != 3 {
		t.Errorf("told: %v", j.told)
	}
}

// attempts is a journal that hears of attempts, too.
type attempts struct {
	journal
	mu   sync.Mutex
	told []error
}

func (a *attempts) NotSubscribed(why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = append(a.told, why)
}

// TestErrorEvents: ERROR ends Run, first or later in a stream; the two that a framework must know are told apart.
func TestErrorEvents(t *testing.T) {
	for message, want := range map[string]error{
		"Framework has been removed":                         mesos.ErrRemoved,
		"Framework failed over":                              mesos.ErrFailedOver,
		"Changing framework's principal is not allowed.":     nil,
		"The framework failover_timeout (1e+300) is invalid": nil,
	} {
		for _, first := range []bool{true, false} {
			f := newFakeMaster(t)
			f.onSubscribe = func(_ int, w http.ResponseWriter, _ *http.Request) {
				if first {
					f.begin(w, "stream", errorEvent(message))
				} else {
					f.begin(w, "stream", subscribed(15), errorEvent(message))
				}
			}
			j := &journal{}
			err := run(t, f.URL, j, nil).wait()
			var refused *mesos.FrameworkError
			if !errors.As(err, &refused) || refused.Message != message || !strings.Contains(err.Error(), message) {
				t.Errorf("%s: %v", message, err)
			}
			for _, known := range []error{mesos.ErrRemoved, mesos.ErrFailedOver} {
				if errors.Is(err, known) != (known == want) {
					t.Errorf("%s: is %v: %t", message, known, errors.Is(err, known))
				}
			}
			if first == strings.Contains(j.text(), "connected") {
				t.Errorf("first %t: the handler was told %q", first, j.text())
			}
		}
	}
}

// TestNoStreamID: something that answers 200 without a stream id is no master; it is tried again, since a proxy may be
// in between.
func TestNoStreamID(t *testing.T) {
	f := newFakeMaster(t)
	f.onSubscribe = func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 0 {
			w.WriteHeader(http.StatusOK)
			return
		}
		f.begin(w, "stream", subscribed(15))
		<-r.Context().Done()
	}
	j := &journal{}
	run(t, f.URL, j, nil)
	eventually(t, "a subscription", func() bool { return j.text() == "connected "+frameworkID })
}

// TestHandlerErrors: a handler that cannot store ends Run with its own error, and nothing after it is handed on.
func TestHandlerErrors(t *testing.T) {
	broken := errors.New("the store is down")
	for name, want := range map[string]string{
		"connected": "connected " + frameworkID + ", disconnected",
		"event":     "connected " + frameworkID + ", OFFERS O1, disconnected",
	} {
		f := newFakeMaster(t)
		f.onSubscribe = func(_ int, w http.ResponseWriter, _ *http.Request) {
			f.begin(w, "stream", subscribed(15), offers("O1"), offers("O2"))
		}
		j := &journal{}
		if name == "connected" {
			j.onConnect = func(context.Context, *scheduler.Event_Subscribed) error { return broken }
		} else {
			j.onEvent = func(context.Context, *scheduler.Event) error { return broken }
		}
		if err := run(t, f.URL, j, nil).wait(); !errors.Is(err, broken) {
			t.Errorf("%s: Run ended with %v", name, err)
		}
		if got := j.text(); got != want {
			t.Errorf("%s: the handler was told %s, want %s", name, got, want)
		}
	}
}

// TestEventBeforeAnswer: the event that answers a call may come before its 202 (rule 4): nothing waits for the other.
func TestEventBeforeAnswer(t *testing.T) {
	f := newFakeMaster(t)
	push, handled := make(chan struct{}), make(chan struct{})
	f.onSubscribe = func(_ int, w http.ResponseWriter, r *http.Request) {
		f.begin(w, "stream", subscribed(15))
		<-push
		f.send(w, offers("O1"))
		<-r.Context().Done()
	}
	f.onCall = func(_ *scheduler.Call, w http.ResponseWriter) {
		close(push)
		<-handled // the event has been handled before the answer is sent
		w.WriteHeader(http.StatusAccepted)
	}
	j := &journal{onEvent: func(context.Context, *scheduler.Event) error { close(handled); return nil }}
	r := run(t, f.URL, j, nil)
	eventually(t, "a subscription", func() bool { return j.text() != "" })
	if err := r.Call(t.Context(), calls.Revive()); err != nil {
		t.Fatal(err)
	}
}

// TestCallRefused: a refusal is told as it came, with the call's name.
func TestCallRefused(t *testing.T) {
	f := newFakeMaster(t)
	f.onSubscribe = func(_ int, w http.ResponseWriter, r *http.Request) {
		f.begin(w, "stream", subscribed(15))
		<-r.Context().Done()
	}
	f.onCall = func(_ *scheduler.Call, w http.ResponseWriter) {
		http.Error(w, "Framework cannot be found", http.StatusBadRequest)
	}
	j := &journal{}
	r := run(t, f.URL, j, nil)
	eventually(t, "a subscription", func() bool { return j.text() != "" })
	var status *mesos.StatusError
	if err := r.Call(t.Context(), calls.Kill("t", "S0")); !errors.As(err, &status) || status.Code != 400 ||
		!strings.Contains(err.Error(), "KILL") || !strings.Contains(err.Error(), "Framework cannot be found") {
		t.Errorf("%v", err)
	}
}

// TestAcknowledgeOnlyWithUUID: statuses of the master's own have none, and must not be acknowledged (rule 22); for an
// operation the event's uuid is an object and the call's is bare (rule 17), which only protobuf's types keep apart.
func TestAcknowledgeOnlyWithUUID(t *testing.T) {
	f := newFakeMaster(t)
	f.onSubscribe = func(_ int, w http.ResponseWriter, r *http.Request) {
		f.begin(w, "stream", subscribed(15))
		<-r.Context().Done()
	}
	j := &journal{}
	r := run(t, f.URL, j, nil)
	eventually(t, "a subscription", func() bool { return j.text() != "" })
	agent := &mesosapi.AgentID{Value: "S0"}
	uuid := []byte("0123456789abcdef")
	for _, s := range []mesosapi.TaskStatus{
		{TaskID: mesosapi.TaskID{Value: "lost"}, AgentID: agent}, {TaskID: mesosapi.TaskID{Value: "runs"}, AgentID: agent, UUID: uuid},
	} {
		if err := r.Acknowledge(t.Context(), s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []mesosapi.OperationStatus{
		{OperationID: &mesosapi.OperationID{Value: "bad"}}, {OperationID: &mesosapi.OperationID{Value: "done"}, AgentID: agent, UUID: &mesosapi.UUID{Value: uuid}},
	} {
		if err := r.AcknowledgeOperation(t.Context(), s); err != nil {
			t.Error(err)
		}
	}
	got := f.received()
	if len(got) != 2 || got[0].Acknowledge.TaskID.Value != "runs" || string(got[0].Acknowledge.UUID) != string(uuid) ||
		got[1].AcknowledgeOperationStatus.OperationID.Value != "done" || string(got[1].AcknowledgeOperationStatus.UUID) != string(uuid) {
		t.Errorf("acknowledged: %+v", got)
	}
}

// TestLargeEvent: offers of thousands of agents in one event, in chunks that cut records anywhere.
func TestLargeEvent(t *testing.T) {
	f := newFakeMaster(t)
	big := offers("O1")
	big.Offers.Offers[0].Hostname = strings.Repeat("h", 6<<20)
	f.onSubscribe = func(_ int, w http.ResponseWriter, r *http.Request) {
		data, err := big.Marshal()
		if err != nil {
			t.Error(err)
		}
		f.begin(w, "stream", subscribed(15))
		record := fmt.Appendf(nil, "%d\n%s", len(data), data)
		out := bufio.NewWriterSize(w, 100_003)
		for len(record) > 0 {
			n := min(777_777, len(record))
			out.Write(record[:n])
			out.Flush()
			w.(http.Flusher).Flush()
			record = record[n:]
		}
		f.send(w, offers("O2"))
		<-r.Context().Done()
	}
	j := &journal{}
	run(t, f.URL, j, nil)
	eventually(t, "both events", func() bool { return strings.HasSuffix(j.text(), "OFFERS O1, OFFERS O2") })
}

// TestNewerMaster: capabilities, fields and events that mesos-go has never heard of are no reason to stop; its JSON decoder
// stops at the first of them.
func TestNewerMaster(t *testing.T) {
	f := newFakeMaster(t)
	first, port := subscribed(15), uint32(5050)
	first.Subscribed.MasterInfo = &mesosapi.MasterInfo{ID: "m", IP: 16777343, Port: &port, Capabilities: []mesosapi.MasterInfo_Capability{{Type: 99}}}
	f.onSubscribe = func(_ int, w http.ResponseWriter, r *http.Request) {
		data, err := offers("O1").Marshal()
		if err != nil {
			t.Error(err)
		}
		data = append(data, 0xfa, 0x3f, 3, 'n', 'e', 'w') // field 1023
		f.begin(w, "stream", first, &scheduler.Event{Type: 77})
		fmt.Fprintf(w, "%d\n%s", len(data), data)
		f.send(w, offers("O2"))
		<-r.Context().Done()
	}
	j := &journal{}
	run(t, f.URL, j, nil)
	eventually(t, "the last offer", func() bool { return strings.HasSuffix(j.text(), "77, OFFERS O1, OFFERS O2") })
}

func TestNewSchedulerRefuses(t *testing.T) {
	ok := mesos.SchedulerConfig{Master: parseMaster(t, "http://127.0.0.1:5050"), Framework: frameworkInfo()}
	for name, change := range map[string]func(*mesos.SchedulerConfig){
		"no master":                    func(c *mesos.SchedulerConfig) { c.Master = nil },
		"no user":                      func(c *mesos.SchedulerConfig) { c.Framework.User = "" },
		"no name":                      func(c *mesos.SchedulerConfig) { c.Framework.Name = "" },
		"a secret without a principal": func(c *mesos.SchedulerConfig) { c.Secret, c.Framework.Principal = "x", nil },
	} {
		cfg := ok
		change(&cfg)
		if _, err := mesos.NewScheduler(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
