package backup

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// State is what is known of a cluster and its backups at one moment.
type State struct {
	Record cotton.Record
	Seen   []cotton.Seen
	// Facts are what the executors of running tasks said of backups, by member.
	Facts   map[int]cotton.BackupFacts
	Listing Listing
	// Ordered is the copy that was ordered last, zero when none was by this scheduler.
	Ordered Ordered
	// Archiver is the member that was told last to archive binary logs, at ArchiveOrdered; zero when none was.
	Archiver       int
	ArchiveOrdered time.Time
	// Failures of copies in a row, the last of them by FailedMember at FailedAt.
	Failures     int
	FailedMember int
	FailedAt     time.Time
	Since        time.Time // this scheduler began to look
	Now          time.Time
}

// Ordered is an order for a copy.
type Ordered struct {
	ID     string
	Member int
	At     time.Time // when it was sent last
}

// Decision is what is to be done about a cluster's backups.
type Decision struct {
	// Copy is a copy to order; zero = none.
	Copy Ordered
	Role string // of its member
	// Archive is the member that is to archive its binary logs; 0 = none.
	Archive int
	// Remove are ids of backups, RemoveLogs names of logs.
	Remove, RemoveLogs []string
	Problems           []string
}

const (
	// settle is how long after its start a scheduler waits for what executors have to say before it orders a copy.
	settle = 5 * time.Second
	// settleCopying is the same where the store has a copy that somebody may be working on: executors say so unasked every
	// half a minute.
	settleCopying = 90 * time.Second
	// heard is how long an ordered copy is given to be heard of; then it is ordered again.
	heard = 10 * time.Second
	// unfinishedFor is how old what nobody works on must be to be removed.
	unfinishedFor = 2 * time.Hour
	// lagLimit is how far behind a replica may be to be copied.
	lagLimit = time.Minute
	// Waits between copies that fail.
	firstRetry = 15 * time.Second
	maxRetry   = 15 * time.Minute
)

// Decide is pure.
func Decide(s State) Decision {
	d := &deciding{State: s}
	if s.Record.State != cotton.StateRunning || s.Record.Primary == 0 || !s.Record.Founded || s.Record.Change != nil {
		return d.out
	}
	for _, damaged := range s.Listing.Damaged {
		d.problem("%s", damaged)
	}
	d.ours = slices.DeleteFunc(slices.Clone(s.Listing.Backups), func(m Manifest) bool { return m.Origin != s.Record.Origin() })
	d.history()
	d.copies()
	d.archive()
	d.prune()
	return d.out
}

type deciding struct {
	State
	ours    []Manifest // complete, of this cluster, oldest first
	covered mysql.GTIDSet
	broken  string // why the logs do not go on from the newest copy
	out     Decision
}

func (d *deciding) problem(format string, args ...any) {
	d.out.Problems = append(d.out.Problems, "backup: "+fmt.Sprintf(format, args...))
}

func (d *deciding) newest() (Manifest, bool) {
	if len(d.ours) == 0 {
		return Manifest{}, false
	}
	return d.ours[len(d.ours)-1], true
}

// history finds out how far logs lead from the newest copy, and whether something is missing between them.
func (d *deciding) history() {
	newest, ok := d.newest()
	if !ok || d.Record.Spec.Backup == nil {
		return
	}
	c, err := newest.chain(d.Listing.Logs)
	if err != nil {
		d.problem("%v", err)
		return
	}
	d.covered = c.Covered
	archived, err := Archived(d.Record.Origin(), d.Listing.Logs)
	if err != nil {
		d.problem("%v", err)
		return
	}
	p := d.seen(d.Record.Primary)
	if executed, err := mysql.ParseGTIDSet(p.Server.GTIDExecuted); err == nil && p.Answered {
		// Logs may hold what the cluster has lost since: that is no part of its history.
		lost := archived.Subtract(executed).Without(p.Server.UUID)
		if stray := archived.Subtract(lost).Subtract(c.Covered); !stray.Empty() {
			d.broken = fmt.Sprintf("archived transactions %s do not continue backup %s: something before them is missing", stray, newest.ID)
		}
	}
	if d.broken == "" && d.purgedByAll() {
		d.broken = fmt.Sprintf("all members have purged binary logs after %s that were not archived", c.Covered)
	}
	if d.broken != "" {
		d.problem("%s. Moments after that cannot be restored from it; a new copy is made", d.broken)
	}
}

// purgedByAll tells whether no member that answers has what the archive lacks.
func (d *deciding) purgedByAll() bool {
	any := false
	for _, s := range d.Seen {
		if s.Err != nil || !s.Answered {
			return false // unknown
		}
		any = true
		if d.continues(s) {
			return false
		}
	}
	return any
}

// continues tells whether a member still has all binary logs that are not archived.
func (d *deciding) continues(s cotton.Seen) bool {
	purged, err := mysql.ParseGTIDSet(s.Server.GTIDPurged)
	return err == nil && d.covered.Contains(purged)
}

func (d *deciding) seen(member int) cotton.Seen {
	i := slices.IndexFunc(d.Seen, func(s cotton.Seen) bool { return s.Member == member })
	if i < 0 {
		return cotton.Seen{Member: member}
	}
	return d.Seen[i]
}

// Source picks the member to copy, or to archive: a healthy replica that is not behind, so that the primary has its
// disk to itself, else the primary; 0 when none can. prefer is taken among equals, avoid only if there is nobody else.
func Source(r cotton.Record, seen []cotton.Seen, prefer, avoid int) int {
	best, bestRank := 0, 0
	var primary cotton.Seen
	for _, s := range seen {
		if s.Member == r.Primary {
			primary = s
		}
	}
	for _, s := range seen {
		rank := rankOf(r, s)
		if rank == 0 || errant(s, primary) {
			continue
		}
		if s.Member == avoid {
			rank += 10
		}
		if best == 0 || rank < bestRank || rank == bestRank && s.Member == prefer {
			best, bestRank = s.Member, rank
		}
	}
	return best
}

// errant tells whether a member has transactions that the primary never had, or may have: a history of its own must not
// get into a backup.
func errant(s, primary cotton.Seen) bool {
	if s.Member == primary.Member {
		return false
	}
	mine, err1 := mysql.ParseGTIDSet(s.Server.GTIDExecuted)
	theirs, err2 := mysql.ParseGTIDSet(primary.Server.GTIDExecuted)
	return !primary.Answered || err1 != nil || err2 != nil || !mine.Subtract(theirs).Without(primary.Server.UUID).Empty()
}

// rankOf is 1 for the best, 0 for one that does not serve.
func rankOf(r cotton.Record, s cotton.Seen) int {
	m, ok := r.Member(s.Member)
	switch {
	case !ok || m.Phase != cotton.PhaseRunning || !s.TaskLives || s.Err != nil || !s.Answered || s.Busy != "":
		return 0
	case s.Member == r.Primary:
		if s.Replica != nil {
			return 0
		}
		return 2
	case s.Writable() || s.Replica == nil || !s.Replica.Receiving() || s.Replica.SQLRunning != "Yes":
		return 0
	case s.Replica.SecondsBehind == nil || time.Duration(*s.Replica.SecondsBehind)*time.Second > lagLimit:
		return 3 // it would do, and with it the loss of a part of the history
	}
	return 1
}

// copies orders a copy when one is due.
func (d *deciding) copies() {
	for member, f := range d.Facts {
		if f.Copying {
			if d.overdue() {
				d.problem("copy %s by %s is still under way", f.ID, d.Record.MemberName(member))
			}
			return
		}
	}
	why := d.due()
	if why == "" {
		return
	}
	if d.Failures > 0 {
		d.problem("a copy by %s failed, %d in a row, and is tried again: %s", d.Record.MemberName(d.FailedMember), d.Failures, d.Facts[d.FailedMember].Failed)
	} else if d.overdue() {
		d.problem("the last copy is older than twice the interval of %v", d.Record.Spec.Backup.Every)
	}
	wait := min(firstRetry<<min(max(d.Failures-1, 0), 10), maxRetry)
	switch {
	case d.Now.Sub(d.Since) < d.settle(), d.Failures > 0 && d.Now.Sub(d.FailedAt) < wait:
		return
	case d.Ordered.ID != "" && d.Now.Sub(d.Ordered.At) < heard:
		return
	}
	member := Source(d.Record, d.Seen, 0, d.FailedMember)
	if member == 0 {
		d.problem("no member can be copied now: %s", why)
		return
	}
	d.out.Copy, d.out.Role = Ordered{NewID(d.Record.Spec.Name, d.Now), member, d.Now}, "replica"
	if member == d.Record.Primary {
		d.out.Role = "primary"
	}
}

func idTimeOf(id string) time.Time {
	_, at, _ := ParseID(id)
	return at
}

// settle is how long this scheduler must have looked before it takes nobody's word for nobody's work.
func (d *deciding) settle() time.Duration {
	for _, id := range d.Listing.Unfinished {
		if d.Now.Sub(idTimeOf(id)) < unfinishedFor {
			return settleCopying
		}
	}
	return settle
}

// due says why a copy is to be made now, empty when none is.
func (d *deciding) due() string {
	newest, any := d.newest()
	switch p := d.Record.Spec.Backup; {
	case d.Record.BackupAskedAt.After(newest.OrderedAt):
		return "one was asked for"
	case p == nil:
		return ""
	case !any:
		return "there is none yet"
	case d.Now.Sub(newest.OrderedAt) >= p.Every:
		return "the last one is old enough"
	case d.broken != "":
		return d.broken
	}
	return ""
}

// overdue tells whether people should know that a copy is late.
func (d *deciding) overdue() bool {
	p := d.Record.Spec.Backup
	if p == nil {
		return false
	}
	last := d.Record.Spec.CreatedAt
	if newest, any := d.newest(); any {
		last = newest.OrderedAt
	}
	return d.Now.Sub(last) > 2*p.Every
}

// archive has the binary logs stored at the policy's interval, once there is a copy that they continue.
func (d *deciding) archive() {
	p := d.Record.Spec.Backup
	if _, any := d.newest(); p == nil || !any {
		return
	}
	if f := d.Facts[d.Archiver]; f.ArchiveFailed != "" {
		d.problem("%s could not archive its binary logs: %s", d.Record.MemberName(d.Archiver), f.ArchiveFailed)
	}
	if late := d.Now.Sub(d.lastArchived()); late > 3*p.BinlogInterval+time.Minute {
		d.problem("no binary log was archived for %v; the interval is %v", late.Round(time.Second), p.BinlogInterval)
	}
	if d.Now.Sub(d.ArchiveOrdered) < p.BinlogInterval {
		return
	}
	able := slices.DeleteFunc(slices.Clone(d.Seen), func(s cotton.Seen) bool { return !d.continues(s) })
	avoid := 0
	if d.Facts[d.Archiver].ArchiveFailed != "" {
		avoid = d.Archiver
	}
	d.out.Archive = Source(d.Record, able, d.Archiver, avoid)
}

// lastArchived is when the archive was last up to date with its member; at the latest when this scheduler began to look.
func (d *deciding) lastArchived() time.Time {
	last := d.Since
	for _, f := range d.Facts {
		if f.ArchivedAt.After(last) {
			last = f.ArchivedAt
		}
	}
	return last
}

// prune removes what the policy does not keep: copies beyond the newest, never the last; logs that no copy needs; what
// somebody who died has left.
func (d *deciding) prune() {
	p := d.Record.Spec.Backup
	for _, id := range d.Listing.Unfinished {
		if at := idTimeOf(id); d.Now.Sub(at) > unfinishedFor && d.Now.Sub(d.Since) > settleCopying && id != d.Ordered.ID && !d.copying(id) {
			d.out.Remove = append(d.out.Remove, id)
		}
	}
	if p == nil || len(d.ours) == 0 {
		return
	}
	keep := max(p.Keep, 1)
	for len(d.ours) > keep {
		d.out.Remove = append(d.out.Remove, d.ours[0].ID)
		d.ours = d.ours[1:]
	}
	oldest, err := mysql.ParseGTIDSet(d.ours[0].GTIDsFrom)
	if err != nil {
		return
	}
	for _, l := range d.Listing.Logs {
		if _, gtids, err := l.sets(); err == nil && l.Origin == d.Record.Origin() && oldest.Contains(gtids) {
			d.out.RemoveLogs = append(d.out.RemoveLogs, l.Name)
		}
	}
	slices.SortFunc(d.out.RemoveLogs, cmp.Compare[string])
}

func (d *deciding) copying(id string) bool {
	for _, f := range d.Facts {
		if f.Copying && f.ID == id {
			return true
		}
	}
	return false
}
