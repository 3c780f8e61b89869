package framework_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	mesoslib "github.com/mesos/mesos-go/api/v1/lib"
	exec "github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/backup"
	"github.com/aosc/aosc/internal/cotton/backup/dir"
	"github.com/aosc/aosc/internal/cotton/discovery"
	"github.com/aosc/aosc/internal/cotton/executor"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/cotton/store/file"
	"github.com/aosc/aosc/internal/mesos"
	"github.com/aosc/aosc/internal/testkit"
)

// The test binary is also the executors' program, and a scheduler that can be killed.
const modeEnv = "COTTON_TEST_MODE"

func TestMain(m *testing.M) {
	switch os.Getenv(modeEnv) {
	case "":
		testkit.Main(m)
	case "executor":
		os.Exit(run(realExecutor))
	case "stand-in":
		os.Exit(run(standIn))
	case "scheduler":
		os.Exit(run(schedulerProcess))
	}
}

func run(main func(context.Context) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := main(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func realExecutor(ctx context.Context) error {
	env, err := mesos.ExecutorFromEnvironment()
	if err != nil {
		return err
	}
	x, err := executor.New(executor.Config{Mesos: env})
	if err != nil {
		return err
	}
	return x.Run(ctx)
}

// standIn is an executor whose instance is nothing but a line in a file on its volume for every start, so that many
// clusters cost little, and starts can be counted.
type standInHandler struct {
	x    *mesos.Executor
	done context.CancelFunc
}

func standIn(ctx context.Context) error {
	env, err := mesos.ExecutorFromEnvironment()
	if err != nil {
		return err
	}
	x, err := mesos.NewExecutor(env)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return x.Run(ctx, &standInHandler{x, cancel})
}

func (h *standInHandler) Connected(context.Context, *exec.Event_Subscribed) error { return nil }
func (h *standInHandler) Disconnected(error)                                      {}

func (h *standInHandler) Event(ctx context.Context, e *exec.Event) error {
	switch e.Type {
	case exec.Event_LAUNCH:
		task := e.Launch.Task
		if reason := os.Getenv("STAND_IN_FAILS"); reason != "" {
			return h.end(ctx, task.TaskID, mesoslib.TASK_FAILED, reason)
		}
		f, err := os.OpenFile(filepath.Join(os.Getenv("MESOS_SANDBOX"), cotton.VolumePath, "starts"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return h.end(ctx, task.TaskID, mesoslib.TASK_FAILED, err.Error())
		}
		fmt.Fprintln(f, task.TaskID.Value)
		f.Close()
		return h.update(task.TaskID, mesoslib.TASK_RUNNING, "stands in")
	case exec.Event_KILL:
		return h.end(ctx, e.Kill.TaskID, mesoslib.TASK_KILLED, "killed")
	case exec.Event_SHUTDOWN:
		h.done()
	}
	return nil
}

func (h *standInHandler) update(id mesoslib.TaskID, state mesoslib.TaskState, message string) error {
	return h.x.Update(mesoslib.TaskStatus{TaskID: id, State: &state, Message: &message})
}

func (h *standInHandler) end(ctx context.Context, id mesoslib.TaskID, state mesoslib.TaskState, message string) error {
	if err := h.update(id, state, message); err != nil {
		return err
	}
	go func() { // Flush waits for events: it must not be waited for in one
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_ = h.x.Flush(ctx)
		h.done()
	}()
	return nil
}

// settings of a scheduler, for the process as for the test itself.
type settings struct {
	Master, Dir, Keyfile string
	Executor             framework.Command
	Backups              string        // address of a store; none
	Create               *cotton.Spec  // created once it is ready, unless it exists
	Delete               string        // deleted once it runs
	Tick                 time.Duration // 200 ms
	Switchover           string        // of this cluster, once all is well
	Secret               string        // of the principal
	Within               time.Duration // of the switchover; 10 s
	Operate              *cotton.Request
	Cancel               bool // the operation of c0
	ForceDelete          string
	ReplaceAfter         time.Duration
	Refuse               time.Duration // 500 ms
	CloneMB              int64
	Lease, Cooldown      time.Duration    // as usual; none
	Wall                 func() time.Time `json:"-"` // the machine's clock
}

func newFramework(s settings, log *slog.Logger) (*framework.Framework, *file.Store, error) {
	keys, err := cotton.OpenKeyring(s.Keyfile)
	if err != nil {
		return nil, nil, err
	}
	master, err := mesos.ParseMaster(s.Master)
	if err != nil {
		return nil, nil, err
	}
	master.Creds = mesos.Credentials{Principal: "cotton", Secret: s.Secret}
	st, err := file.Open(filepath.Join(s.Dir, "store"))
	if err != nil {
		return nil, nil, err
	}
	var backups backup.Store
	if s.Backups != "" {
		if backups, err = dir.Open(s.Backups); err != nil {
			return nil, nil, err
		}
	}
	timing := cotton.DefaultTiming()
	if s.Lease > 0 {
		timing = timing.WithLease(s.Lease)
	}
	f, err := framework.New(framework.Config{
		Timing:  timing,
		Backups: backups,
		Store:   st, Publisher: bulletin{filepath.Join(s.Dir, "published")}, Master: master, Holder: fmt.Sprint(os.Getpid()),
		User: "root", Keys: keys, AdminKeyfile: s.Keyfile, Executor: s.Executor,
		Tick: cmp.Or(s.Tick, 200*time.Millisecond), LaunchTimeout: 2 * time.Second, KillEvery: time.Second,
		Refuse: cmp.Or(s.Refuse, 500*time.Millisecond), ReplaceAfter: s.ReplaceAfter, CloneMB: s.CloneMB, Cooldown: cmp.Or(s.Cooldown, -1),
		Quarantine: 2 * time.Second, KillGrace: 20 * time.Second, Secret: s.Secret, Log: log,
	})
	if err == nil && s.Wall != nil {
		framework.SetClock(f, s.Wall)
	}
	return f, st, err
}

// schedulerProcess is the scheduler as a process of its own: what it is told is in the environment.
func schedulerProcess(ctx context.Context) error {
	var s settings
	if err := json.Unmarshal([]byte(os.Getenv("COTTON_TEST_SETTINGS")), &s); err != nil {
		return err
	}
	f, st, err := newFramework(s, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	defer st.Close()
	orders := make(chan error, 1)
	go func() { orders <- giveOrders(ctx, f, s) }()
	if err := f.Run(ctx); err != nil {
		return err
	}
	return <-orders
}

func giveOrders(ctx context.Context, f *framework.Framework, s settings) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !f.Health().Ready {
			continue
		}
		if s.Create != nil {
			if _, err := f.Create(ctx, *s.Create); err != nil && !isExists(err) {
				return err
			}
		}
		if s.Delete != "" {
			if err := f.Delete(ctx, s.Delete); err != nil && !isUnknown(err) {
				return err
			}
		}
		if s.ForceDelete != "" {
			if err := f.ForceDelete(ctx, s.ForceDelete); err != nil && !isUnknown(err) {
				return err
			}
		}
		if s.Operate != nil {
			if _, err := f.Operate(ctx, "c0", *s.Operate, false); err != nil {
				continue // refused until all members were seen
			}
		}
		if s.Cancel {
			if _, err := f.Cancel(ctx, "c0", false); err != nil {
				return err
			}
		}
		if s.Switchover != "" {
			if _, err := f.Switchover(ctx, s.Switchover, framework.SwitchoverOptions{Why: "a test", Within: s.Within}); err != nil {
				continue // refused until all members were seen
			}
		}
		return nil
	}
}

// bulletin publishes into files, one per cluster, replaced as a whole.
type bulletin struct{ dir string }

func (b bulletin) Publish(_ context.Context, cluster string, primary *discovery.Endpoint, replicas []discovery.Endpoint) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	text, err := json.Marshal(framework.Endpoints{Primary: primary, Replicas: replicas})
	if err != nil {
		return err
	}
	path := filepath.Join(b.dir, cluster)
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (b bulletin) Remove(_ context.Context, cluster string) error {
	if err := os.Remove(filepath.Join(b.dir, cluster)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

func (b bulletin) read(cluster string) (framework.Endpoints, bool) {
	var e framework.Endpoints
	text, err := os.ReadFile(filepath.Join(b.dir, cluster))
	return e, err == nil && json.Unmarshal(text, &e) == nil
}
