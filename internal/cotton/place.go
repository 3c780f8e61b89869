package cotton

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"
)

// Attributes of agents that placement looks at, besides the hostname.
const (
	RackAttribute = "rack"
	ZoneAttribute = "zone"
)

// Offer is what one agent offers at this moment, all its offers together.
type Offer struct {
	IDs        []string // of Mesos' offers, accepted together
	AgentID    string
	Hostname   string
	Attributes map[string]string
	Free       Amounts // not reserved for anybody
	FreePorts  Ports
	Held       []Held // reserved for our role with our labels
	// Draining agents are about to go (maintenance): they take nothing new.
	Draining bool
}

// Held is what is reserved under one resource id on one agent and not in use.
type Held struct {
	ResourceID  string
	FrameworkID string // of the labels
	Cluster     string
	Member      int
	Amounts     Amounts // plain ones; the disk of the volume is not among them
	Ports       Ports
	Volumes     []HeldVolume
}

// HeldVolume is a persistent volume that no task uses.
type HeldVolume struct {
	ID string
	MB float64
}

func (h Held) volume(id string) (HeldVolume, bool) {
	for _, v := range h.Volumes {
		if v.ID == id {
			return v, true
		}
	}
	return HeldVolume{}, false
}

// Want is a member that wants to be launched.
type Want struct {
	Cluster string
	Member  int
	Size    Size
	Scalars map[string]float64
	// Constraints are what a new place must have; see Spec. One that the member has already is not given up for them.
	Constraints map[string]string
	// ResourceID, VolumeID and Port are those of its last placement, empty when there was none. One that HasData goes
	// back to its volume or nowhere: by these ids, since an agent that was away may come back with another agent id.
	ResourceID, VolumeID string
	Port                 int
	HasData              bool
	// Stay, while set, keeps a member without data waiting for what its last launch may have reserved for it at AgentID,
	// until that agent offers something else.
	Stay    bool
	AgentID string
	// NewResourceID and NewVolumeID are for a placement that begins anew.
	NewResourceID, NewVolumeID string
	Siblings                   []Where // the other members
	// Avoid are agents, by id, where it failed to start, with why.
	Avoid map[string]string
}

// Where a sibling lives.
type Where struct{ AgentID, Hostname, Rack, Zone string }

// need is what an instance takes, its volume among it.
func (w Want) need() (Amounts, float64) {
	need := Amounts{CPUs: w.Size.CPUs, Mem: float64(w.Size.MemMB)}
	need.Add(w.Scalars)
	return need, float64(w.Size.DiskMB)
}

// Assignment is a member that is to be launched on an offer, in one ACCEPT: reserve what is missing, make the volume
// where there is none, launch.
type Assignment struct {
	OfferIDs   []string
	AgentID    string
	Hostname   string
	Rack, Zone string
	Cluster    string
	Member     int
	ResourceID string
	VolumeID   string
	VolumeMB   float64
	Port       int
	Use        Amounts // of the task and its executor together, without volume and port
	// Reserve is what of Use (and, for a volume still to be made, of disk) is not reserved yet.
	Reserve      Amounts
	ReservePort  bool
	CreateVolume bool
}

// Release is a reservation, or a part of one, that is to be given back: its volume destroyed, then all unreserved.
type Release struct {
	OfferIDs   []string
	AgentID    string
	Hostname   string
	ResourceID string
	Cluster    string
	Member     int
	Volumes    []HeldVolume // destroyed first; their disk is unreserved with the rest
	Amounts    Amounts
	Ports      Ports
	Why        string
}

// Refusal is why an agent does not serve a member that wants a place. It is kept for `cotton why`.
type Refusal struct {
	Cluster  string    `json:"cluster"`
	Member   int       `json:"member"`
	AgentID  string    `json:"agent_id"`
	Hostname string    `json:"hostname"`
	Offer    string    `json:"offer"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
}

// Placement is what to do with some offers.
type Placement struct {
	Assignments []Assignment
	Releases    []Release // what is reserved twice for a member that is being launched
	Refusals    []Refusal
}

// Place finds offers for members. It is pure. Members that have something reserved come first, since only that one
// offer can serve them; then the others, in order, each to the agent that spreads its cluster best: never two on one
// host, then the least used zone, the least used rack, and the agent with the most left.
func Place(offers []Offer, wants []Want, now time.Time) Placement {
	p := &placing{now: now}
	for _, o := range offers {
		p.offers = append(p.offers, &open{Offer: o, free: maps.Clone(o.Free), ports: o.FreePorts, taken: map[string]bool{}})
	}
	var anew []Want
	for _, w := range wants {
		if !p.again(w) {
			anew = append(anew, w)
		}
	}
	for _, w := range anew {
		p.anew(w)
	}
	return p.result
}

// open is an offer and what is left of it.
type open struct {
	Offer
	free  Amounts
	ports Ports
	taken map[string]bool // clusters that a member of was just given to it
}

type placing struct {
	now    time.Time
	offers []*open
	result Placement
}

func (p *placing) refuse(w Want, o *open, reason string) {
	p.result.Refusals = append(p.result.Refusals, Refusal{
		Cluster: w.Cluster, Member: w.Member, AgentID: o.AgentID, Hostname: o.Hostname,
		Offer: strings.Join(o.IDs, " "), Reason: reason, At: p.now,
	})
}

// again puts a member on what is reserved for it. It reports whether the member is dealt with: placed, or one that may
// go nowhere else.
func (p *placing) again(w Want) bool {
	if w.ResourceID == "" {
		return false
	}
	for _, o := range p.offers {
		for _, h := range o.Held {
			if h.ResourceID != w.ResourceID {
				continue
			}
			if problem := p.take(w, o, h); problem != "" {
				p.refuse(w, o, problem)
				if w.HasData || w.Stay {
					return true
				}
				continue
			}
			return true
		}
	}
	if !w.HasData && (!w.Stay || p.offersOf(w.AgentID)) {
		return false
	}
	for _, o := range p.offers {
		what := "its volume " + w.VolumeID + " is not here"
		if !w.HasData {
			what = "waits for what may be reserved for it on agent " + w.AgentID
		}
		p.refuse(w, o, what)
	}
	return true
}

// offersOf tells whether an agent offers anything. All that it has for us is offered together: what is not among it is
// not reserved there.
func (p *placing) offersOf(agentID string) bool {
	return slices.ContainsFunc(p.offers, func(o *open) bool { return o.AgentID == agentID })
}

// take launches a member on what it holds, reserves what is short and releases what is too much. The answer is why
// not.
func (p *placing) take(w Want, o *open, h Held) string {
	need, diskMB := w.need()
	volume, there := h.volume(w.VolumeID)
	if w.HasData && !there {
		return fmt.Sprintf("its reservation %s is here, its volume %s is not", w.ResourceID, w.VolumeID)
	}
	if there {
		diskMB = volume.MB
	} else {
		need[Disk] = diskMB
	}
	short := need.Minus(h.Amounts)
	port, portShort := keptPort(w, h, o)
	if problem := shortage(short, portShort && port == 0, o); problem != "" {
		return "its reservation is here but not whole: " + problem
	}
	if o.taken[w.Cluster] {
		return "another member of the cluster was just given to this agent"
	}
	o.use(short, port, w.Cluster)
	use := maps.Clone(need)
	delete(use, Disk)
	p.result.Assignments = append(p.result.Assignments, Assignment{
		OfferIDs: o.IDs, AgentID: o.AgentID, Hostname: o.Hostname, Rack: o.Attributes[RackAttribute], Zone: o.Attributes[ZoneAttribute],
		Cluster: w.Cluster, Member: w.Member, ResourceID: w.ResourceID, VolumeID: w.VolumeID, VolumeMB: diskMB, Port: port,
		Use: use, Reserve: short, ReservePort: portShort, CreateVolume: !there,
	})
	surplus := Release{
		OfferIDs: o.IDs, AgentID: o.AgentID, Hostname: o.Hostname, ResourceID: h.ResourceID, Cluster: w.Cluster, Member: w.Member,
		Amounts: h.Amounts.Minus(need), Ports: h.Ports.Without(port), Why: "reserved twice",
	}
	if !surplus.Amounts.Empty() || len(surplus.Ports) > 0 {
		p.result.Releases = append(p.result.Releases, surplus)
	}
	return ""
}

// keptPort is the member's port: the one it had (clients and replicas know it), else one that is reserved for it, else a
// free one; short tells that it is not reserved yet.
func keptPort(w Want, h Held, o *open) (port int, short bool) {
	switch {
	case h.Ports.Has(w.Port):
		return w.Port, false
	case o.ports.Has(w.Port):
		return w.Port, true
	case h.Ports.Count() > 0:
		return h.Ports.Nth(0), false
	}
	return pickPort(w.ResourceID, o.ports), true
}

// pickPort takes a free port, 0 when there is none. It looks random, so that the port of a cluster just deleted is not
// given at once to another one, whose clients are still about; but the same id gets the same port.
func pickPort(id string, free Ports) int {
	n := free.Count()
	if n == 0 {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte(id))
	return free.Nth(int(h.Sum32() % uint32(n)))
}

func (o *open) use(a Amounts, port int, cluster string) {
	o.free = o.free.Minus(a)
	o.ports = o.ports.Without(port)
	o.taken[cluster] = true
}

// shortage says what is missing of an offer, all of it; empty when it fits.
func shortage(need Amounts, noPort bool, o *open) string {
	var short []string
	for _, name := range slices.Sorted(maps.Keys(need)) {
		if need[name] > o.free[name]+grain/2 {
			short = append(short, fmt.Sprintf("%s: %g wanted, %g free", name, need[name], fixed(o.free[name])))
		}
	}
	if noPort {
		short = append(short, "ports: 1 wanted, none free")
	}
	return strings.Join(short, "; ")
}

// anew puts a member somewhere.
func (p *placing) anew(w Want) {
	need, diskMB := w.need()
	need[Disk] = diskMB
	var best *open
	for _, o := range p.offers {
		if problem := p.unfit(w, need, o); problem != "" {
			p.refuse(w, o, problem)
			continue
		}
		if best == nil || p.better(w, o, best) {
			best = o
		}
	}
	if best == nil {
		return
	}
	port := pickPort(w.NewResourceID, best.ports)
	best.use(need, port, w.Cluster)
	use := maps.Clone(need)
	delete(use, Disk)
	p.result.Assignments = append(p.result.Assignments, Assignment{
		OfferIDs: best.IDs, AgentID: best.AgentID, Hostname: best.Hostname,
		Rack: best.Attributes[RackAttribute], Zone: best.Attributes[ZoneAttribute],
		Cluster: w.Cluster, Member: w.Member, ResourceID: w.NewResourceID, VolumeID: w.NewVolumeID, VolumeMB: diskMB, Port: port,
		Use: use, Reserve: need, ReservePort: true, CreateVolume: true,
	})
}

// unfit says why an offer cannot take a member, empty when it can.
func (p *placing) unfit(w Want, need Amounts, o *open) string {
	if o.Draining {
		return "the agent is about to be taken down for maintenance"
	}
	if why, failed := w.Avoid[o.AgentID]; failed {
		return "it failed to start here: " + why
	}
	if problem := o.misses(w.Constraints); problem != "" {
		return problem
	}
	for _, s := range p.siblings(w) {
		if s.AgentID == o.AgentID || s.Hostname == o.Hostname {
			return "the host has a member of the cluster already"
		}
	}
	return shortage(need, o.ports.Count() == 0, o)
}

// hostnameConstraint is a constraint on the agent's hostname, which is no attribute.
const hostnameConstraint = "hostname"

// misses says which constraint an agent does not meet, empty when it meets all.
func (o Offer) misses(constraints map[string]string) string {
	for _, name := range slices.Sorted(maps.Keys(constraints)) {
		value, there := o.Attributes[name]
		if name == hostnameConstraint {
			value, there = o.Hostname, true
		}
		switch {
		case !there:
			return fmt.Sprintf("%s: %s wanted, the agent has none", name, constraints[name])
		case !slices.Contains(strings.Split(constraints[name], "|"), value):
			return fmt.Sprintf("%s: %s wanted, the agent has %s", name, constraints[name], value)
		}
	}
	return ""
}

// siblings are the other members, those that were placed a moment ago among them.
func (p *placing) siblings(w Want) []Where {
	all := slices.Clone(w.Siblings)
	for _, a := range p.result.Assignments {
		if a.Cluster == w.Cluster {
			all = append(all, Where{a.AgentID, a.Hostname, a.Rack, a.Zone})
		}
	}
	return all
}

// better compares two offers that both fit.
func (p *placing) better(w Want, a, b *open) bool {
	siblings := p.siblings(w)
	same := func(o *open) (zone, rack int) {
		for _, s := range siblings {
			if s.Zone == o.Attributes[ZoneAttribute] {
				zone++
			}
			if s.Rack == o.Attributes[RackAttribute] && s.Zone == o.Attributes[ZoneAttribute] {
				rack++
			}
		}
		return zone, rack
	}
	zoneA, rackA := same(a)
	zoneB, rackB := same(b)
	switch {
	case zoneA != zoneB:
		return zoneA < zoneB
	case rackA != rackB:
		return rackA < rackB
	case a.free[CPUs] != b.free[CPUs]:
		return a.free[CPUs] > b.free[CPUs]
	}
	return a.free[Mem] > b.free[Mem]
}
