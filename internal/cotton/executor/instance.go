package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
)

const (
	// crashLimit of failures in a row end the task: the scheduler then decides what to do.
	crashLimit = 5
	// steady is how long a server must have run for its next crash to be the first of a row.
	steady = time.Minute
	// maxCrashWait bounds the pause before another start.
	maxCrashWait = 30 * time.Second
	// maxMessage of a status, in bytes: they are kept by masters and in the store.
	maxMessage = 1500
)

// instance is one mysqld from LAUNCH to its terminal status.
type instance struct {
	x     *Executor
	id    string    // of the task
	born  time.Time // the zero of its clock
	task  cotton.Task
	stop  chan time.Duration // asks for the end, with its grace; buffered
	news  chan struct{}      // asks for facts to be sent; buffered
	guard *guard
	probe volumeProbe

	inARow int // crashes, of the goroutine of run

	mu        sync.Mutex // guards what follows
	server    *mysqld.Server
	up        bool // its process runs and has answered
	starting  bool // its process is coming up again, closed for writes
	restarts  int
	lastExit  string
	startedAt time.Time
	startTook time.Duration
	disk      disk
	backups   *backups // nil before it is up
	secrets   *secrets // nil before its first start has ended
}

func newInstance(x *Executor, id string, task cotton.Task) *instance {
	i := &instance{x: x, id: id, born: time.Now(), task: task, stop: make(chan time.Duration, 1), news: make(chan struct{}, 1)}
	i.guard = newGuard(i)
	return i
}

// clock is the reading of the instance's clock at a moment: see cotton.Facts.Clock. It is rounded down, so that a lease never counts
// from later.
func (i *instance) clock(at time.Time) int64 { return at.Sub(i.born).Milliseconds() + 1 }

// readAt is the moment of a reading.
func (i *instance) readAt(reading int64) time.Time {
	return i.born.Add(time.Duration(reading-1) * time.Millisecond)
}

// process is the server, nil before its first start has ended.
func (i *instance) process() (server *mysqld.Server, starting bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.server, i.starting
}

func (i *instance) isUp() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.up
}

// run brings the server up, keeps it up, and returns the terminal status and why.
func (i *instance) run(ctx context.Context) (mesos.TaskState, string) {
	i.report(mesos.TASK_STARTING, "preparing the data directory and mysqld", nil)
	grace, err := i.begin(ctx)
	if i.server != nil {
		defer i.server.Remove() // whatever happens, no mysqld is left behind
	}
	switch {
	case grace > 0:
		return mesos.TASK_KILLED, "killed before it was up"
	case err != nil:
		return mesos.TASK_FAILED, "start: " + err.Error()
	}
	defer i.company(ctx)()
	sidecars := i.x.startSidecars(i.task)
	defer sidecars.stop()
	defer i.startBackups(ctx).stop()
	i.report(mesos.TASK_RUNNING, "mysqld answers", yes)
	state, why := i.watch()
	i.setUp(false)
	return state, why
}

// company starts what goes on beside the server; the returned function ends it.
func (i *instance) company(ctx context.Context) func() {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { i.guard.run(ctx) })
	running.Go(func() { i.watchPulse(ctx) })
	running.Go(func() { i.inform(ctx) })
	running.Go(func() { i.keepSecrets(ctx) })
	running.Go(func() { i.measure(ctx, i.server.Dir()) })
	running.Go(func() { i.probe.run(ctx, i.server.Dir(), i.x.cfg.Timing.Pulse) })
	return func() {
		cancel()
		running.Wait()
	}
}

// begin starts the server for the first time; a kill meanwhile ends the attempt and is returned as its grace.
func (i *instance) begin(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun := time.Now()
	done := make(chan error, 1)
	go func() {
		server, own, err := i.x.startServer(ctx, i.task)
		if err == nil {
			i.guard.recall(server.Dir())
		}
		i.mu.Lock()
		i.server, i.secrets, i.up = server, own, err == nil
		i.startedAt, i.startTook = time.Now(), time.Since(begun)
		i.mu.Unlock()
		done <- err
	}()
	select {
	case err := <-done:
		return 0, err
	case grace := <-i.stop:
		cancel()
		<-done
		return max(grace, 1), nil
	}
}

// watch keeps the server up until the task is killed or crashes too often.
func (i *instance) watch() (mesos.TaskState, string) {
	for {
		select {
		case grace := <-i.stop:
			return i.shutDown(grace)
		case <-i.server.Done():
			if state, why, ended := i.again(); ended {
				return state, why
			}
		}
	}
}

// again starts the server anew after it ended: at once after its first crash, and where it asked for that or was ended by
// its guard; else after a pause that grows.
func (i *instance) again() (state mesos.TaskState, why string, ended bool) {
	end := i.server.Wait()
	i.setUp(false)
	killed, ours := i.guard.ownKill()
	switch {
	case ours:
		i.exited("killed by its executor: " + killed)
		i.report(mesos.TASK_RUNNING, "mysqld was killed ("+killed+"), starting it again, closed", no)
	case wantsRestart(end):
		i.exited("to be started again")
	default:
		if state, why, ended = i.crashed(end); ended {
			return state, why, true
		}
	}
	for {
		grace, err := i.restart()
		switch {
		case grace > 0:
			state, why = i.shutDown(grace)
			return state, why, true
		case err == nil:
			i.report(mesos.TASK_RUNNING, "mysqld answers again", yes)
			return 0, "", false
		}
		if _, ours := i.guard.ownKill(); ours {
			continue
		}
		if state, why, ended = i.crashed(err); ended {
			return state, why, true
		}
	}
}

// crashed reports a server that ended by itself, before anything else is done, and waits for the next start.
func (i *instance) crashed(end error) (state mesos.TaskState, why string, ended bool) {
	how := "exit status 0"
	if end != nil {
		how = end.Error()
	}
	if time.Since(i.startedAt) > steady {
		i.inARow = 0
	}
	i.inARow++
	i.mu.Lock()
	i.restarts++
	i.mu.Unlock()
	i.exited(how)
	if i.inARow >= crashLimit {
		return mesos.TASK_FAILED, fmt.Sprintf("mysqld ended %d times in a row, last: %s", i.inARow, how), true
	}
	wait := crashWait(i.inARow)
	i.report(mesos.TASK_RUNNING, fmt.Sprintf("mysqld ended (%s), starting it again in %s", how, wait), no)
	i.x.cfg.Log.Warn("mysqld ended", "instance", i.id, "how", how, "in_a_row", i.inARow, "log", i.server.ErrorLog())
	if grace, killed := i.pause(wait); killed {
		state, why = i.shutDown(grace)
		return state, why, true
	}
	return 0, "", false
}

// crashWait is the pause after so many crashes in a row: none after the first.
func crashWait(inARow int) time.Duration {
	if inARow <= 1 {
		return 0
	}
	return min(time.Second<<(inARow-2), maxCrashWait)
}

func (i *instance) setUp(up bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.up = up
}

func (i *instance) exited(how string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lastExit = how
}

func (i *instance) pause(d time.Duration) (time.Duration, bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0, false
	case grace := <-i.stop:
		return grace, true
	}
}

// restart starts the server again; a kill meanwhile ends the attempt and is returned as its grace.
func (i *instance) restart() (time.Duration, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	begun := time.Now()
	i.mu.Lock()
	i.starting = true
	i.mu.Unlock()
	i.guard.restarted(begun)
	done := make(chan error, 1)
	go func() {
		err := i.server.Restart(ctx)
		i.mu.Lock()
		i.starting, i.up = false, err == nil
		i.startedAt, i.startTook = time.Now(), time.Since(begun)
		i.mu.Unlock()
		done <- err
	}()
	select {
	case err := <-done:
		return 0, err
	case grace := <-i.stop:
		cancel()
		<-done
		return max(grace, 1), nil
	}
}

// shutDown stops the server in good order, and kills it when its grace is over. Its data is safe in both cases.
func (i *instance) shutDown(grace time.Duration) (mesos.TaskState, string) {
	i.report(mesos.TASK_KILLING, "stopping mysqld", nil)
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	i.handOver(ctx, grace)
	if why := i.mayWait(ctx); why != "" {
		// A server that is shut down gives up waiting for its replicas, and commits what none of them has.
		if err := i.server.Kill(); err != nil {
			return mesos.TASK_KILLED, fmt.Sprintf("stopped: %v", err)
		}
		return mesos.TASK_KILLED, "killed, since " + why
	}
	if err := i.server.Stop(ctx); err != nil {
		return mesos.TASK_KILLED, fmt.Sprintf("stopped, within %s of grace: %v", grace, err)
	}
	return mesos.TASK_KILLED, "stopped in good order"
}

const (
	// handOverLimit is how long a primary whose task is killed stays open, so that another can take over first; at most half of its
	// grace. A switchover takes a third of a second.
	handOverLimit = 5 * time.Second
	// handOverGrace is the least grace for that. What the scheduler itself ends in a hurry has less.
	handOverGrace = 3 * time.Second
)

// handOver keeps a primary up whose task Mesos kills, until the scheduler, which was told so, has made it a replica of another. An
// agent that is drained kills its tasks without a word to the framework.
func (i *instance) handOver(ctx context.Context, grace time.Duration) {
	if !i.x.killed.Load() || i.task.Nodes < 2 || grace < handOverGrace {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, min(grace/2, handOverLimit))
	defer cancel()
	if e, err := mysql.ReadExposure(ctx, i.server.DB()); err != nil || e.ReadOnly {
		return
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			i.x.cfg.Log.Warn("the primary is ended before another took over", "instance", i.id)
			return
		case <-i.server.Done():
			return
		case <-tick.C:
		}
		if s, err := mysql.ReadReplicaStatus(ctx, i.server.DB()); err == nil && s != nil {
			return
		}
	}
}

// mayWait says why sessions wait for an acknowledgement, or may do so; empty when none does. Of a server that cannot be asked it is not
// known, unless it was seen last without semi-synchronous replication, or closed.
func (i *instance) mayWait(ctx context.Context) string {
	if ended(i.server) {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, i.x.cfg.Timing.PulseLimit)
	defer cancel()
	e, err := mysql.ReadExposure(ctx, i.server.DB())
	switch {
	case err != nil && i.guard.mayWait():
		return fmt.Sprintf("sessions may wait for an acknowledgement of a replica, and it cannot be asked: %v", err)
	case err == nil && e.Waiting > 0:
		return fmt.Sprintf("%d sessions waited for an acknowledgement of a replica", e.Waiting)
	}
	return ""
}

var yes, no = ptr(true), ptr(false)

// report queues a status; it reaches the agent whatever happens to the connection.
func (i *instance) report(state mesos.TaskState, message string, healthy *bool) {
	data, err := json.Marshal(i.facts())
	if err != nil {
		i.x.cfg.Log.Error("the facts of the instance cannot be written", "instance", i.id, "error", err)
	}
	i.x.update(mesos.TaskStatus{
		TaskID: mesos.TaskID{Value: i.id}, State: &state, Message: ptr(shorten(message)), Healthy: healthy, Data: data,
	})
}

// shorten keeps the beginning, which says what was done, and the end, which says what went wrong.
func shorten(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage/3]+" [...] "+s[len(s)-maxMessage*2/3:], "?")
}

func ptr[T any](v T) *T { return &v }

var errSecondTask = errors.New("this executor has an instance already: each task has an executor of its own")
