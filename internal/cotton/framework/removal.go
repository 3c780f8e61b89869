package framework

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/fault"
)

// removalGap is the least time between two looks at what all agents have reserved.
const removalGap = time.Second

// removal forgets what is gone: kill (kill) -> destroy, unreserve (Reclaim, on offers) -> forget, here. That something
// is gone is read from the master, not believed: operations of an ACCEPT are carried out in silence.
type removal struct {
	f    *Framework
	next time.Time
}

// leaving is a placement that is to be given back.
type leaving struct {
	resourceID, agentID, hostname string
	over                          bool // nothing was ever reserved, or the machine is gone for good
	member                        int
	volumeID                      string
}

func (l *removal) round(ctx context.Context, now time.Time) {
	if now.Before(l.next) {
		return
	}
	l.next = now.Add(removalGap)
	var agents *master.Response_GetAgents
	if len(l.f.leftBehind()) > 0 {
		var err error
		if agents, err = l.f.operator.Agents(ctx); err != nil {
			l.f.cfg.Log.Warn("cannot see what agents have reserved, so nothing is forgotten", "error", err)
			return
		}
		if err := l.f.forgetReturned(ctx, agents); err != nil {
			l.f.cfg.Log.Error("what was left behind and is given back is not forgotten yet", "error", err)
		}
	}
	for _, c := range l.f.list() {
		r := c.snapshot()
		left := leavingOf(r)
		if len(left) == 0 && r.State != cotton.StateDeleting && !slices.ContainsFunc(r.Members, bare) {
			continue
		}
		if agents == nil && slices.ContainsFunc(left, func(p leaving) bool { return !p.over }) {
			var err error
			if agents, err = l.f.operator.Agents(ctx); err != nil {
				l.f.cfg.Log.Warn("cannot see what agents have reserved, so nothing is forgotten", "error", err)
				return
			}
		}
		if err := l.forget(ctx, c, left, agents); err != nil && !errors.Is(err, errUnchanged) {
			l.f.cfg.Log.Error("what is gone is not forgotten yet", "cluster", c.name, "error", err)
		}
	}
}

// bare is a member to be forgotten that has nothing anywhere: it was never placed.
func bare(m cotton.Member) bool {
	return m.Phase == cotton.PhaseRemoving && !mayLive(m) && m.ResourceID == ""
}

func leavingOf(r cotton.Record) []leaving {
	var left []leaving
	for _, m := range r.Members {
		if m.Phase == cotton.PhaseRemoving && (!mayLive(m) || r.Forced) && m.ResourceID != "" {
			left = append(left, leaving{m.ResourceID, m.AgentID, m.Hostname, gone(m.TaskState), m.ID, m.VolumeID})
		}
	}
	for _, a := range r.Abandoned {
		left = append(left, leaving{a.ResourceID, a.AgentID, a.Hostname, false, a.Member, a.VolumeID})
	}
	return left
}

// forget drops from a record what is gone, and the record itself once nothing is left of it.
func (l *removal) forget(ctx context.Context, c *cluster, left []leaving, agents *master.Response_GetAgents) error {
	gone, forced := map[string]bool{}, c.snapshot().Forced
	var behind []cotton.LeftBehind
	for _, p := range left {
		gone[p.resourceID] = p.over || released(p, agents)
		if forced && !gone[p.resourceID] && away(p, agents) {
			behind = append(behind, cotton.LeftBehind{Cluster: c.name, Abandoned: cotton.Abandoned{Member: p.member, ResourceID: p.resourceID,
				VolumeID: p.volumeID, AgentID: p.agentID, Hostname: p.hostname, At: l.f.clock.now(), Why: "deleted by force while its agent was away"}})
			gone[p.resourceID] = true
		}
	}
	if err := l.f.leaveBehind(ctx, behind); err != nil { // before the cluster's record forgets it
		return err
	}
	if slices.Contains(slices.Collect(maps.Values(gone)), true) {
		fault.Point(faultReleased)
	}
	err := l.f.change(ctx, c, func(r *cotton.Record) error {
		before := len(r.Members) + len(r.Abandoned)
		r.Members = slices.DeleteFunc(r.Members, func(m cotton.Member) bool {
			return m.Phase == cotton.PhaseRemoving && (bare(m) || gone[m.ResourceID] && (!mayLive(m) || r.Forced))
		})
		r.Abandoned = slices.DeleteFunc(r.Abandoned, func(a cotton.Abandoned) bool { return gone[a.ResourceID] && !avoided(*r, a, l.f.clock.now()) })
		if len(r.Members)+len(r.Abandoned) == before {
			return errUnchanged
		}
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return err
	}
	if r := c.snapshot(); r.State == cotton.StateDeleting && len(r.Members)+len(r.Abandoned) == 0 {
		return l.f.forgetCluster(ctx, c)
	}
	return nil
}

// avoided tells whether an abandoned placement is still needed to know which agent to avoid.
func avoided(r cotton.Record, a cotton.Abandoned, now time.Time) bool {
	m, ok := r.Member(a.Member)
	return ok && waiting(*m) && now.Sub(a.At) < avoidFor
}

// released tells whether the master knows of no reservation any more. An agent that is away may still have it.
func released(p leaving, agents *master.Response_GetAgents) bool {
	if agents == nil {
		return false
	}
	there := false
	for _, a := range agents.Agents {
		if a.Active && (a.AgentInfo.GetID().Value == p.agentID || a.AgentInfo.Hostname == p.hostname) {
			there = true
		}
		if slices.ContainsFunc(a.TotalResources, func(r mesos.Resource) bool {
			info, ok := current(r)
			return ok && label(info, labelResource) == p.resourceID
		}) {
			return false
		}
	}
	return there
}

// away tells whether the agent of a placement is not there.
func away(p leaving, agents *master.Response_GetAgents) bool {
	return agents != nil && !slices.ContainsFunc(agents.Agents, func(a master.Response_GetAgents_Agent) bool {
		return a.Active && (a.AgentInfo.GetID().Value == p.agentID || a.AgentInfo.Hostname == p.hostname)
	})
}

// forgetCluster is the end of a deletion.
func (f *Framework) forgetCluster(ctx context.Context, c *cluster) error {
	c.stop()
	<-c.over
	fault.Point(faultForgotten)
	if err := f.cfg.Publisher.Remove(ctx, c.name); err != nil {
		return err
	}
	fault.Point(faultHidden)
	if err := f.cfg.Store.Delete(ctx, c.name, c.snapshot().Version); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	f.mu.Lock()
	delete(f.clusters, c.name)
	delete(f.refusals, c.name)
	f.mu.Unlock()
	f.cfg.Log.Info("cluster deleted", "cluster", c.name)
	return nil
}
