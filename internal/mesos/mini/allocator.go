package mini

import (
	"fmt"
	"sort"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/aosc/aosc/internal/mesos/mini/resources"
)

// offer is resources of one agent offered to one role of one framework.
type offer struct {
	id        string
	framework *framework
	agent     *agentRecord
	role      string
	resources resources.List
	timer     *time.Timer
}

// allocationCycle allocates at each interval.
func (m *master) allocationCycle() {
	m.allocate()
	m.allocateAt = m.after(m.cfg.AllocationInterval, m.allocationCycle)
}

// allocate offers what is free: each framework, least served first, gets all
// that it may have of each agent.
func (m *master) allocate() {
	now := time.Now()
	made := map[*framework][]*offer{}
	for _, a := range m.agents {
		if !a.connected || m.drains[a.id] != nil {
			continue
		}
		for _, claim := range m.claims() {
			o := m.offerOf(a, claim.framework, claim.role, now)
			if o != nil {
				made[claim.framework] = append(made[claim.framework], o)
			}
		}
	}
	for f, offers := range made {
		event := &scheduler.Event_Offers{}
		for _, o := range offers {
			p := o.proto()
			p.Unavailability = m.unavailability(o.agent)
			event.Offers = append(event.Offers, p)
		}
		f.send(&scheduler.Event{Type: scheduler.Event_OFFERS, Offers: event})
	}
	m.askBack(now)
}

// claim is one role of one framework that wants offers.
type claim struct {
	framework *framework
	role      string
	share     float64
}

// claims are in the order in which they are served: by dominant share, and
// those of equal shares in turn.
func (m *master) claims() []claim {
	var out []claim
	for _, id := range sortedKeys(m.frameworks) {
		f := m.frameworks[id]
		if f.stream == nil {
			continue
		}
		for _, role := range f.roles() {
			if !f.suppressed[role] {
				out = append(out, claim{framework: f, role: role})
			}
		}
	}
	if len(out) > 1 {
		m.turn++
		first := m.turn % len(out)
		out = append(append([]claim(nil), out[first:]...), out[:first]...)
		for i := range out { // which takes all that runs: not for one that is alone
			out[i].share = m.share(out[i].framework)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].share < out[j].share })
	return out
}

// share is the largest part of any resource that a framework holds or was
// offered (its dominant share).
func (m *master) share(f *framework) float64 {
	var total, has resources.List
	for _, a := range m.agents {
		total = total.Plus(a.total...)
		for k, t := range a.tasks {
			if k.framework == f.id && !t.freed {
				has = has.Plus(t.used...)
			}
		}
		for k, e := range a.executors {
			if k.framework == f.id {
				has = has.Plus(e.used...)
			}
		}
	}
	for _, o := range f.offers {
		has = has.Plus(o.resources...)
	}
	share := 0.0
	for _, name := range []string{"cpus", "mem", "disk"} {
		if all := total.ScalarOf(name); all > 0 {
			share = max(share, has.ScalarOf(name)/all)
		}
	}
	return share
}

// allocatable reports whether a resource may go to a role: it is unreserved,
// or reserved for the role or for one above it.
func allocatable(r resources.Resource, role string) bool {
	reserved := r.Role()
	return !r.Reserved() || reserved == role || strings.HasPrefix(role, reserved+"/")
}

// offerOf makes an offer of what is free on a, or gives nil.
func (m *master) offerOf(a *agentRecord, f *framework, role string, now time.Time) *offer {
	rest := a.free().Filter(func(r resources.Resource) bool { return allocatable(r, role) })
	if len(rest) == 0 || !worthwhile(rest) || f.filtered(a.id, role, rest, now) {
		return nil
	}
	o := &offer{id: fmt.Sprintf("%s-O%d", m.id, m.nextOffer), framework: f, agent: a, role: role, resources: rest}
	m.nextOffer++
	m.offers[o.id], f.offers[o.id], a.offers[o.id] = o, o, o
	if m.cfg.OfferTimeout > 0 {
		o.timer = m.after(m.cfg.OfferTimeout, func() {
			if m.offers[o.id] == o {
				m.rescind(o)
			}
		})
	}
	return o
}

// worthwhile is Mesos' floor: crumbs of less than 0.01 cpus and 32 MB are not
// offered, unless something is reserved.
func worthwhile(l resources.List) bool {
	if l.ScalarOf("cpus") >= 0.01 || l.ScalarOf("mem") >= 32 {
		return true
	}
	for _, r := range l {
		if r.Reserved() {
			return true
		}
	}
	return false
}

// filtered reports whether a filter that is still in force covers what would
// be offered.
func (f *framework) filtered(agent, role string, what resources.List, now time.Time) bool {
	kept := f.filters[:0]
	covered := false
	for _, filter := range f.filters {
		if !now.Before(filter.until) {
			continue
		}
		kept = append(kept, filter)
		covered = covered || filter.agent == agent && filter.role == role && filter.refused.Contains(what...)
	}
	f.filters = kept
	return covered
}

// refuse keeps what was not taken from being offered again for a while.
func (m *master) refuse(f *framework, a *agentRecord, role string, what resources.List, filters *mesos.Filters) {
	wait := m.filterTime(filters)
	if wait <= 0 || len(what) == 0 {
		return
	}
	f.filters = append(f.filters, filter{agent: a.id, role: role, refused: what, until: time.Now().Add(wait)})
}

// filterTime is how long filters stand. None, and a negative time, mean the
// default.
func (m *master) filterTime(filters *mesos.Filters) time.Duration {
	if filters != nil && filters.RefuseSeconds != nil && *filters.RefuseSeconds >= 0 {
		return time.Duration(min(*filters.RefuseSeconds, maxDuration/2) * float64(time.Second))
	}
	return m.cfg.DefaultFilter
}

// dropOffer forgets an offer; what it held is free again.
func (m *master) dropOffer(o *offer) {
	stopTimer(o.timer)
	delete(m.offers, o.id)
	delete(o.framework.offers, o.id)
	delete(o.agent.offers, o.id)
}

// rescind takes an offer back and says so.
func (m *master) rescind(o *offer) {
	m.dropOffer(o)
	o.framework.send(&scheduler.Event{Type: scheduler.Event_RESCIND,
		Rescind: &scheduler.Event_Rescind{OfferID: mesos.OfferID{Value: o.id}}})
}

func (o *offer) proto() mesos.Offer {
	out := mesos.Offer{
		ID: mesos.OfferID{Value: o.id}, FrameworkID: mesos.FrameworkID{Value: o.framework.id},
		AgentID: mesos.AgentID{Value: o.agent.id}, Hostname: o.agent.info.Hostname,
		URL:         o.agent.url(),
		Resources:   o.resources.ToProto(o.role, o.framework.format()),
		Attributes:  o.agent.info.Attributes,
		ExecutorIDs: o.agent.executorIDs(o.framework.id),
	}
	if o.framework.format() == resources.Refined {
		out.AllocationInfo = &mesos.Resource_AllocationInfo{Role: ptr(o.role)}
	}
	return out
}

// url is where the agent says it is.
func (a *agentRecord) url() *mesos.URL {
	host, port := splitAddr(a.addr)
	return &mesos.URL{Scheme: "http", Path: ptr("/slave(1)"),
		Address: mesos.Address{Hostname: ptr(a.info.Hostname), IP: ptr(host), Port: int32(port)}}
}
