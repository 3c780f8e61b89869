package framework

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mesos/mini/wire"
)

// The files in testdata/recorded are what a real Apache Mesos 1.12 was sent, and what it answered: what we send must
// look like the one, and what we make of its answers must be right. Their numbers are those of the recordings' index.

type message interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// recorded reads a recording into a message by way of protobuf, as it comes to us. edit changes its text first.
func recorded(t *testing.T, name string, into, again message, edit ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "recorded", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	decode(t, []byte(strings.NewReplacer(edit...).Replace(string(text))), into, again)
}

// decode reads JSON into a message by way of another one and protobuf.
func decode(t *testing.T, text []byte, into, again message) {
	t.Helper()
	if err := wire.Unmarshal(wire.JSON, text, again); err != nil {
		t.Fatal(err)
	}
	data, err := again.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := into.Unmarshal(data); err != nil {
		t.Fatal(err)
	}
}

// recordedMaker is ours for the role and principal of the recordings.
var recordedMaker = maker{role: "demo", principal: "demo-principal", frameworkID: "fw"}

// ourLabels gives the recordings' reservations the labels of ours.
var ourLabels = []string{
	`"labels":{"labels":[{"key":"cluster","value":"c1"}]}`,
	`"labels":{"labels":[{"key":"resource_id","value":"r1"},{"key":"framework_id","value":"fw"},{"key":"cluster","value":"c1"},{"key":"member","value":"1"}]}`,
	`"container_path":"data"`, `"container_path":"` + cotton.VolumePath + `"`,
}

// TestRecordedAccept compares the fields of our ACCEPT with the recorded one that did the same: RESERVE, CREATE and LAUNCH
// in one (recording 09). What we have beyond it, or leave out, is listed here with why.
func TestRecordedAccept(t *testing.T) {
	f := &Framework{cfg: Config{KillGrace: time.Minute, AdminKeyfile: "/etc/key", Executor: Command{Value: "exec ./cotton executor",
		URIs: []string{"https://repo.internal/cotton"}, Env: map[string]string{"A": "b"}}}, maker: recordedMaker}
	m := cotton.Member{ID: 1, TaskID: "c1-1-1", AgentID: "S0", Host: "agent1.example", Port: 31000}
	r := cotton.Record{Spec: cotton.Spec{Name: "c1", Nodes: 1, Size: cotton.Size{CPUs: 1, MemMB: 256, DiskMB: 512}}, Members: []cotton.Member{m}}
	a := cotton.Assignment{AgentID: "S0", Cluster: "c1", Member: 1, ResourceID: "r1", VolumeID: "v1", VolumeMB: 512, Port: 31000,
		Use: cotton.Amounts{"cpus": 1, "mem": 256}, Reserve: cotton.Amounts{"cpus": 1, "mem": 256, "disk": 512}, ReservePort: true, CreateVolume: true}
	task, err := f.taskInfo(r, m, a)
	if err != nil {
		t.Fatal(err)
	}
	ops := append(f.maker.prepare(a), calls.OpLaunch(task))
	call := calls.Accept(calls.OfferOperations(ops).WithOffers(mesos.OfferID{Value: "O1"})).With(calls.RefuseSeconds(time.Second))
	call.FrameworkID = &mesos.FrameworkID{Value: "fw"}

	text, err := os.ReadFile("testdata/recorded/09-accept.json")
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := shape(t, text), shape(t, marshalJSON(t, call))
	launch := "accept.operations.launch.task_infos."
	beyond := map[string]string{
		"accept.operations.reserve.resources.ranges.range.begin": "the port is reserved as well", "accept.operations.reserve.resources.ranges.range.end": "",
		launch + "resources.ranges.range.begin": "and used", launch + "resources.ranges.range.end": "",
		launch + "kill_policy.grace_period.nanoseconds":                "mysqld takes its time",
		launch + "executor.shutdown_grace_period.nanoseconds":          "",
		launch + "executor.command.shell":                              "the default, said",
		launch + "executor.command.uris.value":                         "what is fetched",
		launch + "executor.command.uris.executable":                    "",
		launch + "executor.command.uris.extract":                       "",
		launch + "executor.resources.reservations.type":                "the executor's share is reserved, too",
		launch + "executor.resources.reservations.role":                "",
		launch + "executor.resources.reservations.principal":           "",
		launch + "executor.resources.reservations.labels.labels.key":   "",
		launch + "executor.resources.reservations.labels.labels.value": "",
	}
	left := map[string]string{"accept.operations.id.value": "without feedback: that something is there is read from the master"}
	for path := range ours {
		if _, known := beyond[path]; !theirs[path] && !known {
			t.Errorf("%s was not recorded", path)
		}
	}
	for path := range theirs {
		if _, known := left[path]; !ours[path] && !known {
			t.Errorf("%s is recorded and missing in ours", path)
		}
	}
	if types := strings.Join(operationTypes(ops), " "); types != "RESERVE CREATE LAUNCH" {
		t.Errorf("the operations are %s", types)
	}
	// Task and executor together use what was reserved, to the last thousandth, or the master refuses the task.
	used := cotton.Offer{Free: cotton.Amounts{}}
	recordedMaker.read(&used, append(slices.Clone(task.Resources), task.Executor.Resources...))
	if h := used.Held[0]; len(used.Held) != 1 || h.Amounts["cpus"] != 1 || h.Amounts["mem"] != 256 || h.Ports.Count() != 1 || h.Volumes[0].MB != 512 {
		t.Errorf("task and executor use %+v", used.Held)
	}
}

// TestSharesAreWhole: task and executor together are what is reserved, in Mesos' numbers of three decimals.
func TestSharesAreWhole(t *testing.T) {
	for _, cpus := range []float64{0.01, 0.011, 0.013, 0.015, 0.02, 0.021, 0.1, 1.0 / 3, 2} {
		use := cotton.Amounts{}
		use.Add(cotton.Amounts{"cpus": cpus, "mem": 257})
		executor, task := recordedMaker.shares(cotton.Assignment{ResourceID: "r", VolumeID: "v", Port: 1, Use: use})
		var sum, mem int64
		for _, r := range append(executor, task...) {
			thousandths := int64(r.GetScalar().GetValue()*1000 + 0.5) // as Mesos reads them
			switch r.Name {
			case "cpus":
				sum += thousandths
			case "mem":
				mem += thousandths
			}
		}
		if want := int64(use["cpus"]*1000 + 0.5); sum != want || mem != 257000 {
			t.Errorf("of %g cpus and 257 MB the parts are %d and %d thousandths", cpus, sum, mem)
		}
	}
}

// TestRecordedOffers reads the recorded offer of a reservation with a volume (06): what we would give back is, resource by
// resource, what was offered, since Mesos compares them whole.
func TestRecordedOffers(t *testing.T) {
	var e scheduler.Event
	recorded(t, "06-offers", &e, &scheduler.Event{}, ourLabels...)
	offered := e.Offers.Offers[0]
	o := recordedMaker.offer(offered)
	want := cotton.Offer{
		IDs: []string{offered.ID.Value}, AgentID: offered.AgentID.Value, Hostname: "agent1.example",
		Attributes: map[string]string{"rack": "a", "zone": "west"}, Free: cotton.Amounts{"cpus": 3, "mem": 1792, "disk": 7168},
		FreePorts: cotton.Ports{{Begin: 31001, End: 31099}},
		Held: []cotton.Held{{ResourceID: "r1", FrameworkID: "fw", Cluster: "c1", Member: 1, Amounts: cotton.Amounts{"cpus": 1, "mem": 256, "disk": 512},
			Ports: cotton.Ports{{Begin: 31000, End: 31000}}, Volumes: []cotton.HeldVolume{{ID: "vol-1", MB: 512}}}},
	}
	if got, want := fmt.Sprintf("%+v", o), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("read as\n%s\nwant\n%s", got, want)
	}
	if address(offered) != "127.0.0.1" {
		t.Errorf("the agent's address is %q", address(offered))
	}
	h := o.Held[0]
	ops := recordedMaker.release(cotton.Release{ResourceID: h.ResourceID, Cluster: h.Cluster, Member: h.Member, Volumes: h.Volumes, Amounts: h.Amounts, Ports: h.Ports})
	if types := strings.Join(operationTypes(ops), " "); types != "DESTROY UNRESERVE" {
		t.Fatalf("the operations are %s", types)
	}
	among(t, ops[0].Destroy.Volumes, offered.Resources)
	back := ops[1].Unreserve.Resources
	for i, r := range back { // the volume's disk comes back to what is reserved beside it
		if r.Name == "disk" && r.GetScalar().GetValue() == 1024 {
			back[i].Scalar = &mesos.Value_Scalar{Value: 512}
		}
	}
	among(t, back, offered.Resources)
}

// among fails for what is not, as a whole, among the others.
func among(t *testing.T, some, all []mesos.Resource) {
	t.Helper()
	for _, r := range some {
		if !slices.ContainsFunc(all, func(o mesos.Resource) bool { return o.Equal(&r) }) {
			t.Errorf("%s is not among what was offered", marshalJSON(t, &r))
		}
	}
}

// TestRecordedAgents: what is reserved is seen in the master's own words, which are not those of offers (10, 33).
func TestRecordedAgents(t *testing.T) {
	total, err := os.ReadFile("testdata/recorded/10-total-resources.json")
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer(ourLabels...).Replace(string(total))
	agents, err := os.ReadFile("testdata/recorded/33-get-agents.json")
	if err != nil {
		t.Fatal(err)
	}
	of := func(change func(map[string]any)) *master.Response_GetAgents {
		t.Helper()
		var answer map[string]any
		if err := json.Unmarshal(agents, &answer); err != nil {
			t.Fatal(err)
		}
		list := answer["get_agents"].(map[string]any)["agents"].([]any)
		for _, a := range list {
			change(a.(map[string]any))
		}
		text, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		var into master.Response
		decode(t, text, &into, &master.Response{})
		return into.GetAgents
	}
	holding := func(a map[string]any) {
		if a["agent_info"].(map[string]any)["hostname"] == "agent1.example" {
			var list any
			if err := json.Unmarshal([]byte(plain), &list); err != nil {
				t.Fatal(err)
			}
			a["total_resources"] = list
		}
	}
	here := leaving{resourceID: "r1", hostname: "agent1.example"}
	for _, tc := range []struct {
		name   string
		what   leaving
		change func(map[string]any)
		want   bool
	}{
		{"nothing is reserved any more", here, func(map[string]any) {}, true},
		{"it is still reserved", here, holding, false},
		{"it is reserved, and another asks", leaving{resourceID: "r2", hostname: "agent1.example"}, holding, true},
		{"by agent id", leaving{resourceID: "r1", agentID: "363bbcff-1d69-4bf6-a513-73f945bd2cc7-S0"}, func(map[string]any) {}, true},
		{"its agent is away", here, func(a map[string]any) { a["active"] = false }, false},
		{"its agent is not known", leaving{resourceID: "r1", hostname: "agent3.example"}, func(map[string]any) {}, false},
	} {
		if got := released(tc.what, of(tc.change)); got != tc.want {
			t.Errorf("%s: released is %t", tc.name, got)
		}
	}
}

// TestRecordedSubscribe: how we present ourselves, beside the recorded FrameworkInfo (01).
func TestRecordedSubscribe(t *testing.T) {
	cfg := Config{User: "root", Name: "cotton", Role: "cotton", Principal: "cotton", FailoverTimeout: time.Hour}
	info := cfg.info("")
	text, err := os.ReadFile("testdata/recorded/01-subscribe.json")
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := shape(t, text), shape(t, marshalJSON(t, calls.Subscribe(&info)))
	delete(theirs, "subscribe.framework_info.hostname") // for people only
	if !maps.Equal(theirs, ours) {
		t.Errorf("recorded %v, ours %v", slices.Sorted(maps.Keys(theirs)), slices.Sorted(maps.Keys(ours)))
	}
}

// TestAttributes: agents guess the type of an attribute; its text is what it was given as.
func TestAttributes(t *testing.T) {
	for want, a := range map[string]mesos.Attribute{
		"a":          {Type: mesos.TEXT, Text: &mesos.Value_Text{Value: "a"}},
		"12":         {Type: mesos.SCALAR, Scalar: &mesos.Value_Scalar{Value: 12}},
		"1.5":        {Type: mesos.SCALAR, Scalar: &mesos.Value_Scalar{Value: 1.5}},
		"[1-3,7-7]":  {Type: mesos.RANGES, Ranges: &mesos.Value_Ranges{Range: []mesos.Value_Range{{Begin: 1, End: 3}, {Begin: 7, End: 7}}}},
		"{ssd,nvme}": {Type: mesos.SET, Set: &mesos.Value_Set{Item: []string{"ssd", "nvme"}}},
	} {
		a.Name = "rack"
		if got := recordedMaker.offer(mesos.Offer{Attributes: []mesos.Attribute{a}}).Attributes["rack"]; got != want {
			t.Errorf("%+v is %q, want %q", a, got, want)
		}
	}
	if got := recordedMaker.offer(mesos.Offer{Hostname: "bare"}).Attributes; len(got) != 0 {
		t.Errorf("an agent without attributes has %v", got)
	}
}

// TestResourcesOfOthers: what a real agent may offer and what is not simply ours to reserve is left alone.
func TestResourcesOfOthers(t *testing.T) {
	scalar := func(name string, v float64, edit func(*mesos.Resource)) mesos.Resource {
		r := mesos.Resource{Name: name, Type: mesos.SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: v}}
		edit(&r)
		return r
	}
	mount := &mesos.Resource_DiskInfo{Source: &mesos.Resource_DiskInfo_Source{Type: mesos.Resource_DiskInfo_Source_MOUNT}}
	static := mesos.Resource_ReservationInfo_STATIC
	o := recordedMaker.offer(mesos.Offer{Resources: []mesos.Resource{
		scalar("disk", 1, func(r *mesos.Resource) {}),
		scalar("disk", 2, func(r *mesos.Resource) { r.Disk = mount }),
		scalar("disk", 4, func(r *mesos.Resource) { r.ProviderID = &mesos.ResourceProviderID{Value: "rp"} }),
		scalar("cpus", 1, func(r *mesos.Resource) {}),
		scalar("cpus", 2, func(r *mesos.Resource) { r.Revocable = &mesos.Resource_RevocableInfo{} }),
		scalar("cpus", 4, func(r *mesos.Resource) {
			r.Reservations = []mesos.Resource_ReservationInfo{{Type: &static, Role: ptr("demo")}}
		}),
		scalar("cpus", 8, func(r *mesos.Resource) { // a reservation of ours, refined for somebody below our role
			r.Reservations = []mesos.Resource_ReservationInfo{recordedMaker.reservation("r1", "c", 1), {Type: &static, Role: ptr("demo/sub")}}
		}),
	}})
	if !maps.Equal(o.Free, cotton.Amounts{"disk": 1, "cpus": 1}) || len(o.Held) != 0 {
		t.Errorf("read as free %v, held %v", o.Free, o.Held)
	}
}

// TestWindows: what is known of maintenance, from the recorded offers and inverse offers (28) and from what follows.
func TestWindows(t *testing.T) {
	var offers, inverse scheduler.Event
	recorded(t, "28-offers", &offers, &scheduler.Event{})
	recorded(t, "28-inverse-offers", &inverse, &scheduler.Event{})
	start := time.Unix(0, 1795328180777297664)
	now := start.Add(-time.Hour)
	told := func() *Framework {
		f := &Framework{windows: windows{}}
		f.noteOffers(offers.Offers.Offers, now)
		return f
	}
	f := told()
	if len(f.windows) != 1 {
		t.Fatalf("windows: %+v", f.windows)
	}
	w := f.windows.current(now, time.Minute)[0]
	if w.Hostname != "agent1.example" || !w.Start.Equal(start) || w.Duration != 10*time.Minute || w.Begun {
		t.Errorf("the window is %+v", w)
	}
	if o := recordedMaker.offer(offers.Offers.Offers[1]); !o.Draining {
		t.Error("the agent is taken for one that stays")
	}
	if recordedMaker.offer(offers.Offers.Offers[0]).Draining {
		t.Error("the other agent is taken for one that goes")
	}
	id, i := w.AgentID, inverse.InverseOffers.InverseOffers[0]
	for _, m := range []struct {
		member cotton.Member
		want   bool
	}{
		{cotton.Member{AgentID: id, ResourceID: "r"}, true},
		{cotton.Member{AgentID: "another id", Hostname: "agent1.example", ResourceID: "r"}, true},
		{cotton.Member{AgentID: "S1", Hostname: "agent2.example", ResourceID: "r"}, false},
		{cotton.Member{AgentID: id}, false}, // it has no place any more
	} {
		if w.Concerns(m.member) != m.want {
			t.Errorf("%+v: concerned is %t", m.member, !m.want)
		}
	}
	const silence = time.Minute
	for _, tc := range []struct {
		name  string
		then  func(w windows)
		at    time.Time
		known bool
	}{
		{"it stands", func(windows) {}, now.Add(silence), true},
		{"nobody asked again", func(windows) {}, now.Add(silence + time.Second), false},
		{"an inverse offer repeats it", func(w windows) { w.note(id, "agent1.example", &i.Unavailability, now.Add(time.Second)) }, now.Add(silence + time.Second), true},
		{"an offer without it", func(w windows) { w.note(id, "agent1.example", nil, now) }, now, false},
		{"an offer of the same machine under another id", func(w windows) { w.note("S7", "agent1.example", nil, now) }, now, false},
		{"an offer of another machine", func(w windows) { w.note("S1", "agent2.example", nil, now) }, now, true},
		{"it was rescinded", func(w windows) { w[id].offer = "O6"; w.rescinded("O6") }, now, false},
		{"another was rescinded", func(w windows) { w[id].offer = "O6"; w.rescinded("O7") }, now, true},
		{"it has begun", func(w windows) { w.begun(id) }, start.Add(9 * time.Minute), true},
		{"it is over", func(w windows) { w.begun(id) }, start.Add(11 * time.Minute), false},
	} {
		f := told()
		tc.then(f.windows)
		if known := len(f.windows.current(tc.at, silence)) == 1; known != tc.known {
			t.Errorf("%s: known is %t", tc.name, known)
		}
	}
}

func operationTypes(ops []mesos.Offer_Operation) []string {
	var out []string
	for _, op := range ops {
		out = append(out, op.Type.String())
	}
	return out
}

func marshalJSON(t *testing.T, m message) []byte {
	t.Helper()
	text, err := wire.Marshal(wire.JSON, m)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// shape is the set of all fields that hold a value, lists left out.
func shape(t *testing.T, text []byte) map[string]bool {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	paths := map[string]bool{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, inner := range v {
				walk(strings.TrimPrefix(at+"."+name, "."), inner)
			}
		case []any:
			for _, inner := range v {
				walk(at, inner)
			}
		default:
			paths[at] = true
		}
	}
	walk("", v)
	return paths
}

// TestHostOf: an agent whose name means nothing here is known by the address of its offer, as it is now.
func TestHostOf(t *testing.T) {
	f := &Framework{hosts: map[string]string{}}
	for _, tc := range []struct{ hostname, address, want string }{
		{"agent1.invalid", "10.0.0.1", "10.0.0.1"},
		{"agent1.invalid", "10.0.0.2", "10.0.0.2"}, // it moved
		{"localhost", "10.0.0.3", "localhost"},
		{"agent2.invalid", "", "agent2.invalid"}, // nothing better is known
		{"127.0.0.1", "10.0.0.4", "127.0.0.1"},
	} {
		if got := f.hostOf(t.Context(), tc.hostname, tc.address); got != tc.want {
			t.Errorf("%s at %s is %s, want %s", tc.hostname, tc.address, got, tc.want)
		}
	}
}
