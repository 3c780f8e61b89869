package framework

import (
	"context"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/fault"
)

const (
	// choreInterval is how often it is looked whether there is anything to do; all of it has limits of its own.
	choreInterval = 100 * time.Millisecond
	// reviveGap is the least time between two REVIVE: each makes the master look at all agents (R20).
	reviveGap = time.Second
	// sweep is how long after a subscription offers are wanted in any case, to find orphans.
	sweep = 30 * time.Second
	// Reconciliation: explicit until every task is answered for, implicit now and then (R7).
	firstReconcile    = time.Second
	maxReconcile      = time.Minute
	implicitReconcile = time.Hour
)

// chores are what time brings, until ctx ends.
func (f *Framework) chores(ctx context.Context) {
	tick := time.NewTicker(choreInterval)
	defer tick.Stop()
	removal, withheld := removal{f: f}, withheldWatch{f: f}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		f.gauges()
		if !f.Health().Connected {
			continue
		}
		f.working.Lock()
		now := f.clock.now()
		f.kill(ctx, now)
		f.launchTimeouts(now)
		f.reconcile(ctx, now)
		f.wantOffers(ctx, now)
		f.working.Unlock()
		removal.round(ctx, now)
		withheld.round(ctx, now)
	}
}

func (f *Framework) gauges() {
	phases := map[cotton.Phase]int{cotton.PhasePending: 0, cotton.PhaseLaunched: 0, cotton.PhaseRunning: 0, cotton.PhaseLost: 0, cotton.PhaseRemoving: 0}
	all, operating := f.list(), 0
	for _, c := range all {
		c.mu.Lock()
		if c.record.Operation != nil {
			operating++
		}
		for _, m := range c.record.Members {
			phases[m.Phase]++
		}
		c.mu.Unlock()
	}
	f.metrics.clusters.Set(float64(len(all)))
	f.metrics.maintenance.Set(float64(len(f.Maintenance())))
	f.metrics.withheld.Set(float64(len(f.Withheld())))
	f.metrics.operating.Set(float64(operating))
	f.metrics.draining.Set(float64(len(f.drainingHosts())))
	f.metrics.leftBehind.Set(float64(len(f.leftBehind())))
	for phase, n := range phases {
		f.metrics.members.WithLabelValues(string(phase)).Set(float64(n))
	}
}

// kill asks for the end of tasks that must not run, again and again until they are over (R11).
func (f *Framework) kill(ctx context.Context, now time.Time) {
	f.mu.Lock()
	type killed struct {
		agent string
		grace time.Duration
	}
	due := map[string]killed{}
	for id, k := range f.strays {
		if now.Sub(k.last) >= f.cfg.KillEvery {
			due[id], k.last = killed{k.agent, f.cfg.KillGrace}, now
		}
	}
	f.mu.Unlock()
	for _, c := range f.list() {
		for _, m := range c.snapshot().Members {
			if (m.Phase == cotton.PhaseRemoving || m.Stopping) && mayLive(m) && c.killDue(m.TaskID, now, f.cfg.KillEvery) {
				due[m.TaskID] = killed{m.AgentID, f.cfg.KillGrace}
				if m.Phase == cotton.PhaseRemoving {
					due[m.TaskID] = killed{m.AgentID, min(removalGrace, f.cfg.KillGrace)}
				}
			}
		}
	}
	for id, k := range due {
		f.metrics.kills.Inc()
		call := calls.Kill(id, k.agent)
		call.Kill.KillPolicy = &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: k.grace.Nanoseconds()}}
		if err := f.scheduler.Call(ctx, call); err != nil {
			f.cfg.Log.Warn("KILL failed, it will be repeated", "task", id, "error", err)
		}
		fault.Point(faultKilled)
	}
}

// removalGrace is for a server whose data are destroyed next. One whose receiver was stopped in the middle of a transaction
// waits for the rest of it for a minute before it ends in good order.
const removalGrace = 2 * time.Second

// reconciling is which tasks Mesos is to be asked about.
type reconciling struct {
	open     map[string]string // agent by task id, without an answer yet
	wait     time.Duration
	next     time.Time
	implicit time.Time
}

// reconcileAll asks about every task that may live; f.working is held.
func (f *Framework) reconcileAll() {
	f.reconciling = reconciling{open: map[string]string{}, implicit: f.clock.now().Add(implicitReconcile)}
	for _, c := range f.list() {
		for _, m := range c.snapshot().Members {
			if mayLive(m) {
				f.reconciling.open[m.TaskID] = m.AgentID
			}
		}
	}
}

// answered: Mesos said something about the task.
func (f *Framework) answered(task string) { delete(f.reconciling.open, task) }

// launchTimeouts asks about tasks of which nothing was heard since they were launched. Only the answer makes a launch a
// failed one (R8): silence alone never starts a second task (I9).
func (f *Framework) launchTimeouts(now time.Time) {
	for _, c := range f.list() {
		for _, m := range c.snapshot().Members {
			if m.Phase != cotton.PhaseLaunched || m.TaskState != "" || now.Sub(m.LaunchedAt) < f.cfg.LaunchTimeout {
				continue
			}
			if _, asked := f.reconciling.open[m.TaskID]; !asked {
				f.cfg.Log.Warn("nothing was heard of a launch: asking Mesos", "task", m.TaskID, "since", m.LaunchedAt)
				f.reconciling.open[m.TaskID], f.reconciling.wait, f.reconciling.next = m.AgentID, 0, now
			}
		}
	}
}

// reconcile asks about all that is open, at growing intervals: a master that has just started says nothing of agents
// that are not back yet.
func (f *Framework) reconcile(ctx context.Context, now time.Time) {
	r := &f.reconciling
	if now.After(r.implicit) {
		r.implicit = now.Add(implicitReconcile)
		f.ask(ctx, map[string]string{})
	}
	if len(r.open) == 0 || now.Before(r.next) {
		return
	}
	r.wait = min(max(2*r.wait, firstReconcile), maxReconcile)
	r.next = now.Add(r.wait)
	f.ask(ctx, r.open)
}

func (f *Framework) ask(ctx context.Context, tasks map[string]string) {
	f.metrics.reconciles.Inc()
	if err := f.scheduler.Call(ctx, calls.Reconcile(calls.ReconcileTasks(tasks))); err != nil {
		f.cfg.Log.Warn("RECONCILE failed, it will be repeated", "error", err)
	}
}

// offering is how offers are asked for.
type offering struct {
	connectedAt time.Time
	suppressed  bool
	declined    bool // offers were declined for long: only REVIVE brings them back
	revivedAt   time.Time
}

// needOffers tells whether offers are of any use now or soon; f.working is held.
func (f *Framework) needOffers(now time.Time) bool {
	if now.Sub(f.offering.connectedAt) < sweep {
		return true
	}
	for _, since := range f.orphansSeen {
		if now.Sub(since) < f.cfg.Quarantine+sweep {
			return true
		}
	}
	if len(f.leftBehind()) > 0 {
		return true
	}
	if old, _ := f.oldAnswers(); len(old) > 0 {
		return true
	}
	for _, c := range f.list() {
		r := c.snapshot()
		if len(r.Abandoned) > 0 {
			return true
		}
		for _, m := range r.Members {
			// Of an agent that comes back under another id its offer is all that tells.
			if waiting(m) || f.unheard(m) || m.Phase == cotton.PhaseRemoving && m.ResourceID != "" {
				return true
			}
		}
	}
	return false
}

// wantOffers sends SUPPRESS when no offer is of use, and REVIVE when one is again (R20).
func (f *Framework) wantOffers(ctx context.Context, now time.Time) {
	o := &f.offering
	if !f.needOffers(now) {
		if !o.suppressed && f.call(ctx, calls.Suppress()) {
			f.metrics.suppresses.Inc()
			o.suppressed = true
		}
		return
	}
	gap := reviveGap
	old, fresh := f.oldAnswers()
	switch {
	case f.anew.Load() || o.suppressed || len(fresh) > 0 || o.declined && len(f.wants(now)) > 0:
	case o.declined, len(old) > 0: // something is to be given back, or said, or looked for: there is no hurry
		gap = f.cfg.Refuse
	default:
		return
	}
	if now.Sub(o.revivedAt) >= gap && f.call(ctx, calls.Revive()) {
		f.metrics.revives.Inc()
		f.anew.Store(false)
		o.suppressed, o.declined, o.revivedAt = false, false, now
		f.mu.Lock()
		f.windows.revivedFor(old)
		f.mu.Unlock()
	}
}

func (f *Framework) call(ctx context.Context, call *scheduler.Call) bool {
	err := f.scheduler.Call(ctx, call)
	if err != nil {
		f.cfg.Log.Warn("a call to Mesos failed, it will be repeated", "call", call.Type, "error", err)
	}
	return err == nil
}
