package conformance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mesos/mini"
)

// checks are what the excerpts cannot show: bytes, times, files and processes.
var checks = map[string]func(*testing.T){
	"raw bytes":          rawBytes,
	"heartbeats":         heartbeats,
	"master killed":      masterKilled,
	"not recovered":      notRecovered,
	"unknown path":       unknownPath,
	"old format":         oldFormat,
	"volume link":        volumeLink,
	"environment":        environment,
	"operator fields":    operatorFields,
	"pipelining":         pipelining,
	"stays open":         staysOpen,
	"executor heartbeat": executorHeartbeat,
	"operator stream":    operatorStream,
	"state":              state,
	"agent api":          agentAPI,
	"both encodings":     bothEncodings,
}

const demo = `"user":"root","name":"demo","failover_timeout":600.0,"checkpoint":%t,"principal":"demo-principal","roles":["demo"],"capabilities":[{"type":"MULTI_ROLE"},{"type":"RESERVATION_REFINEMENT"},{"type":"PARTITION_AWARE"}]`

// fresh is a player with a Mini of its own and no excerpt.
func fresh(t *testing.T, change func(*mini.Config)) *player {
	p := newPlayer(t, change)
	p.awaitAgents()
	return p
}

// rawBytes reads a subscription as it is on the wire (recording 02).
func rawBytes(t *testing.T) {
	p := fresh(t, nil)
	conn, addr := p.dial()
	body := `{"type":"SUBSCRIBE","subscribe":{"framework_info":{` + fmt.Sprintf(demo, true) + `}}}`
	io.WriteString(conn, post(addr, "/api/v1/scheduler", body))
	r := bufio.NewReader(conn)
	var head []string
	for {
		l, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if l == "\r\n" {
			break
		}
		name, _, _ := strings.Cut(l, ":")
		head = append(head, strings.TrimSpace(name))
	}
	sort.Strings(head)
	if got, want := strings.Join(head, " "), "Content-Type Date HTTP/1.1 200 OK Mesos-Stream-Id Transfer-Encoding"; got != want {
		t.Errorf("head is %q, recorded %q", got, want)
	}
	for _, want := range []string{`^\d+\n\{"type":"SUBSCRIBED",.*\}$`, `^20\n\{"type":"HEARTBEAT"\}$`, `^\d+\n\{"type":"OFFERS",.*\}$`} {
		var n int
		if _, err := fmt.Fscanf(r, "%x\r\n", &n); err != nil {
			t.Fatal(err)
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(r, chunk); err != nil {
			t.Fatal(err)
		}
		record := string(chunk[:n])
		if !regexp.MustCompile(want).MatchString(record) {
			t.Errorf("chunk %q, recorded %s", record, want)
		}
		length, message, _ := strings.Cut(record, "\n")
		if length != fmt.Sprint(len(message)) {
			t.Errorf("a record says %s and has %d bytes", length, len(message))
		}
	}
}

// dial is a bare connection to the master, with its address.
func (p *player) dial() (net.Conn, string) {
	p.t.Helper()
	addr := strings.TrimPrefix(p.mini.URL(), "http://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	return conn, addr
}

// post is a request as it stands on the wire.
func post(addr, path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAccept: application/json\r\nContent-Length: %d\r\n\r\n%s", path, addr, len(body), body)
}

// heartbeats counts them: one at once, and one at each interval.
func heartbeats(t *testing.T) {
	p := fresh(t, func(c *mini.Config) { c.HeartbeatInterval = 100 * time.Millisecond })
	if err := p.doSubscribe("-", "F0", fmt.Sprintf(demo, true)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 6 {
		if _, err := p.streams["-"].next("HEARTBEAT"); err != nil {
			t.Fatal(err)
		}
	}
	// The first comes at once, so six take five intervals; five of the usual 15 s would take more than a minute.
	if took := time.Since(began); took < 450*time.Millisecond || took > time.Minute {
		t.Errorf("six heartbeats of 0.1 s took %s", took)
	}
}

// masterKilled: the stream breaks off, and the id is good for the next master.
func masterKilled(t *testing.T) {
	p := fresh(t, nil)
	if err := p.doSubscribe("-", "F0", fmt.Sprintf(demo, true)); err != nil {
		t.Fatal(err)
	}
	if err := p.mini.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := p.expectEnd("-", "cut"); err != nil {
		t.Fatal(err)
	}
	again, err := mini.Start(context.Background(), p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.mini = again
	id := p.known["{{F0}}"]
	l := line{verb: "send", args: []string{"-", http.MethodPost, "/api/v1/scheduler", "stream"},
		body: fmt.Sprintf(`{"type":"SUBSCRIBE","framework_id":{"value":%q},"subscribe":{"framework_info":{"id":{"value":%q},%s}}}`, id, id, fmt.Sprintf(demo, true))}
	if err := p.send(l); err != nil {
		t.Fatal(err)
	}
	e, err := p.streams["-"].next("SUBSCRIBED")
	if err != nil {
		t.Fatal(err)
	}
	if got := text(e, "subscribed", "framework_id", "value"); got != id {
		t.Errorf("framework %s came back as %s", id, got)
	}
}

// notRecovered is the 503 of recording 47.
func notRecovered(t *testing.T) {
	p := fresh(t, nil)
	p.mini.Standby("")
	resp, err := p.client.Post(p.mini.URL()+"/api/v1", "application/json", strings.NewReader(`{"type":"GET_MASTER"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || string(body) != "Master has not finished recovery" {
		t.Errorf("%s %q %v", resp.Status, body, err)
	}
}

// unknownPath is 404 outside /api/v1 (recording 46).
func unknownPath(t *testing.T) {
	p := fresh(t, nil)
	resp, err := p.client.Get(p.mini.URL() + "/no/such/path")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown path gives %s", resp.Status)
	}
	// A chunked request body is taken.
	pipe, write := io.Pipe()
	go func() {
		_, err := io.WriteString(write, `{"type":"GET_HEALTH"}`)
		write.CloseWithError(err)
	}()
	resp2, err := p.client.Post(p.mini.URL()+"/api/v1", "application/json", pipe)
	if err != nil {
		t.Fatal(err)
	}
	defer resp2.Body.Close()
	if resp2.StatusCode != http.StatusOK {
		t.Errorf("a chunked request gives %s", resp2.Status)
	}
}

// oldFormat is how a framework without capabilities sees resources
// (recording 40).
func oldFormat(t *testing.T) {
	p := fresh(t, nil)
	if err := p.doSubscribe("-", "F0", `"user":"root","name":"old","failover_timeout":600.0,"role":"legacy"`); err != nil {
		t.Fatal(err)
	}
	e, err := p.streams["-"].next("OFFERS")
	if err != nil {
		t.Fatal(err)
	}
	offer := walk(e, "offers", "offers", 0)
	if walk(offer, "allocation_info") != nil {
		t.Error("the offer has allocation_info")
	}
	list, _ := walk(offer, "resources").([]any)
	for _, r := range list {
		if text(r, "role") != "*" || walk(r, "allocation_info") != nil || walk(r, "reservations") != nil {
			t.Errorf("a resource is %s", spell(r))
		}
	}
	if len(list) == 0 {
		t.Error("the offer has no resources")
	}
}

// volumeLink follows the link in a sandbox (rule 21).
func volumeLink(t *testing.T) {
	p := fresh(t, nil)
	p.playScript("05-volume", 29) // until the task on the volume runs
	links, err := filepath.Glob(filepath.Join(p.mini.AgentDir("agent1.example"), "slaves/*/frameworks/*/executors/exec-vol/runs/*/data"))
	if err != nil || len(links) != 1 {
		t.Fatalf("links %v, %v", links, err)
	}
	target, err := os.Readlink(links[0])
	if want := filepath.Join(p.mini.AgentDir("agent1.example"), "volumes/roles/demo/vol-1"); err != nil || target != want {
		t.Errorf("the volume links to %s (%v), not %s", target, err, want)
	}
}

// environment compares the names of all variables that an executor finds, and the values of those that are not ids (recording 11).
func environment(t *testing.T) {
	p := fresh(t, nil)
	for name, checkpoint := range map[string]bool{"yes": true, "no": false} {
		if err := p.doSubscribe(name, "F"+name, fmt.Sprintf(demo, checkpoint)); err != nil {
			t.Fatal(err)
		}
		if err := p.doLaunch([]string{name, name, "exec-" + name, "agent1.example"}); err != nil {
			t.Fatal(err)
		}
		pid, err := p.executorPID(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			t.Fatal(err)
		}
		want := "DEMO_VAR LIBPROCESS_IP LIBPROCESS_PORT MESOS_AGENT_ENDPOINT MESOS_CHECKPOINT MESOS_DIRECTORY MESOS_EXECUTOR_ID MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD MESOS_FRAMEWORK_ID MESOS_HTTP_COMMAND_EXECUTOR"
		values := []string{"LIBPROCESS_IP=127.0.0.1", "LIBPROCESS_PORT=0", "MESOS_CHECKPOINT=0", "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs",
			"MESOS_HTTP_COMMAND_EXECUTOR=0", "MESOS_AGENT_ENDPOINT=" + p.known["{{at5051}}"],
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEMO_VAR=demo", "MESOS_EXECUTOR_ID=exec-" + name,
			"MESOS_FRAMEWORK_ID=" + p.known["{{F"+name+"}}"], "MESOS_SLAVE_PID=slave(1)@" + p.known["{{at5051}}"]}
		if checkpoint {
			want += " MESOS_RECOVERY_TIMEOUT"
			values[2] = "MESOS_CHECKPOINT=1"
			values = append(values, "MESOS_RECOVERY_TIMEOUT=15mins", "MESOS_SUBSCRIPTION_BACKOFF_MAX=2secs")
		}
		want += " MESOS_SANDBOX MESOS_SLAVE_ID MESOS_SLAVE_PID"
		if checkpoint {
			want += " MESOS_SUBSCRIPTION_BACKOFF_MAX"
		}
		want += " PATH"
		compareEnvironment(t, string(data), want, values)
		if err := p.call(name, `"type":"TEARDOWN"`); err != nil {
			t.Fatal(err)
		}
	}
}

func compareEnvironment(t *testing.T, environ, want string, values []string) {
	t.Helper()
	var names []string
	for _, v := range strings.Split(strings.TrimRight(environ, "\x00"), "\x00") {
		name, _, _ := strings.Cut(v, "=")
		// What the shell sets by itself, and the switch of our executor.
		if name != "PWD" && name != "OLDPWD" && name != "SHLVL" && name != "_" && !strings.HasPrefix(name, "MINITEST") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	if got := strings.Join(names, " "); got != want {
		t.Errorf("the executor has\n%s\nrecorded\n%s", got, want)
	}
	for _, v := range values {
		if !strings.Contains("\x00"+environ, "\x00"+v+"\x00") {
			t.Errorf("%s is not in the environment", v)
		}
	}
}

// operatorFields compares which fields the operator's reads have (recording 33).
func operatorFields(t *testing.T) {
	p := fresh(t, nil)
	p.playScript("33-history", 0)
	data, err := os.ReadFile("testdata/33-fields.txt")
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]map[string]bool{}
	for _, l := range strings.Split(strings.TrimSpace(string(data)), "\n")[1:] {
		call, path, _ := strings.Cut(l, " ")
		if recorded[call] == nil {
			recorded[call] = map[string]bool{}
		}
		recorded[call][path] = true
	}
	// What the recording's agents had been through, and what mesos-go's messages cannot hold.
	notOurs := map[string]bool{".get_agents.agents.reregistered_time.nanoseconds": true, ".get_frameworks.frameworks.offer_constraints{}": true,
		".get_agents.agents.agent_info.checkpoint": true}
	parts := map[string]string{"GET_AGENTS": ".get_agents", "GET_FRAMEWORKS": ".get_frameworks.frameworks", "GET_EXECUTORS": ".get_executors", "GET_TASKS": ".get_tasks.tasks"}
	for call, part := range parts {
		ours := map[string]bool{}
		err := poll(func() bool { // the offers of the other agent come on their own
			answer, err := p.operator(`{"type":"` + call + `"}`)
			if err != nil {
				t.Error(err)
				return true
			}
			ours = map[string]bool{}
			fieldsOf(answer, "", ours)
			for path := range recorded[call] {
				if !ours[path] && !notOurs[path] {
					return false
				}
			}
			return true
		})
		for path := range recorded[call] {
			if !ours[path] && !notOurs[path] {
				t.Errorf("%s: %s was recorded and ours has none (%v)", call, path, err)
			}
		}
		for path := range ours {
			if strings.HasPrefix(path, part) && !recorded[call][path] {
				t.Errorf("%s: ours has %s, which was not recorded", call, path)
			}
		}
	}
}

// fieldsOf are the fields that hold something, by path; lists are passed through.
func fieldsOf(v any, at string, out map[string]bool) {
	switch v := v.(type) {
	case object:
		if len(v) == 0 {
			out[at+"{}"] = true
		}
		for _, m := range v {
			fieldsOf(m.value, at+"."+m.name, out)
		}
	case []any:
		if len(v) == 0 {
			out[at+"[]"] = true
		}
		for _, e := range v {
			fieldsOf(e, at, out)
		}
	default:
		out[at] = true
	}
}

// pipelining sends two requests at once down one connection (recording 46).
func pipelining(t *testing.T) {
	p := fresh(t, nil)
	conn, addr := p.dial()
	both := ""
	for _, call := range []string{"GET_HEALTH", "GET_VERSION"} {
		both += post(addr, "/api/v1", fmt.Sprintf(`{"type":%q}`, call))
	}
	if _, err := io.WriteString(conn, both); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for _, want := range []string{"GET_HEALTH", "GET_VERSION"} {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s %s, %v", want, resp.Status, body, err)
		}
	}
}

// executorHeartbeat: none at the start, then one each interval (32; the interval
// is from Mesos' source).
func executorHeartbeat(t *testing.T) {
	p := fresh(t, func(c *mini.Config) { c.ExecutorHeartbeatInterval = 50 * time.Millisecond })
	if err := p.doSubscribe("-", "F0", fmt.Sprintf(demo, true)); err != nil {
		t.Fatal(err)
	}
	if err := p.doLaunch([]string{"-", "h1", "exec-h", "agent1.example"}); err != nil {
		t.Fatal(err)
	}
	err := poll(func() bool {
		beats := 0
		for _, e := range p.executorEvents() {
			if text(e, "type") == "HEARTBEAT" {
				beats++
			}
		}
		return beats >= 3
	})
	if err != nil {
		t.Errorf("three heartbeats: %v", err)
	}
	if first := p.executorEvents()[0]; text(first, "type") != "SUBSCRIBED" {
		t.Errorf("the executor's first event is %s", spell(first))
	}
}

// staysOpen: the connection of a stream that the master ends serves other
// requests (02, 32).
func staysOpen(t *testing.T) {
	p := fresh(t, nil)
	conn, addr := p.dial()
	r := bufio.NewReader(conn)
	ask := func(path, body string) *http.Response {
		t.Helper()
		io.WriteString(conn, post(addr, path, body))
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	resp := ask("/api/v1/scheduler", `{"type":"SUBSCRIBE","subscribe":{"framework_info":{`+fmt.Sprintf(demo, true)+`}}}`)
	events := make(chan any, 100)
	ended := make(chan error, 1)
	go func() { ended <- records(resp.Body, events) }()
	id := text(<-events, "subscribed", "framework_id", "value")
	if _, err := p.operator(`{"type":"TEARDOWN","teardown":{"framework_id":{"value":"` + id + `"}}}`); err != nil && err.Error() != "EOF" {
		t.Fatal(err)
	}
	if err := <-ended; err != io.EOF {
		t.Fatalf("the stream ended with %v", err)
	}
	if again := ask("/api/v1", `{"type":"GET_HEALTH"}`); again.StatusCode != http.StatusOK {
		t.Errorf("the next request on the connection gives %s", again.Status)
	}
}
