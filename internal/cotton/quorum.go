package cotton

import (
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Quorum arithmetic. With R replicas that may acknowledge and W acknowledgements for each commit, stopping the receivers
// of R-W+1 of them does two things at once: at most W-1 are left, so the primary cannot commit any more (I2), and any
// commit that was acknowledged is in the relay log of at least one that was stopped (I1).

// AcksWanted is how many replicas must have a commit before its client is told: half of the members, so that a majority
// has it, counting the primary. With that a lossless cluster of 3 survives the loss of any one, of 5 the loss of any two.
func (r Record) AcksWanted() int {
	if r.Spec.Policy != PolicyLossless {
		return 1
	}
	n := 0
	for _, m := range r.Members {
		if m.Phase != PhaseRemoving && !m.Joining {
			n++
		}
	}
	if r.Spec.Nodes > 0 {
		n = min(n, r.Spec.Nodes) // while one takes the place of another both are there
	}
	return max(n/2, 1)
}

// acks is the least number of acknowledgements that commits may have had.
func (r Record) acks() int { return max(r.Acks, 1) }

// Ackers are the members that may have acknowledged a commit that is not safe elsewhere: all that ever followed the
// primary, whether they are up or not, but those that were relieved of it.
func (r Record) Ackers() []int {
	var ids []int
	for _, m := range r.Members {
		if m.ID != r.Primary && !m.Relieved {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// witness tells whether what a member says it has received is all that it ever acknowledged: its machine has not gone down
// since it was last seen to have all. Relay logs are not synced to the disk.
func (m Member) witness(s Seen) bool { return s.Boot == "" || s.Boot == m.Boot }

// Need is how many of the Ackers must be stopped, and asked, before another member may become the primary.
func (r Record) Need() int { return max(len(r.Ackers())-r.acks()+1, 1) }

// HoldersNeeded is how many other ackers must have all that one has, before that one may be relieved: as many as had to
// acknowledge, so that every quorum of the rest has one of them.
func (r Record) HoldersNeeded() int { return min(r.acks(), max(len(r.Ackers())-1, 0)) }

// LosslessTimeout is what a source that waits for ever is set to: the longest the server takes, 49 days.
const LosslessTimeout = (1<<32 - 1) * time.Millisecond

// fallBack is how long an available cluster's commit waits for a replica.
const fallBack = time.Second

// SemiSync is how the primary is set.
func (r Record) SemiSync() mysql.SemiSyncSource {
	switch r.Spec.Policy {
	case PolicyLossless:
		return mysql.SemiSyncSource{Enabled: true, Acks: r.AcksWanted(), Timeout: LosslessTimeout}
	case PolicyAvailable:
		return mysql.SemiSyncSource{Enabled: true, Acks: 1, Timeout: fallBack}
	}
	return mysql.SemiSyncSource{}
}
