package mini

import (
	"bufio"
	"bytes"
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
	deadline := time.Now().Add(5 * time.Second)
	for _, there := startTicks(int(n)); there; _, there = startTicks(int(n)) {
		if time.Now().After(deadline) {
			t.Fatalf("executor %s outlives its agent", pid)
		}
		<-time.After(10 * time.Millisecond)
	}
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
	for _, err := os.Stat(file); err == nil; _, err = os.Stat(file) {
		if time.Now().After(deadline.Add(5 * time.Second)) {
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
