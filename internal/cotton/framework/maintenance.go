package framework

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/aosc/aosc/internal/cotton"
)

const (
	// answerStands is how long an answer to an inverse offer stands, in units of Config.Refuse: the master then asks
	// again, for as long as something of ours is on the machine.
	answerStands = 6
	// answerForgotten is when a window that was not asked about again is forgotten: it was called off, or nothing of ours
	// is there.
	answerForgotten = 4 * answerStands
)

// window is a maintenance that Mesos has told of.
type window struct {
	cotton.Maintenance
	offer    string    // the inverse offer that came last
	declined bool      // that one was answered with no
	revived  bool      // and since then nothing of ours is left, and offers were asked for
	heard    time.Time // when Mesos spoke of it last
}

// windows are the maintenances by agent id. Not safe for concurrent use.
type windows map[string]*window

// note keeps what Mesos says of an agent: a window, or, with nil, that it has none.
func (w windows) note(agentID, hostname string, u *mesos.Unavailability, now time.Time) {
	if u == nil {
		// An agent that has been away may be back with another id.
		maps.DeleteFunc(w, func(id string, known *window) bool { return id == agentID || known.Hostname == hostname })
		return
	}
	m := cotton.Maintenance{AgentID: agentID, Hostname: hostname, Start: time.Unix(0, u.Start.Nanoseconds)}
	if u.Duration != nil {
		m.Duration = time.Duration(u.Duration.Nanoseconds)
	}
	next := &window{Maintenance: m, heard: now}
	if known := w[agentID]; known != nil {
		next.offer, next.declined, next.revived = known.offer, known.declined, known.revived
	}
	w[agentID] = next
}

// rescinded forgets the window of an inverse offer that is no longer valid; if there still is one, another offer comes.
func (w windows) rescinded(offer string) {
	maps.DeleteFunc(w, func(_ string, known *window) bool { return known.offer == offer })
}

// begun: the agent was removed. If it had a window, that is why, and it lasts until the agent is back.
func (w windows) begun(agentID string) {
	if known := w[agentID]; known != nil {
		known.Begun = true
	}
}

// current drops what is over, or was not spoken of for longer than silence, and is the rest, the earliest first.
func (w windows) current(now time.Time, silence time.Duration) []cotton.Maintenance {
	maps.DeleteFunc(w, func(_ string, known *window) bool {
		return known.Over(now) || !known.Begun && now.Sub(known.heard) > silence
	})
	all := []cotton.Maintenance{}
	for _, known := range w {
		all = append(all, known.Maintenance)
	}
	slices.SortFunc(all, func(a, b cotton.Maintenance) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Hostname, b.Hostname))
	})
	return all
}

// Maintenance are the agents that will be, or are, taken down by an operator's plan, the earliest first: what cotton has
// there is to be moved. Agents on which it has nothing may be missing.
func (f *Framework) Maintenance() []cotton.Maintenance {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.windows.current(time.Now(), answerForgotten*f.cfg.Refuse)
}

// inverseOffers answers the question whether machines may be taken down: yes once nothing of ours is placed there, no
// before that. The answer binds nobody: the operator may go ahead, and sees by it whether to wait.
func (f *Framework) inverseOffers(ctx context.Context, all []mesos.InverseOffer) {
	now := time.Now()
	var accept, decline []mesos.OfferID
	for _, o := range all {
		agent, hostname := o.GetAgentID().GetValue(), ""
		if o.URL != nil {
			hostname = o.URL.Address.GetHostname()
		}
		f.mu.Lock()
		f.windows.note(agent, hostname, &o.Unavailability, now)
		w := f.windows[agent].Maintenance
		f.mu.Unlock()
		there := f.placedOn(w)
		no := len(there) > 0 || agent == ""
		f.mu.Lock()
		if known := f.windows[agent]; known != nil {
			known.offer, known.declined, known.revived = o.OfferID.Value, no, false
		}
		f.mu.Unlock()
		f.cfg.Log.Info("maintenance is planned", "agent", agent, "hostname", hostname, "start", w.Start, "duration", w.Duration, "members", there)
		if no {
			decline = append(decline, o.OfferID)
		} else {
			accept = append(accept, o.OfferID)
		}
	}
	filters := &mesos.Filters{RefuseSeconds: ptr(answerStands * f.cfg.Refuse.Seconds())}
	if len(accept) > 0 {
		f.call(ctx, &scheduler.Call{Type: scheduler.Call_ACCEPT_INVERSE_OFFERS,
			AcceptInverseOffers: &scheduler.Call_AcceptInverseOffers{InverseOfferIDs: accept, Filters: filters}})
	}
	if len(decline) > 0 {
		f.call(ctx, &scheduler.Call{Type: scheduler.Call_DECLINE_INVERSE_OFFERS,
			DeclineInverseOffers: &scheduler.Call_DeclineInverseOffers{InverseOfferIDs: decline, Filters: filters}})
	}
}

// oldAnswers are the agents of which the operator was told to wait though nothing of ours is left there. The master asks again
// only while it offers the agent, or something of ours runs on it: it is to be offered once more. Fresh are those for which that
// was not asked for yet.
func (f *Framework) oldAnswers() (all, fresh []string) {
	f.mu.Lock()
	var declined []window
	for _, w := range f.windows {
		if w.declined && !w.Begun {
			declined = append(declined, *w)
		}
	}
	f.mu.Unlock()
	for _, w := range declined {
		if len(f.placedOn(w.Maintenance)) > 0 {
			continue
		}
		all = append(all, w.AgentID)
		if !w.revived {
			fresh = append(fresh, w.AgentID)
		}
	}
	return all, fresh
}

// revivedFor notes that offers of these agents were asked for.
func (w windows) revivedFor(agents []string) {
	for _, id := range agents {
		if known := w[id]; known != nil {
			known.revived = true
		}
	}
}

// placedOn are the names of all members with a place on a machine.
func (f *Framework) placedOn(w cotton.Maintenance) []string {
	var names []string
	for _, c := range f.list() {
		r := c.snapshot()
		for _, m := range r.Members {
			if w.Concerns(m) {
				names = append(names, r.MemberName(m.ID))
			}
		}
	}
	return names
}

// noteOffers learns of windows from offers, which say it as well.
func (f *Framework) noteOffers(all []mesos.Offer, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range all {
		f.windows.note(o.AgentID.Value, o.Hostname, o.Unavailability, now)
	}
}
