package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/why"
)

// primaryTurn is ordering='primary': the primary is altered and replication carries it. Only where the primary needs
// nothing and a replica still does, proven by settled, is the replica altered by itself.
func (d *decider) primaryTurn(key AlterKey, targets []target, view fleet.ClusterView, primary fleet.Observed) (target, bool) {
	if t, ok := find(targets, primary.Addr()); ok {
		for _, other := range targets {
			if other.Addr() != t.Addr() {
				d.block(key, other.Addr(), why.Order, fmt.Sprintf("waits for the primary %s, replication will carry it", t.Addr()))
			}
		}
		return d.unlessAvoided(key, t)
	}
	if reason := d.notJudged(key, primary.Instance); reason != "" {
		d.keepSettling(key, targets)
		for _, t := range targets {
			d.block(key, t.Addr(), why.Order, fmt.Sprintf("the primary %s %s", primary.Addr(), reason))
		}
		return target{}, false
	}
	return d.heaviest(key, targets, func(t target) bool {
		return d.settled(key, member(view, t.Addr()), primary)
	})
}

// rollingTurn is ordering='rolling': replicas first, one at a time, the primary when no replica is left; or the other way round where
// the change is stricter than what the table is.
func (d *decider) rollingTurn(key AlterKey, targets []target, view fleet.ClusterView, primary fleet.Observed) (target, bool) {
	last, hasPrimary := find(targets, primary.Addr())
	replicas := slices.DeleteFunc(slices.Clone(targets), func(t target) bool { return t.Addr() == primary.Addr() })
	if d.Alters[key].PrimaryFirst {
		return d.primaryFirstTurn(key, replicas, view, primary, last, hasPrimary)
	}
	if len(replicas) > 0 {
		if hasPrimary {
			d.block(key, last.Addr(), why.Order, "the primary goes last, replicas still need it")
		}
		return d.oneReplica(key, replicas, view)
	}
	for _, o := range view.Members {
		if o.Addr() == primary.Addr() {
			continue
		}
		if reason := d.notJudged(key, o.Instance); reason != "" {
			d.block(key, last.Addr(), why.Order, fmt.Sprintf("the primary goes last, replica %s %s", o.Addr(), reason))
			return target{}, false
		}
	}
	return d.unlessAvoided(key, last)
}

// primaryFirstTurn: no replica goes before it is known that the primary needs nothing.
func (d *decider) primaryFirstTurn(key AlterKey, replicas []target, view fleet.ClusterView, primary fleet.Observed, first target, hasPrimary bool) (target, bool) {
	if hasPrimary {
		for _, t := range replicas {
			d.block(key, t.Addr(), why.Order, fmt.Sprintf(
				"the primary %s goes first: the change is stricter than what the table is", primary.Addr()))
		}
		return d.unlessAvoided(key, first)
	}
	if reason := d.notJudged(key, primary.Instance); reason != "" {
		for _, t := range replicas {
			d.block(key, t.Addr(), why.Order, fmt.Sprintf("the primary goes first, and %s %s", primary.Addr(), reason))
		}
		return target{}, false
	}
	return d.oneReplica(key, replicas, view)
}

// oneReplica picks the biggest of the replicas whose role is known.
func (d *decider) oneReplica(key AlterKey, replicas []target, view fleet.ClusterView) (target, bool) {
	return d.heaviest(key, replicas, func(t target) bool {
		if o := member(view, t.Addr()); o.Role != fleet.RoleReplica {
			d.out.trouble(key, t.Addr(), fmt.Sprintf("its role is unknown: %v", o.Err))
			return false
		}
		return true
	})
}

// heaviest picks the biggest target that may go.
func (d *decider) heaviest(key AlterKey, targets []target, may func(target) bool) (target, bool) {
	sorted := slices.SortedStableFunc(slices.Values(targets), func(a, b target) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
	})
	var best target
	var found bool
	for _, t := range sorted {
		switch {
		case !may(t): // it said why
		case found:
			d.block(key, t.Addr(), why.Order, fmt.Sprintf("one instance of cluster %s at a time, %s is first", t.Cluster, best.Addr()))
		default:
			best, found = d.unlessAvoided(key, t)
		}
	}
	return best, found
}

// unlessAvoided passes over an alter that waits between two tries on that instance, and gives an instance on which a start failed a
// moment's rest.
func (d *decider) unlessAvoided(key AlterKey, t target) (target, bool) {
	if r, waits := d.backsOff(key, t.Addr()); waits {
		d.block(key, t.Addr(), why.Backoff, nextTry(r))
		return target{}, false
	}
	until, avoid := d.Avoid[t.Addr()]
	if !avoid || !d.Now.Before(until) {
		return t, true
	}
	d.block(key, t.Addr(), why.Backoff, "starting it failed a moment ago, next attempt at "+until.UTC().Format(time.TimeOnly)+" UTC")
	return target{}, false
}

// notJudged says why it is not known that an instance which is no target needs nothing, "" when it is known: a
// checksum of the pinned version must have finished there, and the collector must have looked since (I11). Absence
// from alter_targets alone proves nothing: an instance that nobody could ask is not in it either.
func (d *decider) notJudged(key AlterKey, i fleet.Instance) string {
	alter := d.Alters[key]
	pass, ok := d.Passes[PassKey{i.Addr(), key.Group}]
	if !ok || pass.StartedAt == nil || pass.FinishedAt == nil || alter.PinnedAt == nil || pass.StartedAt.Before(*alter.PinnedAt) {
		return "has not been checked yet"
	}
	if alter.CollectedAt == nil || !alter.CollectedAt.After(*pass.FinishedAt) {
		d.recollect(key)
		return "has been checked, the collector has not looked since"
	}
	return ""
}

func (d *decider) recollect(key AlterKey) {
	wanted := func(a Action) bool { return a.Kind == Recollect }
	if !slices.ContainsFunc(d.out.Actions, wanted) {
		d.out.do(Action{Kind: Recollect, Alter: key})
	}
}

// settled takes a replica one step further on the way described at Settle, and says whether it has arrived.
func (d *decider) settled(key AlterKey, replica, primary fleet.Observed) bool {
	if replica.Role != fleet.RoleReplica {
		d.out.trouble(key, replica.Addr(), fmt.Sprintf("its role is unknown: %v", replica.Err))
		return false
	}
	at := SettleKey{key, replica.Addr()}
	state, known := d.Settling[at]
	if !known {
		state = Settle{Barrier: primary.Server.GTIDExecuted}
	}
	reason := ""
	if state.At.IsZero() {
		if reason = notApplied(replica, primary, state.Barrier); reason == "" {
			state.At = d.Now
			d.out.do(Action{Kind: Recheck, Alter: key, Addr: replica.Addr()})
		}
	}
	d.out.Settling[at] = state
	if reason == "" {
		reason = d.notSeenSince(key, replica.Addr(), state.At)
	}
	if reason != "" {
		d.block(key, replica.Addr(), why.Order, "only this replica still needs it, and it "+reason)
		return false
	}
	return true
}

// notApplied says why the replica is not known to have applied what the primary had done at the barrier.
func notApplied(replica, primary fleet.Observed, barrier string) string {
	if replica.Replica == nil || replica.Replica.SourceUUID != primary.Server.UUID {
		return fmt.Sprintf("does not replicate from the primary %s", primary.Addr())
	}
	want, err := mysql.ParseGTIDSet(barrier)
	if err != nil || want.Empty() {
		return fmt.Sprintf("cannot be compared with the primary %s: it has no usable gtid_executed (%q)", primary.Addr(), barrier)
	}
	have, err := mysql.ParseGTIDSet(replica.Server.GTIDExecuted)
	if err != nil || !have.Contains(want) {
		return fmt.Sprintf("has not applied what the primary %s has done (applier: %s %s)",
			primary.Addr(), replica.Replica.SQLRunning, replica.Replica.SQLError)
	}
	return ""
}

// notSeenSince says why no verdict on an instance is newer than at.
func (d *decider) notSeenSince(key AlterKey, a mysql.Addr, at time.Time) string {
	pass, ok := d.Passes[PassKey{a, key.Group}]
	if !ok || pass.StartedAt == nil || pass.FinishedAt == nil || !pass.StartedAt.After(at) {
		return "has not been checked since it caught up"
	}
	collected := d.Alters[key].CollectedAt
	if collected == nil || !collected.After(*pass.FinishedAt) {
		d.recollect(key)
		return "has been checked, the collector has not looked since"
	}
	return ""
}

// keepSettling carries what is known of targets over a pass in which the cluster could not be asked.
func (d *decider) keepSettling(key AlterKey, targets []target) {
	for _, t := range targets {
		at := SettleKey{key, t.Addr()}
		if state, ok := d.Settling[at]; ok {
			d.out.Settling[at] = state
		}
	}
}
