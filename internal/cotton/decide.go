package cotton

import (
	"fmt"
	"slices"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Seen is what is known of one member at this moment.
type Seen struct {
	Member int
	// TaskLives: Mesos says that the task runs, and the executor that mysqld does. False means that it is surely down;
	// true does not mean that it answers (I11).
	TaskLives bool
	// Err is why the server did not answer this time; nil when it did. What follows is then what it said last, Silent ago.
	Err      error
	Silent   time.Duration
	Answered bool // it has answered at least once
	Server   mysql.Server
	Replica  *mysql.ReplicaStatus
	SemiSync mysql.SemiSyncStatus
	// SourceSemiSync is how semi-synchronous replication is set at the server, as a source.
	SourceSemiSync mysql.SemiSyncSource
	// Acknowledging: as a replica it acknowledges what it receives.
	Acknowledging bool
	HasUser       bool   // the cluster's user exists
	DataMB        int64  // of user tables; measured at the primary only, while a member might be cloned
	Busy          string // something of ours is under way that must not be disturbed: "clone"
}

// Writable tells whether a client can write, as the server said last.
func (s Seen) Writable() bool { return !s.Server.ReadOnly && !s.Server.SuperReadOnly }

func (s Seen) now() bool { return s.Err == nil && s.Answered }

// forgiven is how long a server may be silent before it is no longer published: a client's session rides out less.
const forgiven = 5 * time.Second

func (s Seen) lately() bool { return s.TaskLives && s.Answered && s.Silent < forgiven }

// ActionKind is a step that the loop takes; each can be taken again without harm.
type ActionKind string

const (
	ActChoose   ActionKind = "choose"    // store that Member is the primary, with a new epoch
	ActFence    ActionKind = "fence"     // close Member for writes: it is writable and not the primary (I2)
	ActSemiSync ActionKind = "semi-sync" // set the primary's side by the policy
	ActOpen     ActionKind = "open"      // open the primary for writes
	ActUser     ActionKind = "user"      // create the cluster's user at the primary
	ActFound    ActionKind = "found"     // store that the primary has executed something
	ActFollow   ActionKind = "follow"    // point Member at the primary and start replication
	ActStart    ActionKind = "start"     // start Member's replication, which is set up
	ActReattach ActionKind = "reattach"  // have Member's receiver connect anew, to acknowledge
	ActClone    ActionKind = "clone"     // replace Member's data by the primary's
)

// Action on a member.
type Action struct {
	Kind   ActionKind
	Member int
}

// Decision is what a cluster needs at this moment.
type Decision struct {
	Actions []Action
	// Primary and Replicas are the members that clients are told (I10); 0 = none accepts writes.
	Primary  int
	Replicas []int
	// Leave what is published as it is: this scheduler has just started and the primary has not answered it yet, which
	// says nothing of the primary (I11).
	Leave    bool
	Problems []string // for people
}

// Limits of Decide.
type Limits struct {
	// CloneMB: a new member of a cluster with this much data is cloned, since replaying its history takes longer. It is
	// cloned in any case when the primary has purged what it lacks.
	CloneMB int64
}

// Decide is pure. It never moves the primary: a cluster whose primary is away waits for it, and says so.
func Decide(r Record, seen []Seen, lim Limits) Decision {
	d := &deciding{Record: r, lim: lim, seen: map[int]Seen{}}
	for _, s := range seen {
		d.seen[s.Member] = s
	}
	if r.Primary == 0 {
		d.choose()
		return d.out
	}
	d.fence()
	d.primary()
	d.replicas()
	d.publish()
	return d.out
}

type deciding struct {
	Record
	lim  Limits
	seen map[int]Seen
	out  Decision
}

func (d *deciding) act(kind ActionKind, member int) {
	d.out.Actions = append(d.out.Actions, Action{kind, member})
}

func (d *deciding) problem(format string, args ...any) {
	d.out.Problems = append(d.out.Problems, fmt.Sprintf(format, args...))
}

// choose picks the first primary. All members are copies of one template, so the first that answers serves; one that
// has executed something, or is open for writes, has been tampered with.
func (d *deciding) choose() {
	for _, m := range d.Members {
		s, ok := d.seen[m.ID]
		switch {
		case !ok || !s.now() || s.Busy != "":
			continue
		case s.Writable() || s.Server.GTIDExecuted != "" || s.Replica != nil:
			d.problem("%s is not as a new member should be (open for writes: %v, executed %q, replica: %v): it is not made primary",
				d.MemberName(m.ID), s.Writable(), s.Server.GTIDExecuted, s.Replica != nil)
			continue
		}
		d.act(ActChoose, m.ID)
		return
	}
	d.problem("no primary yet: no member answers")
}

// fence closes every member but the primary that is open for writes (I2).
func (d *deciding) fence() {
	for _, m := range d.Members {
		if s := d.seen[m.ID]; m.ID != d.Primary && s.now() && s.Writable() && s.Busy == "" {
			d.problem("%s is open for writes and is not the primary: closing it", d.MemberName(m.ID))
			d.act(ActFence, m.ID)
		}
	}
}

// primary opens the stored primary once it is safe.
func (d *deciding) primary() {
	p, ok := d.seen[d.Primary]
	name := d.MemberName(d.Primary)
	switch {
	case !ok || !p.TaskLives:
		d.problem("the primary %s is down", name)
		return
	case !p.now():
		d.problem("the primary %s does not answer: %v", name, p.Err)
		return
	}
	if !d.semiSyncRight(p) {
		d.act(ActSemiSync, d.Primary)
	}
	if !p.Writable() {
		if why := d.unsafe(p); why != "" {
			d.problem("the primary %s stays closed for writes: %s", name, why)
			return
		}
		d.act(ActOpen, d.Primary)
		return // look again before anything is built on it
	}
	if d.Spec.Policy == PolicyLossless && p.SemiSync.Clients == 0 {
		d.problem("no replica acknowledges: commits on %s wait", name)
	}
	switch {
	case p.HasUser && !d.Founded:
		d.act(ActFound, d.Primary)
	case !p.HasUser && !d.Founded && (d.Spec.Policy != PolicyLossless || p.SemiSync.Clients > 0):
		d.act(ActUser, d.Primary)
	}
}

// semiSyncRight tells whether commits wait as the policy says (M8: at run time, not only in my.cnf).
func (d *deciding) semiSyncRight(p Seen) bool {
	want := SemiSyncOf(d.Spec.Policy)
	if !want.Enabled {
		return !p.SourceSemiSync.Enabled
	}
	return p.SourceSemiSync == want
}

// LosslessTimeout is what a source that waits for ever is set to: the longest the server takes, 49 days.
const LosslessTimeout = (1<<32 - 1) * time.Millisecond

// fallBack is how long an available cluster's commit waits for a replica.
const fallBack = time.Second

// SemiSyncOf is how the primary is set under a policy.
func SemiSyncOf(p Policy) mysql.SemiSyncSource {
	switch p {
	case PolicyLossless:
		return mysql.SemiSyncSource{Enabled: true, Acks: 1, Timeout: LosslessTimeout}
	case PolicyAvailable:
		return mysql.SemiSyncSource{Enabled: true, Acks: 1, Timeout: fallBack}
	}
	return mysql.SemiSyncSource{}
}

// unsafe says why the primary must not be opened, empty when it may be.
func (d *deciding) unsafe(p Seen) string {
	executed, err := mysql.ParseGTIDSet(p.Server.GTIDExecuted)
	switch {
	case err != nil:
		return "its gtid_executed cannot be read: " + err.Error()
	case p.Busy != "":
		return p.Busy + " is under way"
	case p.Replica != nil:
		return "it is a replica of " + p.Replica.Source.String()
	case d.Founded && executed.Empty():
		return "it has lost its data: it has executed nothing"
	case !d.semiSyncRight(p):
		return "semi-synchronous replication is not set yet"
	}
	for _, m := range d.Members {
		s := d.seen[m.ID]
		if m.ID == d.Primary || !s.Answered {
			continue
		}
		if s.Writable() {
			return d.MemberName(m.ID) + " is open for writes, too"
		}
		theirs, err := received(s)
		if err != nil {
			return fmt.Sprintf("the transactions of %s cannot be read: %v", d.MemberName(m.ID), err)
		}
		if more := theirs.Subtract(executed); !more.Empty() {
			return fmt.Sprintf("%s has transactions that it lacks: %s", d.MemberName(m.ID), more)
		}
	}
	return ""
}

// received is all that a member has: executed, or in its relay log.
func received(s Seen) (mysql.GTIDSet, error) {
	all, err := mysql.ParseGTIDSet(s.Server.GTIDExecuted)
	if err != nil || s.Replica == nil {
		return all, err
	}
	relay, err := mysql.ParseGTIDSet(s.Replica.Retrieved)
	return all.Union(relay), err
}

// replicas sees to it that everybody else follows the primary.
func (d *deciding) replicas() {
	p := d.seen[d.Primary]
	for _, m := range d.Members {
		s := d.seen[m.ID]
		if m.ID == d.Primary || m.Phase == PhaseRemoving {
			continue
		}
		switch {
		case s.Busy != "":
			d.problem("%s: %s is under way", d.MemberName(m.ID), s.Busy)
		case !s.TaskLives:
			d.problem("%s is down: %s %s", d.MemberName(m.ID), m.Phase, m.TaskState)
		case !s.now():
			d.problem("%s does not answer: %v", d.MemberName(m.ID), s.Err)
		case s.Writable(): // being fenced
		case p.now() && p.Busy == "":
			d.replica(m, s, p)
		}
	}
}

func (d *deciding) replica(m Member, s, p Seen) {
	name := d.MemberName(m.ID)
	mine, err1 := mysql.ParseGTIDSet(s.Server.GTIDExecuted)
	theirs, err2 := mysql.ParseGTIDSet(p.Server.GTIDExecuted)
	purged, err3 := mysql.ParseGTIDSet(p.Server.GTIDPurged)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			d.problem("%s: GTIDs cannot be read: %v", name, err)
			return
		}
	}
	// The primary was asked at the same moment: what it numbered since then is no error.
	if errant := mine.Subtract(theirs).Without(p.Server.UUID); !errant.Empty() {
		d.problem("%s has transactions that the primary never had (I7): %s", name, errant)
		return
	}
	if !d.semiSyncRight(p) {
		return // a receiver that connects before would not acknowledge
	}
	follows := s.Replica != nil && s.Replica.AutoPosition && d.isPrimary(s.Replica.Source)
	switch lacks := purged.Subtract(mine); {
	case !lacks.Empty() && !(follows && s.Replica.Receiving()):
		d.problem("%s lacks what the primary has purged (%s): cloning it", name, lacks)
		d.act(ActClone, m.ID)
	case !follows && mine.Empty() && d.lim.CloneMB > 0 && p.DataMB >= d.lim.CloneMB:
		d.act(ActClone, m.ID)
	case !follows:
		d.act(ActFollow, m.ID)
	case s.Replica.IORunning == "No" || s.Replica.SQLRunning == "No":
		if s.Replica.IOError+s.Replica.SQLError != "" {
			d.problem("%s does not replicate: %s %s", name, s.Replica.IOError, s.Replica.SQLError)
		}
		d.act(ActStart, m.ID)
	case !s.Replica.Receiving():
		d.problem("%s does not reach the primary: %s", name, s.Replica.IOError)
	case SemiSyncOf(d.Spec.Policy).Enabled && !s.Acknowledging:
		d.act(ActReattach, m.ID)
	}
}

func (d *deciding) isPrimary(a mysql.Addr) bool {
	m, ok := d.Member(d.Primary)
	return ok && a == mysql.Addr{Host: m.Host, Port: m.Port}
}

// publish says what clients are told (I10).
func (d *deciding) publish() {
	p := d.seen[d.Primary]
	heard := slices.ContainsFunc(d.Members, func(m Member) bool {
		s := d.seen[m.ID]
		return m.ID != d.Primary && s.now() && s.Replica != nil && s.Replica.Receiving() && d.isPrimary(s.Replica.Source)
	})
	d.out.Leave = d.Founded && p.TaskLives && !p.Answered && (p.Silent < forgiven || heard)
	// A primary that only we cannot reach, and its replicas do, is where clients write (I11).
	if d.Founded && p.Answered && p.Writable() && p.TaskLives && (p.lately() || heard) {
		d.out.Primary = d.Primary
	}
	for _, m := range d.Members {
		s := d.seen[m.ID]
		if m.ID != d.Primary && s.lately() && s.Busy == "" && !s.Writable() && s.Replica != nil &&
			s.Replica.SQLRunning == "Yes" && d.isPrimary(s.Replica.Source) && d.Founded {
			d.out.Replicas = append(d.out.Replicas, m.ID)
		}
	}
}

// Promise is what a policy means for clients, for people.
func (p Policy) Promise() string {
	switch p {
	case PolicyLossless:
		return "a commit is acknowledged only once a replica has it: no acknowledged write is lost with any one instance; without a replica commits wait"
	case PolicyAvailable:
		return fmt.Sprintf("a commit waits up to %s for a replica and then goes on: writes acknowledged while no replica listens are lost with the primary", fallBack)
	}
	return "one instance: its volume is kept, but while it is down nothing takes its place"
}
