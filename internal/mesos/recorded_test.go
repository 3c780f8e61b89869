package mesos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/aosc/aosc/internal/mesos/mini/wire"
)

// The files in testdata are what a real Apache Mesos 1.12 sent to schedulers and executors: of events that have the same
// fields, one. A line is the number of the recording, and the event.

type event interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// recordedEvents reads a file of them, each into a new event of its kind.
func recordedEvents[E any, P interface {
	*E
	event
}](t *testing.T, file string) (texts []string, events []P) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		_, text, _ := strings.Cut(line, " ")
		e := P(new(E))
		if err := wire.Unmarshal(wire.JSON, []byte(text), e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		texts, events = append(texts, text), append(events, e)
	}
	return texts, events
}

// same compares an event as it was recorded with what the client handed on.
func same(t *testing.T, recorded string, e event) {
	t.Helper()
	text, err := wire.Marshal(wire.JSON, e)
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := json.Unmarshal([]byte(recorded), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if w, g := fmt.Sprint(want), fmt.Sprint(got); w != g {
		t.Errorf("recorded\n%s\nhanded on\n%s", w, g)
	}
}

// TestRecordedSchedulerEvents: all that a real master was seen to send reaches the handler whole, and exactly those statuses
// are acknowledged that have a uuid (rule 22).
func TestRecordedSchedulerEvents(t *testing.T) {
	texts, events := recordedEvents[scheduler.Event](t, "scheduler-events.txt")
	m := newFakeMaster(t)
	m.onSubscribe = func(n int, w http.ResponseWriter, r *http.Request) {
		if n > 0 {
			<-r.Context().Done()
			return
		}
		m.begin(w, "stream")
		for _, e := range events {
			if e.Type != scheduler.Event_ERROR {
				m.send(w, e)
			}
		}
		for i, e := range events { // last, since it ends all
			if e.Type == scheduler.Event_ERROR {
				same(t, texts[i], e)
				m.send(w, e)
			}
		}
	}
	var want []string
	handed := map[scheduler.Event_Type]bool{}
	at := 0
	var r *running
	var ready sync.WaitGroup
	ready.Add(1)
	j := &journal{onEvent: func(ctx context.Context, e *scheduler.Event) error {
		ready.Wait()
		for events[at].Type == scheduler.Event_SUBSCRIBED || events[at].Type == scheduler.Event_HEARTBEAT || events[at].Type == scheduler.Event_ERROR {
			at++
		}
		same(t, texts[at], e)
		at++
		handed[e.Type] = true
		if e.Type != scheduler.Event_UPDATE {
			return nil
		}
		status := e.Update.Status
		if len(status.UUID) > 0 {
			want = append(want, fmt.Sprintf("%s %s %x", status.GetAgentID().GetValue(), status.TaskID.Value, status.UUID))
		} else if by := status.GetSource().String(); by != "SOURCE_MASTER" {
			t.Errorf("a status by %s without a uuid", by)
		}
		return r.Acknowledge(ctx, status)
	}}
	r = run(t, "http://"+m.addr(), j, nil)
	ready.Done()
	if err := r.wait(); err == nil || !strings.Contains(err.Error(), "refuses this framework") {
		t.Errorf("Run ended with %v", err)
	}
	for _, kind := range []scheduler.Event_Type{scheduler.Event_OFFERS, scheduler.Event_RESCIND, scheduler.Event_UPDATE, scheduler.Event_MESSAGE,
		scheduler.Event_FAILURE, scheduler.Event_INVERSE_OFFERS, scheduler.Event_UPDATE_OPERATION_STATUS} {
		if !handed[kind] {
			t.Errorf("no %s was handed on", kind)
		}
	}
	var got []string
	for _, c := range m.received() {
		if c.Type != scheduler.Call_ACKNOWLEDGE {
			t.Errorf("it sent %s by itself", c.Type)
			continue
		}
		got = append(got, fmt.Sprintf("%s %s %x", c.Acknowledge.AgentID.Value, c.Acknowledge.TaskID.Value, c.Acknowledge.UUID))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || len(want) == 0 {
		t.Errorf("acknowledged\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestRecordedExecutorEvents: the same for what an agent was seen to send.
func TestRecordedExecutorEvents(t *testing.T) {
	texts, events := recordedEvents[executor.Event](t, "executor-events.txt")
	a := newFakeAgent(t)
	done := make(chan struct{})
	a.onSubscribe = func(_ int, w http.ResponseWriter, r *http.Request) {
		a.send(w, events...)
		select {
		case <-done:
		case <-r.Context().Done():
		}
	}
	h := &recordedHandler{t: t, texts: texts, events: events, done: done}
	_, result := runExecutor(t, a, h)
	eventually(t, "all events are handed on", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.at == len(events)
	})
	close(done)
	select {
	case err := <-result:
		t.Errorf("Run ended with %v", err)
	default:
	}
}

type recordedHandler struct {
	t      *testing.T
	mu     sync.Mutex
	at     int
	texts  []string
	events []*executor.Event
	done   chan struct{}
}

// Connected has the first event; later SUBSCRIBED, and ACKNOWLEDGED, are not handed on.
func (h *recordedHandler) Connected(_ context.Context, e *executor.Event_Subscribed) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at == 0 {
		same(h.t, h.texts[0], &executor.Event{Type: executor.Event_SUBSCRIBED, Subscribed: e})
		h.skip()
	}
	return nil
}

func (h *recordedHandler) skip() {
	for h.at++; h.at < len(h.events) && (h.events[h.at].Type == executor.Event_SUBSCRIBED || h.events[h.at].Type == executor.Event_ACKNOWLEDGED); {
		h.at++
	}
}

func (h *recordedHandler) Event(_ context.Context, e *executor.Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	same(h.t, h.texts[h.at], e)
	h.skip()
	return nil
}

func (h *recordedHandler) Disconnected(error) {}
