package mini

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// TestProtobuf subscribes as our own client does: protobuf both ways, with a
// principal and its secret.
func TestProtobuf(t *testing.T) {
	m := start(t, func(c *Config) { c.FrameworkAuth = map[string]string{"p": "secret"} })
	call := scheduler.Call{Type: scheduler.Call_SUBSCRIBE, Subscribe: &scheduler.Call_Subscribe{FrameworkInfo: &mesos.FrameworkInfo{
		User: "root", Name: "proto", Principal: ptr("p"), Roles: []string{"demo"},
		Capabilities: []mesos.FrameworkInfo_Capability{{Type: mesos.FrameworkInfo_Capability_MULTI_ROLE}, {Type: mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT}}}}}
	body, err := call.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for secret, want := range map[string]int{"wrong": http.StatusUnauthorized, "": http.StatusUnauthorized, "secret": http.StatusOK} {
		req, err := http.NewRequest(http.MethodPost, m.URL()+"/api/v1/scheduler", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("Accept", "application/x-protobuf")
		req.SetBasicAuth("p", secret)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("secret %q gives %s", secret, resp.Status)
		}
		if want == http.StatusOK {
			readProtobufEvents(t, resp.Body)
		}
		resp.Body.Close()
	}
}

func readProtobufEvents(t *testing.T, body io.Reader) {
	t.Helper()
	r := bufio.NewReader(body)
	for _, want := range []scheduler.Event_Type{scheduler.Event_SUBSCRIBED, scheduler.Event_HEARTBEAT, scheduler.Event_OFFERS} {
		head, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(head))
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(r, data); err != nil {
			t.Fatal(err)
		}
		var e scheduler.Event
		if err := e.Unmarshal(data); err != nil || e.Type != want {
			t.Fatalf("event %v, %v; want %s", e, err, want)
		}
	}
}

// TestLostAgentReturns: cut off, the executor and its task live on, and come
// back as they were.
func TestLostAgentReturns(t *testing.T) {
	m := start(t, nil)
	s := subscribe(t, m.URL(), "", frameworkInfo(true))
	launchOnVolume(s, "agent1.example", "one", 31000)
	pid := fmt.Sprint(at(s.status("one", "TASK_RUNNING"), "container_status", "executor_pid"))
	if err := m.LoseAgent("agent1"); err != nil {
		t.Fatal(err)
	}
	s.status("one", "TASK_UNREACHABLE")
	if err := m.StartAgent("agent1"); err != nil {
		t.Fatal(err)
	}
	if back := s.status("one", "TASK_RUNNING"); fmt.Sprint(at(back, "container_status", "executor_pid")) != pid {
		t.Errorf("executor %s came back as %v", pid, back)
	}
}

// TestForgottenAgent: an agent that forgot who it was ends the executors of
// before, and offers what was reserved on it, its volume's files with it, under
// another id. Of its tasks the master says that they are lost if it had not
// found the agent unreachable, else nothing.
func TestForgottenAgent(t *testing.T) {
	for _, unreachable := range []bool{false, true} {
		t.Run(fmt.Sprintf("unreachable %v", unreachable), func(t *testing.T) {
			m := start(t, func(c *Config) {
				if !unreachable {
					c.AgentPingTimeout = time.Minute
				}
			})
			s := subscribe(t, m.URL(), "", frameworkInfo(true))
			launchOnVolume(s, "agent1.example", "one", 31000)
			running := s.status("one", "TASK_RUNNING")
			pid, _ := at(running, "container_status", "executor_pid").(float64)
			file := filepath.Join(m.AgentDir("agent1"), "volumes/roles/demo/vol-one/data.ibd")
			if err := os.WriteFile(file, []byte("rows"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := m.ForgetAgent("agent1"); err == nil {
				t.Error("an agent that runs forgot who it is")
			}
			if err := m.KillAgent("agent1"); err != nil {
				t.Fatal(err)
			}
			if unreachable {
				s.status("one", "TASK_UNREACHABLE")
			}
			if err := errors.Join(m.ForgetAgent("agent1"), m.StartAgent("agent1")); err != nil {
				t.Fatal(err)
			}
			if !unreachable {
				lost := s.status("one", "TASK_LOST")
				if lost["reason"] != "REASON_AGENT_REMOVED" || lost["uuid"] != nil ||
					lost["message"] != "Agent agent1.example removed: a new agent registered at the same address" {
					t.Errorf("the task is lost by %v", lost)
				}
			}
			o := s.offer("agent1.example", func(o map[string]any) bool { return strings.Contains(fmt.Sprint(o), "vol-one") })
			if str(o, "agent_id", "value") == str(running, "agent_id", "value") {
				t.Errorf("the agent has its id again: %v", o["agent_id"])
			}
			if text := fmt.Sprint(o); !strings.Contains(text, "begin:31000") || strings.Contains(text, "exec-one") {
				t.Errorf("it offers %v", o)
			}
			if data, err := os.ReadFile(file); err != nil || string(data) != "rows" {
				t.Errorf("the volume holds %q, %v", data, err)
			}
			ends(t, int(pid))
			state := map[bool]string{false: "TASK_UNKNOWN", true: "TASK_UNREACHABLE"}[unreachable]
			s.call(map[string]any{"type": "RECONCILE", "reconcile": map[string]any{"tasks": []any{
				map[string]any{"task_id": value("one"), "agent_id": running["agent_id"]}}}})
			s.status("one", state)
			s.accept(o, launchOf(s, o, "two", scalar("cpus", 1, true), scalar("mem", 256, true), port(31000), volume("vol-one", 512)))
			s.status("two", "TASK_RUNNING")
		})
	}
}

// ends waits until an executor's process is over.
func ends(t *testing.T, pid int) {
	t.Helper()
	if pid == 0 {
		t.Fatal("the executor's process is not known")
	}
	deadline := time.Now().Add(5 * time.Second)
	for _, there := startTicks(pid); there; _, there = startTicks(pid) {
		if time.Now().After(deadline) {
			t.Fatalf("executor %d lives on", pid)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// TestStopKillsWhatDoesNotCheckpoint: of a framework without checkpoints the
// task is lost at once and the executor ends with its agent; the reservation
// and the volume with its files stay.
func TestStopKillsWhatDoesNotCheckpoint(t *testing.T) {
	m := start(t, func(c *Config) { c.AgentPingTimeout = time.Minute })
	s := subscribe(t, m.URL(), "", frameworkInfo(false))
	launchOnVolume(s, "agent1.example", "one", 31000)
	pid := fmt.Sprint(at(s.status("one", "TASK_RUNNING"), "container_status", "executor_pid"))
	file := filepath.Join(m.AgentDir("agent1"), "volumes/roles/demo/vol-one/data.ibd")
	if err := os.WriteFile(file, []byte("rows"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := m.StopAgent("agent1"); err != nil {
		t.Fatal(err)
	}
	s.status("one", "TASK_LOST")
	n, _ := strconv.ParseFloat(pid, 64)
	ends(t, int(n))
	if err := m.StartAgent("agent1"); err != nil {
		t.Fatal(err)
	}
	o := s.offer("agent1.example", func(o map[string]any) bool { return strings.Contains(fmt.Sprint(o), "vol-one") })
	if !strings.Contains(fmt.Sprint(o["resources"]), "begin:31000") {
		t.Errorf("the port is not reserved any more: %v", o["resources"])
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "rows" {
		t.Errorf("the volume holds %q, %v", data, err)
	}
	// DESTROY takes the files with it.
	s.accept(o, map[string]any{"type": "DESTROY", "destroy": map[string]any{"volumes": []any{volume("vol-one", 512)}}})
	deadline := time.Now().Add(5 * time.Second)
	for _, err := os.Stat(file); err == nil; _, err = os.Stat(file) {
		if time.Now().After(deadline) {
			t.Fatal("the volume's files are still there")
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestConfigRefusals(t *testing.T) {
	good := AgentConfig{Name: "a", CPUs: 1, MemMB: 1, DiskMB: 1}
	for name, cfg := range map[string]Config{
		"no directory":   {Agents: []AgentConfig{good}},
		"name twice":     {Dir: "x", Agents: []AgentConfig{good, good}},
		"name a path":    {Dir: "x", Agents: []AgentConfig{{Name: "a/b"}}},
		"ports backward": {Dir: "x", Agents: []AgentConfig{{Name: "a", Ports: "9-1"}}},
	} {
		if err := cfg.validate(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		15 * time.Minute: "15mins", 2 * time.Second: "2secs", time.Minute: "1mins", 90 * time.Second: "90secs",
		500 * time.Millisecond: "500ms", 0: "0ns", 24 * time.Hour: "1days",
	} {
		if got := duration(d); got != want {
			t.Errorf("%s is %s; want %s", d, got, want)
		}
	}
}
