package framework

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
)

// transit stores a step of a change of primary; true when it was. What is decided on a record that has changed is dropped.
func (d *driver) transit(ctx context.Context, r cotton.Record, t cotton.Transition) bool {
	ctx, cancel := context.WithTimeout(ctx, d.f.cfg.ActTimeout)
	defer cancel()
	if t.Kind == cotton.OpStop {
		d.quiesce(ctx, r, t.To)
	}
	now := d.f.clock.now()
	var after cotton.Record
	err := d.f.change(ctx, d.c, func(stored *cotton.Record) error {
		if stored.Epoch != r.Epoch || stored.Primary != r.Primary || stored.State == cotton.StateDeleting {
			return cotton.ErrOvertaken
		}
		if err := stored.Apply(t, now); err != nil {
			return err
		}
		after = stored.Clone()
		return nil
	})
	log := d.f.cfg.Log.With("cluster", r.Spec.Name, "step", t.Kind, "epoch", after.Epoch)
	switch {
	case errors.Is(err, cotton.ErrOvertaken):
		return false
	case err != nil:
		log.Error("a step of a change of primary is not stored, it will be tried again", "error", err)
		return false
	}
	log.Info("stored", "note", t.Note)
	d.f.metrics.changed(t.Kind, after)
	d.f.operated(t.Kind, after)
	passed(t.Kind)
	return true
}

// passed is where a test kills the process, once a step is stored.
func passed(kind cotton.TransitionKind) {
	switch kind {
	case cotton.BeginFailover:
		fault.Point(faultFailover)
	case cotton.BeginSwitchover:
		fault.Point(faultSwitch)
	case cotton.Elect:
		fault.Point(faultElected)
	case cotton.Promote:
		fault.Point(faultPromoted)
	case cotton.TakeBack:
		fault.Point(faultTakenBack)
	case cotton.Finish:
		fault.Point(faultFinished)
	}
}

// ours are the accounts whose sessions are never ended.
var ours = []string{cotton.AdminAccount, cotton.ReplicationAccount}

// fencePatience is how long a server that must be closed lets its clients finish.
const fencePatience = 500 * time.Millisecond

// fence closes a member that must not be open, its clients or no. One that cannot be closed by SQL in time is its
// executor's to end.
func (d *driver) fence(ctx context.Context, r cotton.Record, m cotton.Member) error {
	if seen, _ := d.c.last(); seen[m.ID].Stalled > 0 { // super_read_only would wait for the disk
		return d.orderFence(ctx, r, m)
	}
	db, err := d.db(m)
	if err != nil {
		return err
	}
	sqlCtx, cancel := context.WithTimeout(ctx, d.f.cfg.ActTimeout/2)
	defer cancel()
	d.stopEvents(sqlCtx, db)
	if err := mysql.CloseForWrites(sqlCtx, db, fencePatience, ours...); err != nil {
		return errors.Join(err, d.orderFence(ctx, r, m))
	}
	return nil
}

// quietPatience is how long a server that must be closed is asked to run no more events. Where it does not, that is done once it is closed.
const quietPatience = 300 * time.Millisecond

func (d *driver) stopEvents(ctx context.Context, db *sql.DB) {
	ctx, cancel := context.WithTimeout(ctx, quietPatience)
	defer cancel()
	if err := mysql.StopEvents(ctx, db); err != nil {
		d.f.cfg.Log.Debug("events run on while a server is closed", "error", err)
	}
}

// orderEvery is how often an executor is told the same: messages may be lost.
const orderEvery = time.Second

func (d *driver) orderFence(ctx context.Context, r cotton.Record, m cotton.Member) error {
	d.mu.Lock()
	due := time.Since(d.ordered[m.ID]) >= orderEvery
	if due {
		d.ordered[m.ID] = time.Now()
	}
	d.mu.Unlock()
	if !due {
		return errUnchanged
	}
	if err := d.f.order(ctx, m, cotton.Order{Kind: cotton.OrderFence, Epoch: r.Epoch}); err != nil {
		return err
	}
	fault.Point(faultFenced)
	d.f.cfg.Log.Info("its executor is told to close it", "cluster", r.Spec.Name, "member", m.ID, "epoch", r.Epoch)
	return errUnchanged // whether it did is seen, or reported
}

// renewLease tells the primary's executor that it is still counted on. While the primary is being replaced it gets none.
func (d *driver) renewLease(ctx context.Context, r cotton.Record) {
	m, ok := r.Member(r.Primary)
	if !ok || m.Phase != cotton.PhaseRunning || r.Change != nil && r.Change.Step != cotton.StepPromote {
		return
	}
	o, due := d.leaseDue(r, *m)
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d.f.cfg.ProbeTimeout)
	defer cancel()
	if err := d.f.order(ctx, *m, o); err != nil {
		d.f.cfg.Log.Debug("a lease is not renewed", "cluster", r.Spec.Name, "error", err)
	}
}

// leaseDue is the order by which a lease is renewed, if it is time for it. It answers the executor's last facts, and the lease counts
// from when they came at the latest. Of an executor that was not heard yet, as of all of them by a scheduler that has just taken
// over, it asks for facts first; one of an earlier release takes that for a lease, from its arrival.
func (d *driver) leaseDue(r cotton.Record, m cotton.Member) (cotton.Order, bool) {
	facts, heard := d.c.factsOf(m.ID)
	heard = heard && facts.Task == m.TaskID
	o := cotton.Order{Kind: cotton.OrderLease, Epoch: r.Epoch, Lease: d.f.cfg.Timing.Lease, Reading: cotton.Unread}
	if heard {
		o.Reading = facts.Clock
	}
	if r.Spec.Policy == cotton.PolicySingle {
		// Nobody could take its place. One that has a lease of other times would close itself.
		if heard && facts.Clock > 0 && (facts.LeaseMillis == 0 || facts.LeaseMillis >= cotton.Endless.Milliseconds()) {
			return o, false
		}
		o.Lease = cotton.Endless
	}
	now := d.f.clock.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lease(m)
	if now.Sub(l.sent) < d.f.cfg.Timing.Renew && !(heard && l.asked) {
		return o, false
	}
	l.sent, l.asked = now, o.Reading == cotton.Unread
	from := now
	if o.Reading > 0 {
		from = now.Add(-time.Since(facts.came))
	}
	if from.After(l.from) {
		l.from = from
	}
	return o, true
}

// drain has the elected member apply what it received. Not being done in time is no failure: it goes on.
func (d *driver) drain(ctx context.Context, r cotton.Record, m cotton.Member) error {
	if r.Change == nil {
		return errUnchanged
	}
	target, err := r.ChangeTarget()
	if err != nil {
		return err
	}
	db, err := d.db(m)
	if err != nil {
		return err
	}
	status, err := mysql.ReadReplicaStatus(ctx, db)
	if err != nil {
		return err
	}
	if status != nil && status.SQLRunning != "Yes" {
		if err := mysql.StartApplier(ctx, db); err != nil {
			return err
		}
	}
	if err := d.waitExecuted(ctx, m, target); err != nil {
		if d.standsStill(r, m, status) {
			err = errors.Join(err, d.freeApplier(ctx, r, m, db))
		}
		return err
	}
	fault.Point(faultDrained)
	return nil
}

// freeze stops a replica's receiver. A delay is ended first, while the receiver is still on: whoever is elected must not wait for it, and
// afterwards it could not be ended without losing what was received.
func (d *driver) freeze(ctx context.Context, db *sql.DB) error {
	fault.Point(faultFreeze)
	status, err := mysql.ReadReplicaStatus(ctx, db)
	if err != nil {
		return err
	}
	if status != nil && status.Delay > 0 && status.IORunning != "No" {
		if err := mysql.EndDelay(ctx, db); err != nil {
			return err
		}
	}
	return mysql.StopReceiver(ctx, db)
}

// drainPatience is for how long the applier of an elected member may execute nothing before those whose locks hold it up are ended: it is
// about to be the primary, and clients have none meanwhile.
const drainPatience = 3 * time.Second

// standsStill tells whether the elected member has executed nothing new for drainPatience.
func (d *driver) standsStill(r cotton.Record, m cotton.Member, status *mysql.ReplicaStatus) bool {
	if status == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.draining.member != m.ID || d.draining.epoch != r.Epoch || d.draining.executed != status.Executed {
		d.draining = draining{member: m.ID, epoch: r.Epoch, executed: status.Executed, since: time.Now()}
	}
	return time.Since(d.draining.since) >= drainPatience
}

// freeApplier ends the sessions that hold up a member's applier: those with a lock on the whole server, whoever they are, and all clients'.
func (d *driver) freeApplier(ctx context.Context, r cotton.Record, m cotton.Member, db *sql.DB) error {
	blockers, err := mysql.KillBlockers(ctx, db)
	if err != nil {
		return err
	}
	n, err := mysql.KillClients(ctx, db, ours...)
	if len(blockers) > 0 || n > 0 {
		d.f.cfg.Log.Warn("sessions that held the elected member up were ended", "cluster", r.Spec.Name, "member", m.ID, "locks", fmt.Sprint(blockers), "clients", n)
	}
	return err
}

// waitStep is how long one step waits for transactions before all is looked at again.
const waitStep = time.Second

func (d *driver) waitExecuted(ctx context.Context, m cotton.Member, set mysql.GTIDSet) error {
	db, err := d.db(m)
	if err != nil {
		return err
	}
	err = mysql.WaitForGTID(ctx, db, set, waitStep)
	if errors.Is(err, mysql.ErrNotApplied) {
		return errUnchanged
	}
	return err
}

// demote closes the primary for its successor. Its clients get a part of the time to finish; those that are left
// afterwards are ended, so that they look for the new primary, and prepare nothing on a closed server: nobody else would have it.
func (d *driver) demote(ctx context.Context, r cotton.Record, m cotton.Member) error {
	if r.Change == nil {
		return errUnchanged
	}
	db, err := d.db(m)
	if err != nil {
		return err
	}
	left := r.Change.Deadline.Sub(d.f.clock.now())
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	d.stopEvents(ctx, db)
	if err := mysql.CloseForWrites(ctx, db, left/3, ours...); err != nil {
		return err
	}
	fault.Point(faultDemoted)
	if err := mysql.EndClients(ctx, db, ours...); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended[m.ID] = r.Epoch
	return nil
}

// catchUp waits for the target of a switchover to have executed all of the closed primary.
func (d *driver) catchUp(ctx context.Context, r cotton.Record, m cotton.Member) error {
	if r.Change == nil {
		return errUnchanged
	}
	seen, _ := d.c.last()
	all, err := mysql.ParseGTIDSet(seen[r.Change.From].Server.GTIDExecuted)
	if err != nil {
		return err
	}
	if err := d.waitExecuted(ctx, m, all); err != nil {
		return err
	}
	fault.Point(faultCaughtUp)
	return nil
}

// promote makes a primary of what is a replica still. All that it received is applied by then; that is read once more,
// since what is not would be thrown away.
func (d *driver) promote(ctx context.Context, r cotton.Record, m cotton.Member) error {
	db, err := d.db(m)
	if err != nil {
		return err
	}
	version, err := d.version(ctx, m)
	if err != nil {
		return err
	}
	if err := mysql.StopReplica(ctx, db); err != nil {
		return err
	}
	status, err := mysql.ReadReplicaStatus(ctx, db)
	if err != nil {
		return err
	}
	if status != nil {
		retrieved, err1 := mysql.ParseGTIDSet(status.Retrieved)
		executed, err2 := mysql.ParseGTIDSet(status.Executed)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if lacks := retrieved.Subtract(executed); !lacks.Empty() {
			return errors.Join(fmt.Errorf("%s has received %s and not applied it: it is not opened", r.MemberName(m.ID), lacks), mysql.StartApplier(ctx, db))
		}
		if err := mysql.ResetReplicaAll(ctx, db); err != nil {
			return err
		}
	}
	fault.Point(faultReset)
	if err := mysql.SetSemiSyncSource(ctx, db, version, r.SemiSyncBeside(d.foreignNow(r))); err != nil {
		return err
	}
	return d.open(ctx, r, m)
}

// Failover begins a failover that may lose writes: an operator's, see cotton.PlanFailover. The text says what is risked. Errors: a
// *cotton.RefusedError, ErrUnknown, ErrNotReady. With dryRun only the check is made.
func (f *Framework) Failover(ctx context.Context, name, why string, dryRun bool) (string, error) {
	c, err := f.known(name)
	if err != nil {
		return "", err
	}
	var risk string
	err = f.change(ctx, c, func(r *cotton.Record) error {
		t, text, err := cotton.PlanFailover(*r, c.seenNow(), why)
		if err != nil {
			return err
		}
		if risk = text; dryRun {
			return errUnchanged
		}
		return r.Apply(t, f.clock.now())
	})
	switch {
	case errors.Is(err, errUnchanged):
		return risk, nil
	case err != nil:
		return "", err
	}
	f.cfg.Log.Warn("a failover was forced", "cluster", name, "why", why, "risk", risk)
	fault.Point(faultFailover)
	c.poke()
	return risk, nil
}

// SwitchoverOptions are what may be asked of a switchover.
type SwitchoverOptions struct {
	To     int    // member id, 0 = the one that is best placed
	Why    string // for the history
	DryRun bool
	MaxLag time.Duration // of the target; 10 s
	Within time.Duration // or it is taken back; 10 s
}

// Switchover hands the primary over. It returns once that is stored; the cluster's loop does it, and takes it back when
// it is not done in time. It is an operation (Op of what is returned), which is over once all are in step again, unless another one is
// under way. Errors: a *cotton.RefusedError, ErrUnknown, ErrNotReady. With DryRun only the check is made.
func (f *Framework) Switchover(ctx context.Context, name string, o SwitchoverOptions) (cotton.Transition, error) {
	c, err := f.known(name)
	if err != nil {
		return cotton.Transition{}, err
	}
	if o.MaxLag == 0 {
		o.MaxLag = 10 * time.Second
	}
	if o.Within == 0 {
		o.Within = 10 * time.Second
	}
	var t cotton.Transition
	err = f.change(ctx, c, func(r *cotton.Record) error {
		var err error
		if op := r.Operation; op != nil && len(op.Members) > 0 {
			return &cotton.RefusedError{Operation: "switchover", Cluster: name, Why: fmt.Sprintf("%s is under way, and hands the primary over when it is its turn: "+
				"wait for its end, or `cotton cancel %s`", op.Text(*r), name)}
		}
		t, err = cotton.PlanSwitchover(*r, c.seenNow(), o.To, o.Why, cotton.SwitchoverLimits{MaxLag: o.MaxLag, Within: o.Within})
		if err != nil {
			return err
		}
		if o.DryRun {
			return errUnchanged
		}
		now := f.clock.now()
		if r.Operation == nil { // what follows is a part of it; it is under way until the cluster is in step
			op := &cotton.Operation{Kind: cotton.OpSwitchover, Member: t.To, Why: o.Why}
			if err := r.Apply(cotton.Transition{Kind: cotton.OpBegin, Op: op, Note: op.Text(*r)}, now); err != nil {
				return err
			}
			t.Op = new(*r.Operation)
		}
		return r.Apply(t, now)
	})
	switch {
	case errors.Is(err, errUnchanged):
		return t, nil
	case err != nil:
		return t, err
	}
	f.cfg.Log.Info("switchover begins", "cluster", name, "to", t.To, "why", o.Why)
	fault.Point(faultSwitch)
	c.poke()
	return t, nil
}
