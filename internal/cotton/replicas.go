package cotton

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// brokenFor is how long an applier must have stood still with an error, through several starts, before it is given up.
const brokenFor = 20 * time.Second

// cloneTransactions: a new member is cloned rather than have it apply more than so many, each of which it syncs to disk.
const cloneTransactions = 5000

// replicas sees to it that everybody else follows the primary.
func (d *deciding) replicas() {
	p := d.seen[d.Primary]
	for _, m := range d.Members {
		s := d.seen[m.ID]
		if m.ID == d.Primary || m.Phase == PhaseRemoving {
			continue
		}
		switch {
		case m.Leaving:
			d.leave(m, s, p)
		case m.Stopping:
			d.problem("%s is being restarted", d.MemberName(m.ID))
		case s.Busy != "":
			d.problem("%s: %s is under way", d.MemberName(m.ID), s.Busy)
		case !s.TaskLives:
			d.problem("%s is down: %s", d.MemberName(m.ID), down(m, s))
		case !s.now():
			d.problem("%s does not answer: %v", d.MemberName(m.ID), s.Err)
		case s.Writable(): // being fenced
		case p.now() && p.Busy == "" && !d.promoting(p):
			d.replica(m, s, p)
		}
	}
}

// sets are the transactions that a replica is judged by.
type sets struct{ mine, received, theirs, purged mysql.GTIDSet }

func (d *deciding) sets(m Member, s, p Seen) (sets, bool) {
	all, err := setsOf(s, p)
	if err != nil {
		d.problem("%s: GTIDs cannot be read: %v", d.MemberName(m.ID), err)
	}
	return all, err == nil
}

func setsOf(s, p Seen) (all sets, err error) {
	var errs [4]error
	all.mine, errs[0] = mysql.ParseGTIDSet(s.Server.GTIDExecuted)
	all.received, errs[1] = received(s)
	all.theirs, errs[2] = mysql.ParseGTIDSet(p.Server.GTIDExecuted)
	all.purged, errs[3] = mysql.ParseGTIDSet(p.Server.GTIDPurged)
	return all, cmp.Or(errs[:]...)
}

// newcomer tells whether a member has nothing yet of what is too much to be replayed: it is cloned.
func (d *deciding) newcomer(g sets, p Seen) bool {
	return g.mine.Empty() && d.lim.CloneMB > 0 && (p.DataMB >= d.lim.CloneMB || g.theirs.Count() > cloneTransactions)
}

func (d *deciding) replica(m Member, s, p Seen) {
	g, ok := d.sets(m, s, p)
	if !ok {
		return
	}
	if errant := errantOf(g, p); !errant.Empty() {
		d.errant(m, s, p, g, errant)
		return
	}
	d.follower(m, s, p, g)
}

// follows tells whether a member is set up to receive from the primary.
func (d *deciding) follows(s Seen) bool {
	return s.Replica != nil && s.Replica.AutoPosition && d.isPrimary(s.Replica.Source)
}

// follower has a member follow the primary, with the data that it has, or with a clone.
func (d *deciding) follower(m Member, s, p Seen, g sets) {
	name := d.MemberName(m.ID)
	if filters := d.incomplete(m.ID); filters != "" {
		d.problem("%s has a replication filter, or had one, so it lacks what that left out (%s); its data are replaced", name, filters)
		d.replace(m)
		return
	}
	d.hindered(m, s)
	if !d.semiSyncRight(p) {
		return // a receiver that connects before would not acknowledge
	}
	if s.SourceSemiSync.Enabled {
		// As a primary it waited for acknowledgements; now its applier would. But sessions that wait still would be
		// told that their commits are done, and nobody else has them (M5): its executor ends such a server.
		if !s.closed() || s.SemiSync.Waiting > 0 {
			d.act(ActFence, m.ID)
			return
		}
		d.act(ActSemiSync, m.ID)
	}
	follows := d.follows(s)
	switch lacks := g.purged.Subtract(g.mine); {
	case !lacks.Empty() && !(follows && s.Replica.Receiving()):
		d.problem("%s lacks what the primary has purged (%s): cloning it", name, lacks)
		d.replace(m)
	case !follows && d.newcomer(g, p):
		d.replace(m)
	case !follows && s.Broken >= brokenFor:
		d.problem("%s cannot apply what it received of another primary (%s): cloning it", name, s.Replica.SQLError)
		d.replace(m)
	case m.Relieved && s.Broken >= brokenFor: // that is what it was relieved for
		d.replace(m)
	case !follows, m.Relieved: // one that acknowledges is never a relieved one
		d.act(ActFollow, m.ID)
	case s.Replica.IORunning == "No" || s.Replica.SQLRunning == "No":
		d.stopped(m, s, g)
	case !s.Replica.Receiving():
		d.problem("%s does not reach the primary: %s", name, s.Replica.IOError)
	case d.SemiSync().Enabled && !s.Acknowledging:
		d.act(ActReattach, m.ID)
	case !m.witness(s):
		d.problem("%s has not caught up yet since its machine started: a failover does not count on it", name)
		d.act(ActAttest, m.ID)
	}
}

// hindered tells of a replica that is kept from applying what it received: a failover to it would take as long.
func (d *deciding) hindered(m Member, s Seen) {
	if s.Replica != nil && s.Replica.Delay > 0 {
		d.problem("%s applies %s later than the primary (SOURCE_DELAY); a failover to it lifts that. To end it: STOP REPLICA SQL_THREAD; "+
			"CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 0; START REPLICA SQL_THREAD", d.MemberName(m.ID), s.Replica.Delay)
	}
	if s.Held != "" {
		d.problem("%s cannot apply what it received: locks are held by %s; a failover to it ends these sessions", d.MemberName(m.ID), s.Held)
	}
}

// errant is a member with transactions that the primary never had (I7). What can be executed on the primary as well is. Else the
// member's data are replaced by the primary's, unless they may be writes that a client was told of: those that an earlier primary numbered
// while it did not have to wait for a replica. Those are an operator's to give up.
func (d *deciding) errant(m Member, s, p Seen, g sets, errant mysql.GTIDSet) {
	if d.out.Errant == nil {
		d.out.Errant = map[int]string{}
	}
	name := d.MemberName(m.ID)
	d.out.Errant[m.ID] = errant.String()
	if d.adopts(m, s, p, g, errant) {
		return
	}
	if told := d.told(m, errant); !told.Empty() {
		d.problem("%s has writes of when it was the primary, that no other member has and clients may have been told of: %s; "+
			"save them from it, then give it up: cotton replace %s --member %d --discard", name, told, d.Spec.Name, m.ID)
		return
	}
	d.problem("%s has errant transactions, which the primary never had (I7): %s; its data are replaced", name, errant)
	d.replace(m)
}

// told are those of a member's errant transactions that a client may have been told of.
func (d *deciding) told(m Member, errant mysql.GTIDSet) mysql.GTIDSet {
	if forced := slices.ContainsFunc(d.History, func(c Change) bool { return c.Forced && !c.Taken }); forced {
		return d.fromPrimaries(errant) // an operator gave them up to have a primary; now that they are here, they may be saved
	}
	if d.Spec.Policy == PolicyLossless || len(d.Lineage) == 0 || d.waited(m.ID) {
		return mysql.GTIDSet{}
	}
	return d.fromPrimaries(errant)
}

// replace has a member's data replaced by a clone, once nothing rests on them.
func (d *deciding) replace(m Member) {
	if !m.spare() && d.SemiSync().Enabled {
		d.act(ActRelieve, m.ID)
		return
	}
	donor := d.donor(m.ID)
	p := d.seen[d.Primary]
	switch {
	case d.donors[donor]:
		d.problem("%s waits to be cloned: %s gives its data to another one", d.MemberName(m.ID), d.MemberName(donor))
	case donor == d.Primary && d.Spec.Policy == PolicyLossless && p.Writable() && p.SemiSync.Clients == 0:
		// Its commits wait for an acknowledgement that nobody can give before the clone is done, and the clone waits for
		// them: CLONE needs a moment without prepared transactions.
		d.problem("%s is closed until %s is cloned from it: nobody could acknowledge its commits, and those that wait hold the clone up",
			d.MemberName(donor), d.MemberName(m.ID))
		d.act(ActFence, d.Primary)
		d.donors[donor] = true
	default:
		d.donors[donor] = true
		d.out.Actions = append(d.out.Actions, Action{Kind: ActClone, Member: m.ID, Donor: donor})
	}
}

// acknowledgers counts the other members that acknowledge, or can as soon as they follow, and those that a clone must come
// before.
func (d *deciding) acknowledgers(p Seen) (able, cloning int) {
	for _, m := range d.Members {
		s := d.seen[m.ID]
		if m.ID == d.Primary || m.Phase == PhaseRemoving || !s.TaskLives {
			continue
		}
		if s.Busy != "" {
			cloning++
			continue
		}
		if !s.now() {
			continue
		}
		if d.mustClone(s, p) || d.incomplete(m.ID) != "" {
			cloning++
			continue
		}
		able++
	}
	return able, cloning
}

// mustClone tells whether a member can follow the primary only with its data.
func (d *deciding) mustClone(s, p Seen) bool {
	g, err := setsOf(s, p)
	if err != nil {
		return false
	}
	errant := errantOf(g, p)
	if !errant.Empty() && s.Strays != nil && (s.Strays.Reading || s.replays(errant)) {
		return false // it follows with what it has
	}
	return !errant.Empty() || !g.purged.Subtract(g.mine).Empty() || s.Replica == nil && d.newcomer(g, p)
}

// strays tells whether a replica has transactions that the primary never had.
func (d *deciding) strays(s, p Seen) bool {
	g, err := setsOf(s, p)
	return err != nil || !errantOf(g, p).Empty()
}

// donor of a clone: a replica that is well, so that the primary does not carry the load, else the primary. With only two
// replicas the other one's acknowledgement is what commits wait for: it is spared.
func (d *deciding) donor(recipient int) int {
	p := d.seen[d.Primary]
	well := 0
	var best int
	for _, m := range d.Members {
		s := d.seen[m.ID]
		if m.ID == d.Primary || m.ID == recipient || m.Phase != PhaseRunning || s.Busy != "" || d.donors[m.ID] || !d.hears(s) ||
			s.Replica.SQLRunning != "Yes" || s.Server.Version.Compare(p.Server.Version) != 0 || lag(s) > 1 ||
			d.strays(s, p) || d.incomplete(m.ID) != "" {
			continue
		}
		well++
		best = m.ID
	}
	if well <= d.AcksWanted() && d.Spec.Policy == PolicyLossless {
		return d.Primary
	}
	return cmp.Or(best, d.Primary)
}

// stopped is a replica whose receiver or applier has ended. It is started again and again; an applier that stands still
// all the same is helped by receiving its relay log anew where it is that which cannot be read, else by a clone.
func (d *deciding) stopped(m Member, s Seen, g sets) {
	name := d.MemberName(m.ID)
	if text := strings.TrimSpace(s.Replica.IOError + " " + s.Replica.SQLError); text != "" {
		d.problem("%s does not replicate: %s", name, text)
	}
	switch {
	case s.Broken < brokenFor || s.Replica.SQLError == "":
		d.act(ActStart, m.ID)
	case unreadable(s.Replica.SQLError) && g.theirs.Contains(g.received):
		d.act(ActRefetch, m.ID)
	default:
		d.problem("%s is cloned anew: its applier has stood still for %s", name, s.Broken.Round(time.Second))
		d.replace(m)
	}
}

// ApplierFailed tells whether a member's applier stands still for good, with a relay log that can be read.
func (s Seen) ApplierFailed() bool {
	return s.Replica != nil && s.Replica.SQLRunning == "No" && s.Broken >= brokenFor && s.Replica.SQLError != "" &&
		!unreadable(s.Replica.SQLError)
}

// unreadable tells whether an applier's error is that of a relay log which is damaged: error numbers of
// ER_REPLICA_RELAY_LOG_READ_FAILURE, ER_REPLICA_CORRUPT_EVENT, ER_RPL_OPEN_INDEX and the like.
func unreadable(text string) bool {
	return slices.ContainsFunc([]string{"error 1594:", "error 1610:", "error 13117:", "error 13121:", "error 1201:", "error 1872:", "error 13124:"},
		func(n string) bool { return strings.HasPrefix(text, n) })
}
