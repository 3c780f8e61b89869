package cotton

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Strays are a member's errant transactions, as its binary logs tell them. super_read_only does not keep everything out: XA COMMIT of a
// transaction that was prepared on a primary, FLUSH and the like are executed and numbered by a closed member. What can be done on the
// primary as well is done there, under the same GTID: it is adopted, and the member keeps its data (docs/decisions/021).
type Strays struct {
	Of      mysql.GTIDSet // which they are
	Reading bool          // nothing is known of them yet
	List    []mysql.LoggedTransaction
	Problem string // why they are not known
}

// MaxStrays is how many are read; a member with more has been written to.
const MaxStrays = 100

// UnknownOf are, by member, the executed transactions that the primary lacks or that an election would take for errant: those to be read.
// Members with more than MaxStrays are left out.
func UnknownOf(r Record, seen []Seen) map[int]mysql.GTIDSet {
	d := decidingOn(r, seen, Limits{})
	p := d.seen[d.Primary]
	theirs, err := mysql.ParseGTIDSet(p.Server.GTIDExecuted)
	all := map[int]mysql.GTIDSet{}
	for _, s := range seen {
		if s.Member == d.Primary || !s.now() || s.Busy != "" || d.Primary == 0 {
			continue
		}
		set, err2 := mysql.ParseGTIDSet(s.Server.GTIDExecuted)
		if err2 != nil {
			continue
		}
		unknown := d.errantIn(set)
		if p.Answered && err == nil {
			unknown = unknown.Union(set.Subtract(theirs).Without(p.Server.UUID))
		}
		if n := unknown.Count(); n > 0 && n <= MaxStrays {
			all[s.Member] = unknown
		}
	}
	return all
}

// strays of a member that are in a set; read tells whether all of that set are known.
func (s Seen) strays(set mysql.GTIDSet) (list []mysql.LoggedTransaction, read bool) {
	if s.Strays == nil || s.Strays.Reading || s.Strays.Problem != "" || !s.Strays.Of.Contains(set) {
		return nil, false
	}
	for _, t := range s.Strays.List {
		if one, err := mysql.ParseGTIDSet(t.GTID); err == nil && set.Contains(one) {
			list = append(list, t)
		}
	}
	return list, true
}

// replays tells whether other members, which lack errant transactions of this one, can execute them as they are in its binary logs: they
// change nothing, or end what is prepared on all of them. Such a member may be elected.
func (s Seen) replays(errant mysql.GTIDSet) bool {
	list, read := s.strays(errant)
	return read && !slices.ContainsFunc(list, func(t mysql.LoggedTransaction) bool { return t.Kind == mysql.LoggedData })
}

// adoptable are those of a member's errant transactions that the primary can execute, and why the others are not.
func (d *deciding) adoptable(s Seen, errant mysql.GTIDSet) (list []mysql.LoggedTransaction, why string) {
	strays, read := s.strays(errant)
	if !read {
		if s.Strays != nil {
			why = s.Strays.Problem
		}
		return nil, why
	}
	var others []string
	some := false // of the first kind end what was prepared
	for _, t := range strays {
		switch {
		case t.Kind == mysql.LoggedNothing:
			list = append(list, t)
		case t.Kind == mysql.LoggedData:
			others = append(others, fmt.Sprintf("%s changes data (%s)", t.GTID, t.Text))
		case d.seen[d.Primary].Prepared[t.XID.ID()]:
			list, some = append(list, t), true
		default:
			did := map[mysql.LoggedKind]string{mysql.LoggedXACommit: "committed", mysql.LoggedXARollback: "rolled back"}[t.Kind]
			others = append(others,
				fmt.Sprintf("the XA transaction %s was %s on %s and is not prepared on the primary any more: it was ended there, too, in one way or "+
					"the other", t.XID.ID(), did, d.MemberName(s.Member)))
		}
	}
	if len(others) > 0 && !some {
		list = nil // its data are replaced: nothing of it is worth keeping
	}
	return list, strings.Join(others, "; ")
}

// adopts has a member with errant transactions follow the primary, and the primary execute them, as far as they are adoptable; false when
// its data are to be replaced. It follows first: once it has applied all that the primary has, and not failed, what was prepared on both
// is the same.
func (d *deciding) adopts(m Member, s, p Seen, g sets, errant mysql.GTIDSet) bool {
	name := d.MemberName(m.ID)
	if s.Strays != nil && s.Strays.Reading {
		d.problem("%s has errant transactions, which the primary never had (I7): %s; its binary logs are being read", name, errant)
		return true
	}
	if strays, _ := s.strays(errant); p.Prepared == nil && slices.ContainsFunc(strays, ends) {
		d.problem("%s has errant transactions, which the primary never had (I7): %s; it is not known yet what is prepared on the primary", name,
			errant)
		return true
	}
	list, why := d.adoptable(s, errant)
	if len(list) == 0 {
		if why != "" {
			d.problem("the errant transactions of %s cannot be executed on the primary: %s", name, why)
		}
		return false
	}
	d.problem("%s has errant transactions, which the primary never had (I7): %s; the primary executes them, too: %s", name, errant,
		strayText(list))
	n := len(d.out.Actions)
	d.follower(m, s, p, g)
	if len(d.out.Actions) == n && d.follows(s) && s.Replica.Receiving() && s.Replica.SQLRunning == "Yes" && d.acknowledges(p) {
		d.act(ActAdopt, m.ID)
	}
	return true
}

// saves has the primary execute what a member that is to leave has numbered, where it can.
func (d *deciding) saves(m Member, s, p Seen) bool {
	g, err := setsOf(s, p)
	if err != nil {
		return false
	}
	errant := errantOf(g, p)
	return !errant.Empty() && d.adopts(m, s, p, g, errant)
}

// ends tells whether a transaction ends one that was prepared.
func ends(t mysql.LoggedTransaction) bool {
	return t.Kind == mysql.LoggedXACommit || t.Kind == mysql.LoggedXARollback
}

// Ends tells whether any of these transactions ends one that was prepared.
func (s *Strays) Ends() bool { return s != nil && slices.ContainsFunc(s.List, ends) }

// acknowledges tells whether a commit on the primary would not wait.
func (d *deciding) acknowledges(p Seen) bool {
	return p.Writable() && (d.Spec.Policy != PolicyLossless || p.SemiSync.Clients >= p.SourceSemiSync.Acks)
}

// Adoptable are the errant transactions of a member that the primary is to execute, in the order of the member's binary logs.
func Adoptable(r Record, seen []Seen, member int) []mysql.LoggedTransaction {
	d := decidingOn(r, seen, Limits{})
	s, p := d.seen[member], d.seen[r.Primary]
	g, err := setsOf(s, p)
	if err != nil {
		return nil
	}
	list, _ := d.adoptable(s, errantOf(g, p))
	return list
}

// errantOf are the transactions that a member has and the primary does not. The primary was asked at the same moment: what it numbered
// since then is no error.
func errantOf(g sets, p Seen) mysql.GTIDSet {
	return g.received.Subtract(g.theirs).Without(p.Server.UUID)
}

func strayText(list []mysql.LoggedTransaction) string {
	var parts []string
	for _, t := range list {
		parts = append(parts, t.Text)
	}
	return shorten(strings.Join(slices.Compact(parts), "; "))
}

// Stray is what was done about errant transactions of a member.
type Stray struct {
	At      time.Time `json:"at,omitzero"`
	Member  int       `json:"member,omitempty"`
	GTIDs   string    `json:"gtids,omitempty"`
	Adopted bool      `json:"adopted,omitempty"` // the primary has executed them, too; else the member's data were replaced
	Note    string    `json:"note,omitempty"`
}

// Adopted stores that the primary has executed what a member had numbered: it counts as acknowledged from then on.
func (r *Record) Adopted(member int, set mysql.GTIDSet, list []mysql.LoggedTransaction, now time.Time) error {
	if err := r.RaiseBase(set); err != nil {
		return err
	}
	r.addStray(Stray{At: now, Member: member, GTIDs: shorten(set.String()), Adopted: true, Note: strayText(list)})
	return nil
}

// Discarded are the transactions that the primary lacks of a member whose data are to be replaced; false when there are none.
func Discarded(r Record, seen []Seen, member int, now time.Time) (Stray, bool) {
	d := decidingOn(r, seen, Limits{})
	g, err := setsOf(d.seen[member], d.seen[r.Primary])
	if err != nil {
		return Stray{}, false
	}
	errant := errantOf(g, d.seen[r.Primary])
	_, why := d.adoptable(d.seen[member], errant)
	return Stray{At: now, Member: member, GTIDs: shorten(errant.String()), Note: shorten(why)}, !errant.Empty()
}

// Discard stores that a member's data are about to be replaced, with what only it has.
func (r *Record) Discard(s Stray) {
	if n := len(r.Strays); n > 0 && r.Strays[n-1].Member == s.Member && !r.Strays[n-1].Adopted && r.Strays[n-1].GTIDs == s.GTIDs {
		return // the clone is tried again
	}
	r.addStray(s)
}

// straysKept is how many a record remembers: the store's values are to stay small.
const straysKept = 20

func (r *Record) addStray(s Stray) {
	r.Strays = append(slices.Clone(r.Strays), s)
	if extra := len(r.Strays) - straysKept; extra > 0 {
		r.Strays = r.Strays[extra:]
	}
}

// shorten keeps a note for people short.
func shorten(text string) string {
	const longest = 300
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "..."
	}
	return text
}
