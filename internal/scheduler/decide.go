package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/why"
)

// Decide is the scheduler: what to do about every alter that was given to an instance, and which instances get one
// now. It is pure; all it must know is in the snapshot.
func Decide(s Snapshot, r Rules) Decision {
	d := decider{Snapshot: s, rules: r, book: newBook(), targets: targetsByCluster(s)}
	d.out.Settling = map[SettleKey]Settle{}
	for _, row := range startedFirst(s) {
		d.row(row)
	}
	for _, key := range queueOrder(s) {
		d.alter(key)
	}
	d.forgetTries()
	return d.out
}

// forgetTries: a count of tries speaks of one version of an alter in progress, and only until somebody takes it out of progress:
// whoever lets it go on wants it tried at once, from the first try.
func (d *decider) forgetTries() {
	for _, k := range slices.SortedFunc(maps.Keys(d.Retries), TryKey.compare) {
		r, alter, inst := d.Retries[k], d.Alters[k.Alter], d.Fleet.Instances[k.Addr]
		if alter.Status == aoscdb.AlterIPR && alter.DesiredHash == r.DesiredHash && d.Tiers[k.Alter.Group].Enabled && inst.Tier == k.Alter.Group {
			continue
		}
		d.out.do(Action{Kind: ForgetTries, Alter: k.Alter, Addr: k.Addr, Next: r})
	}
}

func (k TryKey) compare(o TryKey) int {
	return cmp.Or(cmp.Compare(k.Alter.Group, o.Alter.Group), cmp.Compare(k.Alter.Table, o.Alter.Table),
		cmp.Compare(k.Addr.Host, o.Addr.Host), cmp.Compare(k.Addr.Port, o.Addr.Port))
}

// backsOff says when the next try of an alter on an instance is due, and what failed; false when nothing keeps it from being begun.
func (d *decider) backsOff(key AlterKey, a mysql.Addr) (aoscdb.Retry, bool) {
	r, ok := d.Retries[TryKey{key, a}]
	return r, ok && r.DesiredHash == d.Alters[key].DesiredHash && d.Now.Before(r.NextAt)
}

// block notes why a target is not begun. One between two tries says so, whatever else stands in its way.
func (d *decider) block(key AlterKey, a mysql.Addr, code why.Code, reason string) {
	if r, waits := d.backsOff(key, a); waits {
		code, reason = why.Backoff, nextTry(r)
	}
	d.out.block(key, a, code, reason)
}

type decider struct {
	Snapshot
	rules   Rules
	book    *book
	targets map[AlterKey]map[ClusterKey][]target
	out     Decision
}

// target is a row of alter_targets with the instance the inventory has for it.
type target struct {
	fleet.Instance
	bytes uint64
}

// targetsByCluster leaves out targets that left the inventory: the collector will too.
func targetsByCluster(s Snapshot) map[AlterKey]map[ClusterKey][]target {
	out := map[AlterKey]map[ClusterKey][]target{}
	for _, t := range s.Targets {
		key := AlterKey{t.Group, t.Table}
		inst, ok := s.Fleet.Instances[mysql.Addr{Host: t.Host, Port: t.Port}]
		if !ok || inst.Tier != t.Group {
			continue
		}
		if out[key] == nil {
			out[key] = map[ClusterKey][]target{}
		}
		cluster := ClusterKey{inst.Tier, inst.Cluster}
		out[key][cluster] = append(out[key][cluster], target{inst, t.Bytes})
	}
	return out
}

// startedFirst orders the rows so that work that goes on takes its place in the limits before work that can still be
// taken back, and among the latter the more urgent before the less.
func startedFirst(s Snapshot) []aoscdb.RunningAlter {
	rows := slices.Clone(s.Running)
	slices.SortStableFunc(rows, func(a, b aoscdb.RunningAlter) int {
		if ra, rb := a.OSCStatus == aoscdb.RunReady, b.OSCStatus == aoscdb.RunReady; ra != rb {
			if rb {
				return -1
			}
			return 1
		}
		return cmp.Or(
			cmp.Compare(s.Alters[alterOf(b)].Priority, s.Alters[alterOf(a)].Priority),
			a.QueuedAt.Compare(b.QueuedAt),
			cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
	})
	return rows
}

// queueOrder lists the alters from which something may be started: the higher priority first, among equals the one
// admitted first.
func queueOrder(s Snapshot) []AlterKey {
	var keys []AlterKey
	for key, a := range s.Alters {
		if a.Status == aoscdb.AlterIPR && s.Tiers[key.Group].Enabled {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b AlterKey) int {
		x, y := s.Alters[a], s.Alters[b]
		return cmp.Or(
			cmp.Compare(y.Priority, x.Priority),
			timeOf(x.StartedAt).Compare(timeOf(y.StartedAt)),
			cmp.Compare(a.Group, b.Group), cmp.Compare(a.Table, b.Table))
	})
	return keys
}

// alter starts what it can of one alter: of each cluster the instance whose turn it is, the heaviest first, because
// what takes longest should not be begun last.
func (d *decider) alter(key AlterKey) {
	tier := d.Tiers[key.Group]
	var turn []target
	for _, cluster := range sortedClusters(d.targets[key]) {
		if t, ok := d.turn(key, cluster); ok {
			turn = append(turn, t)
		}
	}
	slices.SortStableFunc(turn, func(a, b target) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
	})
	for _, t := range turn {
		if reason := d.book.fits(tier, t.Instance); reason.Text != "" {
			d.block(key, t.Addr(), reason.Code, reason.Text)
			continue
		}
		d.book.take(tier, t.Instance, key)
		d.out.do(Action{Kind: Start, Alter: key, Addr: t.Addr(), Instance: t.Instance, Bytes: t.bytes})
	}
}

func sortedClusters(m map[ClusterKey][]target) []ClusterKey {
	keys := make([]ClusterKey, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b ClusterKey) int { return cmp.Compare(a.Cluster, b.Cluster) })
	return keys
}

// turn says which target of a cluster is next for an alter, if any may go now.
func (d *decider) turn(key AlterKey, cluster ClusterKey) (target, bool) {
	targets := d.targets[key][cluster]
	blockAll := func(reason why.Reason) (target, bool) {
		for _, t := range targets {
			d.block(key, t.Addr(), reason.Code, reason.Text)
		}
		return target{}, false
	}
	if other, busy := d.book.cluster[cluster]; busy {
		return blockAll(otherAlter(cluster.Cluster, other))
	}
	if reason := d.book.full(d.Tiers[key.Group]); reason.Text != "" {
		d.keepSettling(key, targets)
		return blockAll(reason)
	}
	view, seen := d.Views[cluster]
	if !seen {
		d.keepSettling(key, targets)
		return blockAll(why.Reason{Code: why.Turn, Text: "its cluster's turn to be asked for its roles has not come"})
	}
	primary, err := view.Primary()
	if err != nil {
		d.keepSettling(key, targets)
		for _, t := range targets {
			d.out.trouble(key, t.Addr(), err.Error())
		}
		return target{}, false
	}
	if d.Tiers[key.Group].Ordering == aoscdb.OrderingRolling {
		return d.rollingTurn(key, targets, view, primary)
	}
	return d.primaryTurn(key, targets, view, primary)
}

func find(targets []target, addr mysql.Addr) (target, bool) {
	for _, t := range targets {
		if t.Addr() == addr {
			return t, true
		}
	}
	return target{}, false
}

func member(view fleet.ClusterView, addr mysql.Addr) fleet.Observed {
	for _, o := range view.Members {
		if o.Addr() == addr {
			return o
		}
	}
	return fleet.Observed{Role: fleet.RoleUnknown}
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
