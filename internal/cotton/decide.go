package cotton

import (
	"cmp"
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
	// Down is why its executor says that mysqld does not run; empty when it does not say so.
	Down string
	// FencedEpoch: under this epoch its executor has closed it, or found it dead.
	FencedEpoch uint64
	// SessionsEnded: under this epoch it was closed for a successor, and all sessions that were there then are gone, as far as this scheduler
	// has seen to it: what they had begun cannot be prepared any more.
	SessionsEnded uint64
	// Leased is since when it is sure not to be open, if no replica has acknowledged to it since: its lease has run out. Zero = not
	// known.
	Leased time.Time
	// Stopped is for how long, whenever it was asked and without a gap, its receiver was off: it acknowledged nothing.
	Stopped time.Duration
	// Err is why the server did not answer this time; nil when it did. What follows is then what it said last, Silent ago.
	Err error
	// Refused: nobody listens at its port, says its host.
	Refused  bool
	Silent   time.Duration
	Answered bool // it has answered at least once
	Server   mysql.Server
	Replica  *mysql.ReplicaStatus
	// Heard is how long ago, by the replica's own clock, it received anything of its source, a heartbeat at least; nil when
	// it does not know.
	Heard *time.Duration
	// Deaf is for how long it has not heard its source whenever it was asked; 0 while it hears it.
	Deaf time.Duration
	// Open is for how long it was open for writes whenever it answered; 0 while it is not.
	Open time.Duration
	// Idle is for how long it has executed nothing new, as far as it was asked.
	Idle time.Duration
	// Stalled is for how long no small write of its executor to its volume has succeeded; VolumeError is why the last one failed.
	Stalled     time.Duration
	VolumeError string
	SemiSync    mysql.SemiSyncStatus
	// SourceSemiSync is how semi-synchronous replication is set at the server, as a source.
	SourceSemiSync mysql.SemiSyncSource
	// Outsiders are sessions at the primary that acknowledge what they receive and are no member's; SemiSync.Clients is without them.
	// Foreign is how many acknowledgements may be theirs: the most of the last OutsideFor.
	Outsiders []mysql.Acknowledger
	Foreign   int
	// Acknowledging: as a replica it acknowledges what it receives.
	Acknowledging bool
	Boot          string // of its machine, when the server was started; "" where its executor does not tell
	// Broken is for how long its applier has stood still with an error, although it was started again and again.
	Broken time.Duration
	// Held tells whose locks keep its applier from going on, while it has something to apply; "" = nobody's.
	Held string
	// Strays are what it has and the primary has not; nil = nothing, or nobody has looked.
	Strays *Strays
	// Prepared are the XA transactions that are prepared, by PreparedXA.ID; read at the primary only, while a member has ended one; nil = not
	// known.
	Prepared map[string]bool
	HasUser  bool   // the cluster's user exists
	DataMB   int64  // of user tables; measured at the primary only, while a member might be cloned
	Busy     string // something of ours is under way that must not be disturbed: "clone"
	Donor    int    // of the clone under way
	Filters  string // replication filters of a server that replicates nothing, which would be those of what it is made to follow
	// Over: its task is over for sure, or never was. What cannot be reached is not over.
	Over bool
}

// Writable tells whether a client can write, as the server said last. While SET GLOBAL super_read_only = ON waits for
// commits under way a server shows super_read_only ON and read_only OFF: it is open still, and so counts. Nobody but
// accounts of ours passes read_only.
func (s Seen) Writable() bool { return !s.Server.ReadOnly }

// closed tells whether nobody at all can write, nor commit what was begun.
func (s Seen) closed() bool { return s.Server.ReadOnly && s.Server.SuperReadOnly }

// filters are a replica's replication filters, which leave out a part of what it receives: a copy with one is not whole.
func (s Seen) filters() string {
	if s.Replica == nil {
		return s.Filters
	}
	return s.Replica.Filters
}

// incomplete says what a copy lacks although its GTIDs say that it has it: it has a replication filter, or had one that is gone by now, as
// those set by hand are with the server's next start.
func (d *deciding) incomplete(member int) string {
	m, ok := d.Member(member)
	if filters := d.seen[member].filters(); filters != "" || !ok {
		return filters
	}
	return m.Incomplete
}

func (s Seen) now() bool { return s.Err == nil && s.Answered }

// forgiven is how long a server may be silent before it is no longer published: a client's session rides out less.
const forgiven = 5 * time.Second

func (s Seen) lately() bool { return s.TaskLives && s.Answered && s.Silent < forgiven }

// Heartbeat is how often an idle primary shows its replicas that it lives; deaf is after how long without anything a
// replica no longer counts as hearing it. Two heartbeats may be late on a busy machine.
const (
	Heartbeat = time.Second
	deaf      = 2500 * time.Millisecond
)

// ActionKind is a step that the loop takes; each can be taken again without harm.
type ActionKind string

const (
	ActChoose ActionKind = "choose" // store that Member is the primary, with a new epoch
	ActFence  ActionKind = "fence"  // close Member for writes: it is writable and not the primary (I2)
	ActOrder  ActionKind = "order"  // tell Member's executor to close it or to kill it: it does not answer
	ActAcks   ActionKind = "acks"   // store how many acknowledgements commits have from now on
	// ActBase: store what the primary has executed as what was acknowledged. A record of an earlier release has no such set, and what was
	// adopted may not be in it.
	ActBase     ActionKind = "base"
	ActStrict   ActionKind = "strict"    // store that the primary has been seen to wait for ever, as its policy says
	ActSemiSync ActionKind = "semi-sync" // set the primary's side by the policy; off at any other
	ActPromote  ActionKind = "promote"   // Member is the primary and a replica still: end that, then as for open
	ActOpen     ActionKind = "open"      // open the primary for writes
	ActUser     ActionKind = "user"      // create the cluster's user at the primary
	ActFound    ActionKind = "found"     // store that the primary has executed something
	ActFollow   ActionKind = "follow"    // point Member at the primary and start replication
	ActStart    ActionKind = "start"     // start Member's replication, which is set up
	ActReattach ActionKind = "reattach"  // have Member's receiver connect anew, to acknowledge
	ActAttest   ActionKind = "attest"    // see that Member has all of the primary, and store under which boot of its machine
	ActRefetch  ActionKind = "refetch"   // throw Member's relay log away, which cannot be read, and receive it anew
	ActAdopt    ActionKind = "adopt"     // have the primary execute errant transactions of Member, under the same GTIDs
	ActRelieve  ActionKind = "relieve"   // see that what Member acknowledged is safe with others, and store that it acknowledges no more
	ActClone    ActionKind = "clone"     // replace Member's data by those of Donor
	ActFreeze   ActionKind = "freeze"    // stop Member's receiver: it acknowledges nothing to the old primary
	ActDrain    ActionKind = "drain"     // have Member apply what it has received
	ActDemote   ActionKind = "demote"    // close the primary in good order, for its successor
	ActExpel    ActionKind = "expel"     // end the sessions at the primary that acknowledge and are no member's
	ActQuiet    ActionKind = "quiet"     // have Member run no events: it is not the primary
	ActCatchUp  ActionKind = "catch up"  // wait for Member to have executed all of the closed primary
)

// Action on a member.
type Action struct {
	Kind   ActionKind
	Member int
	Donor  int // of a clone
}

// Decision is what a cluster needs at this moment.
type Decision struct {
	// Transition is to be stored before anything is done; nil when the change of primary, if any, stays as it is.
	Transition *Transition
	Actions    []Action
	// Primary and Replicas are the members that clients are told (I10); 0 = none accepts writes.
	Primary  int
	Replicas []int
	// Leave what is published as it is: this scheduler has just started and the primary has not answered it yet, which
	// says nothing of the primary (I11).
	Leave     bool
	Problems  []string // for people
	Diagnoses []Diagnosis
	// Waits is what the operation under way waits for; empty when it goes on.
	Waits string
	// Errant are the transactions of members that no primary numbered and the primary does not have (I7), by member.
	Errant map[int]string
}

// Limits of Decide.
type Limits struct {
	Now time.Time
	// CloneMB: a new member of a cluster with this much data, or a long history, is cloned, since replaying that takes longer. It is
	// cloned in any case when the primary has purged what it lacks.
	CloneMB int64
	// Quiet is for how long the replicas must have been stopped before the end of a lease says that the old primary is closed: its
	// executor leaves it open while one acknowledges.
	Quiet time.Duration
	// Silence is for how long a primary must not have answered before its replicas are asked whether it is dead.
	Silence time.Duration
	// Cooldown after a failover, in which there is no second one (anti-flapping).
	Cooldown time.Duration
	// ReplaceAfter is how long a member may be down or out of sight before another takes its place; 0 = for ever.
	ReplaceAfter time.Duration
	// Draining are the hostnames of agents that members are to leave.
	Draining map[string]bool
}

// Decide is pure: gather -> Decide -> act.
func Decide(r Record, seen []Seen, lim Limits) Decision {
	d := decidingOn(r, seen, lim)
	if r.Primary == 0 {
		d.choose()
		return d.out
	}
	d.fence()
	switch c := r.Change; {
	case c != nil && c.Step == StepFreeze:
		d.freeze()
	case c != nil && c.Step == StepDrain:
		d.drain()
	case c != nil && c.Step == StepDemote:
		d.demote()
	default:
		d.steady()
	}
	d.quiet()
	d.volumes()
	d.publish()
	d.finish()
	return d.out
}

// volumes tells of members whose disks fail.
func (d *deciding) volumes() {
	for _, m := range d.Members {
		switch s := d.seen[m.ID]; {
		case s.Over:
		case s.VolumeError != "":
			d.problem("%s: its volume takes no writes: %s", d.MemberName(m.ID), s.VolumeError)
		case s.Stalled >= deaf:
			d.problem("%s: a write to its volume has hung for %s: look at the disk of %s", d.MemberName(m.ID), s.Stalled.Round(time.Second), m.Host)
		}
	}
}

type deciding struct {
	Record
	lim  Limits
	seen map[int]Seen
	out  Decision
	// donors of clones that are under way or decided: a server gives to one at a time.
	donors map[int]bool
}

// decidingOn is what a decision about a record starts from.
func decidingOn(r Record, seen []Seen, lim Limits) *deciding {
	d := &deciding{Record: r, lim: lim, seen: map[int]Seen{}, donors: map[int]bool{}}
	for _, s := range seen {
		d.seen[s.Member] = s
		d.donors[s.Donor] = s.Donor != 0
	}
	return d
}

func (d *deciding) act(kind ActionKind, member int) {
	d.out.Actions = append(d.out.Actions, Action{Kind: kind, Member: member})
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
		case !ok || !s.now() || s.Busy != "" || d.Seed() != 0 && m.ID != d.Seed():
			continue
		case s.Writable() || (s.Server.GTIDExecuted != "") != (m.ID == d.Seed()) || s.Replica != nil:
			d.problem("%s is not as a new member should be (open for writes: %v, executed %q, replica: %v): it is not made primary",
				d.MemberName(m.ID), s.Writable(), s.Server.GTIDExecuted, s.Replica != nil)
			continue
		}
		d.act(ActChoose, m.ID)
		return
	}
	if m, ok := d.Member(d.Seed()); ok {
		d.problem("no primary yet: backup %s is not restored into %s; %s", d.Spec.BackupID, d.MemberName(m.ID), cmp.Or(m.Failure, m.Reason, "it waits for its launch"))
		return
	}
	d.problem("no primary yet: no member answers")
}

// fence closes every member but the primary that is open for writes (I2), be it for accounts of ours only: a clone that
// broke off may leave one so.
func (d *deciding) fence() {
	for _, m := range d.Members {
		s := d.seen[m.ID]
		if m.ID == d.Primary || !s.now() || s.closed() || s.Busy != "" {
			continue
		}
		if s.Writable() {
			d.problem("%s is open for writes and is not the primary: closing it", d.MemberName(m.ID))
		}
		d.act(ActFence, m.ID)
	}
}

// quiet has every member but the primary run no events: super_read_only stops what they write, but not all of what gets a GTID. It is
// the last step of a member, for no other to wait for.
func (d *deciding) quiet() {
	for _, m := range d.Members {
		if s := d.seen[m.ID]; m.ID != d.Primary && s.now() && s.Busy == "" && s.Server.EventScheduler == "ON" {
			d.act(ActQuiet, m.ID)
		}
	}
}

// steady is a cluster whose primary is not changing: either it is as it should be, or made so, or a failover begins.
func (d *deciding) steady() {
	if d.diagnose() {
		return
	}
	d.primary()
	d.replicas()
	d.operate()
}

// finish ends a change of primary once the new one is open and published.
func (d *deciding) finish() {
	if c := d.Change; c != nil && c.Step == StepPromote && d.out.Primary == c.To && d.out.Transition == nil {
		d.out.Transition = &Transition{Kind: Finish, Note: d.MemberName(c.To) + " is open for writes and published"}
	}
}

func (d *deciding) isPrimary(a mysql.Addr) bool {
	m, ok := d.Member(d.Primary)
	return ok && a == mysql.Addr{Host: m.Host, Port: m.Port}
}

// hears tells whether a replica that answers hears the primary at this moment.
func (d *deciding) hears(s Seen) bool {
	return s.now() && s.Replica != nil && s.Replica.Receiving() && d.isPrimary(s.Replica.Source) && (s.Heard == nil || *s.Heard < deaf)
}

// publish says what clients are told (I10).
func (d *deciding) publish() {
	p := d.seen[d.Primary]
	heard := slices.ContainsFunc(d.Members, func(m Member) bool { return m.ID != d.Primary && d.hears(d.seen[m.ID]) })
	d.out.Leave = d.Founded && p.TaskLives && !p.Answered && (p.Silent < forgiven || heard)
	// A primary that only we cannot reach, and its replicas do, is where clients write (I11).
	if d.Founded && p.Answered && p.Writable() && p.TaskLives && (p.lately() || heard) && !d.leaving() {
		d.out.Primary = d.Primary
	}
	for _, m := range d.Members {
		s := d.seen[m.ID]
		if m.ID != d.Primary && s.lately() && s.Busy == "" && !s.Writable() && s.Replica != nil && m.Phase != PhaseRemoving && !m.Joining && !m.Leaving &&
			s.Replica.SQLRunning == "Yes" && d.incomplete(m.ID) == "" && d.isPrimary(s.Replica.Source) && d.Founded && d.usable(s) {
			d.out.Replicas = append(d.out.Replicas, m.ID)
		}
	}
}

// usable tells whether the cluster's user can log in to a replica: it has executed what made it.
func (d *deciding) usable(s Seen) bool {
	founded, err1 := mysql.ParseGTIDSet(d.FoundedSet)
	executed, err2 := mysql.ParseGTIDSet(s.Server.GTIDExecuted)
	return err1 == nil && err2 == nil && executed.Contains(founded)
}

// leaving tells whether the primary is being replaced: clients are told of none until its successor is open.
func (d *deciding) leaving() bool { return d.Change != nil && d.Change.Step != StepPromote }

// Promise is what a policy means for clients, for people.
func (p Policy) Promise() string {
	switch p {
	case PolicyLossless:
		return "a commit is acknowledged only once enough replicas have it (half of the members): no acknowledged write is lost with any one instance; without them commits wait"
	case PolicyAvailable:
		return fmt.Sprintf("a commit waits up to %s for a replica and then goes on: writes acknowledged while no replica listens are lost with the primary", fallBack)
	}
	return "one instance: its volume is kept, but while it is down nothing takes its place"
}
