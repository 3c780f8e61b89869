package cotton_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
)

var at = time.Unix(1_700_000_000, 0)

// agent makes an offer of a roomy agent in a rack.
func agent(id, rack, zone string, edit ...func(*cotton.Offer)) cotton.Offer {
	o := cotton.Offer{
		IDs: []string{"O-" + id}, AgentID: id, Hostname: "host-" + id,
		Attributes: map[string]string{"rack": rack, "zone": zone},
		Free:       cotton.Amounts{"cpus": 4, "mem": 4096, "disk": 40960}, FreePorts: cotton.Ports{{Begin: 31000, End: 31009}},
	}
	for _, e := range edit {
		e(&o)
	}
	return o
}

func want(cluster string, member int, edit ...func(*cotton.Want)) cotton.Want {
	w := cotton.Want{
		Cluster: cluster, Member: member, Size: cotton.Size{CPUs: 1, MemMB: 1024, DiskMB: 2048},
		NewResourceID: fmt.Sprintf("r-new-%s-%d", cluster, member), NewVolumeID: fmt.Sprintf("v-new-%s-%d", cluster, member),
	}
	for _, e := range edit {
		e(&w)
	}
	return w
}

// placed is a member that was placed before, with data.
func placed(w *cotton.Want) {
	w.ResourceID, w.VolumeID, w.Port, w.HasData, w.AgentID = "r1", "v1", 31005, true, "a"
}

// held is exactly what such a member needs.
func held(edit ...func(*cotton.Held)) func(*cotton.Offer) {
	h := cotton.Held{
		ResourceID: "r1", FrameworkID: "fw", Cluster: "c", Member: 1, Amounts: cotton.Amounts{"cpus": 1, "mem": 1024},
		Ports: cotton.Ports{{Begin: 31005, End: 31005}}, Volumes: []cotton.HeldVolume{{ID: "v1", MB: 2048}},
	}
	for _, e := range edit {
		e(&h)
	}
	return func(o *cotton.Offer) {
		o.Held = append(o.Held, h)
		o.FreePorts = o.FreePorts.Without(31005)
	}
}

// show writes a placement so that it can be compared: one line for each assignment and release, sorted refusals.
func show(p cotton.Placement) []string {
	var out []string
	for _, a := range p.Assignments {
		port := fmt.Sprint(a.Port)
		if a.ResourceID != "r1" { // of a new placement: any of the agent's
			port = "?"
		}
		line := fmt.Sprintf("%s/%d on %s as %s/%s port %s, reserve %s", a.Cluster, a.Member, a.AgentID, a.ResourceID, a.VolumeID, port, a.Reserve)
		if a.ReservePort {
			line += "+port"
		}
		if a.CreateVolume {
			line += fmt.Sprintf(", create %g", a.VolumeMB)
		}
		out = append(out, line)
	}
	for _, r := range p.Releases {
		out = append(out, fmt.Sprintf("release %s on %s: %s %v, %d volumes (%s)", r.ResourceID, r.AgentID, r.Amounts, r.Ports, len(r.Volumes), r.Why))
	}
	var refusals []string
	for _, r := range p.Refusals {
		refusals = append(refusals, fmt.Sprintf("no %s/%d on %s: %s", r.Cluster, r.Member, r.AgentID, r.Reason))
	}
	slices.Sort(refusals)
	return append(out, refusals...)
}

const whole = "reserve cpus 1, disk 2048, mem 1024+port, create 2048"

func TestPlace(t *testing.T) {
	noPorts := func(o *cotton.Offer) { o.FreePorts = nil }
	draining := func(o *cotton.Offer) { o.Draining = true }
	free := func(a cotton.Amounts) func(*cotton.Offer) { return func(o *cotton.Offer) { o.Free = a } }
	noData := func(w *cotton.Want) { placed(w); w.HasData = false }
	stay := func(w *cotton.Want) { noData(w); w.Stay = true }
	siblings := func(s ...cotton.Where) func(*cotton.Want) { return func(w *cotton.Want) { w.Siblings = s } }
	for _, tc := range []struct {
		name   string
		offers []cotton.Offer
		wants  []cotton.Want
		want   []string
	}{
		{name: "nothing offered", wants: []cotton.Want{want("c", 1)}},
		{name: "nothing wanted", offers: []cotton.Offer{agent("a", "", "")}},
		{
			"one fits", []cotton.Offer{agent("a", "", "")}, []cotton.Want{want("c", 1)},
			[]string{"c/1 on a as r-new-c-1/v-new-c-1 port ?, " + whole},
		},
		{
			"everything is short, and all of it is said", []cotton.Offer{agent("a", "", "", free(cotton.Amounts{"cpus": 0.5, "mem": 100}), noPorts)},
			[]cotton.Want{want("c", 1)},
			[]string{"no c/1 on a: cpus: 1 wanted, 0.5 free; disk: 2048 wanted, 0 free; mem: 1024 wanted, 100 free; ports: 1 wanted, none free"},
		},
		{
			"exactly enough, in Mesos' fixed-point numbers", []cotton.Offer{agent("a", "", "", free(cotton.Amounts{"cpus": 0.1 + 0.2 + 0.7, "mem": 1024, "disk": 2048}))},
			[]cotton.Want{want("c", 1)}, []string{"c/1 on a as r-new-c-1/v-new-c-1 port ?, " + whole},
		},
		{
			"no ports", []cotton.Offer{agent("a", "", "", noPorts)}, []cotton.Want{want("c", 1)},
			[]string{"no c/1 on a: ports: 1 wanted, none free"},
		},
		{
			"counted custom resources", []cotton.Offer{agent("a", "", "", free(cotton.Amounts{"cpus": 4, "mem": 4096, "disk": 9999, "ssds": 1})), agent("b", "", "")},
			[]cotton.Want{
				want("c", 1, func(w *cotton.Want) { w.Scalars = map[string]float64{"ssds": 1} }),
				want("d", 1, func(w *cotton.Want) { w.Scalars = map[string]float64{"ssds": 1} }),
			},
			[]string{
				"c/1 on a as r-new-c-1/v-new-c-1 port ?, reserve cpus 1, disk 2048, mem 1024, ssds 1+port, create 2048",
				"no c/1 on b: ssds: 1 wanted, 0 free", "no d/1 on a: ssds: 1 wanted, 0 free", "no d/1 on b: ssds: 1 wanted, 0 free",
			},
		},
		{
			"constraints on attributes and the hostname", []cotton.Offer{agent("a", "r1", "z1"), agent("b", "r2", "z1"), agent("e", "r3", "z1")},
			[]cotton.Want{want("c", 1, func(w *cotton.Want) { w.Constraints = map[string]string{"rack": "r2|r1", "hostname": "host-b"} }),
				want("d", 1, func(w *cotton.Want) { w.Constraints = map[string]string{"os": "debian"} })},
			[]string{
				"c/1 on b as r-new-c-1/v-new-c-1 port ?, " + whole,
				"no c/1 on a: hostname: host-b wanted, the agent has host-a", "no c/1 on e: hostname: host-b wanted, the agent has host-e",
				"no d/1 on a: os: debian wanted, the agent has none", "no d/1 on b: os: debian wanted, the agent has none", "no d/1 on e: os: debian wanted, the agent has none",
			},
		},
		{
			"a place that it has is not given up for a constraint", []cotton.Offer{agent("a", "r1", "z1", held())},
			[]cotton.Want{want("c", 1, placed, func(w *cotton.Want) { w.Constraints = map[string]string{"rack": "r2"} })},
			[]string{"c/1 on a as r1/v1 port 31005, reserve "},
		},
		{
			"never two of a cluster on one host", []cotton.Offer{agent("a", "", "")}, []cotton.Want{want("c", 1), want("c", 2), want("d", 1)},
			[]string{
				"c/1 on a as r-new-c-1/v-new-c-1 port ?, " + whole, "d/1 on a as r-new-d-1/v-new-d-1 port ?, " + whole,
				"no c/2 on a: the host has a member of the cluster already",
			},
		},
		{
			"nor beside one that runs, also under another agent id", []cotton.Offer{agent("a", "", "")},
			[]cotton.Want{want("c", 2, siblings(cotton.Where{AgentID: "old", Hostname: "host-a"}))},
			[]string{"no c/2 on a: the host has a member of the cluster already"},
		},
		{
			"zones first, then racks", []cotton.Offer{agent("a", "r1", "z1"), agent("b", "r2", "z1"), agent("e", "r1", "z2")},
			[]cotton.Want{want("c", 2, siblings(cotton.Where{AgentID: "x", Hostname: "x", Rack: "r1", Zone: "z1"})), want("c", 3, siblings(cotton.Where{AgentID: "x", Hostname: "x", Rack: "r1", Zone: "z1"}))},
			[]string{
				"c/2 on e as r-new-c-2/v-new-c-2 port ?, " + whole, "c/3 on b as r-new-c-3/v-new-c-3 port ?, " + whole,
				"no c/3 on e: the host has a member of the cluster already",
			},
		},
		{
			"racks of the same name in two zones are two racks", []cotton.Offer{agent("a", "r1", "z1"), agent("b", "r1", "z2")},
			[]cotton.Want{want("c", 2, siblings(cotton.Where{AgentID: "x", Hostname: "x", Rack: "r1", Zone: "z1"}))},
			[]string{"c/2 on b as r-new-c-2/v-new-c-2 port ?, " + whole},
		},
		{
			"the emptier agent among equals", []cotton.Offer{agent("a", "", "", free(cotton.Amounts{"cpus": 2, "mem": 4096, "disk": 9999})), agent("b", "", "")},
			[]cotton.Want{want("c", 1)}, []string{"c/1 on b as r-new-c-1/v-new-c-1 port ?, " + whole},
		},
		{
			"an agent under maintenance", []cotton.Offer{agent("a", "", "", draining)}, []cotton.Want{want("c", 1)},
			[]string{"no c/1 on a: the agent is about to be taken down for maintenance"},
		},
		{
			"an agent on which it failed", []cotton.Offer{agent("a", "", "")},
			[]cotton.Want{want("c", 1, func(w *cotton.Want) { w.Avoid = map[string]string{"a": "no mysqld"} })},
			[]string{"no c/1 on a: it failed to start here: no mysqld"},
		},
		{
			"back to its volume and port", []cotton.Offer{agent("b", "", ""), agent("a", "", "", held())}, []cotton.Want{want("c", 1, placed)},
			[]string{"c/1 on a as r1/v1 port 31005, reserve "},
		},
		{
			"also when the agent has another id, is full, or drains", []cotton.Offer{agent("z", "", "", held(), draining, free(nil), noPorts)},
			[]cotton.Want{want("c", 1, placed)}, []string{"c/1 on z as r1/v1 port 31005, reserve "},
		},
		{
			"with data, nowhere without its volume", []cotton.Offer{agent("a", "", ""), agent("b", "", "")}, []cotton.Want{want("c", 1, placed)},
			[]string{"no c/1 on a: its volume v1 is not here", "no c/1 on b: its volume v1 is not here"},
		},
		{
			"its reservation without its volume is not enough", []cotton.Offer{agent("a", "", "", held(func(h *cotton.Held) { h.Volumes = nil }))},
			[]cotton.Want{want("c", 1, placed)}, []string{"no c/1 on a: its reservation r1 is here, its volume v1 is not"},
		},
		{
			"its volume comes before what is new and wants the same", []cotton.Offer{agent("a", "", "", held())},
			[]cotton.Want{want("c", 2), want("c", 1, placed)},
			[]string{"c/1 on a as r1/v1 port 31005, reserve ", "no c/2 on a: the host has a member of the cluster already"},
		},
		{
			"reserved but no volume: made, then launched", []cotton.Offer{agent("a", "", "", held(func(h *cotton.Held) { h.Volumes = nil; h.Amounts["disk"] = 2048 }))},
			[]cotton.Want{want("c", 1, noData)}, []string{"c/1 on a as r1/v1 port 31005, reserve , create 2048"},
		},
		{
			"reserved in part: the rest is added", []cotton.Offer{agent("a", "", "", held(func(h *cotton.Held) { h.Amounts = cotton.Amounts{"cpus": 1}; h.Ports = nil }), func(o *cotton.Offer) {
				o.FreePorts = cotton.Ports{{Begin: 31005, End: 31005}}
			})},
			[]cotton.Want{want("c", 1, placed)}, []string{"c/1 on a as r1/v1 port 31005, reserve mem 1024+port"},
		},
		{
			"reserved in part, and the rest is not there", []cotton.Offer{agent("a", "", "", held(func(h *cotton.Held) { h.Amounts = cotton.Amounts{"cpus": 1} }), free(cotton.Amounts{"mem": 5}))},
			[]cotton.Want{want("c", 1, placed)}, []string{"no c/1 on a: its reservation is here but not whole: mem: 1024 wanted, 5 free"},
		},
		{
			"reserved twice: what is too much goes", []cotton.Offer{agent("a", "", "", held(func(h *cotton.Held) {
				h.Amounts = cotton.Amounts{"cpus": 2, "mem": 2048, "disk": 2048}
				h.Ports = cotton.Ports{{Begin: 31004, End: 31005}}
			}))},
			[]cotton.Want{want("c", 1, placed)},
			[]string{"c/1 on a as r1/v1 port 31005, reserve ", "release r1 on a: cpus 1, disk 2048, mem 1024 [{31004 31004}], 0 volumes (reserved twice)"},
		},
		{
			"without data it goes elsewhere under new ids", []cotton.Offer{agent("b", "", "")}, []cotton.Want{want("c", 1, noData)},
			[]string{"c/1 on b as r-new-c-1/v-new-c-1 port ?, " + whole},
		},
		{
			"but waits for what its last launch may have reserved", []cotton.Offer{agent("b", "", "")}, []cotton.Want{want("c", 1, stay)},
			[]string{"no c/1 on b: waits for what may be reserved for it on agent a"},
		},
		{
			"until that agent offers, without it", []cotton.Offer{agent("a", "", "")}, []cotton.Want{want("c", 1, stay)},
			[]string{"c/1 on a as r-new-c-1/v-new-c-1 port ?, " + whole},
		},
		{
			"and takes what really is reserved", []cotton.Offer{agent("a", "", "", held())}, []cotton.Want{want("c", 1, stay)},
			[]string{"c/1 on a as r1/v1 port 31005, reserve "},
		},
		{
			"what is held for others is theirs", []cotton.Offer{agent("a", "", "", held(func(h *cotton.Held) { h.ResourceID = "other" }), free(nil))},
			[]cotton.Want{want("c", 1)}, []string{"no c/1 on a: cpus: 1 wanted, 0 free; disk: 2048 wanted, 0 free; mem: 1024 wanted, 0 free"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := show(cotton.Place(tc.offers, tc.wants, at))
			if !slices.Equal(got, tc.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tc.want, "\n  "))
			}
		})
	}
}

// TestPlaceUsesUp: what one member takes the next does not get, ports included, and what Place is given it leaves alone.
func TestPlaceUsesUp(t *testing.T) {
	o := agent("a", "", "", func(o *cotton.Offer) {
		o.FreePorts = cotton.Ports{{Begin: 31000, End: 31001}, {Begin: 31005, End: 31005}}
	})
	var wants []cotton.Want
	for i := range 6 {
		wants = append(wants, want(fmt.Sprint("c", i), 1))
	}
	p := cotton.Place([]cotton.Offer{o}, wants, at)
	ports := map[int]bool{}
	for _, a := range p.Assignments {
		ports[a.Port] = true
	}
	if len(p.Assignments) != 3 || len(ports) != 3 || !ports[31000] || !ports[31001] || !ports[31005] {
		t.Errorf("assignments on three ports: %+v", p.Assignments)
	}
	if o.Free["cpus"] != 4 || o.FreePorts.Count() != 3 {
		t.Errorf("the offer was changed: %+v", o)
	}
	if len(p.Refusals) != 3 || p.Refusals[0].Offer != "O-a" || p.Refusals[0].At != at || p.Refusals[0].Hostname != "host-a" {
		t.Errorf("refusals: %+v", p.Refusals)
	}
}

func TestReclaim(t *testing.T) {
	const day = 24 * time.Hour
	orphan := map[string]time.Time{"r1": at.Add(-day)}
	live := cotton.Claim{Cluster: "c", Member: 1, VolumeID: "v1", Live: true}
	noVolume := func(h *cotton.Held) { h.Volumes = nil }
	for _, tc := range []struct {
		name   string
		held   func(*cotton.Held)
		claim  *cotton.Claim
		wanted bool
		seen   map[string]time.Time
		spare  map[string]bool
		goes   string // why it is released
		stays  string // why it is an orphan that stays
	}{
		{name: "of another framework", held: func(h *cotton.Held) { h.FrameworkID = "other" }, seen: orphan, spare: map[string]bool{"c": true}},
		{name: "wanted now", wanted: true, seen: orphan, spare: map[string]bool{"c": true}},
		{name: "of a member that waits for its back-off", claim: &cotton.Claim{Cluster: "c", Member: 1, VolumeID: "v1"}},
		{name: "of a member being removed", claim: &cotton.Claim{Removing: true}, goes: "its member is being removed"},
		{name: "of one whose task may still live", claim: &cotton.Claim{Removing: true, Live: true, VolumeID: "v1"}},
		{name: "beside a member that runs", held: noVolume, claim: &live, goes: "reserved twice"},
		{name: "the volume of a member that is believed to run", claim: &live},
		{name: "an orphan seen for the first time", spare: map[string]bool{"c": true}, stays: "in quarantine"},
		{name: "an orphan in quarantine", seen: map[string]time.Time{"r1": at.Add(-time.Minute)}, spare: map[string]bool{"c": true}, stays: "in quarantine"},
		{name: "an orphan after its quarantine", seen: orphan, spare: map[string]bool{"c": true}, goes: "no record claims it"},
		{name: "an orphan that may be the last copy", seen: orphan, spare: map[string]bool{"c": false}, stays: "may be the last copy"},
		{name: "an orphan of a cluster nobody knows", seen: orphan, stays: "no cluster \"c\" is stored"},
		{name: "the same without a volume", held: noVolume, seen: orphan, goes: "no record claims it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			edit := tc.held
			if edit == nil {
				edit = func(*cotton.Held) {}
			}
			owned := cotton.Owned{FrameworkID: "fw", Claims: map[string]cotton.Claim{}, Spare: tc.spare, Quarantine: time.Hour, FirstSeen: tc.seen}
			if tc.claim != nil {
				owned.Claims["r1"] = *tc.claim
			}
			releases, orphans := cotton.Reclaim([]cotton.Offer{agent("a", "", "", held(edit))}, owned, map[string]bool{"r1": tc.wanted}, at)
			if (tc.goes != "") != (len(releases) == 1) || tc.goes != "" && releases[0].Why != tc.goes {
				t.Errorf("released: %+v, want %q", releases, tc.goes)
			}
			if (tc.stays != "") != (len(orphans) == 1) || tc.stays != "" && !strings.Contains(orphans[0].Why, tc.stays) {
				t.Errorf("orphans: %+v, want %q", orphans, tc.stays)
			}
			if len(releases) == 1 && releases[0].Ports.Count() != 1 {
				t.Errorf("the port stays reserved: %+v", releases[0])
			}
		})
	}
}

// TestForgotten: only an agent under another id, that offers the volume itself, tells that a task is over of which Mesos says
// nothing.
func TestForgotten(t *testing.T) {
	claim := cotton.Claim{Cluster: "c", Member: 1, VolumeID: "v1", TaskID: "t", AgentID: "before", Live: true, Unheard: true}
	for _, tc := range []struct {
		name  string
		held  func(*cotton.Held)
		claim func(*cotton.Claim)
		over  bool
	}{
		{name: "back under another id", over: true},
		{name: "and being removed", claim: func(c *cotton.Claim) { c.Removing = true }, over: true},
		{name: "under its own id", claim: func(c *cotton.Claim) { c.AgentID = "a" }},
		{name: "Mesos says that it runs", claim: func(c *cotton.Claim) { c.Unheard = false }},
		{name: "it is known to be over", claim: func(c *cotton.Claim) { c.Live = false }},
		{name: "not the volume", held: func(h *cotton.Held) { h.Volumes = nil }},
		{name: "another volume", claim: func(c *cotton.Claim) { c.VolumeID = "v2" }},
		{name: "of another framework", held: func(h *cotton.Held) { h.FrameworkID = "other" }},
		{name: "of nobody", held: func(h *cotton.Held) { h.ResourceID = "r2" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, edit := claim, tc.held
			if tc.claim != nil {
				tc.claim(&c)
			}
			if edit == nil {
				edit = func(*cotton.Held) {}
			}
			owned := cotton.Owned{FrameworkID: "fw", Claims: map[string]cotton.Claim{"r1": c}}
			over := cotton.Forgotten([]cotton.Offer{agent("a", "", "", held(edit))}, owned)
			if (len(over) == 1) != tc.over || tc.over && over[0].TaskID != "t" {
				t.Errorf("over: %+v, want %v", over, tc.over)
			}
		})
	}
}

func TestPorts(t *testing.T) {
	p := cotton.Ports{{Begin: 5, End: 7}, {Begin: 9, End: 9}}
	if got := fmt.Sprint(p.Count(), p.Nth(0), p.Nth(2), p.Nth(3), p.Nth(4), p.Has(8), p.Has(9)); got != "4 5 7 9 0 false true" {
		t.Error(got)
	}
	for port, want := range map[int]string{5: "[{6 7} {9 9}]", 6: "[{5 5} {7 7} {9 9}]", 7: "[{5 6} {9 9}]", 9: "[{5 7}]", 1: "[{5 7} {9 9}]"} {
		if got := fmt.Sprint(p.Without(port)); got != want {
			t.Errorf("without %d: %s, want %s", port, got, want)
		}
	}
}
