package mesos

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/executor/calls"
	"github.com/mesos/mesos-go/api/v1/lib/executor/config"
)

const (
	// firstAgentTimeout is how long an executor without a recovery timeout tries to reach its agent at the start. The
	// agent gives up on it after a minute.
	firstAgentTimeout = time.Minute
	// unacknowledgedAfter is when an update that was sent is sent again. The agent acknowledges within milliseconds
	// (rule 25), and knows a repetition by its uuid.
	unacknowledgedAfter = 10 * time.Second
	// subscriptionsInWait bounds the pause between two attempts to a part of what the agent allows at most. An agent that
	// was restarted ends all executors that have not subscribed again within 2 s, which is as long as the longest pause it
	// allows by default (rule 35): mysqld would go down for the restart of an agent.
	subscriptionsInWait = 4
)

var (
	// ErrAgentLost: the agent went away, and the framework does not checkpoint: the executor must end by itself.
	ErrAgentLost = errors.New("the Mesos agent is gone, and this framework does not checkpoint")
	// ErrRecoveryTimeout: the agent stayed away longer than its recovery timeout: the executor must end.
	ErrRecoveryTimeout = errors.New("the Mesos agent did not come back in time")
)

// ExecutorHandler receives what the agent sends, one call at a time and in order.
type ExecutorHandler interface {
	// Connected begins every subscription. An error ends Run.
	Connected(ctx context.Context, e *executor.Event_Subscribed) error
	// Event is LAUNCH, LAUNCH_GROUP, KILL, MESSAGE, SHUTDOWN or ERROR. It must not block: while it runs, no KILL is
	// heard. After SHUTDOWN the executor has its grace period to end the context of Run. An error ends Run.
	Event(ctx context.Context, e *executor.Event) error
	// Disconnected ends every subscription that Connected began. What the agent is asked to tell the executor meanwhile
	// (KILL, LAUNCH, MESSAGE) is lost (rule 34).
	Disconnected(why error)
}

// ExecutorConfig is what the agent tells the executor by its environment.
type ExecutorConfig struct {
	config.Config
	AuthToken string       // of the agent; empty where it asks for none
	TLS       *tls.Config  // nil = the agent speaks plain HTTP
	Log       *slog.Logger // default slog's
}

// Executor is an executor's connection to its agent.
type Executor struct {
	cfg  ExecutorConfig
	url  string
	http *transport

	accepted  atomic.Bool // the agent has taken it at least once
	mu        sync.Mutex
	connected bool
	updates   []*pendingUpdate // not acknowledged yet, oldest first
	tasks     []mesos.TaskInfo // launched, without an acknowledged update yet
	refused   error            // an update that the agent will not have
	over      bool             // Run has ended: nothing is sent any more
	changed   chan struct{}    // closed, and made anew, with every change of the above
}

type pendingUpdate struct {
	update executor.Call_Update
	sentAt time.Time // in the present subscription; zero = not yet
}

// NewExecutor connects nothing before Run.
func NewExecutor(cfg ExecutorConfig) (*Executor, error) {
	if cfg.AgentEndpoint == "" || cfg.FrameworkID == "" || cfg.ExecutorID == "" {
		return nil, errors.New("Mesos executor: agent endpoint, framework id and executor id are needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.SubscriptionBackoffMax <= 0 {
		cfg.SubscriptionBackoffMax = 2 * time.Second
	}
	scheme := "http://" // the endpoint comes without one (rule 31)
	if cfg.TLS != nil {
		scheme = "https://"
	}
	return &Executor{
		cfg:     cfg,
		url:     scheme + cfg.AgentEndpoint + executorPath,
		http:    newTransport(Credentials{Token: cfg.AuthToken}, cfg.TLS),
		changed: make(chan struct{}),
	}, nil
}

// Run subscribes and hands events to h until ctx ends (nil), the handler returns an error (that one), the agent refuses
// the executor or one of its updates, or it is gone for good: ErrAgentLost, ErrRecoveryTimeout. With any error the
// executor must stop its tasks and end.
func (x *Executor) Run(ctx context.Context, h ExecutorHandler) error {
	defer x.http.close()
	defer x.end()
	most := x.cfg.SubscriptionBackoffMax / subscriptionsInWait
	wait := backoff{least: min(100*time.Millisecond, most), most: most}
	lostAt, subscribed := time.Now(), false
	for {
		began, err := x.subscribeOnce(ctx, h)
		if ctx.Err() != nil {
			return nil
		}
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return fatal.err
		}
		if began {
			lostAt, subscribed = time.Now(), true
			wait.reset()
		}
		switch limit := x.patience(subscribed); {
		case limit == 0:
			return fmt.Errorf("%w: %w", ErrAgentLost, err)
		case time.Since(lostAt) > limit:
			return fmt.Errorf("%w (%s): %w", ErrRecoveryTimeout, limit, err)
		}
		x.cfg.Log.Warn("not subscribed to the Mesos agent", "agent", x.cfg.AgentEndpoint, "error", err, "since", lostAt)
		if !sleep(ctx, wait.next()) {
			return nil
		}
	}
}

// patience is how long the agent may be away. An executor that does not outlive its agent has none once it was there.
func (x *Executor) patience(subscribed bool) time.Duration {
	switch {
	case x.cfg.Checkpoint:
		return x.cfg.RecoveryTimeout
	case subscribed:
		return 0
	}
	return firstAgentTimeout
}

// subscribeOnce lives as long as one stream; began tells that there was one.
func (x *Executor) subscribeOnce(ctx context.Context, h ExecutorHandler) (began bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := x.http.post(ctx, x.url, x.subscribeCall(), nil)
	if err != nil {
		err = fmt.Errorf("subscribe to the agent: %w", err)
		// The agent does not know this executor any more; or it never took its token. One that it took once may be taken again: the agent
		// ends executors itself that do not come back to it in time.
		if hasStatus(err, http.StatusBadRequest) || Unauthorized(err) && !x.accepted.Load() {
			err = &fatalError{err}
		}
		return false, err
	}
	events := openStream(resp.Body)
	defer events.close()
	first, err := nextExecutorEvent(ctx, events, firstEventTimeout)
	if err != nil {
		return false, err
	}
	if first.Subscribed == nil {
		return false, &fatalError{fmt.Errorf("the agent's first event is %s, not SUBSCRIBED", first.Type)}
	}
	var sender sync.WaitGroup
	sender.Go(func() { x.sendUpdates(ctx, cancel) })
	x.setConnected(true)
	x.accepted.Store(true)
	err = x.pump(ctx, events, first.Subscribed, h)
	x.setConnected(false)
	cancel()
	sender.Wait()
	h.Disconnected(err)
	if refused := x.refusal(); refused != nil {
		return true, &fatalError{refused}
	}
	return true, err
}

// subscribeCall carries what the agent has not acknowledged (rule 35); that counts as sent.
func (x *Executor) subscribeCall() *executor.Call {
	x.mu.Lock()
	defer x.mu.Unlock()
	updates := make([]executor.Call_Update, 0, len(x.updates))
	for _, u := range x.updates {
		u.sentAt = time.Now()
		updates = append(updates, u.update)
	}
	return x.call(calls.Subscribe(slices.Clone(x.tasks), updates))
}

func (x *Executor) call(c *executor.Call) *executor.Call {
	c.FrameworkID = mesos.FrameworkID{Value: x.cfg.FrameworkID}
	c.ExecutorID = mesos.ExecutorID{Value: x.cfg.ExecutorID}
	return c
}

func (x *Executor) pump(ctx context.Context, events *stream, first *executor.Event_Subscribed, h ExecutorHandler) error {
	if err := h.Connected(ctx, first); err != nil {
		return &fatalError{err}
	}
	for {
		// No limit to silence: agents send a heartbeat every 30 minutes at most. TCP's own keep-alive finds a host gone.
		e, err := nextExecutorEvent(ctx, events, 0)
		if err != nil {
			return err
		}
		switch e.Type {
		case executor.Event_SUBSCRIBED, executor.Event_HEARTBEAT:
			continue
		case executor.Event_ACKNOWLEDGED:
			x.acknowledged(e.GetAcknowledged())
			continue
		case executor.Event_LAUNCH:
			x.launched(e.GetLaunch().Task)
		case executor.Event_LAUNCH_GROUP:
			x.launched(e.GetLaunchGroup().TaskGroup.Tasks...)
		}
		if err := h.Event(ctx, e); err != nil {
			return &fatalError{err}
		}
	}
}

func nextExecutorEvent(ctx context.Context, events *stream, silence time.Duration) (*executor.Event, error) {
	record, err := events.next(ctx, silence)
	if err == io.EOF {
		return nil, errors.New("the agent ended the stream")
	}
	if err != nil {
		return nil, err
	}
	e := new(executor.Event)
	if err := e.Unmarshal(record); err != nil {
		return nil, fmt.Errorf("an event of %d bytes cannot be read: %w", len(record), err)
	}
	return e, nil
}

// Message sends data to the scheduler, at most once: Mesos drops it where a party is away.
func (x *Executor) Message(ctx context.Context, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := x.http.do(ctx, x.url, x.call(calls.Message(data)), nil); err != nil {
		return fmt.Errorf("MESSAGE: %w", err)
	}
	return nil
}
