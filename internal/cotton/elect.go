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

// elect chooses among replicas whose receivers are stopped. The one elected has received all that any of them has, less
// what is errant: by the quorum arithmetic that is all that was ever acknowledged (I1). Where none has, nobody is
// elected: transactions would be lost. Of several, the one that can be open soonest.
func (d *deciding) elect(frozen []int) (elected, string) {
	all, why := d.candidates(frozen)
	if why != "" {
		return elected{}, why
	}
	var needed mysql.GTIDSet
	for _, c := range all {
		needed = needed.Union(c.received.Subtract(c.errant))
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
			// A source newer than its replicas may send what they cannot read.
			a.seen.Server.Version.Compare(b.seen.Server.Version),
			cmp.Compare(a.seen.Stalled.Truncate(stalledFor), b.seen.Stalled.Truncate(stalledFor)),
			compareBool(b.executed.Contains(needed), a.executed.Contains(needed)),
			cmp.Compare(lag(a.seen), lag(b.seen)),
			cmp.Compare(a.member.ID, b.member.ID),
		)
	})
	note := fmt.Sprintf("%s of %s", d.MemberName(best.member.ID), d.names(frozen))
	for _, c := range all {
		if !c.errant.Empty() {
			note += fmt.Sprintf("; %s has errant transactions %s", d.MemberName(c.member.ID), c.errant)
		}
	}
	return elected{best.member.ID, needed, frozen, note}, ""
}

func (d *deciding) candidates(frozen []int) ([]candidate, string) {
	var all []candidate
	for _, id := range frozen {
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
		all = append(all, c)
	}
	for i := range all {
		all[i].errant = d.errantOf(all, i)
	}
	return all, ""
}

// errantOf are the transactions of one candidate that no primary numbered. The old primary's last known set tells more
// than its lineage: what it had of itself and of primaries before it was all in there when it was last asked. But where it
// was never asked, a server that was primary once may be errant and is not found so: it then looks like a fork, and
// nobody is elected that lacks it.
func (d *deciding) errantOf(all []candidate, i int) mysql.GTIDSet {
	if len(d.Lineage) == 0 {
		return mysql.GTIDSet{}
	}
	p := d.seen[d.Primary]
	rest := all[i].received
	for j, other := range all {
		if j != i {
			rest = rest.Subtract(other.received)
		}
	}
	if last, err := mysql.ParseGTIDSet(p.Server.GTIDExecuted); err == nil && p.Answered {
		return rest.Subtract(last).Without(p.Server.UUID)
	}
	return rest.Subtract(d.numbered(rest, p))
}

// unfit says why a candidate cannot be the primary, empty when it can.
func (d *deciding) unfit(c candidate, needed mysql.GTIDSet) string {
	lacks := needed.Subtract(c.received)
	switch {
	case !lacks.Empty():
		return "lacks " + lacks.String()
	case !c.errant.Empty():
		return "has errant transactions " + c.errant.String()
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
