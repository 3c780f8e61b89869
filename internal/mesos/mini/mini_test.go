package mini

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mesos/mini/minitest"
)

func TestMain(m *testing.M) {
	minitest.MaybeExecutor()
	os.Exit(m.Run())
}

// start runs a Mini with short times and two agents, and ends it with all its
// executors when the test is over.
func start(t *testing.T, change func(*Config)) *Mini {
	t.Helper()
	cfg := Config{
		Dir: t.TempDir(), AllocationInterval: 50 * time.Millisecond, UpdateRetryInterval: 300 * time.Millisecond,
		AgentPingTimeout: 100 * time.Millisecond, ExecutorReregistrationTimeout: 700 * time.Millisecond,
		Agents: []AgentConfig{
			{Name: "agent1", Hostname: "agent1.example", CPUs: 4, MemMB: 2048, DiskMB: 8192, Ports: "31000-31099", Attributes: map[string]string{"rack": "a", "zone": "west"}},
			{Name: "agent2", Hostname: "agent2.example", CPUs: 4, MemMB: 2048, DiskMB: 8192, Ports: "32000-32099", Attributes: map[string]string{"rack": "b", "zone": "west"}},
		},
	}
	if change != nil {
		change(&cfg)
	}
	return startWith(t, cfg)
}

func startWith(t *testing.T, cfg Config) *Mini {
	t.Helper()
	m, err := Start(context.Background(), cfg)
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

// sched is a scheduler that speaks JSON.
type sched struct {
	t      *testing.T
	url    string
	id     string
	stream string
	events chan map[string]any
	offers map[string]map[string]any // agent hostname -> newest offer
	cancel context.CancelFunc
}

func frameworkInfo(checkpoint bool) map[string]any {
	caps := []any{}
	for _, c := range []string{"MULTI_ROLE", "RESERVATION_REFINEMENT", "PARTITION_AWARE"} {
		caps = append(caps, map[string]any{"type": c})
	}
	return map[string]any{"user": "root", "name": "test", "failover_timeout": 600.0, "checkpoint": checkpoint,
		"principal": "p", "roles": []any{"demo"}, "capabilities": caps}
}

func subscribe(t *testing.T, url, id string, info map[string]any) *sched {
	t.Helper()
	call := map[string]any{"type": "SUBSCRIBE", "subscribe": map[string]any{"framework_info": info}}
	if id != "" {
		info["id"] = value(id)
		call["framework_id"] = value(id)
	}
	body, _ := json.Marshal(call)
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "POST", url+"/api/v1/scheduler", bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	s := &sched{t: t, url: url, stream: resp.Header.Get("Mesos-Stream-Id"), events: make(chan map[string]any, 1000), offers: map[string]map[string]any{}, cancel: cancel}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(s.events)
		records(resp.Body, s.events)
	}()
	t.Cleanup(func() { cancel(); <-done; resp.Body.Close() })
	s.id = str(s.next("SUBSCRIBED"), "subscribed", "framework_id", "value")
	return s
}

func records(r io.Reader, to chan<- map[string]any) {
	b := bufio.NewReader(r)
	for {
		line, err := b.ReadString('\n')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(b, data); err != nil {
			return
		}
		var e map[string]any
		if json.Unmarshal(data, &e) != nil {
			return
		}
		to <- e
	}
}

func value(s string) map[string]any { return map[string]any{"value": s} }

// at walks into JSON by keys and indexes.
func at(v any, path ...any) any {
	for _, p := range path {
		switch k := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[k]
		case int:
			l, _ := v.([]any)
			if k >= len(l) {
				return nil
			}
			v = l[k]
		}
	}
	return v
}

func str(v any, path ...any) string { s, _ := at(v, path...).(string); return s }

// next waits for an event of a type; offers on the way are remembered.
func (s *sched) next(kind string) map[string]any {
	s.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				s.t.Fatalf("the stream ended while waiting for %s", kind)
			}
			list, _ := at(e, "offers", "offers").([]any)
			for _, o := range list {
				s.offers[str(o, "hostname")] = o.(map[string]any)
			}
			if e["type"] == kind {
				return e
			}
		case <-deadline:
			s.t.Fatalf("no %s within 10 s", kind)
		}
	}
}

// offer waits for a fresh offer of a host that holds what ok wants.
func (s *sched) offer(host string, ok func(o map[string]any) bool) map[string]any {
	s.t.Helper()
	for {
		if o := s.offers[host]; o != nil && (ok == nil || ok(o)) {
			delete(s.offers, host)
			return o
		}
		if o := s.offers[host]; o != nil {
			delete(s.offers, host)
			s.call(map[string]any{"type": "DECLINE", "decline": map[string]any{"offer_ids": []any{o["id"]}, "filters": map[string]any{"refuse_seconds": 0}}})
		}
		s.next("OFFERS")
	}
}

// status waits for an update of a task and acknowledges it.
func (s *sched) status(task, state string) map[string]any {
	s.t.Helper()
	for {
		st := at(s.next("UPDATE"), "update", "status").(map[string]any)
		if st["uuid"] != nil {
			s.call(map[string]any{"type": "ACKNOWLEDGE", "acknowledge": map[string]any{"agent_id": st["agent_id"], "task_id": st["task_id"], "uuid": st["uuid"]}})
		}
		if str(st, "task_id", "value") == task && st["state"] == state {
			return st
		}
	}
}

func (s *sched) call(call map[string]any) {
	s.t.Helper()
	call["framework_id"] = value(s.id)
	body, _ := json.Marshal(call)
	req, _ := http.NewRequest("POST", s.url+"/api/v1/scheduler", bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Mesos-Stream-Id", s.stream)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		text, _ := io.ReadAll(resp.Body)
		s.t.Fatalf("%v: %s %s", call["type"], resp.Status, text)
	}
}

func (s *sched) accept(o map[string]any, operations ...any) {
	s.t.Helper()
	s.call(map[string]any{"type": "ACCEPT", "accept": map[string]any{"offer_ids": []any{o["id"]}, "operations": operations, "filters": map[string]any{"refuse_seconds": 0}}})
}

var reservation = []any{map[string]any{"type": "DYNAMIC", "role": "demo", "principal": "p",
	"labels": map[string]any{"labels": []any{map[string]any{"key": "cluster", "value": "c1"}}}}}

func scalar(name string, v float64, reserved bool) map[string]any {
	r := map[string]any{"name": name, "type": "SCALAR", "scalar": map[string]any{"value": v}}
	if reserved {
		r["reservations"] = reservation
	}
	return r
}

func port(n int) map[string]any {
	return map[string]any{"name": "ports", "type": "RANGES", "ranges": map[string]any{"range": []any{map[string]any{"begin": n, "end": n}}}, "reservations": reservation}
}

func volume(id string, mb float64) map[string]any {
	r := scalar("disk", mb, true)
	r["disk"] = map[string]any{"persistence": map[string]any{"id": id, "principal": "p"}, "volume": map[string]any{"mode": "RW", "container_path": "data"}}
	return r
}

func launchOf(s *sched, o map[string]any, id string, resources ...any) map[string]any {
	return map[string]any{"type": "LAUNCH", "launch": map[string]any{"task_infos": []any{map[string]any{
		"name": id, "task_id": value(id), "agent_id": o["agent_id"], "resources": resources, "data": "cnVu",
		"executor": map[string]any{"executor_id": value("exec-" + id), "type": "CUSTOM", "framework_id": value(s.id),
			"command":   map[string]any{"value": minitest.Command()},
			"resources": []any{scalar("cpus", 0.1, false), scalar("mem", 32, false)}},
	}}}}
}

// launchOnVolume reserves, creates and launches in one ACCEPT.
func launchOnVolume(s *sched, host, id string, portNumber int) {
	s.t.Helper()
	o := s.offer(host, nil)
	all := []any{scalar("cpus", 1, true), scalar("mem", 256, true), scalar("disk", 512, true), port(portNumber)}
	s.accept(o,
		map[string]any{"type": "RESERVE", "reserve": map[string]any{"resources": all}},
		map[string]any{"type": "CREATE", "create": map[string]any{"volumes": []any{volume("vol-"+id, 512)}}},
		launchOf(s, o, id, scalar("cpus", 1, true), scalar("mem", 256, true), port(portNumber), volume("vol-"+id, 512)))
}

func TestReserveCreateLaunchKill(t *testing.T) {
	m := start(t, nil)
	s := subscribe(t, m.URL(), "", frameworkInfo(true))
	launchOnVolume(s, "agent1.example", "one", 31000)
	s.status("one", "TASK_STARTING")
	running := s.status("one", "TASK_RUNNING")
	if running["container_status"] == nil || str(running, "executor_id", "value") != "exec-one" {
		t.Errorf("the agent did not fill in the status: %v", running)
	}
	links, _ := filepath.Glob(filepath.Join(m.AgentDir("agent1"), "slaves", "*", "frameworks", "*", "executors", "exec-one", "runs", "*", "data"))
	if len(links) != 1 {
		t.Fatalf("volume links in sandboxes: %v", links)
	}
	if target, _ := os.Readlink(links[0]); target != filepath.Join(m.AgentDir("agent1"), "volumes/roles/demo/vol-one") {
		t.Errorf("the volume links to %s", target)
	}
	s.call(map[string]any{"type": "KILL", "kill": map[string]any{"task_id": value("one")}})
	s.status("one", "TASK_KILLED")
}

func TestAgentKilledAndReturned(t *testing.T) {
	m := start(t, nil)
	s := subscribe(t, m.URL(), "", frameworkInfo(true))
	launchOnVolume(s, "agent1.example", "one", 31000)
	pid := fmt.Sprint(at(s.status("one", "TASK_RUNNING"), "container_status", "executor_pid"))
	if err := m.KillAgent("agent1"); err != nil {
		t.Fatal(err)
	}
	s.status("one", "TASK_UNREACHABLE")
	if err := m.StartAgent("agent1"); err != nil {
		t.Fatal(err)
	}
	back := s.status("one", "TASK_RUNNING")
	if now := fmt.Sprint(at(back, "container_status", "executor_pid")); now != pid || back["reason"] != "REASON_AGENT_REREGISTERED" {
		t.Errorf("the task came back as %v, its executor was %s", back, pid)
	}
	s.call(map[string]any{"type": "KILL", "kill": map[string]any{"task_id": value("one")}})
	s.status("one", "TASK_KILLED")
}

func TestWholeRestartKeepsFrameworkReservationsAndExecutors(t *testing.T) {
	m := start(t, nil)
	s := subscribe(t, m.URL(), "", frameworkInfo(true))
	launchOnVolume(s, "agent1.example", "one", 31000)
	s.status("one", "TASK_RUNNING")
	if err := m.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	again := startWith(t, m.cfg)
	if again.URL() != m.URL() {
		t.Errorf("the master moved from %s to %s", m.URL(), again.URL())
	}
	s2 := subscribe(t, again.URL(), s.id, frameworkInfo(true))
	if s2.id != s.id {
		t.Fatalf("framework id %s became %s", s.id, s2.id)
	}
	deadline := time.Now().Add(10 * time.Second)
	s2.offer("agent1.example", func(o map[string]any) bool {
		return strings.Contains(fmt.Sprint(o), "exec-one") || time.Now().After(deadline)
	})
	s2.call(map[string]any{"type": "RECONCILE", "reconcile": map[string]any{"tasks": []any{}}})
	s2.status("one", "TASK_RUNNING")
	s2.call(map[string]any{"type": "KILL", "kill": map[string]any{"task_id": value("one")}})
	s2.status("one", "TASK_KILLED")
}
