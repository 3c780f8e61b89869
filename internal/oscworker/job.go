package oscworker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
)

// Fault points of the worker.
var (
	faultTaken      = fault.Register("worker.taken", "the row is RUNNING and this worker's, nothing else is done")
	faultPlanned    = fault.Register("worker.planned", "all databases are planned, none is altered")
	faultDatabase   = fault.Register("worker.database.done", "one database is altered; passed after each")
	faultRefreshed  = fault.Register("worker.status.refreshed", "all databases are altered and their status is refreshed")
	faultDoneBefore = fault.Register("worker.done.before", "everything is done, the row still says RUNNING")
	faultDoneAfter  = fault.Register("worker.done.after", "the row says DONE, the scheduler has not been woken")
)

// job is one attempt at one alter on one instance.
type job struct {
	d        *Daemon
	inst     fleet.Instance
	tier     aoscdb.Tier
	table    string
	log      *slog.Logger
	control  *osc.Control
	progress *progress

	// Set once the job has something to do.
	own     *sql.DB             // connections of the job itself: work never keeps a heartbeat waiting
	rows    *aoscdb.StatusStore // over own, or central
	row     aoscdb.OSCRow       // as this worker took it
	primary bool                // it alters as the primary: it must stay one
	back    bool                // the row is back in the queue

	mu     sync.Mutex
	cancel context.CancelCauseFunc // of the work, nil while there is none
	broken error                   // why it was broken off
	word   word
	unsafe bool // its plans lose data

	sql map[string]string // of the plans, by database, for the history
}

func newJob(d *Daemon, inst fleet.Instance, tier aoscdb.Tier, table string) *job {
	return &job{
		d: d, inst: inst, tier: tier, table: table, control: osc.NewControl(), progress: newProgress(), sql: map[string]string{},
		log: d.Log.With("tier", inst.Tier, "table", table, "instance", inst.String()),
	}
}

// breakOff ends the work for a reason. The first reason counts.
func (j *job) breakOff(reason error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.broken = reason
	}
	if j.cancel != nil {
		j.cancel(j.broken)
	}
}

func (j *job) brokenBy() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.broken
}

// run is the whole job. An error means that nothing was begun: no row, no lock, or the instance does not answer.
func (j *job) run(ctx context.Context) (verdict, error) {
	step, err := j.look(ctx)
	if err != nil || step == stepNone {
		return verdict{}, err
	}
	if j.own, err = mysql.Open(j.inst.Addr(), j.d.Pool.Credentials(), mysql.Options{ConnectTimeout: j.d.cfg.Timeout, MaxOpen: 3}); err != nil {
		return verdict{}, err
	}
	defer j.own.Close()
	lock, ok, err := j.tryLock(ctx)
	if err != nil || !ok {
		return verdict{}, err
	}
	defer lock.Release()
	if took, err := j.take(ctx); err != nil || !took {
		return verdict{}, err
	}
	j.d.metrics.working.Inc()
	defer j.d.metrics.working.Dec()
	fault.Point(faultTaken)
	v := j.underLock(ctx, lock, step)
	j.d.metrics.ended.WithLabelValues(j.inst.Tier, string(v.End)).Inc()
	return v, nil
}

// look is cheap: it asks for the row and, where there is something to do, whether somebody does it already.
func (j *job) look(ctx context.Context) (step, error) {
	ctx, cancel := context.WithTimeout(ctx, j.d.cfg.Timeout)
	defer cancel()
	rows, err := j.d.statusOf(j.tier, j.inst.Addr())
	if err != nil {
		return stepNone, err
	}
	step, err := j.readRow(ctx, rows)
	if err == nil && j.row.Table != "" {
		j.d.stoppedNow(j.row)
	}
	if err != nil || step == stepNone {
		return stepNone, err
	}
	db, err := j.d.Pool.DB(j.inst.Addr())
	if err != nil {
		return stepNone, err
	}
	name, err := j.d.Store.WorkerLock(ctx, j.inst.Addr())
	if err != nil {
		return stepNone, err
	}
	var holder sql.NullInt64
	if err := db.QueryRowContext(ctx, "SELECT IS_USED_LOCK(?)", name).Scan(&holder); err != nil {
		return stepNone, fmt.Errorf("ask %s who holds it: %w", j.inst, err)
	}
	if holder.Valid {
		return stepNone, nil
	}
	if why := j.d.stopFile(j.inst.Addr()); why != "" {
		j.log.Debug("not begun", "reason", why)
		return stepNone, nil
	}
	return step, nil
}

func (j *job) readRow(ctx context.Context, rows *aoscdb.StatusStore) (step, error) {
	row, err := rows.OSCRow(ctx, j.inst.Host, j.inst.Port, j.inst.Tier, j.table)
	if aoscdb.Missing(err) {
		return stepNone, nil
	}
	if err != nil {
		return stepNone, err
	}
	j.row = row
	return stepOf(row), nil
}

func (j *job) tryLock(ctx context.Context) (*mysql.Lock, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, j.d.cfg.Timeout)
	defer cancel()
	name, err := j.d.Store.WorkerLock(ctx, j.inst.Addr())
	if err != nil {
		return nil, false, err
	}
	return mysql.TryLock(ctx, j.own, name)
}

// take makes the row this worker's. It is read again under the lock: what was read before may be another worker's past.
func (j *job) take(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, j.d.cfg.Timeout)
	defer cancel()
	j.rows = aoscdb.InstanceStatus(j.own)
	if j.tier.StatusStore == aoscdb.StoreCentral {
		j.rows = j.d.Store.CentralStatus()
	}
	step, err := j.readRow(ctx, j.rows)
	if err != nil || step == stepNone {
		return false, err
	}
	took, err := j.rows.Take(ctx, j.row, j.d.Owner)
	if err == nil && took {
		j.log.Info("taken", "try", j.row.Try+1, "was", j.row.Status)
	}
	return took, err
}

// underLock works with the row in hand, and writes how it ended.
func (j *job) underLock(ctx context.Context, lock *mysql.Lock, step step) verdict {
	// The work does not end with the daemon's context: a copy that is told to stop ends cleanly, one that is cut off does not.
	workCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	j.mu.Lock()
	j.cancel = cancel
	if j.broken != nil {
		cancel(j.broken)
	}
	j.mu.Unlock()
	watchCtx, stopWatch := context.WithCancel(workCtx)
	var watch sync.WaitGroup
	watch.Go(func() { j.watch(watchCtx, ctx, lock) })
	watch.Go(func() { j.watchPermission(watchCtx) })
	watch.Go(func() { j.watchInventory(watchCtx) })
	err := j.permitted(workCtx, step)
	if err == nil {
		err = j.work(workCtx)
	}
	stopWatch()
	watch.Wait()
	v := verdictOf(err, j.brokenBy())
	j.log.Info("ended", "end", string(v.End), "reason", v.Reason, "final", v.Final)
	j.conclude(ctx, v)
	return v
}

// permitted cleans up after a dead worker and claims the row.
func (j *job) permitted(ctx context.Context, step step) error {
	if j.row.Status == aoscdb.OSCRunning { // as it was read: another worker's
		j.d.foundDead()
		if err := j.d.cleanCluster(ctx, j.inst, j); err != nil {
			// It is tried again before each copy of that table, and by the clean-up.
			j.log.Warn("what a dead worker left is not cleaned up yet", "error", err)
		}
	}
	if step == stepClean {
		return fmt.Errorf("osc_priv is %s: %w", j.row.OSCPriv, osc.ErrStopped)
	}
	return j.d.Store.Claim(ctx, j.row, j.d.Owner)
}

// concludeLimit bounds how long the end of a job is written for while a server is away. What is not written then is found
// out again by whoever takes the row next.
const concludeLimit = time.Minute

// conclude writes how the job ended. The lock is still held.
func (j *job) conclude(ctx context.Context, v verdict) {
	limit := concludeLimit
	if ctx.Err() != nil {
		limit = j.d.cfg.StopGrace / 2
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	err := patiently(ctx, time.Second, func() error { return j.write(ctx, v) })
	switch {
	case errors.Is(err, aoscdb.ErrNotOwner):
		j.log.Warn("the row was taken from this worker", "error", err)
		return
	case err != nil:
		j.log.Warn("the end is not written, the row will be taken up again", "error", err)
		return
	}
	if v.End == endLeave {
		return
	}
	// The scheduler looks by itself too, only later.
	err = patiently(ctx, time.Second, func() error {
		return errors.Join(j.d.Store.Wake(ctx, aoscdb.DaemonScheduler, "", false), j.tell(ctx, v))
	})
	if err != nil {
		j.log.Warn("the scheduler was not told", "error", err)
	}
}

// write records the end in the row. It may be repeated until it succeeds.
func (j *job) write(ctx context.Context, v verdict) error {
	switch v.End {
	case endDone:
		fault.Point(faultDoneBefore)
		if err := j.finish(ctx, aoscdb.OSCDone, v); err != nil {
			return err
		}
		fault.Point(faultDoneAfter)
	case endFailed:
		return j.finish(ctx, aoscdb.OSCFailed, v)
	case endGiveBack, endRemove:
		return j.giveBack(ctx, v)
	}
	return nil
}

// tell adds to the history what the scheduler does not: that it is done it says itself, and what comes and goes every few
// seconds is for the log.
func (j *job) tell(ctx context.Context, v verdict) error {
	if v.End == endDone {
		return j.d.Store.Event(ctx, j.alterEvent())
	}
	if v.Rest && !v.Stopped {
		return nil
	}
	what, detail := string(v.End), v.Reason+"; "+j.summary()
	if v.Stopped {
		what = "stopped"
	}
	return j.d.Store.Event(ctx, aoscdb.Event{
		Actor: "oscworker " + j.d.Owner, Group: j.inst.Tier, Table: j.table, Host: j.inst.Host, Port: j.inst.Port,
		What: what, Detail: detail, Statement: j.statement(),
	})
}

// finish ends the row, with the detail as it is at the end.
func (j *job) finish(ctx context.Context, status string, v verdict) error {
	at := j.progress.snapshot()
	return j.rows.Finish(ctx, j.row, j.d.Owner, aoscdb.End{Status: status, Reason: v.Reason, Final: v.Final, Percentage: at.Percentage,
		Detail: at.Detail})
}

// giveBack makes the row READY centrally first, then WAITING on the instance. A row that nobody counts on is removed.
// Where aoscdb is away the instance's row is given back all the same: an operator who said STOP wants to see it.
func (j *job) giveBack(ctx context.Context, v verdict) error {
	unclaimCtx, cancel := context.WithTimeout(ctx, j.d.cfg.Timeout)
	defer cancel()
	unclaim := j.d.Store.Unclaim(unclaimCtx, j.row)
	if !j.back {
		reason := ""
		if v.Rest && !v.Stopped { // the next attempt may meet the same
			reason = v.Reason
		}
		if err := j.rows.PutBack(ctx, j.row, j.d.Owner, reason); err != nil {
			return err
		}
		j.back = true
	}
	counted, err := j.d.Store.Claimed(ctx, j.row)
	if err == nil && (!counted || v.End == endRemove) {
		_, err = j.rows.Withdraw(ctx, j.inst.Host, j.inst.Port, j.inst.Tier, j.table)
	}
	return errors.Join(unclaim, err)
}
