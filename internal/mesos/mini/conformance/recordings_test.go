package conformance

import (
	"fmt"
	"strings"
)

// recording is one file of the recordings, and what of it is compared by what.
type recording struct {
	number string
	about  string
	// compared says exactly what; whole stands for the comparison that the page describes.
	compared string
	checks   []string // names of replays, or of checks
	not      string   // what is in the recording and is not compared; "" = nothing
}

// recordings are all of them, in order. The numbers of requests and events are those of the recording.
var recordings = []recording{
	{"01", "SUBSCRIBE; SUBSCRIBED, HEARTBEAT, OFFERS", "request, response, the first 3 events whole; that six heartbeats take five intervals",
		[]string{"01-subscribe", "heartbeats"}, "the interval of 15 s: it is shortened"},
	{"02", "the same as raw bytes",
		"names of the response's headers; one RecordIO record to a chunk, its length, the types of the first three; that the connection " +
			"serves on after the end", []string{"raw bytes", "stays open"}, "the bytes of the records, values of headers"},
	{"03", "DECLINE with filters", "6 of 6 requests, 4 of 4 events whole", []string{"03-decline"},
		"times: 5 s is shortened, and which of two filters ends first is"},
	{"04", "SUPPRESS, REVIVE", "9 of 9 requests, 2 of 2 events whole", []string{"04-suppress"}, ""},
	{"05", "RESERVE", "2 of 2 requests, 3 of 3 events whole", []string{"05-volume"}, ""},
	{"06", "CREATE", "1 of 1 request, 1 of 1 event whole", []string{"05-volume"}, ""},
	{"07", "LAUNCH on a volume; DESTROY in use; KILL; SHUTDOWN",
		"10 of 10 requests, 10 of 10 events whole; where the sandbox's link to the volume leads", []string{"05-volume", "volume link"}, ""},
	{"08", "the executor's side of 07", "8 of 8 events whole", []string{"05-volume"},
		"the executor's 5 requests and their responses; the order of its events; that ACKNOWLEDGED comes within milliseconds"},
	{"09", "RESERVE, CREATE, LAUNCH in one ACCEPT; operation feedback", "9 of 9 requests, 7 of 8 events whole", []string{"05-volume"},
		"the first of the two answers to RECONCILE_OPERATIONS; times"},
	{"10", "operator DESTROY_VOLUMES, UNRESERVE_RESOURCES after TEARDOWN", "3 of 3 requests whole", []string{"05-volume"}, ""},
	{"11", "an executor's environment",
		"the names of all variables, with and without checkpoint; the values of all but MESOS_DIRECTORY, MESOS_SANDBOX, MESOS_SLAVE_ID, " +
			"PATH among them", []string{"environment"},
		"the process tree (session leader, containerizer), which files are in the sandbox; LC_CTYPE and PWD, which the recorder's shell and " +
			"Python set"},
	{"12", "LAUNCH, unacknowledged updates, ACKNOWLEDGE", "7 of 7 requests, 11 of 11 events whole", []string{"12-launch"},
		"times of the repetitions"},
	{"13", "MESSAGE", "the scheduler's 3 requests, 2 of 2 events whole", []string{"12-launch"}, "the executor's request"},
	{"14", "RECONCILE", "2 of 2 requests, 8 of 8 events whole", []string{"12-launch"}, ""},
	{"15", "KILL", "the scheduler's 7 requests, 9 of 9 events whole", []string{"12-launch"}, "the executor's 2 requests"},
	{"16", "an executor dies with a task", "7 of 7 requests, 6 of 6 events whole", []string{"12-launch"}, ""},
	{"17", "command task: health check, KILL, exits", "nothing", nil, "all: command tasks are refused with TASK_ERROR"},
	{"18", "LAUNCH refused", "16 of 16 requests, 18 of 18 events whole", []string{"18-invalid-launches"},
		"the dump of two ExecutorInfos in one message"},
	{"19", "RESERVE, CREATE, DESTROY, UNRESERVE refused", "18 of 18 requests, 17 of 17 events whole", []string{"19-invalid-operations"}, ""},
	{"20", "scheduler endpoint: malformed requests", "34 of 34 requests whole: status, headers, text", []string{"20-scheduler-http"}, ""},
	{"21", "SUBSCRIBE refused", "24 of 24 requests, 17 of 17 events whole", []string{"21-subscribe-errors"}, ""},
	{"22", "failover by a second connection", "6 of 6 requests, 9 of 9 events whole", []string{"22-failover"}, ""},
	{"23", "failover after a dropped connection", "2 of 2 requests, 3 of 3 events whole", []string{"22-failover"},
		"GET_FRAMEWORKS while the scheduler is away"},
	{"24", "failover_timeout runs out", "1 of 1 request, 2 of 2 events whole", []string{"24-expired"}, "the time"},
	{"25", "master killed and restarted, no ZooKeeper", "that the stream breaks off without the zero-length chunk; that the " +
		"framework's id is taken again", []string{"master killed"},
		"its 5 requests and 4 events: what is answered until the agents are back, which here is at once"},
	{"26", "agent SIGKILL, three kinds of frameworks", "8 of 8 requests, 11 of 11 events whole", []string{"26-agent-killed"},
		"times; GET_AGENTS and GET_TASKS in between"},
	{"27", "the unreachable agent comes back", "the scheduler's 2 requests and 5 events whole, 1 of 5 events of executors",
		[]string{"26-agent-killed"}, "the executors' 6 requests and other events; the 2.9 s"},
	{"28", "maintenance", "7 of 7 requests, 9 of 9 events whole", []string{"28-maintenance"},
		"times. That REVIVE ends filters of inverse offers, and that an agent with nothing on it is asked about only while it is offered, is " +
			"from Mesos' source"},
	{"29", "agent killed and restarted: the scheduler's side", "6 of 6 requests, 10 of 10 events whole", []string{"29-agent-restart"},
		"times"},
	{"30", "the same: the executor's side", "5 of 5 events whole", []string{"29-agent-restart"},
		"the executor's 6 requests, its attempts among them; the executor with MESOS_CHECKPOINT=0, which must exit by itself"},
	{"31", "executor dies while its agent is down", "2 of 2 requests, 4 of 4 events whole", []string{"31-executor-dies"}, "times"},
	{"32", "TEARDOWN", "4 of 4 requests, 2 of 2 events whole", []string{"32-teardown", "stays open"}, ""},
	{"33", "operator reads", "GET_HEALTH, GET_MASTER, GET_OPERATIONS whole; of GET_AGENTS, GET_FRAMEWORKS, GET_EXECUTORS, GET_TASKS which " +
		"fields hold something", []string{"33-operator-reads", "operator fields"},
		"the values of those four; offer_constraints and AgentInfo.checkpoint, which mesos-go does not know; GET_VERSION (its build is not " +
			"ours), GET_ROLES, GET_MAINTENANCE_STATUS (see 28); GET_LOGGING_LEVEL, GET_QUOTA, GET_WEIGHTS are not built (501)"},
	{"34", "GET_STATE; the older GET endpoints", "the names and the order of " +
		"GET_STATE's four parts; each part is, to the letter, what the call for it alone answers (33)", []string{"state"},
		"values; the old endpoints but for /version's and /state's few fields that clients of old look at: /slaves, /frameworks, /tasks, " +
			"/roles, /state-summary, /metrics are not built (404)"},
	{"35", "operator API refusals", "11 of 11 requests whole", []string{"35-operator-errors"}, ""},
	{"36", "operator SUBSCRIBE: the event stream", "the response's headers; the keys of SUBSCRIBED's parts; 8 kinds of events in their " +
		"order, and which fields each has", []string{"operator stream"},
		"values; the third TASK_UPDATED. Apache Mesos has no event for a drained or deactivated agent, nor has the single-machine one"},
	{"37", "MARK_AGENT_GONE", "3 of 4 requests, 7 of 7 events whole", []string{"37-gone"}, "the second MARK_AGENT_GONE of the same agent"},
	{"38", "agent SIGUSR1", "6 of 7 events whole", []string{"38-agent-leaves"},
		"the second OFFERS after its return. That an agent which ends acknowledges nothing is from a run on Apache Mesos"},
	{"39", "--offer_timeout", "2 of 2 requests, 5 of 5 events whole", []string{"39-offer-timeout"}, "the time"},
	{"40", "framework without capabilities", "11 of 11 requests, 19 of 19 events whole", []string{"40-old-style", "old format"}, ""},
	{"41", "UPDATE_FRAMEWORK", "8 of 8 requests, 6 of 6 events whole", []string{"41-update-framework"}, "GET_FRAMEWORKS after it"},
	{"42", "executor endpoint: malformed requests", "22 of 23 requests whole: status, headers, text; 2 of 2 events",
		[]string{"42-executor-http"}, "the first executor's own SUBSCRIBE"},
	{"43", "an executor's connection is lost", "5 of 11 requests, 4 of 9 events whole", []string{"43-executor-lost"},
		"its second half, a framework with checkpoint false: 5 requests, 5 events; the executor's SUBSCRIBE; the times"},
	{"44", "executors that fail early", "7 of 7 requests, 9 of 9 events whole", []string{"44-early"}, "times"},
	{"45", "LAUNCH_GROUP, default executor", "nothing", nil, "all: groups and the default executor are refused with TASK_ERROR"},
	{"46", "HTTP details", "keep-alive with two calls at once (pipelining), a request in chunks, an unknown path",
		[]string{"pipelining", "unknown path"}, "HEAD, OPTIONS, Expect: 100-continue, gzip, HTTP/1.0; a call down the streaming connection " +
			"waits until the stream ends, where the real one carries it out"},
	{"47", "three masters with ZooKeeper", "what a master answers that does not lead: 6 of 11 requests whole; the 503 of one that has not " +
		"recovered", []string{"47-redirect", "not recovered"}, "the election, and what follows it: there is one master, and it answers so on " +
		"demand (Standby)"},
	{"48", "ACCEPT without filters", "7 of 7 requests, 5 of 5 events whole; in which order the offers come back",
		[]string{"48-accept-filter"}, "the times themselves, which the recording is about"},
	{"49", "an agent's operator API, sandbox files",
		"of GET_HEALTH, LIST_FILES, READ_FILE which fields there are; the answer for a file of the recorded text; the mode of a file",
		[]string{"agent api"},
		"GET_AGENT, GET_FRAMEWORKS, GET_EXECUTORS, GET_TASKS, GET_CONTAINERS and virtual paths are not built (501, 404), nor /files/browse " +
			"and /files/read"},
}

// unrecorded is what no recording has.
var unrecorded = []recording{
	{"-", "protobuf, which cotton speaks", "GET_STATE in protobuf is the message whose JSON is the answer in JSON; " +
		"mesos-go's generated code reads it", []string{"both encodings"},
		"bytes of Apache Mesos in protobuf: all recordings are in JSON. What our client does with its events in protobuf is tested against " +
			"the single-machine Mesos (internal/mesos), and was run on Apache Mesos"},
	{"-", "authentication (401, 403)", "nothing", nil, "the recordings have none. The text of the 401 is from a run on Apache Mesos with " +
		"authentication; own tests: TestGuard of mini, TestAuthentication of cotton. Executors' tokens differ: Apache Mesos' are JWTs"},
	{"-", "DRAIN_AGENT, DEACTIVATE_AGENT, REACTIVATE_AGENT", "nothing", nil,
		"the recordings have none. Refusals, states and reasons are from Mesos' source and its own tests, that members are killed and " +
			"relaunched from a run; own tests: TestDrainAgent and others of mini, TestDrainedByMesos of cotton"},
}

// recordingTable is the page's table by recordings.
func recordingTable(passed map[string]bool) string {
	var b strings.Builder
	b.WriteString("| recording | exchange | compared | by | not compared | |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, r := range append(append([]recording(nil), recordings...), unrecorded...) {
		verdict := "as recorded"
		switch {
		case len(r.checks) == 0:
			verdict = "no"
		case r.not != "":
			verdict = "as far as compared"
		}
		for _, c := range r.checks {
			if !passed[c] {
				verdict = "**differs**: " + c
			}
		}
		by, not := strings.Join(r.checks, ", "), r.not
		if by == "" {
			by = "-"
		}
		if not == "" {
			not = "-"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.number, r.about, r.compared, by, not, verdict)
	}
	return b.String()
}
