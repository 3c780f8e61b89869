package mesos

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"
)

const (
	// missedHeartbeats make a dead stream, as in Mesos' own scheduler library.
	missedHeartbeats = 5
	// defaultHeartbeat is taken when SUBSCRIBED does not say; Mesos' masters send one every 15 s.
	defaultHeartbeat = 15 * time.Second
	// firstEventTimeout is how long SUBSCRIBED may take after the 200; it comes within milliseconds.
	firstEventTimeout = 30 * time.Second
	// callTimeout bounds a call whose context has no earlier deadline.
	callTimeout = 15 * time.Second
	// maxRedirects are followed in a row before the leader is looked for anew.
	maxRedirects = 3
)

var (
	// ErrDisconnected: no subscription at this moment, the call was not sent.
	ErrDisconnected = errors.New("not subscribed to the Mesos master at this moment")
	// ErrFailedOver: another process has subscribed as the same framework; this one must end.
	ErrFailedOver = errors.New("another scheduler has taken this framework over")
	// ErrRemoved: the master has removed the framework, by TEARDOWN or since its failover timeout ran out. Its id can
	// never be used again.
	ErrRemoved = errors.New("the Mesos master has removed this framework")
)

// FrameworkError is an ERROR event: the master will not have this framework. Is works with ErrFailedOver and ErrRemoved.
type FrameworkError struct{ Message string }

func (e *FrameworkError) Error() string {
	text := fmt.Sprintf("the Mesos master refuses this framework: %q", e.Message)
	for _, known := range []error{ErrFailedOver, ErrRemoved} {
		if e.Is(known) {
			text += ": " + known.Error()
		}
	}
	return text
}

// Is recognises the two that a framework must tell apart, by Mesos' wording (recordings 22, 24, 32).
func (e *FrameworkError) Is(target error) bool {
	switch e.Message {
	case "Framework failed over":
		return target == ErrFailedOver
	case "Framework has been removed":
		return target == ErrRemoved
	}
	return false
}

// Handler receives what the master sends, one call at a time and in order.
type Handler interface {
	// Connected comes first in every subscription, before any of its offers. It must have stored the framework's id
	// durably when it returns. What it knew of offers is void: none survives a subscription. Calls may be made from
	// here on. An error ends Run.
	Connected(ctx context.Context, e *scheduler.Event_Subscribed) error
	// Event is never SUBSCRIBED, HEARTBEAT or ERROR. The next event waits until it returns. An error ends Run.
	Event(ctx context.Context, e *scheduler.Event) error
	// Disconnected ends every subscription that Connected began, with why.
	Disconnected(why error)
}

// AttemptHandler is a Handler that wants to know of each attempt to subscribe that failed; the next one follows.
type AttemptHandler interface {
	Handler
	NotSubscribed(why error)
}

// SchedulerConfig of a framework's connection.
type SchedulerConfig struct {
	Master *Detector
	// Framework as it is subscribed; with an ID after the first time. Its Principal is used to authenticate.
	Framework mesos.FrameworkInfo
	// SuppressedRoles get no offers until revived.
	SuppressedRoles []string
	Secret          string      // of the principal; empty = no HTTP authentication
	TLS             *tls.Config // for https masters
	Log             *slog.Logger
	// MinBackoff and MaxBackoff bound the wait before another attempt to subscribe; 100 ms and 15 s when zero.
	MinBackoff, MaxBackoff time.Duration
}

// Scheduler is a framework's connection to the leading master.
type Scheduler struct {
	cfg  SchedulerConfig
	http *transport

	mu      sync.Mutex
	current *subscription // nil while there is none
}

// subscription is one stream of events; calls that name another are refused by the master.
type subscription struct {
	url         string // of calls
	streamID    string
	frameworkID mesos.FrameworkID
}

// NewScheduler checks the configuration; nothing is sent before Run.
func NewScheduler(cfg SchedulerConfig) (*Scheduler, error) {
	switch {
	case cfg.Master == nil:
		return nil, errors.New("Mesos scheduler: no master given")
	case cfg.Framework.User == "" || cfg.Framework.Name == "":
		return nil, errors.New("Mesos scheduler: the framework needs a user and a name")
	case cfg.Secret != "" && cfg.Framework.GetPrincipal() == "":
		return nil, errors.New("Mesos scheduler: a secret needs a principal")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.MaxBackoff <= 0 {
		cfg.MaxBackoff = 15 * time.Second
	}
	if cfg.MinBackoff <= 0 {
		cfg.MinBackoff = min(100*time.Millisecond, cfg.MaxBackoff)
	}
	creds := Credentials{Principal: cfg.Framework.GetPrincipal(), Secret: cfg.Secret}
	return &Scheduler{cfg: cfg, http: newTransport(creds, cfg.TLS)}, nil
}

// Run subscribes, hands events to h, and subscribes again whenever the stream ends, until ctx ends (nil), the handler
// returns an error (that one), or the master will not have the framework: *FrameworkError, or a *StatusError for a
// SUBSCRIBE that is malformed. One that is not permitted (401, 403) ends it only where the framework has never been
// subscribed and so has nothing to look after: a known one goes on until its credentials are taken.
func (s *Scheduler) Run(ctx context.Context, h Handler) error {
	defer s.http.close()
	wait := backoff{least: s.cfg.MinBackoff, most: s.cfg.MaxBackoff}
	for {
		started := time.Now()
		err := s.subscribeOnce(ctx, h)
		if ctx.Err() != nil {
			return nil
		}
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return fatal.err
		}
		if time.Since(started) > s.cfg.MaxBackoff {
			wait.reset() // it was a stream, not an attempt
		}
		pause := wait.next()
		s.cfg.Log.Warn("not subscribed to Mesos", "master", s.cfg.Master.String(), "error", err, "again_in", pause)
		if a, ok := h.(AttemptHandler); ok {
			a.NotSubscribed(err)
		}
		if !sleep(ctx, pause) {
			return nil
		}
	}
}

// fatalError is an error after which another attempt cannot help.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

// subscribeOnce lives as long as one stream.
func (s *Scheduler) subscribeOnce(ctx context.Context, h Handler) error {
	leader, err := s.cfg.Master.Leader(ctx)
	if err != nil {
		return err
	}
	// The stream's own context: whatever ends this function ends the request.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sub, resp, err := s.subscribe(ctx, leader)
	if err != nil {
		return err
	}
	events := openStream(resp.Body)
	defer events.close()
	first, err := nextEvent(ctx, events, firstEventTimeout)
	if err != nil {
		return fmt.Errorf("subscribed to %s: %w", sub.url, err)
	}
	if first.Subscribed == nil {
		return &fatalError{fmt.Errorf("subscribed to %s: the first event is %s, not SUBSCRIBED", sub.url, first.Type)}
	}
	sub.frameworkID = *first.Subscribed.FrameworkID
	id := sub.frameworkID
	s.cfg.Framework.ID = &id
	s.setCurrent(sub)
	err = s.pump(ctx, events, first.Subscribed, h)
	s.setCurrent(nil)
	h.Disconnected(err)
	return err
}

// subscribe sends SUBSCRIBE and follows redirections to the leader.
func (s *Scheduler) subscribe(ctx context.Context, leader string) (*subscription, *http.Response, error) {
	call := calls.Subscribe(&s.cfg.Framework)
	call.Subscribe.SuppressedRoles = s.cfg.SuppressedRoles
	call.FrameworkID = s.cfg.Framework.ID // both or neither (rule 7)
	for range maxRedirects {
		url := leader + schedulerPath
		resp, err := s.http.post(ctx, url, call, nil)
		if err == nil {
			id := resp.Header.Get(streamIDHeader)
			if id == "" {
				resp.Body.Close()
				return nil, nil, fmt.Errorf("%s accepted SUBSCRIBE without a %s: is it a Mesos master?", url, streamIDHeader)
			}
			return &subscription{url: url, streamID: id}, resp, nil
		}
		to, ok := redirect(leader, err)
		if !ok {
			return nil, nil, subscribeError(err, s.cfg.Framework.ID != nil)
		}
		leader = to
	}
	return nil, nil, fmt.Errorf("%d masters in a row say that another one leads", maxRedirects)
}

// subscribeError tells refusals for good from those that time heals: 404 comes before a master has set its routes up
// (MESOS-7697), 503 before it has recovered, 429 when it is pressed; 401 and 403 while masters are given other credentials.
func subscribeError(err error, known bool) error {
	err = fmt.Errorf("subscribe: %w", err)
	switch {
	case hasStatus(err, http.StatusBadRequest, http.StatusNotAcceptable, http.StatusUnsupportedMediaType, http.StatusConflict):
		return &fatalError{err}
	case Unauthorized(err) && !known:
		return &fatalError{err}
	}
	return err
}

// Unauthorized tells whether credentials were refused: the answer was 401 or 403.
func Unauthorized(err error) bool {
	return hasStatus(err, http.StatusUnauthorized, http.StatusForbidden)
}

// pump hands the events of one subscription to h until the stream ends.
func (s *Scheduler) pump(ctx context.Context, events *stream, first *scheduler.Event_Subscribed, h Handler) error {
	if err := h.Connected(ctx, first); err != nil {
		return &fatalError{err}
	}
	silence := missedHeartbeats * heartbeatInterval(first)
	for {
		e, err := nextEvent(ctx, events, silence)
		if err != nil {
			return err
		}
		if e.Type == scheduler.Event_HEARTBEAT || e.Type == scheduler.Event_SUBSCRIBED {
			continue
		}
		if err := h.Event(ctx, e); err != nil {
			return &fatalError{err}
		}
	}
}

func heartbeatInterval(e *scheduler.Event_Subscribed) time.Duration {
	if s := e.GetHeartbeatIntervalSeconds(); s > 0 {
		return time.Duration(s * float64(time.Second))
	}
	return defaultHeartbeat
}

// nextEvent reads one event; an ERROR event is an error.
func nextEvent(ctx context.Context, events *stream, silence time.Duration) (*scheduler.Event, error) {
	record, err := events.next(ctx, silence)
	if err == io.EOF {
		return nil, errors.New("the master ended the stream")
	}
	if err != nil {
		return nil, err
	}
	e := new(scheduler.Event)
	if err := e.Unmarshal(record); err != nil {
		return nil, fmt.Errorf("an event of %d bytes cannot be read: %w", len(record), err)
	}
	if e.Type == scheduler.Event_ERROR {
		return nil, &fatalError{&FrameworkError{e.GetError().GetMessage()}}
	}
	return e, nil
}

func (s *Scheduler) setCurrent(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = sub
}

// Call sends one call in the present subscription; the framework's id is filled in. Success means that the master took
// it, not that it did it: the event that answers may already have come. ErrDisconnected when there is no subscription;
// a *StatusError when the master refused; any other error leaves open whether the call arrived.
func (s *Scheduler) Call(ctx context.Context, call *scheduler.Call) error {
	s.mu.Lock()
	sub := s.current
	s.mu.Unlock()
	if sub == nil {
		return fmt.Errorf("%s: %w", call.Type, ErrDisconnected)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c := *call
	id := sub.frameworkID
	c.FrameworkID = &id
	if err := s.http.do(ctx, sub.url, &c, http.Header{streamIDHeader: {sub.streamID}}); err != nil {
		return fmt.Errorf("%s: %w", call.Type, err)
	}
	return nil
}

// Acknowledge tells the agent that a status is stored. Those that the master made have no uuid and are not acknowledged
// (rule 22): for them nothing is sent.
func (s *Scheduler) Acknowledge(ctx context.Context, status mesos.TaskStatus) error {
	if len(status.UUID) == 0 {
		return nil
	}
	return s.Call(ctx, calls.Acknowledge(status.GetAgentID().GetValue(), status.TaskID.Value, status.UUID))
}

// AcknowledgeOperation does the same for the status of an operation, which has a uuid only when an agent made it.
func (s *Scheduler) AcknowledgeOperation(ctx context.Context, status mesos.OperationStatus) error {
	if status.UUID == nil || len(status.UUID.Value) == 0 {
		return nil
	}
	call := calls.AcknowledgeOperationStatus(status.GetAgentID().GetValue(), status.GetResourceProviderID().GetValue(),
		status.UUID.Value, status.GetOperationID().GetValue())
	return s.Call(ctx, call)
}

// Teardown ends the framework for good: all tasks are killed, its id is never to be used again. The master then ends the
// stream. mesos-go has no such call.
func (s *Scheduler) Teardown(ctx context.Context) error {
	return s.Call(ctx, &scheduler.Call{Type: scheduler.Call_TEARDOWN})
}
