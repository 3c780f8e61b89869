// Package executor is the process that Mesos starts for one instance: it installs MySQL, makes a data directory on the
// persistent volume, starts mysqld closed for writes, keeps it up, and stops it in good order. It never decides what the
// instance is in its cluster: that is the scheduler's, by SQL.
package executor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/executor/install"
	client "github.com/aosc/aosc/internal/mesos"
)

// Config of an executor. Zero values are as said.
type Config struct {
	Mesos          client.ExecutorConfig // of the environment
	Sandbox        string                // MESOS_SANDBOX; where the volume is
	Installer      install.Installer     // install.Host
	ConfigTemplate string                // path of an option file on the agent; none
	ProgramDir     string                // where the sidecars' programs lie; beside this program
	KillGrace      time.Duration         // how long mysqld may take to stop, unless the KILL says; 1 min
	StartLimit     time.Duration         // how long a start may take, crash recovery among it; 15 min
	FactsInterval  time.Duration         // 30 s
	Timing         cotton.Timing         // DefaultTiming
	Tool           string                // what manifests of backups call this program; cotton
	Log            *slog.Logger          // slog's
}

// How long the executor waits at its end for the agent to have stored its last status, which takes milliseconds where the agent is
// there. One that has told the executor to end may be ending itself: it acknowledges nothing then, and what the task came to is known
// to the master. Of one that is being restarted the task ends as failed if it is not back in time; its data are on the volume either way.
const (
	flushLimit         = 5 * time.Second
	shutdownFlushLimit = time.Second
)

// agent is what an executor needs of its agent; *mesos.Executor.
type agent interface {
	Run(ctx context.Context, h client.ExecutorHandler) error
	Update(status mesos.TaskStatus) error
	Message(ctx context.Context, data []byte) error
	Flush(ctx context.Context) error
}

// Executor runs one instance.
type Executor struct {
	cfg    Config
	client agent
	log    *slog.Logger

	killed   atomic.Bool // by a KILL: of the scheduler, or of an agent that is drained
	shutDown atomic.Bool // by a SHUTDOWN of the agent
	mu       sync.Mutex
	instance *instance
	ended    chan struct{} // closed when the instance is over and its last status stored
	wg       sync.WaitGroup
	ctx      context.Context // of Run, for the instance
}

// New checks the configuration.
func New(cfg Config) (*Executor, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Installer == nil {
		cfg.Installer = install.Host{}
	}
	if cfg.ProgramDir == "" {
		program, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the directory of this program: %w", err)
		}
		cfg.ProgramDir = filepath.Dir(program)
	}
	cfg.Sandbox = cmp.Or(cfg.Sandbox, os.Getenv("MESOS_SANDBOX"), os.Getenv("MESOS_DIRECTORY"), ".")
	cfg.KillGrace = cmp.Or(cfg.KillGrace, time.Minute)
	cfg.StartLimit = cmp.Or(cfg.StartLimit, 15*time.Minute)
	cfg.FactsInterval = cmp.Or(cfg.FactsInterval, 30*time.Second)
	cfg.Timing = cmp.Or(cfg.Timing, cotton.DefaultTiming())
	if err := cfg.Timing.Validate(); err != nil {
		return nil, err
	}
	cfg.Tool = cmp.Or(cfg.Tool, "cotton")
	cfg.Mesos.Log = cfg.Log
	c, err := client.NewExecutor(cfg.Mesos)
	if err != nil {
		return nil, err
	}
	return &Executor{cfg: cfg, client: c, log: cfg.Log, ended: make(chan struct{})}, nil
}

// Run serves the agent until the instance has ended, by a kill or by itself (nil), ctx ends (the instance is stopped in
// good order, nil), or the agent is lost for good.
func (x *Executor) Run(ctx context.Context) error {
	// The connection outlives ctx: the last status must reach the agent.
	session, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	x.ctx = ctx
	var over sync.WaitGroup
	over.Add(1)
	go func() {
		defer over.Done()
		select {
		case <-x.ended:
		case <-ctx.Done():
			if !x.stopInstance(x.cfg.KillGrace) {
				break
			}
			<-x.ended
		case <-session.Done():
			return
		}
		end()
	}()
	err := x.client.Run(session, x)
	if err != nil { // the agent is gone: the volume may be given to somebody else
		x.stopInstance(x.cfg.KillGrace)
	}
	end()
	over.Wait()
	x.wg.Wait()
	return err
}

// Connected implements client.ExecutorHandler.
func (x *Executor) Connected(context.Context, *executor.Event_Subscribed) error { return nil }

// Disconnected implements client.ExecutorHandler: mysqld runs on; the agent may come back.
func (x *Executor) Disconnected(error) {}

// Event implements client.ExecutorHandler.
func (x *Executor) Event(_ context.Context, e *executor.Event) error {
	switch e.Type {
	case executor.Event_LAUNCH:
		x.launch(e.Launch.Task)
	case executor.Event_KILL:
		grace := x.cfg.KillGrace
		if p := e.Kill.KillPolicy; p != nil && p.GracePeriod != nil {
			grace = time.Duration(p.GracePeriod.Nanoseconds)
		}
		x.killed.Store(true)
		x.stopInstance(grace)
	case executor.Event_SHUTDOWN:
		x.shutDown.Store(true)
		// The agent kills us after its own grace period, so that must be enough for mysqld and for us.
		if !x.stopInstance(min(x.cfg.KillGrace, max(x.cfg.Mesos.ExecutorShutdownGracePeriod-time.Second, time.Second))) {
			return errors.New("shut down by the agent without an instance")
		}
	case executor.Event_MESSAGE:
		x.order(e.GetMessage().GetData())
	case executor.Event_ERROR:
		x.log.Error("the agent reports an error", "error", e.GetError().GetMessage())
	}
	return nil
}

// launch starts the instance in the background.
func (x *Executor) launch(info mesos.TaskInfo) {
	task, err := cotton.ParseTask(info.Data)
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.instance != nil && x.instance.id == info.TaskID.Value:
		return // the agent says it again
	case x.instance != nil:
		x.fail(info.TaskID, errSecondTask)
		return
	}
	i := newInstance(x, info.TaskID.Value, task)
	x.instance = i
	x.wg.Add(1)
	go func() {
		defer x.wg.Done()
		defer close(x.ended)
		state, why := mesos.TASK_FAILED, ""
		if err != nil {
			why = err.Error()
		} else {
			state, why = i.run(context.WithoutCancel(x.ctx))
		}
		x.log.Info("the instance is over", "instance", i.id, "state", state, "why", why)
		i.report(state, why, nil)
		limit := flushLimit
		if x.shutDown.Load() {
			limit = shutdownFlushLimit
		}
		ctx, cancel := contextFor(limit)
		defer cancel()
		if err := x.client.Flush(ctx); err != nil {
			x.log.Error("the last status may be lost", "instance", i.id, "error", err)
		}
	}()
}

// order hands an order of the scheduler to the instance. What is not obeyed is only logged: the scheduler sees by the facts
// what was done.
func (x *Executor) order(data []byte) {
	o, err := cotton.ParseOrder(data)
	if err == nil {
		x.mu.Lock()
		i := x.instance
		x.mu.Unlock()
		if i == nil || i.id != o.Task {
			err = fmt.Errorf("an order for task %s, which does not run here", o.Task)
		} else {
			err = i.guard.order(o, time.Now())
		}
		if err == nil {
			i.backupOrder(o)
			if o.Kind == cotton.OrderLease {
				i.tell() // what the next one answers
			}
		}
	}
	if err != nil {
		x.log.Warn("an order of the scheduler is not obeyed", "error", err)
	}
}

func (x *Executor) fail(id mesos.TaskID, err error) {
	state := mesos.TASK_FAILED
	x.update(mesos.TaskStatus{TaskID: id, State: &state, Message: ptr(shorten(err.Error()))})
}

// stopInstance asks the instance to end; false when there is none. Asking again changes nothing.
func (x *Executor) stopInstance(grace time.Duration) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.instance == nil {
		return false
	}
	select {
	case x.instance.stop <- grace:
	default:
	}
	return true
}

func (x *Executor) update(status mesos.TaskStatus) {
	if err := x.client.Update(status); err != nil {
		x.log.Error("a status cannot be sent", "task", status.TaskID.Value, "state", status.GetState(), "error", err)
	}
}

// sendFacts is best effort: the next ones come soon.
func (x *Executor) sendFacts(ctx context.Context, f cotton.Facts) {
	data, err := json.Marshal(f)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		err = x.client.Message(ctx, data)
	}
	if err != nil {
		x.log.Debug("facts not sent", "error", err)
	}
}

// contextFor is for what is done after the context of Run has ended.
func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
