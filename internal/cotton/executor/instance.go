package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/cotton"
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
	x    *Executor
	id   string // of the task
	task cotton.Task
	stop chan time.Duration // asks for the end, with its grace; buffered

	server    *mysqld.Server
	restarts  int
	inARow    int
	lastExit  string
	startedAt time.Time
	startTook time.Duration
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
	sidecars := i.x.startSidecars(i.task)
	defer sidecars.stop()
	i.report(mesos.TASK_RUNNING, "mysqld answers", yes)
	return i.watch()
}

// begin starts the server for the first time; a kill meanwhile ends the attempt and is returned as its grace.
func (i *instance) begin(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun := time.Now()
	done := make(chan error, 1)
	go func() {
		var err error
		i.server, err = i.x.startServer(ctx, i.task)
		done <- err
	}()
	select {
	case err := <-done:
		i.startedAt, i.startTook = time.Now(), time.Since(begun)
		return 0, err
	case grace := <-i.stop:
		cancel()
		<-done
		return max(grace, 1), nil
	}
}

// watch keeps the server up until the task is killed or crashes too often.
func (i *instance) watch() (mesos.TaskState, string) {
	facts := time.NewTicker(i.x.cfg.FactsInterval)
	defer facts.Stop()
	for {
		select {
		case grace := <-i.stop:
			return i.shutDown(grace)
		case <-facts.C:
			i.x.sendFacts(i.facts(true))
		case <-i.server.Done():
			if state, why, ended := i.again(); ended {
				return state, why
			}
		}
	}
}

// again starts the server anew after it ended by itself: at once where it asked for that, else after a pause that grows.
func (i *instance) again() (state mesos.TaskState, why string, ended bool) {
	end := i.server.Wait()
	asked := wantsRestart(end)
	i.noteExit(end, asked)
	for {
		if !asked {
			if i.inARow >= crashLimit {
				return mesos.TASK_FAILED, fmt.Sprintf("mysqld ended %d times in a row, last: %s", i.inARow, i.lastExit), true
			}
			wait := min(time.Second<<(i.inARow-1), maxCrashWait)
			i.report(mesos.TASK_RUNNING, fmt.Sprintf("mysqld ended (%s), starting it again in %s", i.lastExit, wait), no)
			if grace, killed := i.pause(wait); killed {
				state, why = i.shutDown(grace)
				return state, why, true
			}
		}
		grace, err := i.restart()
		switch {
		case grace > 0:
			state, why = i.shutDown(grace)
			return state, why, true
		case err == nil:
			i.report(mesos.TASK_RUNNING, "mysqld answers again", yes)
			return 0, "", false
		}
		asked = false
		i.noteExit(err, false)
	}
}

func (i *instance) noteExit(end error, asked bool) {
	i.lastExit = "exit status 0"
	if end != nil {
		i.lastExit = end.Error()
	}
	if asked {
		i.lastExit = "to be started again"
		return
	}
	if time.Since(i.startedAt) > steady {
		i.inARow = 0
	}
	i.inARow++
	i.restarts++
	i.x.cfg.Log.Warn("mysqld ended", "instance", i.id, "how", i.lastExit, "in_a_row", i.inARow, "log", i.server.ErrorLog())
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
	done := make(chan error, 1)
	go func() { done <- i.server.Restart(ctx) }()
	select {
	case err := <-done:
		i.startedAt, i.startTook = time.Now(), time.Since(begun)
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
	if err := i.server.Stop(ctx); err != nil {
		return mesos.TASK_KILLED, fmt.Sprintf("stopped, within %s of grace: %v", grace, err)
	}
	return mesos.TASK_KILLED, "stopped in good order"
}

var yes, no = ptr(true), ptr(false)

// report queues a status; it reaches the agent whatever happens to the connection.
func (i *instance) report(state mesos.TaskState, message string, healthy *bool) {
	data, err := json.Marshal(i.facts(healthy == yes))
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
