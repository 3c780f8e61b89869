package cotton

import (
	"fmt"
	"slices"

	"github.com/aosc/aosc/internal/mysql"
)

// primary brings the stored primary to accept writes, once it is safe.
func (d *deciding) primary() {
	p, ok := d.seen[d.Primary]
	name := d.MemberName(d.Primary)
	if !ok || !p.TaskLives || !p.now() {
		return // the diagnosis says so
	}
	want := d.AcksWanted()
	if d.Acks > want {
		d.act(ActAcks, d.Primary) // alone: commits may have fewer once the primary is told, which must not be while this is not stored
		return
	}
	right := d.semiSyncRight(p)
	if d.promoting(p) {
		if why := d.lacking(p); why != "" && d.Change == nil {
			d.problem("the primary %s stays closed for writes: %s", name, why)
			return
		}
		d.act(ActPromote, d.Primary)
		return
	}
	d.outsiders(p)
	if !right {
		d.act(ActSemiSync, d.Primary)
	} else if want > d.acks() {
		d.act(ActAcks, d.Primary)
	}
	switch {
	case right && d.Loose && p.SemiSync.Active:
		d.act(ActStrict, d.Primary)
	case right && d.Loose:
		d.problem("%s is lossless by now, and goes on without an acknowledgement until a replica has caught up: what is committed "+
			"meanwhile may be on the primary alone", d.Spec.Name)
	}
	if !p.Writable() {
		if why := d.unsafe(p); why != "" {
			d.problem("the primary %s stays closed for writes: %s", name, why)
			return
		}
		d.act(ActOpen, d.Primary)
		return // look again before anything is built on it
	}
	if d.Founded && (d.Base == "" || d.adopted(p)) {
		d.act(ActBase, d.Primary)
	}
	switch {
	case p.HasUser && !d.Founded:
		d.act(ActFound, d.Primary)
	case !p.HasUser && !d.Founded && (d.Spec.Policy != PolicyLossless || p.SemiSync.Clients > 0):
		d.act(ActUser, d.Primary)
	}
}

// outsiders tells of servers outside the cluster that acknowledge in the members' place. One that is ended is back within a tenth of a
// second, so more acknowledgements are wanted instead; where that cannot be, it is ended whenever it is seen.
func (d *deciding) outsiders(p Seen) {
	if !d.SemiSync().Enabled || p.Foreign == 0 {
		return
	}
	who := "gone by now"
	if len(p.Outsiders) > 0 {
		who = fmt.Sprint(p.Outsiders[0])
		if more := len(p.Outsiders) - 1; more > 0 {
			who += fmt.Sprintf(" and %d more", more)
		}
	}
	const remedy = "set rpl_semi_sync_replica_enabled = OFF there and start its receiver anew, or take REPLICATION SLAVE from that account"
	if d.Spec.Policy == PolicyLossless {
		d.problem("%d sessions from outside the cluster acknowledge writes in the members' place: %s; while they are there, and for %s "+
			"afterwards, commits wait for %d acknowledgements: %s", p.Foreign, who, OutsideFor, d.SemiSyncBeside(p.Foreign).Acks, remedy)
		return
	}
	d.problem("%d sessions from outside the cluster acknowledge writes in the members' place: %s; they are ended whenever they are seen, "+
		"and what was acknowledged before may be on no member: %s", p.Foreign, who, remedy)
	if len(p.Outsiders) > 0 {
		d.act(ActExpel, d.Primary)
	}
}

// adopted tells whether the primary has executed what other members numbered, and an election would not know that.
func (d *deciding) adopted(p Seen) bool {
	theirs, err := mysql.ParseGTIDSet(p.Server.GTIDExecuted)
	return err == nil && !d.errantIn(theirs).Empty()
}

// promoting tells whether the primary still is the replica that it was: of a change that is at that step, or since a failover away from it
// was taken back before it had been opened. Replication that an operator has set up on an open primary is nobody's business.
func (d *deciding) promoting(p Seen) bool {
	switch {
	case p.Replica == nil:
		return false
	case d.Change != nil:
		return d.Change.Step == StepPromote && d.Change.To == d.Primary
	}
	return p.now() && !p.Writable() && d.Founded && slices.ContainsFunc(d.Members, func(m Member) bool {
		return p.Replica.Source == mysql.Addr{Host: m.Host, Port: m.Port}
	})
}

// semiSyncRight tells whether commits wait as the policy says (M8: at run time, not only in my.cnf).
func (d *deciding) semiSyncRight(p Seen) bool {
	want := d.SemiSyncBeside(p.Foreign)
	if !want.Enabled {
		return !p.SourceSemiSync.Enabled
	}
	return p.SourceSemiSync == want
}

// unsafe says why the primary must not be opened, empty when it may be.
func (d *deciding) unsafe(p Seen) string {
	switch {
	case p.Busy != "":
		return p.Busy + " is under way"
	case p.Replica != nil:
		return "it is a replica of " + p.Replica.Source.String()
	case !d.semiSyncRight(p):
		return "semi-synchronous replication is not set yet"
	}
	if why := d.lacking(p); why != "" {
		return why
	}
	if able, cloning := d.acknowledgers(p); d.Spec.Policy == PolicyLossless && d.Founded && able == 0 && cloning > 0 {
		return "until another member is cloned from it nobody could acknowledge its commits, and those that wait would hold the clone up"
	}
	return ""
}

// lacking says what the primary does not have, of what was acknowledged or others have; empty when it has all, or will have once it has
// applied what it received.
func (d *deciding) lacking(p Seen) string {
	has, err := received(p)
	base, errBase := d.Acknowledged()
	switch {
	case err != nil:
		return "its transactions cannot be read: " + err.Error()
	case errBase != nil:
		return "what was acknowledged, as it is stored, cannot be read: " + errBase.Error()
	case d.Founded && has.Empty():
		return "it has lost its data: it has executed nothing"
	case !has.Contains(base):
		return "it lacks what was acknowledged before: " + base.Subtract(has).String()
	}
	for _, m := range d.Members {
		s := d.seen[m.ID]
		// One that was relieved when the primary changed is known by what it says now, not by what it was.
		if m.ID == d.Primary || !s.Answered || m.Relieved && !s.now() {
			continue
		}
		if s.Writable() {
			return d.MemberName(m.ID) + " is open for writes, too"
		}
		if m.Relieved {
			continue // what it has more is errant, and nobody was told of it
		}
		theirs, err := received(s)
		if err != nil {
			return fmt.Sprintf("the transactions of %s cannot be read: %v", d.MemberName(m.ID), err)
		}
		if more := theirs.Subtract(has).Subtract(d.errantIn(theirs)); !more.Empty() {
			return fmt.Sprintf("%s has transactions that it lacks: %s", d.MemberName(m.ID), more)
		}
	}
	return ""
}

// received is all that a member has: executed, or in its relay log (M10).
func received(s Seen) (mysql.GTIDSet, error) {
	all, err := mysql.ParseGTIDSet(s.Server.GTIDExecuted)
	if err != nil || s.Replica == nil {
		return all, err
	}
	relay, err := mysql.ParseGTIDSet(s.Replica.Retrieved)
	return all.Union(relay), err
}
