package brain

import (
	"fmt"
	"time"

	"github.com/aosc/aosc/aoscdb"
)

// progress takes an alter along: from no target left to DONE, through its checks, to finished; or back to work when a
// look finds a target. The rules:
//
//	IPR       -> DONE      a look that began after the pin found neither targets nor unknowns, nothing runs
//	DONE      -> IPR       any look found a target; the checks begin again from the first
//	due check -> asked     check_from = now, the checksum is woken, for the last check without cached hashes
//	asked     -> passed    a look that began after check_from found neither targets nor unknowns
//	last      -> finished  passed, and every instance of the inventory had a fresh checksum in between (I4)
//
// While an instance does not answer nothing happens: it is unknown, and a check that waits for it waits (I11).
func (st *step) progress() *aoscdb.AlterChange {
	c := st.cur
	if c.Status == aoscdb.AlterIPR {
		if !st.clean() {
			return nil
		}
		next := c
		next.Status = aoscdb.AlterDone
		next.Tries, next.CheckFresh = 0, false
		next.NextCheckAt = st.nextCheck(0)
		return st.write(next, whatDone, fmt.Sprintf("no target left on %d instances; %d checks follow, %s apart",
			len(st.s.instances(st.k, c.ServerList)), st.tries(), st.tier.VerifyInterval()))
	}
	switch {
	case c.Targets > 0 && c.CollectedAt != nil && !before(c.CollectedAt, c.PinnedAt):
		next := c
		next.Status = aoscdb.AlterIPR
		next.Tries, next.NextCheckAt, next.CheckFresh = 0, nil, false
		st.change.Wake = []aoscdb.WakeRequest{{Daemon: aoscdb.DaemonScheduler}}
		return st.write(next, whatDirty, fmt.Sprintf("%d instances have databases that lack the desired schema; back to work", c.Targets))
	case c.NextCheckAt == nil && c.CheckFrom == nil: // status='DONE' by hand: no reason to believe it less than to check it
		next := c
		next.Tries = 0
		next.NextCheckAt = st.nextCheck(0)
		return st.write(next, whatDone, "set DONE by hand; the checks follow")
	case c.NextCheckAt != nil:
		return st.beginCheck()
	}
	return st.endCheck()
}

// beginCheck asks for the next check when it is due.
func (st *step) beginCheck() *aoscdb.AlterChange {
	next := st.cur
	if wait := st.cur.NextCheckAt.Sub(st.s.Now); wait > 0 {
		if wait <= st.tier.VerifyInterval() {
			return nil
		}
		// The operator made the interval shorter.
		next.NextCheckAt = st.at(st.tier.VerifyInterval())
		return st.write(next, "", "")
	}
	next.NextCheckAt = nil
	next.CheckFresh = st.cur.Tries+1 >= st.tries()
	st.change.CheckedNow = true
	st.change.Wake = []aoscdb.WakeRequest{
		{Daemon: aoscdb.DaemonChecksum, Scope: aoscdb.ScopeTier(st.k.Group), Fresh: next.CheckFresh}, {Daemon: aoscdb.DaemonCollector}}
	how := "hashes of unchanged tables are reused"
	if next.CheckFresh {
		how = "the last one: every table is read again"
	}
	return st.write(next, whatCheck, fmt.Sprintf("check %d of %d, %s", next.Tries+1, st.tries(), how))
}

// endCheck counts the check under way when it has passed, and finishes the alter with the last.
func (st *step) endCheck() *aoscdb.AlterChange {
	if !st.clean() {
		return nil
	}
	next := st.cur
	next.Tries++
	if next.Tries >= st.tries() && st.cur.CheckFresh {
		instances := len(st.s.instances(st.k, st.cur.ServerList))
		end := aoscdb.FinishedAlter{Outcome: aoscdb.OutcomeFinished, Tries: next.Tries, Targets: max(instances, st.cur.TotalTargets)}
		return st.end(end, whatFinished, fmt.Sprintf("check %d of %d passed: every database of %d instances has the desired schema, read afresh",
			next.Tries, st.tries(), instances))
	}
	next.CheckFresh = false
	next.NextCheckAt = st.nextCheck(next.Tries)
	return st.write(next, whatClean, fmt.Sprintf("check %d of %d", next.Tries, st.tries()))
}

// clean tells whether the collector's last look, and the checksums it rests on, say that every instance has the desired
// schema. The collector counts instances by its inventory; what the brain's has must be covered as well (I4): an
// instance that joined a moment ago is not clean because nobody looked at it.
func (st *step) clean() bool {
	c := st.cur
	from := c.PinnedAt
	if before(from, c.CheckFrom) {
		from = c.CheckFrom
	}
	if c.CollectedAt == nil || from == nil || c.CollectedAt.Before(*from) {
		return false
	}
	if c.Targets != 0 || c.Unknowns != 0 || st.s.Running[st.k] != 0 {
		return false
	}
	for _, i := range st.s.instances(st.k, c.ServerList) {
		p, ok := st.s.Passes[place{st.k.Group, i.Addr()}]
		switch {
		case !ok || p.FinishedAt == nil || p.StartedAt == nil || p.StartedAt.Before(*from):
			return false
		case !c.CheckFresh:
		case p.FreshStartedAt == nil || p.FreshStartedAt.Before(*from):
			return false
		case p.FreshStartedAt.After(*c.CollectedAt):
			return false // the look was before this instance was read: it did not know of it, or read its old rows
		}
	}
	return true
}

// tries is how many checks a DONE alter needs. There is always one, because only it reads everything afresh (I4).
func (st *step) tries() int { return max(st.tier.VerifyTries, 1) }

// nextCheck is when the check after so many passed ones is due: one interval from now. At once when the operator
// asked for no checks, or took some back.
func (st *step) nextCheck(passed int) *time.Time {
	if passed >= st.tier.VerifyTries {
		return st.at(0)
	}
	return st.at(st.tier.VerifyInterval())
}

func (st *step) at(d time.Duration) *time.Time {
	t := st.s.Now.Add(d)
	return &t
}

// before compares times of which nil is the earliest.
func before(a, b *time.Time) bool {
	switch {
	case b == nil:
		return false
	case a == nil:
		return true
	}
	return a.Before(*b)
}
