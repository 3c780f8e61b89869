package framework

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/aosc/aosc/internal/cotton"
)

// How often the master is asked which agents are withheld, in units of Config.Refuse. No event tells a framework of it: offers
// stay away, and tasks end with REASON_AGENT_DRAINING, upon which it is asked at once.
const (
	withheldLook = 2 // while some are, or a member waits for a place
	withheldRest = 12
	// withheldGap is the least time between two looks, in whatever hurry.
	withheldGap = 200 * time.Millisecond
)

// withheldWatch looks for agents that an operator keeps from being used.
type withheldWatch struct {
	f    *Framework
	last time.Time
}

func (w *withheldWatch) round(ctx context.Context, now time.Time) {
	f := w.f
	all := f.list()
	if len(all) == 0 {
		return
	}
	wait := withheldRest * f.cfg.Refuse
	if len(f.Withheld()) > 0 || slices.ContainsFunc(all, func(c *cluster) bool { return slices.ContainsFunc(c.snapshot().Members, waiting) }) {
		wait = withheldLook * f.cfg.Refuse
	}
	if f.drained.Load() {
		wait = withheldGap
	}
	if now.Sub(w.last) < wait {
		return
	}
	w.last = now
	f.drained.Store(false)
	agents, err := f.operator.Agents(ctx)
	if err != nil {
		f.cfg.Log.Warn("cannot see which agents are drained or deactivated", "error", err)
		return
	}
	f.keepWithheld(withheldAmong(agents))
}

// withheldAmong is pure: the agents that an operator keeps from being used, by hostname.
func withheldAmong(agents *master.Response_GetAgents) []cotton.Withheld {
	var all []cotton.Withheld
	for _, a := range agents.Agents {
		if a.Deactivated == nil || !*a.Deactivated {
			continue
		}
		w := cotton.Withheld{AgentID: a.AgentInfo.GetID().GetValue(), Hostname: a.AgentInfo.Hostname, State: cotton.WithheldDeactivated}
		if d := a.DrainInfo; d != nil {
			w.State, w.Gone = cotton.WithheldDraining, d.Config.GetMarkGone()
			if d.State == mesos.DrainState_DRAINED {
				w.State = cotton.WithheldDrained
			}
		}
		if at := a.EstimatedDrainStartTime; at != nil {
			w.Since = time.Unix(0, at.Nanoseconds).UTC()
		}
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b cotton.Withheld) int {
		return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.AgentID, b.AgentID))
	})
	return all
}

// keepWithheld takes what the master says now. Offers of an agent that is used again are asked for.
func (f *Framework) keepWithheld(now []cotton.Withheld) {
	f.mu.Lock()
	before := f.withheld
	f.withheld = now
	f.mu.Unlock()
	if slices.Equal(before, now) {
		return
	}
	states := func(all []cotton.Withheld) map[string]string {
		out := map[string]string{}
		for _, w := range all {
			out[w.Hostname] = w.State
		}
		return out
	}
	was, is := states(before), states(now)
	for _, host := range slices.Sorted(maps.Keys(is)) {
		if was[host] != is[host] {
			f.cfg.Log.Warn("an agent is kept from being used, by an operator of Mesos", "agent", host, "state", is[host])
		}
	}
	for _, host := range slices.Sorted(maps.Keys(was)) {
		if is[host] == "" {
			f.cfg.Log.Info("an agent is no longer drained or deactivated", "agent", host)
			f.anew.Store(true)
		}
	}
	for _, c := range f.list() {
		c.poke()
	}
}

// Withheld are the agents that an operator keeps from being used, by DRAIN_AGENT or DEACTIVATE_AGENT, by hostname.
func (f *Framework) Withheld() []cotton.Withheld {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.withheld)
}

// withheldProblems say of members on such agents what becomes of them.
func withheldProblems(r cotton.Record, withheld []cotton.Withheld, replaceAfter time.Duration) []string {
	var problems []string
	for _, m := range r.Members {
		at := slices.IndexFunc(withheld, func(w cotton.Withheld) bool { return w.Concerns(m) })
		if at < 0 || m.Phase == cotton.PhaseRemoving {
			continue
		}
		problems = append(problems, fmt.Sprintf("%s: its %s; %s", r.MemberName(m.ID), withheld[at],
			withheldFate(r, m, withheld[at], replaceAfter)))
	}
	return problems
}

// withheldFate is what becomes of a member on an agent that is withheld.
func withheldFate(r cotton.Record, m cotton.Member, w cotton.Withheld, replaceAfter time.Duration) string {
	switch {
	case w.Gone:
		return "its data go with the agent, and another takes its place"
	case m.Phase == cotton.PhaseRunning && w.State == cotton.WithheldDeactivated:
		return "it runs on, and could not be started there again before REACTIVATE_AGENT"
	case m.Phase == cotton.PhaseRunning:
		return "it is ended there"
	case !m.HasData:
		return "it is placed elsewhere"
	case len(r.Members) == 1:
		return "its data are there and it is the only instance: it waits for REACTIVATE_AGENT"
	}
	text := "its data are there: it waits for REACTIVATE_AGENT"
	if replaceAfter > 0 && !m.DownSince.IsZero() {
		return text + fmt.Sprintf(", and if that has not come by %s UTC another takes its place (--replace-after %s); at once: cotton replace "+
			"%s --member %d",
			m.DownSince.Add(replaceAfter).UTC().Format(time.DateTime), replaceAfter, r.Spec.Name, m.ID)
	}
	return text + fmt.Sprintf("; another takes its place by: cotton replace %s --member %d", r.Spec.Name, m.ID)
}
