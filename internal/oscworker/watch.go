package oscworker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
)

const (
	lockEvery    = time.Second
	claimedEvery = 2 * time.Second
	// lockPatience is how long a server may take to answer whose the lock is. A server that hangs gives it to nobody else.
	lockPatience = 30 * time.Second
	// reportAtLeast is how often a row that stands still (paused, throttled) shows that its worker lives.
	reportAtLeast = 5 * time.Second
)

// watch accompanies the work until it ends: it brings osc_priv to it, reports its progress, and breaks it off when it must
// not go on. daemon is the daemon's own context.
func (j *job) watch(ctx, daemon context.Context, lock *mysql.Lock) {
	tick := time.NewTicker(min(j.d.cfg.Control, j.d.cfg.Report))
	defer tick.Stop()
	stopping := daemon.Done()
	var grace <-chan time.Time
	w := watcher{job: j, lock: lock}
	for {
		select {
		case <-ctx.Done():
			return
		case <-stopping:
			stopping = nil
			j.setBroken(errStopping)
			j.control.Set(osc.PrivLeave)
			timer := time.NewTimer(j.d.cfg.StopGrace)
			defer timer.Stop()
			grace = timer.C
		case <-grace:
			j.breakOff(errStopping)
		case <-tick.C:
			w.look(ctx)
		}
	}
}

// setBroken notes a reason without cutting the work off.
func (j *job) setBroken(reason error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.broken = reason
	}
}

// watcher remembers when it last asked what.
type watcher struct {
	*job
	lock                     *mysql.Lock
	locked, claimed, reports time.Time
}

func (w *watcher) look(ctx context.Context) {
	now := time.Now()
	if due(&w.locked, now, lockEvery) {
		w.checkLock(ctx)
		w.checkRole(ctx)
	}
	w.checkStopFile()
	w.obey(ctx)
	w.report(ctx, now)
	if due(&w.claimed, now, claimedEvery) {
		w.checkClaimed(ctx)
	}
}

// due tells whether it is time again, and notes that it was done.
func due(last *time.Time, now time.Time, every time.Duration) bool {
	if now.Sub(*last) < every {
		return false
	}
	*last = now
	return true
}

func (w *watcher) checkLock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	if err := w.lock.Check(ctx); err != nil && !ended(ctx) {
		w.breakOff(fmt.Errorf("%w (%w)", errLockLost, err))
	}
}

// ended tells a question that was cut short because the work is over from one that was not answered.
func ended(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// checkRole: what is written on a former primary would be errant (I7), and may be thrown away with it (I1).
func (w *watcher) checkRole(ctx context.Context) {
	w.mu.Lock()
	primary := w.primary
	w.mu.Unlock()
	if !primary {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, w.d.cfg.Timeout)
	defer cancel()
	var writable bool
	err := w.own.QueryRowContext(ctx, "SELECT @@GLOBAL.read_only = 0 AND @@GLOBAL.super_read_only = 0 AND NOT EXISTS ("+
		"SELECT * FROM performance_schema.replication_connection_configuration WHERE host <> '')").Scan(&writable)
	if err == nil && !writable {
		w.breakOff(errRoleChanged)
	}
}

// obey brings osc_priv to the work, and notices when the row went. Where it cannot be read the work goes on: aoscdb may be
// away, and an instance that is away ends the work by itself.
func (w *watcher) obey(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.d.cfg.Timeout)
	defer cancel()
	row, err := w.rows.OSCRow(ctx, w.inst.Host, w.inst.Port, w.inst.Tier, w.table)
	switch {
	case errors.Is(err, aoscdb.ErrNotFound):
		w.breakOff(fmt.Errorf("%w: it is gone", errRowLost))
	case err != nil:
	case row.Status != aoscdb.OSCRunning || row.Owner != w.d.Owner:
		w.breakOff(fmt.Errorf("%w: it is %s, owner %q", errRowLost, row.Status, row.Owner))
	default:
		w.setWord(row)
	}
}

// report writes the progress, if it moved or the last report is old; a change of state at once, for whoever has just said
// PAUSE looks for it. A report that fails is made up for by the next.
func (w *watcher) report(ctx context.Context, now time.Time) {
	if now.Sub(w.reports) < w.d.cfg.Report && !w.progress.stateChanged() {
		return
	}
	at := w.progress.snapshot()
	if !at.Changed && now.Sub(w.reports) < reportAtLeast {
		return
	}
	w.reports = now
	ctx, cancel := context.WithTimeout(ctx, w.d.cfg.Timeout)
	defer cancel()
	switch err := w.rows.Report(ctx, w.row, w.d.Owner, at.Percentage, at.Detail); {
	case err == nil:
		w.progress.wrote(at)
	case errors.Is(err, aoscdb.ErrNotOwner):
		w.breakOff(fmt.Errorf("%w (%w)", errRowLost, err))
	}
}

// checkClaimed: what running_alters does not have is not counted in the tier's limits (I3). No answer is no reason.
func (w *watcher) checkClaimed(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.d.cfg.Timeout)
	defer cancel()
	if counted, err := w.d.Store.Claimed(ctx, w.row); err == nil && !counted {
		w.breakOff(errWithdrawn)
	}
}
