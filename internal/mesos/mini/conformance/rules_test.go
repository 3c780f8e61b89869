package conformance

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/mesos-conformance.md")

// rule is one rule of the recordings' index, and what compares it here.
type rule struct {
	text     string
	recorded string
	checks   []string // names of replays, or of functions in checks_test.go
	// scaled and the like: a remark that takes nothing from the rule.
	remark string
	// lacks says what of the rule is not built or not compared; the verdict is
	// then "in part".
	lacks string
}

// rules are in the order of their numbers.
var rules = []rule{
	{"SUBSCRIBE: headers, one RecordIO record to a chunk", "01, 02", []string{"01-subscribe", "raw bytes"}, "", ""},
	{"SUBSCRIBED, HEARTBEAT, OFFERS; a heartbeat each interval", "01", []string{"01-subscribe", "heartbeats"}, "", ""},
	{"other calls 202, UPDATE_FRAMEWORK 200", "01-25, 41", []string{"12-launch", "41-update-framework"}, "", ""},
	{"an event may precede its call's response", "15, 18, 19", []string{"18-invalid-launches", "19-invalid-operations"}, "", "that they come in either order is allowed, and not forced"},
	{"ends by the zero-length chunk, or bare EOF when killed", "02, 22, 25, 32", []string{"22-failover", "32-teardown", "stays open", "master killed"}, "", ""},
	{"JSON: order, unset, base64, numbers, unknown names", "20, 21, 19", []string{"05-volume", "20-scheduler-http", "21-subscribe-errors",
		"33-operator-reads", "operator fields"}, "", "of 33 health, master and operations are compared whole, agents, executors, tasks and " +
		"frameworks by their fields; offer_constraints and AgentInfo.checkpoint are unknown to mesos-go, GET_ROLES is not compared; all in JSON"},
	{"refusals of requests: status, headers and text", "20, 42", []string{"20-scheduler-http", "42-executor-http", "35-operator-errors"}, "", ""},
	{"refused FrameworkInfo: 200 and an ERROR event", "21, 24, 32, 41", []string{"21-subscribe-errors", "24-expired", "32-teardown", "41-update-framework"}, "", ""},
	{"a master that does not lead: 307, or 503", "47", []string{"47-redirect", "not recovered"}, "", "one machine has one master, which always leads; the answers are given on demand (Standby)"},
	{"keep-alive, chunked requests, unknown paths", "46", []string{"unknown path", "pipelining", "20-scheduler-http"}, "", "a call down the streaming connection waits until the stream ends, where the real one carries it out; HEAD has no body; HTTP/1.0 is not compared"},
	{"OFFERS: fields, several to an event, executor_ids", "16, 28, 40", []string{"01-subscribe", "05-volume", "28-maintenance"}, "", ""},
	{"resources in any order, by reservation and volume", "05, 06", []string{"05-volume"}, "", ""},
	{"format for frameworks without capabilities", "40, 18", []string{"18-invalid-launches", "40-old-style", "old format"}, "", ""},
	{"filters, REVIVE, SUPPRESS", "03, 04, 48", []string{"03-decline", "04-suppress", "48-accept-filter"}, "times scaled", ""},
	{"RESCIND; offers that die; use of a dead offer", "18, 22, 26, 28, 39", []string{"39-offer-timeout", "22-failover", "26-agent-killed", "28-maintenance", "41-update-framework", "37-gone"}, "", ""},
	{"operations without an id are silent, with one they report", "09, 19", []string{"05-volume", "19-invalid-operations"}, "", ""},
	{"operation uuid: object out, string in; repeated", "09", []string{"05-volume"}, "times scaled", ""},
	{"operations in order, bad ones left out", "19", []string{"19-invalid-operations"}, "", ""},
	{"principals and roles of reservations; DESTROY in use", "06, 07, 19", []string{"05-volume", "19-invalid-operations"}, "", ""},
	{"reservations outlive TEARDOWN; operator 202 or 409", "10", []string{"05-volume"}, "", ""},
	{"volumes are links to work_dir/volumes/roles", "07, 11", []string{"volume link"}, "", ""},
	{"who makes an update decides whether it has a uuid", "14, 18, 26", []string{"12-launch", "18-invalid-launches", "26-agent-killed"}, "", ""},
	{"one update out per task, repeated with its uuid", "12", []string{"12-launch"}, "times scaled", ""},
	{"sent again at failover, twice at re-registration", "22, 23, 29, 31", []string{"22-failover", "29-agent-restart", "31-executor-dies"}, "", ""},
	{"ACKNOWLEDGED comes from the agent", "08", []string{"05-volume"}, "the milliseconds are not compared", ""},
	{"what the agent adds to a status", "07, 08", []string{"05-volume", "12-launch"}, "", ""},
	{"FAILURE before TASK_FAILED; raw wait status", "07, 16, 44", []string{"12-launch", "44-early"}, "", "no command tasks and no default executor (17, 45): they are refused with TASK_ERROR"},
	{"KILL and RECONCILE of unknown tasks", "14, 15, 40", []string{"12-launch", "26-agent-killed", "40-old-style"}, "", ""},
	{"launch refusals, each task alone", "18", []string{"18-invalid-launches"}, "", "the dump of two ExecutorInfos in one message is spelled otherwise"},
	{"KILL leaves the process to the executor", "07", []string{"05-volume"}, "", ""},
	{"environment of an executor", "11", []string{"environment"}, "names, and the values that are no ids or paths", ""},
	{"executor SUBSCRIBE, SUBSCRIBED, LAUNCH", "08", []string{"05-volume", "executor heartbeat"}, "the heartbeat's interval is from the source", ""},
	{"a second SUBSCRIBE takes over", "42", []string{"42-executor-http"}, "", ""},
	{"nothing reaches an executor that is not connected", "43", []string{"43-executor-lost"}, "", ""},
	{"agent restart: what is carried and acknowledged", "29, 30", []string{"29-agent-restart"}, "times scaled", ""},
	{"UPDATE of an executor: uuid, source, state, ids", "42", []string{"42-executor-http"}, "", ""},
}

// losses are the lines of the table of loss and time.
var losses = []rule{
	{"agent SIGKILL: RESCIND, TASK_UNREACHABLE or TASK_LOST, FAILURE; and its return", "26, 27", []string{"26-agent-killed"}, "times scaled", ""},
	{"MARK_AGENT_GONE", "37", []string{"37-gone"}, "", ""},
	{"failover_timeout runs out", "24", []string{"24-expired"}, "times scaled", ""},
	{"executor never subscribes", "44", []string{"44-early"}, "times scaled", ""},
	{"agent SIGUSR1: TASK_LOST, FAILURE; and its return", "38", []string{"38-agent-leaves"}, "times scaled", ""},
	{"maintenance: RESCIND, INVERSE_OFFERS, unavailability; START_MAINTENANCE", "28", []string{"28-maintenance"}, "times scaled", ""},
	{"master killed, with and without ZooKeeper", "25, 47", []string{"master killed"}, "", "agents are back at once, being in the same process; no ZooKeeper election"},
}

// document writes docs/mesos-conformance.md from what passed.
func document(passed map[string]bool) string {
	var b strings.Builder
	b.WriteString(`# The single-machine Mesos against Apache Mesos

` + "`internal/mesos/mini`" + ` is compared with recordings of Apache Mesos 1.12: the test in
` + "`internal/mesos/mini/conformance`" + ` sends what was sent then, and compares what comes back. This file is written by
` + "`go test ./internal/mesos/mini/conformance -update`" + ` and held by the same test,
which also fails when something named under "by" does.

What "whole" means: of a response the status, all headers but Date, Content-Length and Connection, and the body; of an event all its
fields, their order, values and the spelling of numbers. Not compared, anywhere:

- ids, times, addresses and process ids, beyond that the same one stands wherever it stood; how long something took: times are a
  twentieth of Mesos' and less;
- the order of resources and offers in a list, of events of different kinds or tasks, and of what an executor is told; offers and
  heartbeats that a recording leaves out may come;
- what executors send, and what their agent answers: a real one plays their part, with requests of its own (but for 42);
- protobuf: the recordings are in JSON, and cotton speaks protobuf.

A recording is "as recorded" where all of its exchanges are compared, and pass; "as far as compared" where the part named passes and the
column beside says what is left; "no" where nothing is.

## By recording

`)
	b.WriteString(recordingTable(passed))
	b.WriteString(`
## By rule

The rules are those that the recordings taught. One "holds" as far as the recordings beside it show it and are compared, see above.

| rule | | recorded in | compared by | mini |
| --- | --- | --- | --- | --- |
`)
	row := func(name string, r rule) {
		verdict := "holds"
		for _, c := range r.checks {
			if !passed[c] {
				verdict = "**differs**: " + c
			}
		}
		if len(r.checks) == 0 {
			verdict = "no"
		}
		if r.lacks != "" {
			verdict = strings.Replace(verdict, "holds", "in part", 1) + ": " + r.lacks
		}
		if r.remark != "" {
			verdict += "; " + r.remark
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", name, r.text, r.recorded, strings.Join(r.checks, ", "), verdict)
	}
	for i, r := range rules {
		row(fmt.Sprint(i+1), r)
	}
	for _, r := range losses {
		row("time", r)
	}
	return b.String()
}

func holdDocument(t *testing.T, passed map[string]bool) {
	if len(rules) != 36 {
		t.Fatalf("%d rules of 36", len(rules))
	}
	if len(recordings) != 49 {
		t.Fatalf("%d recordings of 49", len(recordings))
	}
	named := map[string]string{}
	for _, r := range append(append([]rule(nil), rules...), losses...) {
		for _, c := range r.checks {
			named[c] = "rule " + r.text
		}
	}
	for i, r := range append(append([]recording(nil), recordings...), unrecorded...) {
		if i < len(recordings) && r.number != fmt.Sprintf("%02d", i+1) {
			t.Errorf("recording %s stands where %02d should", r.number, i+1)
		}
		for _, c := range r.checks {
			named[c] = "recording " + r.number
		}
	}
	for c, by := range named {
		if _, ran := passed[c]; !ran {
			t.Errorf("nothing is called %q, which %s names", c, by)
		}
	}
	for c := range passed {
		if named[c] == "" {
			t.Errorf("the page does not say what %q compares", c)
		}
	}
	text := document(passed)
	t.Log("\n" + text)
	path := filepath.Join("..", "..", "..", "..", "docs", "mesos-conformance.md")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(kept) != text {
		t.Errorf("%s does not say what this run found; look at it and write it with -update", path)
	}
}
