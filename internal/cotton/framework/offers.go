package framework

import (
	"cmp"
	"context"
	"errors"
	"net"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/fault"
	client "github.com/aosc/aosc/internal/mesos"
)

const (
	// longRefusal of an offer while nothing is wanted; REVIVE ends it.
	longRefusal = time.Hour
	// stayFor is how long a member without data waits for the offer of what may be reserved for it, before it is placed
	// anew: such an offer comes with the next allocation.
	stayFor = 10 * time.Second
	// avoidFor is how long an agent on which a member failed to start is avoided.
	avoidFor = 10 * time.Minute
)

// offers places what waits on what is offered, gives back what is not needed, and declines the rest at once: no offer is
// held, so that none can be rescinded behind our back.
func (f *Framework) offers(ctx context.Context, all []mesos.Offer) {
	now := f.clock.now()
	f.metrics.offersReceived.Add(float64(len(all)))
	f.noteOffers(all, now)
	byAgent, draining := map[string]*bundle{}, f.drainingHosts()
	var order []*bundle
	for _, m := range all {
		b := byAgent[m.AgentID.Value]
		if b == nil {
			b = &bundle{offer: f.maker.offer(m), address: address(m)}
			b.offer.Draining = b.offer.Draining || draining[m.Hostname]
			byAgent[m.AgentID.Value], order = b, append(order, b)
			continue
		}
		b.offer.IDs = append(b.offer.IDs, m.ID.Value)
		f.maker.read(&b.offer, m.Resources)
	}
	var offers []cotton.Offer
	for _, b := range order {
		offers = append(offers, b.offer)
	}
	owned := f.owned(offers, now)
	for _, c := range cotton.Forgotten(offers, owned) {
		f.forgotten(ctx, c)
	}
	wants := f.wants(now)
	placement := cotton.Place(offers, wants, now)
	f.keepRefusals(placement.Refusals, len(all))
	wanted := map[string]bool{}
	for _, w := range wants {
		wanted[w.ResourceID] = w.ResourceID != ""
	}
	releases, orphans := cotton.Reclaim(offers, owned, wanted, now)
	f.keepOrphans(orphans)
	for _, r := range append(placement.Releases, releases...) {
		f.cfg.Log.Info("giving back", "agent", r.Hostname, "cluster", r.Cluster, "member", r.Member, "resource", r.ResourceID,
			"amounts", r.Amounts.String(), "volumes", len(r.Volumes), "why", r.Why)
		b := byAgent[r.AgentID]
		b.ops = append(b.ops, f.maker.release(r)...)
	}
	for _, a := range placement.Assignments {
		b := byAgent[a.AgentID]
		if ops, claim, ok := f.claim(ctx, a, b.address); ok {
			b.ops, b.claims = append(b.ops, ops...), append(b.claims, claim)
		}
	}
	refuse := f.cfg.Refuse
	if len(wants) == 0 {
		refuse = longRefusal
	}
	f.offering.declined = f.offering.declined || refuse == longRefusal
	var unused []mesos.OfferID
	for _, b := range order {
		if len(b.ops) == 0 {
			unused = append(unused, b.ids()...)
			continue
		}
		f.accept(ctx, b, refuse)
	}
	f.decline(ctx, unused, refuse)
}

// unheard tells whether Mesos does not say that a member's task lives, nor that it is over.
func (f *Framework) unheard(m cotton.Member) bool {
	_, open := f.reconciling.open[m.TaskID]
	return open || m.OutOfSight()
}

// forgotten stores that a task is over, of which its agent knows nothing any more; the member then waits for its volume to be
// offered anew.
func (f *Framework) forgotten(ctx context.Context, c cotton.Claim) {
	f.cfg.Log.Warn("an agent came back under another id", "it_was", c.AgentID, "task", c.TaskID, "volume", c.VolumeID)
	f.answered(c.TaskID)
	if _, err := f.keepStatus(ctx, mesos.TaskStatus{
		TaskID: mesos.TaskID{Value: c.TaskID}, State: mesos.TASK_GONE.Enum(), Reason: mesos.REASON_AGENT_REMOVED.Enum(),
		Message: ptr("its agent came back under another id, and offers its volume"),
	}); err != nil {
		f.cfg.Log.Error("that a task is over is not stored: it is tried again with the next offer", "task", c.TaskID, "error", err)
	}
}

// decline gives offers of any agents back in one call.
func (f *Framework) decline(ctx context.Context, ids []mesos.OfferID, refuse time.Duration) {
	if len(ids) == 0 {
		return
	}
	f.metrics.offersDeclined.Add(float64(len(ids)))
	if err := f.scheduler.Call(ctx, calls.Decline(ids...).With(calls.RefuseSeconds(refuse))); err != nil {
		f.cfg.Log.Warn("offers are not declined", "offers", len(ids), "error", err) // they expire with the subscription
	}
}

// bundle is what one agent offers, and what is to be done with it.
type bundle struct {
	offer   cotton.Offer
	address string // of the agent
	ops     []mesos.Offer_Operation
	claims  []claim
}

// claim is a launch that is stored.
type claim struct {
	cluster *cluster
	member  int
	task    string
}

func (b *bundle) ids() []mesos.OfferID {
	var ids []mesos.OfferID
	for _, id := range b.offer.IDs {
		ids = append(ids, mesos.OfferID{Value: id})
	}
	return ids
}

func address(m mesos.Offer) string {
	if m.URL == nil {
		return ""
	}
	return m.URL.Address.GetIP()
}

// accept sends ACCEPT for an agent's offers.
func (f *Framework) accept(ctx context.Context, b *bundle, refuse time.Duration) {
	ids := b.ids()
	f.metrics.offersAccepted.Add(float64(len(ids)))
	for _, op := range b.ops {
		f.metrics.operations.WithLabelValues(op.Type.String()).Inc()
	}
	if len(b.claims) > 0 {
		fault.Point(faultStored)
	}
	call := calls.Accept(calls.OfferOperations(b.ops).WithOffers(ids...)).With(calls.RefuseSeconds(min(refuse, time.Second)))
	err := f.scheduler.Call(ctx, call)
	if len(b.claims) > 0 {
		fault.Point(faultAccepted)
	} else if len(b.ops) > 0 {
		fault.Point(faultReclaimed)
	}
	if err != nil {
		f.cfg.Log.Warn("ACCEPT failed", "agent", b.offer.Hostname, "error", err)
	}
	if errors.Is(err, client.ErrDisconnected) { // surely not sent; whatever else is asked about after the launch timeout
		for _, c := range b.claims {
			f.unclaim(ctx, c)
		}
	}
}

// claim stores that a member is about to be launched, and makes the operations for it (I9). A store that does not take
// it means that nothing is sent.
func (f *Framework) claim(ctx context.Context, a cotton.Assignment, agentAddress string) ([]mesos.Offer_Operation, claim, bool) {
	c := f.get(a.Cluster)
	if c == nil {
		return nil, claim{}, false
	}
	host := f.hostOf(ctx, a.Hostname, agentAddress)
	var rec cotton.Record
	var member cotton.Member
	err := f.change(ctx, c, func(r *cotton.Record) error {
		m, ok := r.Member(a.Member)
		if !ok || r.State == cotton.StateDeleting || !waiting(*m) {
			return errUnchanged
		}
		if m.ResourceID != "" && m.ResourceID != a.ResourceID {
			r.Abandon(m, "placed anew: its reservation was not offered again", f.clock.now())
		}
		m.Anew = a.CreateVolume && m.ResourceID == ""
		m.Phase, m.TaskState, m.Reason = cotton.PhaseLaunched, "", ""
		m.Launches++
		m.TaskID = taskID(a.Cluster, m.ID, m.Launches)
		m.AgentID, m.Hostname, m.Rack, m.Zone, m.Host = a.AgentID, a.Hostname, a.Rack, a.Zone, host
		m.ResourceID, m.VolumeID, m.Port = a.ResourceID, a.VolumeID, a.Port
		m.LaunchedAt, m.Proves = f.clock.now(), true
		m.Restart, m.Stopping = false, false // the task is described by what is stored now
		rec, member = r.Clone(), *m
		return nil
	})
	if err != nil {
		if !errors.Is(err, errUnchanged) {
			f.cfg.Log.Error("a launch cannot be stored, so nothing is launched", "cluster", a.Cluster, "member", a.Member, "error", err)
		}
		return nil, claim{}, false
	}
	task, err := f.taskInfo(rec, member, a)
	if err != nil {
		f.cfg.Log.Error("a task cannot be described", "cluster", a.Cluster, "error", err)
		return nil, claim{}, false
	}
	f.cfg.Log.Info("launching", "task", member.TaskID, "agent", a.Hostname, "port", a.Port, "volume", a.VolumeID, "new_volume", a.CreateVolume)
	return append(f.maker.prepare(a), calls.OpLaunch(task)), claim{c, a.Member, member.TaskID}, true
}

// unclaim takes a launch back that was surely not sent.
func (f *Framework) unclaim(ctx context.Context, cl claim) {
	err := f.changeMember(ctx, cl.cluster, cl.member, func(m *cotton.Member) error {
		if m.TaskID != cl.task || m.Phase != cotton.PhaseLaunched || m.TaskState != "" {
			return errUnchanged
		}
		m.Phase = cotton.PhasePending
		if m.HasData {
			m.Phase = cotton.PhaseLost
		}
		if m.Anew {
			m.ResourceID, m.VolumeID, m.Port = "", "", 0
		}
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		f.cfg.Log.Warn("a launch that was not sent stays stored until it times out", "task", cl.task, "error", err)
	}
}

// waiting tells whether a member wants an offer.
func waiting(m cotton.Member) bool {
	return (m.Phase == cotton.PhasePending || m.Phase == cotton.PhaseLost) && !m.Leaving
}

// wants are all members that want an offer now, of the oldest cluster first.
func (f *Framework) wants(now time.Time) []cotton.Want {
	var wants []cotton.Want
	for _, c := range f.list() {
		r := c.snapshot()
		if r.State == cotton.StateDeleting {
			continue
		}
		for _, m := range r.Members {
			if waiting(m) && !now.Before(m.RetryAt) {
				wants = append(wants, want(r, m, now))
			}
		}
	}
	return wants
}

func want(r cotton.Record, m cotton.Member, now time.Time) cotton.Want {
	w := cotton.Want{
		Cluster: r.Spec.Name, Member: m.ID, Size: r.Spec.Size, Scalars: r.Spec.Scalars, Constraints: r.Spec.Constraints,
		ResourceID: m.ResourceID, VolumeID: m.VolumeID, Port: m.Port, HasData: m.HasData,
		Stay: m.ResourceID != "" && now.Before(m.RetryAt.Add(stayFor)), AgentID: m.AgentID,
		NewResourceID: newID(), NewVolumeID: newID(), Avoid: map[string]string{},
	}
	for _, o := range r.Members {
		if o.ID != m.ID && o.AgentID != "" {
			w.Siblings = append(w.Siblings, cotton.Where{AgentID: o.AgentID, Hostname: o.Hostname, Rack: o.Rack, Zone: o.Zone})
		}
	}
	for _, a := range r.Abandoned {
		if a.Member == m.ID && now.Sub(a.At) < avoidFor {
			w.Avoid[a.AgentID] = a.Why
		}
	}
	return w
}

// owned is what the records say of what may be offered.
func (f *Framework) owned(offers []cotton.Offer, now time.Time) cotton.Owned {
	owned := cotton.Owned{
		FrameworkID: f.maker.frameworkID, Claims: map[string]cotton.Claim{}, Spare: map[string]bool{},
		Quarantine: f.cfg.Quarantine, FirstSeen: f.orphansSeen,
	}
	for _, c := range f.list() {
		r := c.snapshot()
		spare := r.State == cotton.StateDeleting
		for _, m := range r.Members {
			spare = spare || m.Phase == cotton.PhaseRunning && m.HasData
			if m.ResourceID != "" {
				owned.Claims[m.ResourceID] = cotton.Claim{
					Cluster: r.Spec.Name, Member: m.ID, VolumeID: m.VolumeID, TaskID: m.TaskID, AgentID: m.AgentID, Live: mayLive(m),
					Unheard: f.unheard(m), Removing: m.Phase == cotton.PhaseRemoving,
				}
			}
		}
		for _, a := range r.Abandoned {
			owned.Claims[a.ResourceID] = cotton.Claim{Cluster: r.Spec.Name, Member: a.Member, VolumeID: a.VolumeID, Removing: true}
		}
		owned.Spare[r.Spec.Name] = spare
	}
	for _, l := range f.leftBehind() { // an operator's word: it need not be kept, whatever it is a copy of
		owned.Claims[l.ResourceID] = cotton.Claim{Cluster: l.Cluster, Member: l.Member, VolumeID: l.VolumeID, Removing: true}
	}
	for _, o := range offers {
		for _, h := range o.Held {
			if _, claimed := owned.Claims[h.ResourceID]; !claimed && h.FrameworkID == owned.FrameworkID {
				if _, seen := f.orphansSeen[h.ResourceID]; !seen {
					f.orphansSeen[h.ResourceID] = now
				}
			}
		}
	}
	return owned
}

// resolveLimit bounds the look-up of an agent's name.
const resolveLimit = time.Second

// hostOf is what clients connect to: the agent's hostname, or its address where the name is not known here.
func (f *Framework) hostOf(ctx context.Context, hostname, agentAddress string) string {
	if known, looked := f.hosts[hostname]; looked {
		return cmp.Or(known, agentAddress, hostname)
	}
	ctx, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	known := hostname
	if found, err := net.DefaultResolver.LookupHost(ctx, hostname); (err != nil || len(found) == 0) && agentAddress != "" {
		known = "" // not the address: it may change
	}
	f.hosts[hostname] = known
	return cmp.Or(known, agentAddress, hostname)
}
