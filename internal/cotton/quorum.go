package cotton

import (
	"fmt"
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

// Need is how many of the Ackers must be stopped, and asked, before another member may become the primary. It is 0 where the primary
// waits for ever and has fewer of them than a commit needs: nothing has been acknowledged then that is not in Base, since Base is raised
// before a member stops being one of them.
func (r Record) Need() int {
	need := len(r.Ackers()) - r.acks() + 1
	if r.Spec.Policy == PolicyLossless && !r.Loose {
		return max(need, 0)
	}
	return max(need, 1)
}

// HoldersNeeded is how many other ackers must have all that one has, before that one may be relieved: as many as had to
// acknowledge, so that every quorum of the rest has one of them. Members that were relieved hold nothing, and take nothing off the
// number: what was given up cannot make it right to give up more (I15). Those whose machines are gone for good do: nobody waits for them.
func (r Record) HoldersNeeded(member int) int {
	others := 0
	for _, m := range r.Members {
		if m.ID != member && m.ID != r.Primary && m.Phase != PhaseRemoving && !gone(m) {
			others++
		}
	}
	return min(r.acks(), others)
}

// OutsideFor is how long an acknowledgement is asked for in the place of a server outside the cluster after it was seen last: it may come
// back, and is found out only afterwards. By default a receiver connects again within a minute.
const OutsideFor = 75 * time.Second

// SemiSyncBeside is how the primary is set while so many acknowledgements may come from outside of the cluster: as many more are wanted, so
// that what the members must have stays as it is. A policy that falls back is not raised: it would fall back where members are fewer.
func (r Record) SemiSyncBeside(foreign int) mysql.SemiSyncSource {
	s := r.SemiSync()
	if r.Spec.Policy == PolicyLossless {
		s.Acks += foreign
	}
	return s
}

// spare tells whether a member's data may go: it acknowledges nothing, and others were seen to have all that it had.
func (m Member) spare() bool { return m.Relieved && !m.Unheld }

// CountAgain stores that a member may acknowledge from now on.
func (m *Member) CountAgain() { m.Relieved, m.Unheld = false, false }

// Relieve stores that nothing rests on a member's data any more, since holders have all that it has. It is for the record as it is
// stored by now: ErrOvertaken when one of the holders has been relieved meanwhile, or the primary has changed. From then on an election
// must find what the primary had executed.
func (r *Record) Relieve(member int, holders []int, executed mysql.GTIDSet) error {
	m, ok := r.Member(member)
	if !ok || member == r.Primary {
		return ErrOvertaken
	}
	for _, id := range holders {
		if h, ok := r.Member(id); !ok || id == member || id == r.Primary || h.Relieved || h.Leaving || h.Phase == PhaseRemoving {
			return fmt.Errorf("%s has all that %s has, and is given up itself: %w", r.MemberName(id), r.MemberName(member), ErrOvertaken)
		}
	}
	if err := r.RaiseBase(executed); err != nil {
		return err
	}
	m.Relieved, m.Unheld = true, false
	return nil
}

// MayOverwrite says why a member keeps its data although it was decided, under an epoch, to clone it; nil when they may go. Every change of
// primary has a new epoch from its first step on. While the new primary waits to be opened a clone may be what it waits for.
func (r Record) MayOverwrite(member int, epoch uint64) error {
	m, ok := r.Member(member)
	if !ok || r.Epoch != epoch || r.Primary == member || r.State == StateDeleting || !m.spare() && r.SemiSync().Enabled {
		return fmt.Errorf("%s keeps its data: %w since it was decided to clone it", r.MemberName(member), ErrOvertaken)
	}
	return nil
}

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
