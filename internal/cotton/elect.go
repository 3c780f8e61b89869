package cotton

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

func (d *deciding) witness(id int) bool {
	m, ok := d.Member(id)
	return ok && m.witness(d.seen[id])
}

// candidate is a replica that was stopped and asked.
type candidate struct {
	member             Member
	seen               Seen
	executed, received mysql.GTIDSet
	errant             mysql.GTIDSet
}

// elected is who becomes primary, and what it must have executed first.
type elected struct {
	to     int
	target mysql.GTIDSet
	frozen []int
	note   string
}

// elect chooses among replicas whose receivers are stopped, and members that were relieved: these bear no witness, and may have all.
// The one elected has received Base, and all that any of the stopped ones has, less what is errant: by the quorum arithmetic that is
// all that was ever acknowledged (I1). Errant transactions that the others can execute are no obstacle. Where none has, nobody is elected:
// transactions would be lost. Of several, the one that can be open soonest. Where an operator accepts a loss, it is the one that has most.
func (d *deciding) elect(frozen []int) (elected, string) {
	others := slices.DeleteFunc(d.bystanders(), func(id int) bool { return slices.Contains(frozen, id) })
	all, why := d.candidates(slices.Concat(frozen, others))
	if why != "" {
		return elected{}, why
	}
	needed, err := d.Acknowledged()
	if err != nil {
		return elected{}, fmt.Sprintf("what was acknowledged, as it is stored, cannot be read: %v", err)
	}
	for _, c := range all {
		if slices.Contains(frozen, c.member.ID) {
			needed = needed.Union(c.received.Subtract(c.errant))
		}
	}
	if d.Change.Forced {
		return d.electMost(all, frozen, needed)
	}
	var fit []candidate
	var unfit []string
	for _, c := range all {
		if problem := d.unfit(c, needed); problem != "" {
			unfit = append(unfit, d.MemberName(c.member.ID)+" "+problem)
			continue
		}
		fit = append(fit, c)
	}
	if len(fit) == 0 {
		return elected{}, "nobody can be elected without losing transactions: " + strings.Join(unfit, "; ")
	}
	best := slices.MinFunc(fit, func(a, b candidate) int {
		return cmp.Or(
			// It would have to hand over next. Where it alone has all, it is the one.
			compareBool(a.member.Leaving, b.member.Leaving),
			compareBool(!a.errant.Empty(), !b.errant.Empty()),
			// A source newer than its replicas may send what they cannot read.
			a.seen.Server.Version.Compare(b.seen.Server.Version),
			cmp.Compare(a.seen.Stalled.Truncate(stalledFor), b.seen.Stalled.Truncate(stalledFor)),
			cmp.Compare(needed.Subtract(a.executed).Count(), needed.Subtract(b.executed).Count()),
			cmp.Compare(lag(a.seen), lag(b.seen)),
			cmp.Compare(a.member.ID, b.member.ID),
		)
	})
	// What it has besides, the others will have of it.
	return elected{best.member.ID, needed.Union(best.errant), frozen, d.electionNote(best, all, frozen)}, ""
}

// electMost is an election in which an operator accepts a loss: whoever answers and lacks least of what was acknowledged, as far as that is
// known, becomes the primary, with all that it has. Stray transactions are no merit.
func (d *deciding) electMost(all []candidate, frozen []int, needed mysql.GTIDSet) (elected, string) {
	var unfit []string
	able := slices.DeleteFunc(slices.Clone(all), func(c candidate) bool {
		problem := d.unable(c)
		if problem != "" {
			unfit = append(unfit, d.MemberName(c.member.ID)+" "+problem)
		}
		return problem != ""
	})
	if len(able) == 0 {
		return elected{}, "nobody who answers can be the primary: " + strings.Join(unfit, "; ")
	}
	best := slices.MinFunc(able, func(a, b candidate) int {
		return cmp.Or(
			compareBool(d.incomplete(a.member.ID) != "", d.incomplete(b.member.ID) != ""),
			cmp.Compare(needed.Subtract(a.received).Count(), needed.Subtract(b.received).Count()),
			cmp.Compare(b.received.Subtract(b.errant).Count(), a.received.Subtract(a.errant).Count()),
			cmp.Compare(b.received.Count(), a.received.Count()),
			cmp.Compare(a.member.ID, b.member.ID),
		)
	})
	return elected{best.member.ID, best.received, frozen, d.electionNote(best, all, frozen)}, ""
}

func (d *deciding) electionNote(best candidate, all []candidate, frozen []int) string {
	note := fmt.Sprintf("%s of %s", d.MemberName(best.member.ID), d.names(frozen))
	for _, c := range all {
		if !c.errant.Empty() {
			note += fmt.Sprintf("; %s has errant transactions %s", d.MemberName(c.member.ID), c.errant)
		}
	}
	return note
}

// bystanders are the members that were relieved and answer, closed and receiving nothing: nothing rests on what they say, and one of
// them may be the only one that has all. Of a switchover that is the former primary, until it follows.
func (d *deciding) bystanders() (ids []int) {
	for _, m := range d.Members {
		s := d.seen[m.ID]
		if m.ID != d.Primary && m.Relieved && !m.Joining && m.Phase != PhaseRemoving && s.now() && s.closed() && s.Busy == "" &&
			(s.Replica == nil || s.Replica.IORunning == "No") {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

func (d *deciding) candidates(ids []int) ([]candidate, string) {
	var all []candidate
	for _, id := range ids {
		m, ok := d.Member(id)
		if !ok {
			continue
		}
		c := candidate{member: *m, seen: d.seen[id]}
		var err1, err2 error
		c.executed, err1 = mysql.ParseGTIDSet(c.seen.Server.GTIDExecuted)
		c.received, err2 = received(c.seen)
		if err := cmp.Or(err1, err2); err != nil {
			return nil, fmt.Sprintf("the transactions of %s cannot be read: %v", d.MemberName(id), err)
		}
		c.errant = d.errantIn(c.received)
		all = append(all, c)
	}
	return all, ""
}

// nobodyFits says why nobody of those who answer could be elected, whatever the others have: a failover that must be taken back is
// not begun, since it closes a primary that may work. "" when somebody could.
func (d *deciding) nobodyFits() string {
	base, err := d.Acknowledged()
	if err != nil {
		return fmt.Sprintf("what was acknowledged, as it is stored, cannot be read: %v", err)
	}
	var answer []int
	for _, id := range d.Ackers() {
		if s := d.seen[id]; s.now() && s.Busy == "" {
			answer = append(answer, id)
		}
	}
	all, why := d.candidates(slices.Concat(answer, d.bystanders()))
	if why != "" {
		return why
	}
	var unfit []string
	for _, c := range all {
		problem := d.unfit(c, base)
		if problem == "" {
			return ""
		}
		unfit = append(unfit, d.MemberName(c.member.ID)+" "+problem)
	}
	return fmt.Sprintf("nobody who answers could be elected without losing transactions: %s; bring back the primary %s, or another member that has them",
		strings.Join(unfit, "; "), d.MemberName(d.Primary))
}

// unfit says why a candidate cannot be the primary, empty when it can.
func (d *deciding) unfit(c candidate, needed mysql.GTIDSet) string {
	lacks := needed.Subtract(c.received)
	switch {
	case !lacks.Empty():
		return "lacks " + lacks.String()
	case !c.errant.Empty() && !c.seen.replays(c.errant):
		return "has errant transactions " + c.errant.String()
	case d.incomplete(c.member.ID) != "":
		return "lacks what its replication filter left out: " + d.incomplete(c.member.ID)
	}
	return d.unable(c)
}

// unable says why a candidate could not be opened, whatever it has; empty when it could.
func (d *deciding) unable(c candidate) string {
	switch {
	case c.member.Phase == PhaseRemoving:
		return "is being removed"
	case d.Change != nil && slices.Contains(d.Change.Failed, c.member.ID):
		return "failed to be promoted"
	case c.seen.Replica != nil && c.seen.Replica.SQLError != "" && !c.executed.Contains(c.received):
		return "cannot apply what it received: " + c.seen.Replica.SQLError
	}
	return ""
}

func lag(s Seen) int64 {
	if s.Replica == nil || s.Replica.SecondsBehind == nil {
		return 0
	}
	return *s.Replica.SecondsBehind
}

// compareBool sorts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (d *deciding) names(ids []int) string {
	var names []string
	for _, id := range ids {
		names = append(names, d.MemberName(id))
	}
	return strings.Join(names, ", ")
}
