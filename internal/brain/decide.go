package brain

import (
	"fmt"
	"time"

	"github.com/aosc/aosc/aoscdb"
)

// Words of the history.
const (
	whatAdmitted = "admitted"
	whatHold     = "hold"
	whatPinned   = "pinned"
	whatReleased = "released"
	whatDone     = "done"
	whatCheck    = "check"
	whatClean    = "check passed"
	whatDirty    = "check failed"
	whatFinished = "finished"
	whatRevoked  = "revoked"
)

const revokedReason = "Revoked: its row was deleted from allowed_alters. Nothing new is started, and the alter ends when the " +
	"instances that are busy with it (running_alters) have stopped."

// decide is the brain: what to do about each alter, given everything known. It is pure; at most one change per alter.
func decide(s *snapshot) []aoscdb.AlterChange {
	var changes []aoscdb.AlterChange
	for _, k := range s.keys() {
		if c := decideOne(s, k); c != nil {
			changes = append(changes, *c)
		}
	}
	return changes
}

// step is a change in the making.
type step struct {
	s       *snapshot
	k       key
	allowed aoscdb.AllowedAlter
	tier    aoscdb.Tier
	cur     aoscdb.CurrentAlter // as found; zero when there is none
	change  aoscdb.AlterChange
}

func decideOne(s *snapshot, k key) *aoscdb.AlterChange {
	allowed, isAllowed := s.Allowed[k]
	cur, isCurrent := s.Current[k]
	st := &step{s: s, k: k, allowed: allowed, tier: s.Tiers[k.Group], cur: cur}
	st.change = aoscdb.AlterChange{Group: k.Group, Table: k.Table}
	if isCurrent {
		before := cur
		st.change.Before = &before
	}
	if isAllowed {
		st.change.Allowed = &allowed
	}
	switch {
	case !isAllowed && !isCurrent:
		return nil
	case !isAllowed:
		return st.revoke()
	case !isCurrent:
		return st.admit()
	}
	if c := st.carryOn(); c != nil {
		return c
	}
	// Nothing else is to do: then a new priority at least. With another change it goes along.
	if cur.Priority != allowed.Priority || cur.AllowedBy != allowed.AllowedBy || cur.AllowUnsafe != allowed.AllowUnsafe ||
		cur.Comment != allowed.Comment {
		return st.write(cur, "", "")
	}
	return nil
}

// carryOn decides on an alter that is permitted and already there.
func (st *step) carryOn() *aoscdb.AlterChange {
	switch {
	case st.cur.Status == aoscdb.AlterHold:
		return st.held()
	case st.cur.HoldBy == aoscdb.HoldBrain:
		// An operator's UPDATE lifted the brain's own HOLD. The reason may still stand, so nothing is taken on trust (I6):
		// only a verdict of this very pass counts.
		if !st.s.Asked[st.k] && st.s.obvious(st.k).Kind == pending {
			return nil
		}
		return st.judge()
	case st.cur.HoldBy != aoscdb.HoldNone:
		next := st.cur
		next.HoldBy, next.Reason = aoscdb.HoldNone, ""
		return st.write(next, whatReleased, fmt.Sprintf("taken off the %s's HOLD", st.cur.HoldBy))
	}
	return st.underWay()
}

// admit lets a new permission into current_alters: in progress, or on HOLD with the reason.
func (st *step) admit() *aoscdb.AlterChange {
	st.cur = aoscdb.CurrentAlter{Group: st.k.Group, Table: st.k.Table, StartedAt: &st.s.Now}
	switch v := st.s.verdict(st.k); v.Kind {
	case fits:
		return st.pin(whatAdmitted)
	case refused, waiting:
		return st.hold(v.Reason)
	}
	return nil
}

// held decides on an alter on HOLD. Whose HOLD it is says who may lift it.
func (st *step) held() *aoscdb.AlterChange {
	switch st.cur.HoldBy {
	case aoscdb.HoldBrain:
		return st.judge()
	case aoscdb.HoldWorker:
		// Only another text can help here, or an operator.
		if d, ok := st.s.desired(st.k); !ok || d.Blob == st.cur.DesiredHash {
			return nil
		}
		if v := st.s.verdict(st.k); v.Kind == waiting {
			return nil // the worker's reason is worth more than ours
		}
		return st.judge()
	case aoscdb.HoldNone:
		// UPDATE current_alters SET status='HOLD' by hand.
		next := st.cur
		next.HoldBy = aoscdb.HoldOperator
		if next.Reason == "" {
			next.Reason = "Put on HOLD by hand. UPDATE current_alters SET status='IPR' lifts it."
		}
		return st.write(next, whatHold, next.Reason)
	}
	return nil // the operator's, and only the operator's
}

// judge acts on the verdict: pins the head's text, or holds. Without a verdict the alter stays as it is.
func (st *step) judge() *aoscdb.AlterChange {
	switch v := st.s.verdict(st.k); v.Kind {
	case fits:
		return st.pin(whatPinned)
	case refused, waiting:
		if st.cur.Status != aoscdb.AlterHold || st.cur.HoldBy != aoscdb.HoldBrain || st.cur.Reason != v.Reason {
			return st.hold(v.Reason)
		}
	}
	return nil
}

// underWay decides on an alter that is in progress or DONE.
func (st *step) underWay() *aoscdb.AlterChange {
	if st.s.Head == nil || st.s.InventoryErr != nil {
		return nil // nothing can be judged, and what runs may go on
	}
	if v := st.s.obvious(st.k); v.Kind == refused {
		return st.hold(v.Reason)
	}
	d, _ := st.s.desired(st.k)
	if d.Blob != st.cur.DesiredHash {
		// Somebody committed another text. Until it is judged nothing else is said of this alter: the checksums
		// compare with the new text already.
		return st.judge()
	}
	if st.cur.ServerList != st.allowed.ServerList {
		return st.judge()
	}
	if v := st.s.verdict(st.k); v.Kind == refused && st.cur.Status == aoscdb.AlterIPR {
		// The permission or the tier changed under a running alter. waiting changes nothing: it was judged before.
		return st.hold(v.Reason)
	}
	// A force-push that took the pinned commit away is no matter as long as the text is the same: it is found by its blob.
	return st.progress()
}

// revoke ends an alter whose permission was deleted: at once, or when nothing runs any more.
func (st *step) revoke() *aoscdb.AlterChange {
	if st.s.Running[st.k] == 0 {
		end := aoscdb.FinishedAlter{Outcome: aoscdb.OutcomeRevoked, Tries: st.cur.Tries, Targets: st.cur.TotalTargets}
		return st.end(end, whatRevoked, "its row was deleted from allowed_alters")
	}
	if st.cur.Status == aoscdb.AlterHold && st.cur.HoldBy == aoscdb.HoldBrain && st.cur.Reason == revokedReason {
		return nil
	}
	st.allowed.Priority, st.allowed.AllowedBy = st.cur.Priority, st.cur.AllowedBy
	st.allowed.AllowUnsafe, st.allowed.Comment = st.cur.AllowUnsafe, st.cur.Comment
	return st.hold(revokedReason)
}

// pin brings the alter to IPR with the head's text.
func (st *step) pin(what string) *aoscdb.AlterChange {
	d, _ := st.s.desired(st.k)
	next := st.cur
	next.Status, next.HoldBy, next.Reason = aoscdb.AlterIPR, aoscdb.HoldNone, ""
	next.CommitSHA, next.DesiredHash = st.s.Head.Commit, d.Blob
	next.ServerList = st.allowed.ServerList
	next.PrimaryFirst = st.s.verdict(st.k).PrimaryFirst
	next.Tries, next.NextCheckAt, next.CheckFrom, next.CheckFresh = 0, nil, nil, false
	st.change.PinnedNow = true
	st.change.Wake = []aoscdb.WakeRequest{
		{Daemon: aoscdb.DaemonChecksum, Scope: aoscdb.ScopeTier(st.k.Group)}, {Daemon: aoscdb.DaemonCollector}}
	return st.write(next, what, fmt.Sprintf("%s at commit %s by %s, blob %s; %s", d.Path, short(st.s.Head.Commit), st.s.Head.Author,
		short(d.Blob), st.allowed.Terms()))
}

// hold puts the alter on the brain's HOLD. What it is pinned to stays: that is the last text that was approved.
func (st *step) hold(reason string) *aoscdb.AlterChange {
	next := st.cur
	next.Status, next.HoldBy, next.Reason = aoscdb.AlterHold, aoscdb.HoldBrain, reason
	next.Tries, next.NextCheckAt, next.CheckFrom, next.CheckFresh = 0, nil, nil, false
	if next.ServerList == "" {
		next.ServerList = st.allowed.ServerList
	}
	st.change.Wake = []aoscdb.WakeRequest{{Daemon: aoscdb.DaemonScheduler}}
	return st.write(next, whatHold, reason)
}

// write completes the change to a row that stays.
func (st *step) write(next aoscdb.CurrentAlter, what, detail string) *aoscdb.AlterChange {
	next.Priority, next.AllowedBy = st.allowed.Priority, st.allowed.AllowedBy
	next.AllowUnsafe, next.Comment = st.allowed.AllowUnsafe, st.allowed.Comment
	st.change.After, st.change.What, st.change.Detail = &next, what, detail
	return &st.change
}

// end completes the change to a row that goes.
func (st *step) end(end aoscdb.FinishedAlter, what, detail string) *aoscdb.AlterChange {
	st.change.End, st.change.What, st.change.Detail = end, what, detail
	st.change.Wake = []aoscdb.WakeRequest{{Daemon: aoscdb.DaemonScheduler}, {Daemon: aoscdb.DaemonCollector}}
	return &st.change
}

// questions are the alters for which the servers must be asked before anything can be decided. Planning is costly: one
// is listed only when its verdict decides something and is missing, is the result of trouble that may have passed,
// or is a refusal old enough that the data may have changed (a cleaned-up column of NULLs, say).
func questions(s *snapshot, recheck time.Duration) []key {
	var asked []key
	for _, k := range s.keys() {
		if s.Asked[k] || !s.verdictMatters(k) || s.obvious(k).Kind != pending {
			continue
		}
		known, ok := s.Known[k]
		switch {
		case !ok, known.Question != s.question(k), s.Current[k].HoldBy == aoscdb.HoldBrain && s.Current[k].Status != aoscdb.AlterHold:
		case known.Verdict.Kind == fits:
			continue
		case known.Verdict.Kind == waiting && s.Now.Sub(known.At) < retryAfter(known.Failures, recheck):
			continue
		case known.Verdict.Kind == refused && s.Now.Sub(known.At) < recheck:
			continue
		}
		asked = append(asked, k)
	}
	return asked
}

// verdictMatters tells whether decide would act on a verdict about this alter.
func (s *snapshot) verdictMatters(k key) bool {
	a, isAllowed := s.Allowed[k]
	c, isCurrent := s.Current[k]
	if !isAllowed || s.Head == nil || s.InventoryErr != nil {
		return false
	}
	d, _ := s.desired(k)
	switch {
	case !isCurrent, c.HoldBy == aoscdb.HoldBrain:
		return true
	case c.Status == aoscdb.AlterHold:
		return c.HoldBy == aoscdb.HoldWorker && d.Blob != c.DesiredHash
	case c.HoldBy != aoscdb.HoldNone:
		return false // released first
	case d.Blob != c.DesiredHash || c.ServerList != a.ServerList:
		return true
	}
	return c.Status == aoscdb.AlterIPR
}

// retryAfter is the pause before servers that did not answer are asked again: 5 s at first, doubled up to recheck.
func retryAfter(failures int, recheck time.Duration) time.Duration {
	return min(5*time.Second<<min(max(failures-1, 0), 10), recheck)
}
