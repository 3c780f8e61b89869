package framework

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
)

// relieve sees to it that nothing rests on a member's data any more: it receives nothing from here on, and enough others
// have all that it may have acknowledged. Then that is stored, and only then may its data go. Of a member that does not
// answer, and is surely down, it is all that the primary has.
func (d *driver) relieve(ctx context.Context, r cotton.Record, m cotton.Member) error {
	set, executed, err := d.acknowledged(ctx, r, m)
	if err != nil {
		return err
	}
	need := r.HoldersNeeded(m.ID)
	if set.Empty() {
		need = 0 // it answers, and has nothing
	}
	var holders []int
	var lacking []string
	seen, _ := d.c.last()
	for _, id := range r.Ackers() {
		other, _ := r.Member(id)
		if id == m.ID || len(holders) >= need || other.Leaving {
			continue
		}
		err := d.holds(ctx, *other, set)
		if filters := filtersOf(seen[id], *other); filters != "" {
			err = fmt.Errorf("has a replication filter: %s", filters)
		}
		if err != nil {
			lacking = append(lacking, fmt.Sprintf("%s: %v", r.MemberName(id), err))
			continue
		}
		holders = append(holders, id)
	}
	if len(holders) < need {
		err = d.receiveAgain(ctx, r, m)
		return errors.Join(err, fmt.Errorf("%s keeps its data: %d of the %d other replicas needed have all that it has: %v", r.MemberName(m.ID),
			len(holders), need, lacking))
	}
	err = d.f.change(ctx, d.c, func(stored *cotton.Record) error {
		if stored.Epoch != r.Epoch || stored.HoldersNeeded(m.ID) > len(holders) && !set.Empty() {
			return errUnchanged
		}
		if err := stored.Relieve(m.ID, holders, executed); err != nil {
			return err
		}
		if m, ok := stored.Member(m.ID); ok {
			m.Incomplete = filtersOf(seen[m.ID], *m)
		}
		return nil
	})
	if err == nil {
		fault.Point(faultRelieved)
	}
	return err
}

// filtersOf are the replication filters of a member, as it was seen, or as they were when it was last relieved.
func filtersOf(s cotton.Seen, m cotton.Member) string {
	if s.Replica != nil && s.Replica.Filters != "" {
		return s.Replica.Filters
	}
	return cmp.Or(s.Filters, m.Incomplete)
}

// receiveAgain has a member that could not be relieved receive again, where commits would wait for its acknowledgement. Else its receiver
// stays off: what it has does not grow then, and the others come to have all of it.
func (d *driver) receiveAgain(ctx context.Context, r cotton.Record, m cotton.Member) error {
	seen, _ := d.c.last()
	others := 0
	for id, s := range seen {
		if id != m.ID && id != r.Primary && s.Err == nil && s.Acknowledging && s.Replica != nil && s.Replica.Receiving() {
			others++
		}
	}
	if others >= r.SemiSync().Acks || m.Relieved || !mayLive(m) || seen[m.ID].Replica == nil {
		return nil
	}
	db, err := d.db(m)
	if err != nil {
		return err
	}
	return mysql.StartReceiver(ctx, db)
}

// acknowledged is what must not be lost with a member, from then on it acknowledges nothing; and what the primary has executed. Of a
// member that answers it is what it has, less what is errant; of any other, all of the primary. What a member acknowledged and has lost
// since, with its machine, cannot be lost with it again; that an election finds it is what Base is raised for.
func (d *driver) acknowledged(ctx context.Context, r cotton.Record, m cotton.Member) (set, executed mysql.GTIDSet, err error) {
	var theirs mysql.GTIDSet
	answers := mayLive(m)
	if answers {
		db, err := d.db(m)
		if err != nil {
			return set, executed, err
		}
		if err := mysql.StopReceiver(ctx, db); err != nil && !mysql.IsNumber(err, mysql.ErrNotReplica) {
			return set, executed, err
		}
		if theirs, err = receivedBy(ctx, db); err != nil {
			return set, executed, err
		}
	}
	if !answers { // what it acknowledged last may not be among what the primary has executed yet
		if err := d.settled(ctx, r); err != nil {
			return set, executed, err
		}
	}
	if _, executed, err = d.executedByPrimary(ctx, r); err != nil {
		return set, executed, err
	}
	set = theirs.Subtract(cotton.Errant(r, d.c.seenNow(), theirs))
	if !answers {
		set = set.Union(executed)
	}
	return set, executed, nil
}

// receivedBy is all that a server has: executed, or in its relay log.
func receivedBy(ctx context.Context, db *sql.DB) (mysql.GTIDSet, error) {
	status, err := mysql.ReadReplicaStatus(ctx, db)
	if err != nil {
		return mysql.GTIDSet{}, err
	}
	if status == nil { // it follows nobody: what it has, it has executed
		return mysql.GTIDExecuted(ctx, db)
	}
	retrieved, err1 := mysql.ParseGTIDSet(status.Retrieved)
	executed, err2 := mysql.ParseGTIDSet(status.Executed)
	return retrieved.Union(executed), errors.Join(err1, err2)
}

// holds tells whether a member has executed a set; it waits a little for what is on its way. One whose applier has failed never executes
// what it has received: that it has it in its relay log is enough, as it was when it acknowledged it. Else it and a former primary with a
// commit that nobody had received would keep each other from being cloned.
func (d *driver) holds(ctx context.Context, m cotton.Member, set mysql.GTIDSet) error {
	db, err := d.db(m)
	if err != nil {
		return err
	}
	err = mysql.WaitForGTID(ctx, db, set, waitStep)
	if seen, _ := d.c.last(); err == nil || !seen[m.ID].ApplierFailed() {
		return err
	}
	has, receivedErr := receivedBy(ctx, db)
	if receivedErr != nil || !has.Contains(set) {
		return errors.Join(err, receivedErr)
	}
	return nil
}

// attestation is what a member must have applied to bear witness again: all that the primary of an epoch had when it was asked, which was
// after the member's machine had started.
type attestation struct {
	boot  string
	epoch uint64
	set   mysql.GTIDSet
}

// attest sees that a member has all that the primary had, and stores the boot under which it has: from then on it bears witness to what it
// acknowledged. Which boot it is, is read first. The primary is asked once: a member that is always a little behind a busy one has applied
// that set a little later, and would never be seen to have all.
func (d *driver) attest(ctx context.Context, r cotton.Record, m cotton.Member) error {
	db, err := d.db(m)
	if err != nil {
		return err
	}
	due, err := d.attestation(ctx, r, m, db)
	if err != nil {
		return err
	}
	executed, err := mysql.GTIDExecuted(ctx, db)
	if err != nil {
		return err
	}
	if n := due.set.Subtract(executed).Count(); n > attestAtOnce {
		return fmt.Errorf("%s has not applied yet what the primary had: %d transactions are missing", r.MemberName(m.ID), n)
	}
	if err := mysql.WaitForGTID(ctx, db, due.set, waitStep); err != nil {
		return err
	}
	return d.f.changeMember(ctx, d.c, m.ID, func(m *cotton.Member) error {
		m.Boot = due.boot
		return nil
	})
}

// attestAtOnce is how many transactions a member may lack to be waited for: more are looked for again in another look at the cluster.
const attestAtOnce = 500

// attestation is what was asked before under the same boot and epoch, or is asked now.
func (d *driver) attestation(ctx context.Context, r cotton.Record, m cotton.Member, db *sql.DB) (attestation, error) {
	boot, err := mysql.ReadReportUser(ctx, db)
	if err != nil {
		return attestation{}, err
	}
	d.mu.Lock()
	due := d.memo(m.ID).due
	d.mu.Unlock()
	if due.boot == boot && due.epoch == r.Epoch {
		return due, nil
	}
	primary, err := d.primaryDB(r)
	if err != nil {
		return due, err
	}
	due = attestation{boot: boot, epoch: r.Epoch}
	if due.set, err = mysql.GTIDExecuted(ctx, primary); err != nil {
		return due, fmt.Errorf("ask the primary what it has committed: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.memo(m.ID).due = due
	return due, nil
}

// countAgain stores that a member may acknowledge from now on, under the epoch in which that was decided.
func (d *driver) countAgain(ctx context.Context, member int, epoch uint64) error {
	return d.f.change(ctx, d.c, func(r *cotton.Record) error {
		m, ok := r.Member(member)
		if !ok || r.Epoch != epoch {
			return errUnchanged
		}
		m.CountAgain()
		return nil
	})
}
