package mesos_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	mesosapi "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/aosc/aosc/internal/mesos"
)

// executorEnv makes this test binary an executor.
const executorEnv = "MESOS_TEST_EXECUTOR"

func TestMain(m *testing.M) {
	if os.Getenv(executorEnv) != "" {
		os.Exit(executorMain())
	}
	os.Exit(m.Run())
}

// executorMain is an executor over this package. It writes what it is told into the file journal of its sandbox.
func executorMain() int {
	cfg, err := mesos.ExecutorFromEnvironment()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	x, err := mesos.NewExecutor(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err = x.Run(ctx, &testExecutor{x: x, end: cancel})
	journalLine("ended: %v", err)
	if err != nil {
		return 1
	}
	return 0
}

var journalMu sync.Mutex

func journalLine(format string, args ...any) {
	journalMu.Lock()
	defer journalMu.Unlock()
	f, err := os.OpenFile("journal", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err == nil {
		fmt.Fprintf(f, format+"\n", args...)
		err = f.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// testExecutor obeys: KILL, and messages "late" (a status once the agent is away), "exit".
type testExecutor struct {
	x    *mesos.Executor
	end  context.CancelFunc
	task mesosapi.TaskID
	late bool
}

func (e *testExecutor) Connected(_ context.Context, s *executor.Event_Subscribed) error {
	journalLine("connected %s", s.ExecutorInfo.ExecutorID.Value)
	return nil
}

func (e *testExecutor) Disconnected(err error) {
	journalLine("disconnected")
	if e.late {
		e.update(mesosapi.TASK_RUNNING, "late")
	}
}

func (e *testExecutor) Event(ctx context.Context, ev *executor.Event) error {
	journalLine("%s", ev.Type)
	switch ev.Type {
	case executor.Event_LAUNCH:
		e.task = ev.Launch.Task.TaskID
		if string(ev.Launch.Task.Data) == "mute" {
			return nil
		}
		e.update(mesosapi.TASK_STARTING, "")
		e.update(mesosapi.TASK_RUNNING, "up")
	case executor.Event_KILL:
		e.update(mesosapi.TASK_KILLING, "")
		e.update(mesosapi.TASK_KILLED, "as asked")
	case executor.Event_MESSAGE:
		e.late = strings.HasPrefix(string(ev.Message.Data), "late")
		return e.x.Message(ctx, append([]byte("echo: "), ev.Message.Data...))
	case executor.Event_SHUTDOWN:
		go func() { // Event may not block: the acknowledgement that Flush waits for comes after it
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			journalLine("flushed: %v", e.x.Flush(ctx))
			e.end()
		}()
	}
	return nil
}

func (e *testExecutor) update(state mesosapi.TaskState, message string) {
	if err := e.x.Update(mesosapi.TaskStatus{TaskID: e.task, State: &state, Message: &message}); err != nil {
		journalLine("update: %v", err)
	}
}
