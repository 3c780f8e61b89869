package framework_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mesoslib "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/loopback"
	"github.com/aosc/aosc/internal/mesos"
	"github.com/aosc/aosc/internal/mesos/mini"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/process"
	"github.com/aosc/aosc/internal/testkit"
)

const patience = testkit.Patience

func isExists(err error) bool  { return errors.Is(err, framework.ErrExists) }
func isUnknown(err error) bool { return errors.Is(err, framework.ErrUnknown) }

// site is a machine room of its own: Mesos with agents, a store, a key.
type site struct {
	t    testing.TB
	mini *mini.Mini
	settings
	operator *mesos.Operator
}

// portsOfAgent is how many ports each agent offers.
const portsOfAgent = 20

func newSite(t testing.TB, mode string, agents int, edit ...func(*mini.Config)) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "aosc-cotton-") // short: sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg := mini.Config{
		Dir: filepath.Join(dir, "mesos"), AllocationInterval: 50 * time.Millisecond, AgentPingTimeout: 500 * time.Millisecond,
		UpdateRetryInterval: time.Second, HeartbeatInterval: time.Second,
	}
	block, err := loopback.ReserveBlock(portsOfAgent * agents)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range block {
			if err := p.Release(); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range agents {
		first := block[i*portsOfAgent].Number
		cfg.Agents = append(cfg.Agents, mini.AgentConfig{
			Name: string(rune('a' + i)), CPUs: 8, MemMB: 8192, DiskMB: 65536,
			Ports:      fmt.Sprintf("%d-%d", first, first+portsOfAgent-1),
			Attributes: map[string]string{"rack": string(rune('a' + i)), "zone": "z1"},
		})
	}
	for _, e := range edit {
		e(&cfg)
	}
	m, err := mini.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, mini: m, settings: settings{Master: m.URL(), Dir: dir, Keyfile: filepath.Join(dir, "key")}}
	if err := os.WriteFile(s.Keyfile, []byte("a key that is long enough to be one"), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// exec: the shell that Mesos starts must not stay between the agent and the executor.
	s.Executor = framework.Command{Value: "exec " + program, Env: map[string]string{modeEnv: mode, "AOSC_TOOLS": os.Getenv("AOSC_TOOLS")}}
	if tools, err := filepath.Abs("../../../.tools"); err == nil && s.Executor.Env["AOSC_TOOLS"] == "" {
		s.Executor.Env["AOSC_TOOLS"] = tools
	}
	master, err := mesos.ParseMaster(s.Master)
	if err != nil {
		t.Fatal(err)
	}
	creds := mesos.Credentials{Principal: "cotton", Secret: cfg.OperatorAuth["cotton"]}
	master.Creds = creds
	s.operator = mesos.NewOperator(mesos.OperatorConfig{Master: master, Credentials: creds})
	t.Cleanup(s.close)
	return s
}

// close ends all that runs: TEARDOWN first, since executors of a framework that checkpoints outlive their agents.
func (s *site) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if fs, err := s.operator.Frameworks(ctx); err == nil {
		for _, f := range fs.Frameworks {
			_ = s.operator.Teardown(ctx, f.FrameworkInfo.GetID().Value)
		}
	}
	testkit.Eventually(s.t, patience, "all tasks end with the framework", func() bool {
		tasks, err := s.operator.Tasks(ctx)
		return err == nil && len(tasks.Tasks) == 0
	})
	s.operator.Close()
	if err := s.mini.Stop(ctx); err != nil {
		s.t.Error(err)
	}
	// One that was not subscribed when its framework went did not hear of it; its mysqld goes with it.
	for _, pid := range s.executors() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			s.t.Error(err)
		}
	}
	if s.t.Failed() {
		s.logs()
	}
}

// logs shows the ends of the executors' outputs.
func (s *site) logs() {
	_ = filepath.WalkDir(s.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (d.Name() == "stderr" || d.Name() == "error.log") {
			text, _ := os.ReadFile(path)
			if len(text) > 3000 {
				text = text[len(text)-3000:]
			}
			s.t.Logf("%s:\n%s", path, text)
		}
		return nil
	})
}

// scheduler runs a framework in this process until the test, or stop, ends it.
func (s *site) scheduler() (f *framework.Framework, stop func()) {
	s.t.Helper()
	var out syncBuffer
	f, st, err := newFramework(s.settings, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				s.t.Errorf("the scheduler ended with: %v", err)
			}
			if err := st.Close(); err != nil {
				s.t.Error(err)
			}
			if s.t.Failed() {
				s.t.Logf("scheduler:\n%s", out.String())
			}
		})
	}
	s.t.Cleanup(stop)
	testkit.Eventually(s.t, patience, "the scheduler is ready", func() bool { return f.Health().Ready })
	return f, stop
}

// process runs a scheduler as a process of its own, with fault points armed.
func (s *site) process(faults string, edit func(*settings)) *process.Process {
	s.t.Helper()
	set := s.settings
	if edit != nil {
		edit(&set)
	}
	text, err := json.Marshal(set)
	if err != nil {
		s.t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), modeEnv+"=scheduler", "COTTON_TEST_SETTINGS="+string(text), fault.EnvVar+"="+faults)
	out := &syncBuffer{}
	cmd.Stderr = out
	p, err := process.Start(cmd)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			s.t.Error(err)
		}
		if s.t.Failed() {
			s.t.Logf("scheduler %q:\n%s", faults, out.String())
		}
	})
	return p
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func spec(name string, nodes int) cotton.Spec {
	hash, err := mysql.HashPassword("secret of " + name)
	if err != nil {
		panic(err)
	}
	return cotton.Spec{Name: name, User: "app", PasswordHash: hash, Nodes: nodes, Size: cotton.Size{CPUs: 0.5, MemMB: 512, DiskMB: 1024}}
}

// tasks are the live tasks by member name; several of one name are a failure.
func (s *site) tasks() map[string]string {
	s.t.Helper()
	answer, err := s.operator.Tasks(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string]string{}
	for _, t := range answer.Tasks {
		if before, twice := out[t.Name]; twice {
			s.t.Errorf("two tasks of %s: %s and %s (I8, I9)", t.Name, before, t.TaskID.Value)
		}
		out[t.Name] = t.TaskID.Value
	}
	return out
}

// reserved are the resource ids on all agents, with the volumes under each.
func (s *site) reserved() map[string][]string {
	s.t.Helper()
	agents, err := s.operator.Agents(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string][]string{}
	for _, a := range agents.Agents {
		for _, r := range a.TotalResources {
			id := resourceID(r)
			if id == "" {
				continue
			}
			out[id] = append(out[id], nil...)
			if p := r.GetDisk().GetPersistence(); p != nil {
				out[id] = append(out[id], p.ID)
			}
		}
	}
	return out
}

func resourceID(r mesoslib.Resource) string {
	if n := len(r.Reservations); n > 0 && r.Reservations[n-1].Labels != nil {
		for _, l := range r.Reservations[n-1].Labels.Labels {
			if l.Key == "resource_id" {
				return l.GetValue()
			}
		}
	}
	return ""
}

// starts counts the starts of stand-ins on all volumes.
func (s *site) starts() map[string]int {
	out := map[string]int{}
	found, _ := filepath.Glob(filepath.Join(s.Dir, "mesos/*/*/volumes/roles/*/*/starts"))
	more, _ := filepath.Glob(filepath.Join(s.Dir, "mesos/*/volumes/roles/*/*/starts"))
	for _, path := range append(found, more...) {
		text, _ := os.ReadFile(path)
		for _, id := range strings.Fields(string(text)) {
			out[id]++
		}
	}
	return out
}

func running(v framework.View) bool {
	for _, m := range v.Record.Members {
		if m.Phase != cotton.PhaseRunning || m.TaskState != "TASK_RUNNING" {
			return false
		}
	}
	return len(v.Record.Members) > 0
}

func (s *site) await(f *framework.Framework, name, what string, ok func(framework.View) bool) framework.View {
	s.t.Helper()
	var v framework.View
	testkit.Eventually(s.t, patience, what, func() bool {
		var err error
		v, err = f.Cluster(s.t.Context(), name)
		return err == nil && ok(v)
	})
	return v
}

func contains(s, part string) bool { return strings.Contains(s, part) }

// executors are the processes of executors that this site's Mesos started, by task: found by their environment, which their mysqlds
// have as well.
func (s *site) executors() map[string]int {
	s.t.Helper()
	program, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string]int{}
	found, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range found {
		env, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(env, []byte("\x00MESOS_SANDBOX="+s.Dir+"/")) {
			continue
		}
		if runs, err := os.Readlink(filepath.Join(filepath.Dir(path), "exe")); err != nil || runs != program {
			continue
		}
		for entry := range bytes.SplitSeq(env, []byte{0}) {
			var pid int
			task, ok := bytes.CutPrefix(entry, []byte("MESOS_EXECUTOR_ID="))
			if n, _ := fmt.Sscanf(path, "/proc/%d/environ", &pid); ok && n == 1 {
				out[string(task)] = pid
			}
		}
	}
	return out
}

// endExecutor kills the executor of a task.
func (s *site) endExecutor(task string) {
	s.t.Helper()
	pid, ok := s.executors()[task]
	if !ok {
		s.t.Fatalf("no executor of %s runs", task)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
}

// identity is what the secrets of a cluster derive from, as it is stored.
func (s *site) identity(name string) cotton.Identity {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, "store", "clusters", name+".json"))
	if err != nil {
		s.t.Fatal(err)
	}
	var stored struct{ Value cotton.Record }
	if err := json.Unmarshal(text, &stored); err != nil {
		s.t.Fatal(err)
	}
	return stored.Value.Identity()
}

func (s *site) keys() cotton.AdminKeys {
	s.t.Helper()
	keys, err := cotton.ReadAdminKeys(s.Keyfile)
	if err != nil {
		s.t.Fatal(err)
	}
	return keys
}

// password of an account of ours in a cluster.
func (s *site) password(name, account string) string {
	s.t.Helper()
	return s.keys().Current().Password(s.identity(name), account)
}

// authority is what a cluster's servers are verified by, as clients have it.
func (s *site) authority(name string) func(mysql.Addr) (mysql.Authority, error) {
	s.t.Helper()
	pem, err := s.keys().Authorities(s.identity(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return func(mysql.Addr) (mysql.Authority, error) { return mysql.Authority{PEM: pem}, nil }
}

// administrator is a pool for an instance of a cluster.
func (s *site) administrator(name string, a mysql.Addr) *sql.DB {
	s.t.Helper()
	return s.open(name, cotton.AdminAccount, s.password(name, cotton.AdminAccount), a)
}

// long leaves a test to `make faults`, where every test runs: what it holds is held by a shorter one, or by pure tests, in `make test`.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("AOSC_E2E") != "full" {
		t.Skip("takes a minute and more: make faults, or AOSC_E2E=full")
	}
}

// launched makes a cluster and waits until all its members run.
func (s *site) launched(f *framework.Framework, name string, nodes int) framework.View {
	s.t.Helper()
	if _, err := f.Create(s.t.Context(), spec(name, nodes)); err != nil {
		s.t.Fatal(err)
	}
	return s.await(f, name, "all members run", running)
}
