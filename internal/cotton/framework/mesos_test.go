package framework_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	mesoslib "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/allocator"
	"github.com/mesos/mesos-go/api/v1/lib/maintenance"
	"github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/master/calls"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/cotton/store/file"
	"github.com/aosc/aosc/internal/mesos"
	"github.com/aosc/aosc/internal/mesos/mini"
	"github.com/aosc/aosc/internal/testkit"
)

// schedule has the operator plan that these machines go down at a time; none calls everything off.
func (s *site) schedule(at time.Time, hosts ...string) {
	s.t.Helper()
	var plan maintenance.Schedule
	for _, host := range hosts {
		plan.Windows = append(plan.Windows, maintenance.Window{MachineIDs: s.machine(host), Unavailability: mesoslib.Unavailability{
			Start: mesoslib.TimeInfo{Nanoseconds: at.UnixNano()}, Duration: &mesoslib.DurationInfo{Nanoseconds: time.Hour.Nanoseconds()}}})
	}
	s.operate(calls.UpdateMaintenanceSchedule(plan))
}

func (s *site) machine(host string) []mesoslib.MachineID {
	ip := "127.0.0.1"
	return []mesoslib.MachineID{{Hostname: &host, IP: &ip}}
}

func (s *site) operate(call *master.Call) {
	s.t.Helper()
	if _, err := s.operator.Call(s.t.Context(), call); err != nil {
		s.t.Fatal(err)
	}
}

// answer is what the framework last said to the plan for a machine, as the operator sees it.
func (s *site) answer(host string) allocator.InverseOfferStatus_Status {
	s.t.Helper()
	answer, err := s.operator.Call(s.t.Context(), calls.GetMaintenanceStatus())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range answer.GetMaintenanceStatus.Status.DrainingMachines {
		if m.ID.GetHostname() == host && len(m.Statuses) == 1 {
			return m.Statuses[0].GetStatus()
		}
	}
	return allocator.InverseOfferStatus_UNKNOWN
}

// TestMaintenance: an operator's plan is known to the framework, and its answer to the operator: no while something of ours
// is on the machine. Nothing new is placed there; when the machine went down and is back, its member is on its volume.
func TestMaintenance(t *testing.T) {
	t.Parallel()
	s := newSite(t, "stand-in", 3)
	f, _ := s.scheduler()
	m := s.launched(f, "c0", 2).Record.Members[0]
	start := time.Now().Add(time.Hour).Truncate(time.Second)
	s.schedule(start, m.Hostname)
	testkit.Eventually(t, patience, "the plan is known", func() bool {
		all := f.Maintenance()
		return len(all) == 1 && all[0].Hostname == m.Hostname && all[0].Start.Equal(start) && all[0].Duration == time.Hour && !all[0].Begun
	})
	testkit.Eventually(t, patience, "the operator is told to wait", func() bool {
		return s.answer(m.Hostname) == allocator.InverseOfferStatus_DECLINE
	})
	why, err := f.Why(t.Context(), "c0")
	if err != nil || len(why.Maintenance) != 1 || why.Maintenance[0].AgentID != m.AgentID {
		t.Errorf("why c0: %+v, %v", why, err)
	}
	// What wants a new place finds none there.
	if _, err := f.Create(t.Context(), spec("c1", 3)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, "the machine is refused", func() bool {
		why, err := f.Why(t.Context(), "c1")
		return err == nil && slices.ContainsFunc(why.Refusals, func(r cotton.Refusal) bool {
			return r.Hostname == m.Hostname && strings.Contains(r.Reason, "maintenance")
		})
	})
	if why, err := f.Why(t.Context(), "c1"); err != nil || len(why.Maintenance) != 0 {
		t.Errorf("why c1, which has nothing there: %+v, %v", why, err)
	}
	if err := f.Delete(t.Context(), "c1"); err != nil {
		t.Fatal(err)
	}

	s.operate(calls.StartMaintenance(s.machine(m.Hostname)...))
	s.await(f, "c0", "the member is lost", func(v framework.View) bool { return v.Record.Members[0].Phase == cotton.PhaseLost })
	testkit.Eventually(t, patience, "it is known that the maintenance has begun", func() bool {
		all := f.Maintenance()
		return len(all) == 1 && all[0].Begun
	})
	testkit.Eventually(t, patience, "the agent has ended", func() bool { return s.mini.AgentURL(m.Hostname) == "" })
	s.operate(calls.StopMaintenance(s.machine(m.Hostname)...))
	if err := s.mini.StartAgent(m.Hostname); err != nil {
		t.Fatal(err)
	}
	after := s.await(f, "c0", "the member runs again", running).Record.Members[0]
	if after.VolumeID != m.VolumeID || after.Port != m.Port {
		t.Errorf("before %+v, after %+v", m, after)
	}
	testkit.Eventually(t, patience, "the plan is over", func() bool { return len(f.Maintenance()) == 0 })
	if got := s.tasks(); len(got) != 2 {
		t.Errorf("tasks: %v", got)
	}
}

// TestMaintenanceAnswers: an operator may take a machine down once nothing of ours is left on it; a plan that is called off
// is forgotten.
func TestMaintenanceAnswers(t *testing.T) {
	t.Parallel()
	s := newSite(t, "stand-in", 1)
	f, _ := s.scheduler()
	s.schedule(time.Now().Add(time.Hour), "a")
	testkit.Eventually(t, patience, "with nothing there the answer is yes", func() bool {
		return s.answer("a") == allocator.InverseOfferStatus_ACCEPT
	})
	s.schedule(time.Now())
	testkit.Eventually(t, patience, "the plan is forgotten", func() bool { return len(f.Maintenance()) == 0 })
}

// TestMaintenanceAnsweredAnew: the operator who was told to wait is told to go ahead as soon as nothing of ours is left on the
// machine, whatever else happens, and long after the last inverse offer was declined.
func TestMaintenanceAnsweredAnew(t *testing.T) {
	t.Parallel()
	s := newSite(t, "stand-in", 2)
	s.Refuse = 20 * time.Second // an answer to an inverse offer stands for two minutes
	f, _ := s.scheduler()
	for name, nodes := range map[string]int{"c0": 2, "c1": 1} {
		if _, err := f.Create(t.Context(), spec(name, nodes)); err != nil {
			t.Fatal(err)
		}
		s.await(f, name, "all members run", running)
	}
	s.schedule(time.Now().Add(time.Hour), "a", "b")
	for _, host := range []string{"a", "b"} {
		testkit.Eventually(t, patience, "the operator is told to wait", func() bool {
			return s.answer(host) == allocator.InverseOfferStatus_DECLINE
		})
	}
	stays := s.await(f, "c1", "its member runs", running).Record.Members[0].Hostname
	leaves := map[string]string{"a": "b", "b": "a"}[stays]
	if err := f.Delete(t.Context(), "c0"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	testkit.Eventually(t, patience, "the operator may go ahead where nothing is left", func() bool {
		return s.answer(leaves) == allocator.InverseOfferStatus_ACCEPT
	})
	t.Logf("said %s after the last member was to leave", time.Since(began).Round(time.Millisecond))
	if got := s.answer(stays); got != allocator.InverseOfferStatus_DECLINE {
		t.Errorf("of the machine with a member on it the answer is %s", got)
	}
}

// TestAgentLeaves: an agent that leaves in good order ends its executors and unregisters; its member is on its volume again
// once the agent is back.
func TestAgentLeaves(t *testing.T) {
	t.Parallel()
	s := newSite(t, "stand-in", 2)
	f, _ := s.scheduler()
	m := s.launched(f, "c0", 2).Record.Members[0]
	if err := s.mini.UnregisterAgent(m.Hostname); err != nil {
		t.Fatal(err)
	}
	s.await(f, "c0", "the member is lost", func(v framework.View) bool { return v.Record.Members[0].Phase == cotton.PhaseLost })
	testkit.Eventually(t, patience, "the agent has ended", func() bool { return s.mini.AgentURL(m.Hostname) == "" })
	if len(f.Maintenance()) != 0 {
		t.Errorf("taken for maintenance: %+v", f.Maintenance())
	}
	if err := s.mini.StartAgent(m.Hostname); err != nil {
		t.Fatal(err)
	}
	after := s.await(f, "c0", "the member runs again", running).Record.Members[0]
	if after.VolumeID != m.VolumeID || after.Port != m.Port || after.TaskID == m.TaskID {
		t.Errorf("before %+v, after %+v", m, after)
	}
}

// TestExecutorsEndInTime: an executor whose instance is over waits only for a moment for an agent that acknowledges nothing: for one that
// ends itself, and for one that is gone.
func TestExecutorsEndInTime(t *testing.T) {
	s := newSite(t, "executor", 2, func(c *mini.Config) { c.ExecutorShutdownGracePeriod = time.Minute })
	f, stop := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 2)); err != nil {
		t.Fatal(err)
	}
	v := s.await(f, "c0", "the cluster is complete", complete(2))
	stop()
	for i, end := range []struct {
		name string
		how  func(m cotton.Member, executor int) error
		most time.Duration
	}{
		{"the agent ends itself", func(m cotton.Member, _ int) error { return s.mini.UnregisterAgent(m.Hostname) }, 9 * time.Second},
		{"the agent is gone", func(m cotton.Member, executor int) error {
			if err := s.mini.KillAgent(m.Hostname); err != nil {
				return err
			}
			return syscall.Kill(executor, syscall.SIGTERM)
		}, 9 * time.Second}, // it took 10 s where it waited for an acknowledgement
	} {
		m := v.Record.Members[i]
		server := s.mysqldOf(m.TaskID)
		executor := s.parent(server)
		if err := end.how(m, executor); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, patience, end.name+": mysqld has ended", func() bool { return ended(server) })
		watch := testkit.StartStopwatch(t, nil)
		testkit.Eventually(t, patience, end.name+": the executor has ended", func() bool { return ended(executor) })
		watch.Within(t, end.most, end.name+": the end of the executor after that of mysqld")
	}
}

// parent is who started a process.
func (s *site) parent(pid int) int {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		s.t.Fatal(err)
	}
	var parent int
	_, rest, _ := strings.Cut(string(text), "\nPPid:")
	if _, err := fmt.Sscan(rest, &parent); err != nil || parent <= 1 {
		s.t.Fatalf("the parent of %d: %d, %v", pid, parent, err)
	}
	return parent
}

// ended tells whether a process is over.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// TestExecutorByURI: agents fetch the executor's program, as it is or packed.
func TestExecutorByURI(t *testing.T) {
	for name, fetched := range map[string]func(t *testing.T, program, dir string) (uri, command string){
		"a program": func(t *testing.T, program, _ string) (string, string) {
			word, ok := framework.FetchedProgram(program)
			if !ok {
				t.Fatalf("%s is not taken for a program", program)
			}
			return "file://" + program, "exec " + word
		},
		"an archive": func(t *testing.T, program, dir string) (string, string) {
			if _, ok := framework.FetchedProgram("http://repo/cotton.tar.gz"); ok {
				t.Error("an archive is taken for a program")
			}
			packed := filepath.Join(dir, "packed.tar.gz")
			pack(t, program, packed, "bin/cotton")
			return packed, "exec ./bin/cotton"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "stand-in", 1)
			program, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			uri, command := fetched(t, program, s.Dir)
			s.Executor.URIs, s.Executor.Value = []string{uri}, command
			f, _ := s.scheduler()
			if _, err := f.Create(t.Context(), spec("c0", 1)); err != nil {
				t.Fatal(err)
			}
			s.await(f, "c0", "the member runs", running)
		})
	}
}

// pack puts one program into an archive.
func pack(t *testing.T, program, archive, name string) {
	t.Helper()
	in, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	z, _ := gzip.NewWriterLevel(out, gzip.BestSpeed)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: info.Size()}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, in); err != nil {
		t.Fatal(err)
	}
	for _, c := range []io.Closer{w, z, out} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOtherRole: a store that belongs to another role is refused, before anything is asked of Mesos.
func TestOtherRole(t *testing.T) {
	dir := t.TempDir()
	st, err := file.Open(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, _, err := st.Lead(t.Context(), "before"); err != nil {
		t.Fatal(err)
	}
	if _, err := st.PutFramework(t.Context(), store.Framework{ID: "f", Role: "before"}); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st, err = file.Open(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	nobody, err := mesos.ParseMaster("http://127.0.0.1:1") // nothing listens: it is never reached
	if err != nil {
		t.Fatal(err)
	}
	f, err := framework.New(framework.Config{
		Store: st, Publisher: bulletin{dir}, Master: nobody, Holder: "test", User: "root", Role: "after", Keys: cotton.NewKeyring(cotton.AdminKey("k")),
		AdminKeyfile: "/k", Executor: framework.Command{Value: "true"}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err = f.Run(ctx)
	if err == nil || !strings.Contains(err.Error(), `"before"`) || !strings.Contains(err.Error(), `"after"`) {
		t.Errorf("Run ended with %v", err)
	}
}

// TestAuthenticationSwitchedOn: masters that ask for a secret all at once do not end a scheduler that has none: it says so, its clusters
// run on, and it goes on as soon as it is taken again.
func TestAuthenticationSwitchedOn(t *testing.T) {
	t.Parallel()
	s := newSite(t, "stand-in", 1)
	f, _ := s.scheduler()
	before := s.launched(f, "c0", 1).Record.Members[0]
	s.mini.RequireSecrets(map[string]string{"cotton": "s3cret"})
	testkit.Eventually(t, patience, "it is told that the secret is refused", func() bool {
		h := f.Health()
		return h.Refused && !h.Connected && strings.Contains(h.Problem, "401") && strings.Contains(h.Problem, "principal and secret")
	})
	if _, err := f.Create(t.Context(), spec("c1", 1)); err != nil {
		t.Errorf("a request meanwhile, which is carried out later: %v", err)
	}
	s.mini.RequireSecrets(nil)
	s.await(f, "c1", "what was asked for meanwhile is done", running)
	if h := f.Health(); h.Refused || !h.Connected || h.Problem != "" {
		t.Errorf("%+v", h)
	}
	if after := s.await(f, "c0", "the member runs", running).Record.Members[0]; after.TaskID != before.TaskID {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// TestAuthentication: with a Mesos that asks for a secret everywhere, a cluster comes and goes.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	secrets := map[string]string{"cotton": "s3cret"}
	s := newSite(t, "stand-in", 1, func(c *mini.Config) { c.FrameworkAuth, c.OperatorAuth = secrets, secrets })
	s.Secret = secrets["cotton"]
	f, _ := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 1)); err != nil {
		t.Fatal(err)
	}
	s.await(f, "c0", "the member runs", running)
	if err := f.Delete(t.Context(), "c0"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, "the cluster is forgotten", func() bool {
		_, err := f.Cluster(t.Context(), "c0")
		return isUnknown(err)
	})
}
