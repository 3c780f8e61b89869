package framework

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/fault"
)

// changeOwn edits the framework's own record and stores it. An edit that returns an error, also errUnchanged, changes
// nothing.
func (f *Framework) changeOwn(ctx context.Context, edit func(*store.Framework) error) error {
	f.storing.Lock()
	defer f.storing.Unlock()
	f.mu.Lock()
	own := f.own
	f.mu.Unlock()
	if err := edit(&own); err != nil {
		return err
	}
	stored, err := f.cfg.Store.PutFramework(ctx, own)
	if err != nil {
		return f.storeFailed("(the framework itself)", err)
	}
	f.mu.Lock()
	f.own = stored
	f.mu.Unlock()
	return nil
}

// drainingHosts are the agents that members are to leave, by hostname.
func (f *Framework) drainingHosts() map[string]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	hosts := map[string]bool{}
	for host := range f.own.Draining {
		hosts[host] = true
	}
	return hosts
}

func (f *Framework) leftBehind() []cotton.LeftBehind {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.own.LeftBehind
}

// Draining is an agent that is being drained, and what is left on it.
type Draining struct {
	Hostname string
	cotton.Drain
	Left []DrainLeft // members that are on it still
}

// DrainLeft is a member on an agent that is to be drained.
type DrainLeft struct {
	Cluster, Name string
	Member        int
	Steps         []string // what is done, or would be
	Waits         string   // what that waits for, or why it is refused; empty when it goes on
}

// DrainOptions are what may be asked of a drain.
type DrainOptions struct {
	Undo   bool // members may come again; replacements that have not joined are taken back
	Why    string
	DryRun bool
}

// Drain has all members leave an agent, and keeps new ones off it, until that is undone: primaries are handed over, then each
// member is replaced, one at a time in each cluster. It returns once that is stored. Errors: ErrNotReady, a
// *cotton.RefusedError for an agent that the master does not know and that has no member.
func (f *Framework) Drain(ctx context.Context, hostname string, o DrainOptions) (Draining, error) {
	if err := f.ready(); err != nil {
		return Draining{}, err
	}
	if !o.Undo {
		if err := f.knownAgent(ctx, hostname); err != nil {
			return Draining{}, err
		}
	}
	if o.DryRun {
		d := Draining{Hostname: hostname, Drain: cotton.Drain{Why: o.Why}}
		if !o.Undo {
			d.Left = f.leftOn(ctx, hostname)
		}
		return d, nil
	}
	err := f.changeOwn(ctx, func(own *store.Framework) error {
		_, is := own.Draining[hostname]
		if is != o.Undo {
			return errUnchanged
		}
		draining := maps.Clone(own.Draining)
		if draining == nil {
			draining = map[string]cotton.Drain{}
		}
		if o.Undo {
			delete(draining, hostname)
		} else {
			draining[hostname] = cotton.Drain{Since: f.clock.now(), Why: o.Why}
		}
		own.Draining = draining
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return Draining{}, err
	}
	f.cfg.Log.Info("drain", "agent", hostname, "undo", o.Undo, "why", o.Why)
	f.anew.Store(true)
	for _, c := range f.list() {
		c.poke()
	}
	for _, d := range f.Drainings(ctx) {
		if d.Hostname == hostname {
			return d, nil
		}
	}
	return Draining{Hostname: hostname}, nil
}

// Drainings are all agents that are being drained, by hostname.
func (f *Framework) Drainings(ctx context.Context) []Draining {
	f.mu.Lock()
	draining := f.own.Draining
	f.mu.Unlock()
	var all []Draining
	for _, host := range slices.Sorted(maps.Keys(draining)) {
		all = append(all, Draining{Hostname: host, Drain: draining[host], Left: f.leftOn(ctx, host)})
	}
	return all
}

// LeftBehind is what forced deletions left on agents that were away; it is given back when they return.
func (f *Framework) LeftBehind() []cotton.LeftBehind { return slices.Clone(f.leftBehind()) }

// leftOn are the members on an agent, with what is, or would be, done about each.
func (f *Framework) leftOn(ctx context.Context, hostname string) []DrainLeft {
	var left []DrainLeft
	for _, c := range f.list() {
		v := c.view()
		for _, m := range v.Record.Members {
			if m.Hostname != hostname || m.TaskID == "" || v.Record.State == cotton.StateDeleting {
				continue
			}
			l := DrainLeft{Cluster: c.name, Name: v.Record.MemberName(m.ID), Member: m.ID}
			switch op := v.Record.Operation; {
			case m.Phase == cotton.PhaseRemoving:
				l.Waits = "its volume and reservation are being given back"
			case op != nil:
				l.Steps, l.Waits = []string{op.Text(v.Record)}, v.Waits
			default:
				l.Steps, l.Waits = f.wouldReplace(ctx, c, v.Record, m.ID)
			}
			left = append(left, l)
		}
	}
	return left
}

func (f *Framework) wouldReplace(ctx context.Context, c *cluster, r cotton.Record, member int) (steps []string, why string) {
	room, err := f.room(ctx, r, 1)
	if err != nil {
		return nil, err.Error()
	}
	plan, _, err := cotton.PlanOperation(r, c.seenNow(), room, cotton.Request{Kind: cotton.OpReplace, Member: member}, f.clock.now())
	if err != nil {
		return nil, err.Error()
	}
	return plan.Steps, ""
}

// knownAgent refuses a name that is nobody's: it would be drained for nothing, and the right one not.
func (f *Framework) knownAgent(ctx context.Context, hostname string) error {
	for _, c := range f.list() {
		for _, m := range c.snapshot().Members {
			if m.Hostname == hostname {
				return nil
			}
		}
	}
	agents, err := f.operator.Agents(ctx)
	if err != nil {
		return fmt.Errorf("%w: it cannot be seen which agents there are: %w", ErrNotReady, err)
	}
	var names []string
	for _, a := range agents.Agents {
		if a.AgentInfo.Hostname == hostname {
			return nil
		}
		names = append(names, a.AgentInfo.Hostname)
	}
	slices.Sort(names)
	return &cotton.InvalidError{Field: "agent", Problem: fmt.Sprintf("%q is the hostname of no agent; there are %v", hostname, names)}
}

// ForceDelete is Delete that does not wait for agents that are away: what they hold is remembered with the framework, and
// destroyed and given back when they return. Errors as of Delete.
func (f *Framework) ForceDelete(ctx context.Context, name string) error {
	if err := f.Delete(ctx, name); err != nil {
		return err
	}
	c := f.get(name)
	if c == nil {
		return nil // gone meanwhile
	}
	err := f.change(ctx, c, func(r *cotton.Record) error {
		if r.Forced {
			return errUnchanged
		}
		r.Forced = true
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// leaveBehind stores what a forced deletion cannot give back now.
func (f *Framework) leaveBehind(ctx context.Context, behind []cotton.LeftBehind) error {
	if len(behind) == 0 {
		return nil
	}
	err := f.changeOwn(ctx, func(own *store.Framework) error {
		before := len(own.LeftBehind)
		own.LeftBehind = slices.Clone(own.LeftBehind)
		for _, b := range behind {
			if !slices.ContainsFunc(own.LeftBehind, func(l cotton.LeftBehind) bool { return l.ResourceID == b.ResourceID }) {
				own.LeftBehind = append(own.LeftBehind, b)
			}
		}
		if len(own.LeftBehind) == before {
			return errUnchanged
		}
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return err
	}
	for _, b := range behind {
		f.cfg.Log.Warn("left behind by force: it is destroyed and given back when its agent returns", "cluster", b.Cluster, "member", b.Member,
			"agent", b.Hostname, "volume", b.VolumeID, "resource", b.ResourceID)
	}
	fault.Point(faultForced)
	return nil
}

// forgetReturned drops what was left behind and is given back.
func (f *Framework) forgetReturned(ctx context.Context, agents *master.Response_GetAgents) error {
	err := f.changeOwn(ctx, func(own *store.Framework) error {
		before := len(own.LeftBehind)
		own.LeftBehind = slices.DeleteFunc(slices.Clone(own.LeftBehind), func(l cotton.LeftBehind) bool {
			return released(leaving{resourceID: l.ResourceID, agentID: l.AgentID, hostname: l.Hostname}, agents)
		})
		if len(own.LeftBehind) == before {
			return errUnchanged
		}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}
