package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/aosc/aosc/aoscdb"
)

const (
	// askAgainAfter is how long a cluster that was asked for its roles, and got no alter then, lets others go first.
	askAgainAfter = 5 * time.Second
	// askPerSlot and askAtLeast bound how many clusters of a tier are asked in one pass: with hundreds of clusters
	// and one free slot there is no need to ask them all each time.
	askPerSlot = 4
	askAtLeast = 16
)

// Observe says of which clusters Decide needs the roles: those with an instance that could start something, the
// heaviest first, and those with a row that can still be withdrawn. asked is when each cluster was last asked.
func Observe(s Snapshot, asked map[ClusterKey]time.Time) []ClusterKey {
	d := decider{Snapshot: s, book: newBook(), targets: targetsByCluster(s)}
	var out []ClusterKey
	for _, r := range s.Running {
		inst, ok := s.Fleet.Instances[addrOf(r)]
		if !ok {
			continue
		}
		d.occupy(r, inst)
		if r.OSCStatus == aoscdb.RunReady {
			out = append(out, ClusterKey{inst.Tier, inst.Cluster})
		}
	}
	left := map[string]int{}
	for group, t := range s.Tiers {
		if free := t.MaxRunning - d.book.tier[group]; free > 0 {
			left[group] = max(askAtLeast, askPerSlot*free)
		}
	}
	for _, c := range d.candidates(asked) {
		if left[c.Tier] > 0 {
			left[c.Tier]--
			out = append(out, c)
		}
	}
	return out
}

// candidates lists the free clusters with targets, in the order in which they should be asked.
func (d *decider) candidates(asked map[ClusterKey]time.Time) []ClusterKey {
	var out []ClusterKey
	seen := map[ClusterKey]bool{}
	for _, key := range queueOrder(d.Snapshot) {
		clusters := sortedClusters(d.targets[key])
		slices.SortStableFunc(clusters, func(a, b ClusterKey) int {
			return cmp.Compare(heaviestOf(d.targets[key][b]), heaviestOf(d.targets[key][a]))
		})
		for _, c := range clusters {
			if _, busy := d.book.cluster[c]; !busy && !seen[c] && !d.allBackOff(key, c) {
				seen[c] = true
				out = append(out, c)
			}
		}
	}
	recent := func(c ClusterKey) int {
		if t, ok := asked[c]; ok && d.Now.Sub(t) < askAgainAfter {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(a, b ClusterKey) int { return cmp.Compare(recent(a), recent(b)) })
	return out
}

// allBackOff: nothing of the alter can be begun on the cluster before a next try is due.
func (d *decider) allBackOff(key AlterKey, c ClusterKey) bool {
	return !slices.ContainsFunc(d.targets[key][c], func(t target) bool { _, waits := d.backsOff(key, t.Addr()); return !waits })
}

func heaviestOf(targets []target) uint64 {
	var n uint64
	for _, t := range targets {
		n = max(n, t.bytes)
	}
	return n
}
