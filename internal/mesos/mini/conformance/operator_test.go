package conformance

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	masterapi "github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/aosc/aosc/internal/mesos/mini/wire"
)

// answersOf are the JSON values of a file in testdata, by their types, in order.
func answersOf(t *testing.T, name string) []any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var out []any
	for _, l := range strings.Split(strings.TrimSpace(string(data)), "\n")[1:] {
		v, err := parse(l)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// sameFields compares which fields two values have, by path.
func sameFields(t *testing.T, what string, recorded, ours any, notOurs ...string) {
	t.Helper()
	want, have := map[string]bool{}, map[string]bool{}
	fieldsOf(recorded, "", want)
	fieldsOf(ours, "", have)
	for _, path := range notOurs {
		delete(want, path)
		delete(have, path)
	}
	for path := range want {
		if !have[path] {
			t.Errorf("%s: %s was recorded and ours has none: %s", what, path, spell(ours))
		}
	}
	for path := range have {
		if !want[path] {
			t.Errorf("%s: ours has %s, which was not recorded", what, path)
		}
	}
}

// operatorStream is recording 36: what an operator's stream says, in that order, of a framework that comes, launches a task and goes,
// and of an agent that goes and comes.
func operatorStream(t *testing.T) {
	p := fresh(t, nil)
	recorded := map[string][]any{}
	var order []string
	for _, e := range answersOf(t, "36-operator-stream.txt") {
		kind := text(e, "type")
		recorded[kind] = append(recorded[kind], e)
		if kind != "TASK_UPDATED" && kind != "HEARTBEAT" {
			order = append(order, kind)
		}
	}
	if err := p.send(line{verb: "send", args: []string{"OPERATOR", http.MethodPost, "/api/v1", "stream"},
		body: `{"type":"SUBSCRIBE"}`}); err != nil {
		t.Fatal(err)
	}
	resp := p.waiting["OPERATOR"]
	headers := []string{"Transfer-Encoding: chunked", "Content-Type: application/json"}
	if err := p.compareHeaders(headers, resp); err != nil {
		t.Error(err)
	}
	s := p.streams["OPERATOR"]
	var came []string
	next := func(kind string) any {
		t.Helper()
		e, err := s.next(kind)
		if err != nil {
			t.Fatal(err)
		}
		came = append(came, kind)
		return e
	}
	first := next("SUBSCRIBED")
	parts, _ := walk(recorded["SUBSCRIBED"][0], "subscribed", "get_state").(object)
	ours, _ := walk(first, "subscribed", "get_state").(object)
	if names(parts) != names(ours) {
		t.Errorf("SUBSCRIBED has %s, recorded %s", names(ours), names(parts))
	}
	for _, part := range parts {
		var keys []string
		for _, k := range part.value.([]any) {
			keys = append(keys, k.(string))
		}
		if got := names(ours.get(part.name).(object)); got != strings.Join(keys, " ") {
			t.Errorf("%s has %s, recorded %v", part.name, got, keys)
		}
	}
	if walk(first, "subscribed", "heartbeat_interval_seconds") == nil {
		t.Error("SUBSCRIBED has no heartbeat_interval_seconds")
	}
	if _, err := s.next("HEARTBEAT"); err != nil {
		t.Error(err)
	}
	info := `"user":"root","name":"fw-seen","failover_timeout":0.0,"checkpoint":true,"roles":["demo"],"hostname":"scheduler.example",` +
		`"principal":"demo-principal","capabilities":[{"type":"MULTI_ROLE"},{"type":"RESERVATION_REFINEMENT"},{"type":"PARTITION_AWARE"}]`
	if err := p.doSubscribe("-", "F0", info); err != nil {
		t.Fatal(err)
	}
	sameFields(t, "FRAMEWORK_ADDED", recorded["FRAMEWORK_ADDED"][0], next("FRAMEWORK_ADDED"))
	if err := p.doLaunch([]string{"-", "seen1", "exec-seen", "agent2.example"}); err != nil {
		t.Fatal(err)
	}
	sameFields(t, "TASK_ADDED", recorded["TASK_ADDED"][0], next("TASK_ADDED"))
	for i, state := range []string{"TASK_STARTING", "TASK_RUNNING"} {
		e, err := s.next("TASK_UPDATED")
		if err != nil {
			t.Fatal(err)
		}
		if got := text(e, "task_updated", "status", "state"); got != state {
			t.Errorf("%s came where %s was recorded", got, state)
		}
		sameFields(t, "TASK_UPDATED "+state, recorded["TASK_UPDATED"][i], e)
	}
	if err := p.call("-", `"type":"TEARDOWN"`); err != nil {
		t.Fatal(err)
	}
	sameFields(t, "FRAMEWORK_REMOVED", recorded["FRAMEWORK_REMOVED"][0], next("FRAMEWORK_REMOVED"))
	if err := p.mini.UnregisterAgent("agent2.example"); err != nil {
		t.Fatal(err)
	}
	sameFields(t, "AGENT_REMOVED", recorded["AGENT_REMOVED"][0], next("AGENT_REMOVED"))
	if err := poll(func() bool { return p.mini.AgentURL("agent2.example") == "" }); err != nil {
		t.Fatal(err)
	}
	if err := p.mini.StartAgent("agent2.example"); err != nil {
		t.Fatal(err)
	}
	sameFields(t, "AGENT_ADDED", recorded["AGENT_ADDED"][0], next("AGENT_ADDED"))
	if got, want := strings.Join(came, " "), strings.Join(order, " "); got != want {
		t.Errorf("the events came as %s, recorded %s", got, want)
	}
}

// state holds GET_STATE against its parts: they have the names and the order of recording 34, and each is what the call for it alone
// answers.
func state(t *testing.T) {
	p := fresh(t, nil)
	p.playScript("33-history", 0)
	parts := map[string]string{"get_tasks": "GET_TASKS", "get_executors": "GET_EXECUTORS", "get_frameworks": "GET_FRAMEWORKS",
		"get_agents": "GET_AGENTS"}
	var last error
	err := poll(func() bool { // offers come and go between two calls
		answer, err := p.operator(`{"type":"GET_STATE"}`)
		if err != nil {
			last = err
			return false
		}
		whole, _ := walk(answer, "get_state").(object)
		if got, want := names(whole), "get_tasks get_executors get_frameworks get_agents"; got != want {
			last = fmt.Errorf("GET_STATE has %s, recorded %s", got, want)
			return false
		}
		last = nil
		for _, part := range whole {
			alone, err := p.operator(`{"type":"` + parts[part.name] + `"}`)
			if err != nil {
				last = err
				return false
			}
			if got, want := spell(part.value), spell(walk(alone, part.name)); got != want {
				last = fmt.Errorf("%s in GET_STATE is %s, alone %s", part.name, got, want)
			}
		}
		return last == nil
	})
	if err != nil {
		t.Error(last)
	}
}

// agentAPI compares which fields the answers of an agent have (recording 49), and what a file's data are.
func agentAPI(t *testing.T) {
	p := fresh(t, nil)
	if err := p.doSubscribe("-", "F0", fmt.Sprintf(demo, true)); err != nil {
		t.Fatal(err)
	}
	if err := p.doLaunch([]string{"-", "ag1", "exec-ag", "agent1.example"}); err != nil {
		t.Fatal(err)
	}
	sandboxes, err := filepath.Glob(filepath.Join(p.mini.AgentDir("agent1.example"), "slaves/*/frameworks/*/executors/exec-ag/runs/*"))
	if err != nil || len(sandboxes) != 1 {
		t.Fatalf("%v, %v", sandboxes, err)
	}
	file := filepath.Join(sandboxes[0], "two-lines")
	if err := os.WriteFile(file, []byte("line one\nline two\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	calls := map[string]string{
		"GET_HEALTH": `{"type":"GET_HEALTH"}`,
		"LIST_FILES": fmt.Sprintf(`{"type":"LIST_FILES","list_files":{"path":%q}}`, sandboxes[0]),
		"READ_FILE":  fmt.Sprintf(`{"type":"READ_FILE","read_file":{"path":%q,"offset":0,"length":100}}`, file),
	}
	for _, recorded := range answersOf(t, "49-agent.txt") {
		kind := text(recorded, "type")
		resp, err := p.client.Post(p.mini.AgentURL("agent1.example")+"/api/v1", "application/json", strings.NewReader(calls[kind]))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s %v", kind, resp.Status, body, err)
		}
		ours, err := parse(string(body))
		if err != nil {
			t.Fatal(err)
		}
		sameFields(t, kind, recorded, ours)
		if kind == "READ_FILE" && spell(recorded) != spell(ours) {
			t.Errorf("the same file is %s, recorded %s", spell(ours), spell(recorded))
		}
		if list, _ := walk(ours, "list_files", "file_infos").([]any); kind == "LIST_FILES" {
			for _, f := range list {
				if filepath.Base(text(f, "path")) == "two-lines" && plain(walk(f, "mode")) != "33188" {
					t.Errorf("a file of mode 0644 is %s", spell(f))
				}
			}
		}
	}
}

// bothEncodings: the answer in protobuf is the message whose JSON is the answer in JSON. No recording is in protobuf.
func bothEncodings(t *testing.T) {
	p := fresh(t, nil)
	p.playScript("33-history", 0)
	ask := func(accept string) []byte {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, p.mini.URL()+"/api/v1", strings.NewReader(`{"type":"GET_STATE"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", accept)
		resp, err := p.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != accept {
			t.Fatalf("%s: %s %v %v", accept, resp.Status, resp.Header, err)
		}
		return body
	}
	var asJSON, asProto []byte
	err := poll(func() bool { // the state is another between two calls
		asJSON = ask("application/json")
		message := new(masterapi.Response)
		if err := message.Unmarshal(ask("application/x-protobuf")); err != nil {
			t.Fatalf("the answer in protobuf: %v", err)
		}
		var err error
		if asProto, err = wire.Marshal(wire.JSON, message); err != nil {
			t.Fatal(err)
		}
		return bytes.Equal(asJSON, asProto)
	})
	if err != nil {
		t.Errorf("in JSON %s\nin protobuf %s", asJSON, asProto)
	}
}
