package mesos_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mesosapi "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"

	"github.com/aosc/aosc/internal/mesos"
	"github.com/aosc/aosc/internal/mesos/mini"
)

// startMini is a single-machine Mesos with two agents and short times.
func startMini(t *testing.T, change func(*mini.Config)) *mini.Mini {
	t.Helper()
	cfg := mini.Config{Dir: t.TempDir(), AllocationInterval: 30 * time.Millisecond, UpdateRetryInterval: 300 * time.Millisecond,
		AgentPingTimeout: 200 * time.Millisecond, ExecutorReregistrationTimeout: 2 * time.Second, SubscriptionBackoffMax: 100 * time.Millisecond}
	for i := range 2 {
		cfg.Agents = append(cfg.Agents, mini.AgentConfig{Name: fmt.Sprintf("agent%d", i+1), CPUs: 4, MemMB: 2048, DiskMB: 4096, Ports: "31000-31099"})
	}
	if change != nil {
		change(&cfg)
	}
	m, err := mini.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.StopAll(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// framework is a small one: it keeps offers and statuses, and acknowledges each status once it has it.
type framework struct {
	*running
	mu       sync.Mutex
	id       string
	offers   map[string]mesosapi.Offer // by agent's hostname
	statuses []mesosapi.TaskStatus
	messages []string
	silent   bool // does not acknowledge
}

func newFramework(t *testing.T, url string, change func(*mesos.SchedulerConfig)) *framework {
	t.Helper()
	f := &framework{offers: map[string]mesosapi.Offer{}}
	f.running = run(t, url, f, change)
	return f
}

func (f *framework) Connected(_ context.Context, e *scheduler.Event_Subscribed) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.id = e.FrameworkID.Value
	clear(f.offers)
	return nil
}

func (f *framework) Disconnected(error) {}

func (f *framework) Event(ctx context.Context, e *scheduler.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.id == "" {
		return errors.New("an event came before the framework's id")
	}
	switch e.Type {
	case scheduler.Event_OFFERS:
		for _, o := range e.Offers.Offers {
			f.offers[o.Hostname] = o
		}
	case scheduler.Event_UPDATE:
		f.statuses = append(f.statuses, e.Update.Status)
		if !f.silent {
			return f.Acknowledge(ctx, e.Update.Status)
		}
	case scheduler.Event_MESSAGE:
		f.messages = append(f.messages, string(e.Message.Data))
	}
	return nil
}

func (f *framework) offer(host string) mesosapi.Offer {
	f.t.Helper()
	var o mesosapi.Offer
	eventually(f.t, "an offer of "+host, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		var ok bool
		o, ok = f.offers[host]
		delete(f.offers, host)
		return ok
	})
	return o
}

// told is the states that a task was reported in, with the sources of those that are not the executor.
func (f *framework) told(task string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var states []string
	for _, s := range f.statuses {
		if s.TaskID.Value == task {
			states = append(states, strings.TrimPrefix(s.GetState().String(), "TASK_"))
		}
	}
	return strings.Join(states, " ")
}

func (f *framework) await(task, states string) {
	f.t.Helper()
	defer func() {
		if f.t.Failed() {
			f.t.Logf("task %s was reported %s, want …%s", task, f.told(task), states)
		}
	}()
	eventually(f.t, "task "+task+" reported "+states, func() bool { return strings.HasSuffix(f.told(task), states) })
}

func (f *framework) awaitMessage(text string) {
	f.t.Helper()
	eventually(f.t, "message "+text, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.Contains(f.messages, text)
	})
}

func (f *framework) call(c *scheduler.Call) {
	f.t.Helper()
	if err := f.Call(f.t.Context(), c); err != nil {
		f.t.Fatal(err)
	}
}

func scalar(name string, v float64) mesosapi.Resource {
	kind := mesosapi.SCALAR
	return mesosapi.Resource{Name: name, Type: &kind, Scalar: &mesosapi.Value_Scalar{Value: v}}
}

func reserved(r mesosapi.Resource) mesosapi.Resource {
	dynamic, role, principal := mesosapi.Resource_ReservationInfo_DYNAMIC, "demo", "cotton"
	r.Reservations = []mesosapi.Resource_ReservationInfo{{Type: &dynamic, Role: &role, Principal: &principal}}
	return r
}

// task is one on an offer's agent, with an executor that is this test binary.
func task(id string, o mesosapi.Offer, data string) mesosapi.TaskInfo {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	shell, command := true, "exec '"+exe+"'"
	value := "1"
	return mesosapi.TaskInfo{Name: id, TaskID: mesosapi.TaskID{Value: id}, AgentID: o.AgentID, Data: []byte(data),
		Resources: []mesosapi.Resource{scalar("cpus", 0.1), scalar("mem", 32)},
		Executor: &mesosapi.ExecutorInfo{Type: mesosapi.ExecutorInfo_CUSTOM, ExecutorID: mesosapi.ExecutorID{Value: "x-" + id},
			Resources: []mesosapi.Resource{scalar("cpus", 0.1), scalar("mem", 32)},
			Command: &mesosapi.CommandInfo{Shell: &shell, Value: &command,
				Environment: &mesosapi.Environment{Variables: []mesosapi.Environment_Variable{{Name: executorEnv, Value: &value}}}}}}
}

func (f *framework) launch(id, host, data string) mesosapi.Offer {
	f.t.Helper()
	o := f.offer(host)
	f.call(calls.Accept(calls.OfferOperations{calls.OpLaunch(task(id, o, data))}.WithOffers(o.ID)))
	return o
}

// journalOf is what the executor of a task wrote down.
func journalOf(t *testing.T, m *mini.Mini, agent, taskID string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(m.AgentDir(agent), "slaves/*/frameworks/*/executors/x-"+taskID+"/runs/*/journal"))
	if err != nil || len(files) == 0 {
		return ""
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// TestTaskLife: launch, statuses in order, a message both ways, kill, all over this package's scheduler and executor.
func TestTaskLife(t *testing.T) {
	m := startMini(t, nil)
	f := newFramework(t, m.URL(), nil)
	o := f.launch("t1", "agent1", "")
	f.await("t1", "STARTING RUNNING")
	f.call(calls.Message(o.AgentID.Value, "x-t1", []byte("hello")))
	f.awaitMessage("echo: hello")
	f.call(calls.Kill("t1", o.AgentID.Value))
	f.await("t1", "STARTING RUNNING KILLING KILLED")
	// Reconciliation comes from the master, without a uuid: acknowledging it would be an error (rule 22).
	f.call(calls.Reconcile(calls.ReconcileTasks(map[string]string{"t1": o.AgentID.Value})))
	f.await("t1", "KILLED GONE")
	f.call(calls.Shutdown("x-t1", o.AgentID.Value))
	eventually(t, "the executor's end", func() bool {
		return strings.HasSuffix(journalOf(t, m, "agent1", "t1"), "SHUTDOWN\nflushed: <nil>\ndisconnected\nended: <nil>")
	})
}

// TestUnacknowledged: a status that the framework does not acknowledge holds the next one back and is repeated, with the
// same uuid (rule 23).
func TestUnacknowledged(t *testing.T) {
	m := startMini(t, nil)
	f := newFramework(t, m.URL(), nil)
	f.mu.Lock()
	f.silent = true
	f.mu.Unlock()
	f.launch("t1", "agent1", "")
	f.await("t1", "STARTING STARTING")
	f.mu.Lock()
	first, second := f.statuses[0], f.statuses[1]
	f.silent = false
	f.mu.Unlock()
	if len(first.UUID) != 16 || string(first.UUID) != string(second.UUID) {
		t.Errorf("uuids %x and %x", first.UUID, second.UUID)
	}
	f.await("t1", "RUNNING")
}

// TestAgentAway: the executor outlives its agent, and what it had to say meanwhile is not lost; the framework sees one
// task all along (rules 34, 35).
func TestAgentAway(t *testing.T) {
	m := startMini(t, nil)
	f := newFramework(t, m.URL(), nil)
	o := f.launch("t1", "agent1", "mute")
	eventually(t, "the launch", func() bool { return strings.Contains(journalOf(t, m, "agent1", "t1"), "LAUNCH") })
	f.call(calls.Message(o.AgentID.Value, "x-t1", []byte("late")))
	f.awaitMessage("echo: late")
	if err := m.KillAgent("agent1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the executor alone", func() bool { return strings.Contains(journalOf(t, m, "agent1", "t1"), "disconnected") })
	if err := m.StartAgent("agent1"); err != nil {
		t.Fatal(err)
	}
	f.await("t1", "RUNNING")
	want := "connected x-t1\nLAUNCH\nMESSAGE\ndisconnected\nconnected x-t1"
	if got := journalOf(t, m, "agent1", "t1"); got != want {
		t.Errorf("the executor was told:\n%s\nwant:\n%s", got, want)
	}
	f.call(calls.Kill("t1", o.AgentID.Value))
	f.await("t1", "KILLED")
}

// TestAgentAwayWithoutCheckpoint: an executor of a framework that does not checkpoint ends by itself (rule 35).
func TestAgentAwayWithoutCheckpoint(t *testing.T) {
	m := startMini(t, nil)
	f := newFramework(t, m.URL(), func(c *mesos.SchedulerConfig) { c.Framework.Checkpoint = nil })
	f.launch("t1", "agent1", "")
	f.await("t1", "RUNNING")
	if err := m.KillAgent("agent1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the executor's end", func() bool {
		return strings.Contains(journalOf(t, m, "agent1", "t1"), "ended: "+mesos.ErrAgentLost.Error())
	})
}

// TestAgentGoneForGood: with checkpointing the executor waits for its recovery timeout, then ends.
func TestAgentGoneForGood(t *testing.T) {
	m := startMini(t, func(c *mini.Config) { c.RecoveryTimeout = 300 * time.Millisecond })
	f := newFramework(t, m.URL(), nil)
	f.launch("t1", "agent1", "")
	f.await("t1", "RUNNING")
	if err := m.KillAgent("agent1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the executor's end", func() bool {
		return strings.Contains(journalOf(t, m, "agent1", "t1"), "ended: "+mesos.ErrRecoveryTimeout.Error())
	})
}

// TestFailover (I8): a second scheduler with the framework's id gets the task's state; the first one is told that it is no
// longer the one, and ends.
func TestFailover(t *testing.T) {
	m := startMini(t, nil)
	first := newFramework(t, m.URL(), nil)
	o := first.launch("t1", "agent1", "")
	first.await("t1", "RUNNING")
	second := newFramework(t, m.URL(), func(c *mesos.SchedulerConfig) { c.Framework.ID = &mesosapi.FrameworkID{Value: first.id} })
	if err := first.wait(); !errors.Is(err, mesos.ErrFailedOver) {
		t.Errorf("the first ended with %v", err)
	}
	second.offer("agent1")
	if second.id != first.id {
		t.Errorf("ids %s and %s", first.id, second.id)
	}
	second.call(calls.Reconcile())
	second.await("t1", "RUNNING")
	second.call(calls.Kill("t1", o.AgentID.Value))
	second.await("t1", "KILLED")
}

// TestRemoved: after a teardown the master ends the stream, and will not have the id again.
func TestRemoved(t *testing.T) {
	m := startMini(t, nil)
	f := newFramework(t, m.URL(), nil)
	f.offer("agent1")
	if err := f.Teardown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.wait(); !errors.Is(err, mesos.ErrRemoved) {
		t.Errorf("Run ended with %v", err)
	}
}

// TestMasterRestarts: the framework subscribes again with its id; the task was never touched.
func TestMasterRestarts(t *testing.T) {
	var cfg mini.Config
	m := startMini(t, func(c *mini.Config) { cfg = *c })
	f := newFramework(t, m.URL(), nil)
	f.launch("t1", "agent1", "")
	f.await("t1", "RUNNING")
	id, url := f.id, m.URL()
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := mini.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := again.StopAll(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if again.URL() != url {
		t.Fatalf("the master moved from %s to %s", url, again.URL())
	}
	f.offer("agent1")
	f.mu.Lock()
	f.statuses = nil
	f.mu.Unlock()
	f.call(calls.Reconcile())
	f.await("t1", "RUNNING")
	if f.id != id {
		t.Errorf("framework %s became %s", id, f.id)
	}
	if got := journalOf(t, again, "agent1", "t1"); strings.Count(got, "LAUNCH") != 1 {
		t.Errorf("the executor was told:\n%s", got)
	}
}

// TestStandbyMasters: of two masters one redirects to the other, or has not recovered.
func TestStandbyMasters(t *testing.T) {
	leader, standby := startMini(t, nil), startMini(t, func(c *mini.Config) { c.Agents = nil })
	standby.Standby("")
	leader.Standby("")
	f := newFramework(t, standby.URL()+","+strings.TrimPrefix(leader.URL(), "http://"), nil)
	if err := f.Call(t.Context(), calls.Revive()); !errors.Is(err, mesos.ErrDisconnected) {
		t.Errorf("a call without a leader: %v", err)
	}
	leader.Lead()
	f.offer("agent1")
	standby.Standby(strings.TrimPrefix(leader.URL(), "http://"))
	f.stop() // its offers are for others now
	newFramework(t, standby.URL(), nil).offer("agent1")
}

// TestWrongSecret: Run ends at once, and says what to check.
func TestWrongSecret(t *testing.T) {
	m := startMini(t, func(c *mini.Config) { c.FrameworkAuth = map[string]string{"cotton": "s3cret"} })
	newFramework(t, m.URL(), nil).offer("agent1")
	err := newFramework(t, m.URL(), func(c *mesos.SchedulerConfig) { c.Secret = "guess" }).wait()
	var status *mesos.StatusError
	if !errors.As(err, &status) || status.Code != http.StatusUnauthorized || strings.Contains(err.Error(), "guess") {
		t.Errorf("Run ended with %v", err)
	}
}

// TestOperator: what an operator reads and does; a refusal comes with the master's reason.
func TestOperator(t *testing.T) {
	m := startMini(t, nil)
	f := newFramework(t, m.URL(), nil)
	o := f.launch("t1", "agent1", "")
	f.await("t1", "RUNNING")
	op := mesos.NewOperator(mesos.OperatorConfig{Master: parseMaster(t, m.URL())})
	defer op.Close()
	ctx := t.Context()
	agents, err := op.Agents(ctx)
	if err != nil || len(agents.Agents) != 2 {
		t.Fatalf("agents: %+v, %v", agents, err)
	}
	frameworks, err := op.Frameworks(ctx)
	if err != nil || len(frameworks.Frameworks) != 1 || frameworks.Frameworks[0].FrameworkInfo.ID.Value != f.id {
		t.Errorf("frameworks: %+v, %v", frameworks, err)
	}
	tasks, err := op.Tasks(ctx)
	if err != nil || len(tasks.Tasks) != 1 || tasks.Tasks[0].TaskID.Value != "t1" {
		t.Errorf("tasks: %+v, %v", tasks, err)
	}
	state, err := op.State(ctx)
	if err != nil || len(state.GetTasks.Tasks) != 1 || len(state.GetAgents.Agents) != 2 {
		t.Errorf("state: %+v, %v", state, err)
	}
	other := agents.Agents[0].AgentInfo.ID.Value
	if other == o.AgentID.Value {
		other = agents.Agents[1].AgentInfo.ID.Value
	}
	disk := reserved(scalar("disk", 128))
	if err := op.Reserve(ctx, other, disk); err != nil {
		t.Fatal(err)
	}
	volume := disk
	principal := "cotton"
	volume.Disk = &mesosapi.Resource_DiskInfo{Persistence: &mesosapi.Resource_DiskInfo_Persistence{ID: "v1", Principal: &principal},
		Volume: &mesosapi.Volume{Mode: mesosapi.RW.Enum(), ContainerPath: "data"}}
	if err := op.CreateVolumes(ctx, other, volume); err != nil {
		t.Fatal(err)
	}
	var status *mesos.StatusError
	if err := op.Unreserve(ctx, other, disk); !errors.As(err, &status) || status.Code != http.StatusConflict || status.Reason == "" {
		t.Errorf("unreserve what a volume is on: %v", err)
	}
	if err := op.DestroyVolumes(ctx, other, volume); err != nil {
		t.Fatal(err)
	}
	if err := op.Unreserve(ctx, other, disk); err != nil {
		t.Fatal(err)
	}
	if err := op.MarkAgentGone(ctx, o.AgentID.Value); err != nil {
		t.Fatal(err)
	}
	f.await("t1", "GONE_BY_OPERATOR")
	if err := op.Teardown(ctx, f.id); err != nil {
		t.Fatal(err)
	}
	if err := f.wait(); !errors.Is(err, mesos.ErrRemoved) {
		t.Errorf("Run ended with %v", err)
	}
}
