package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Leases is where leases are kept. Expiry is judged by the clock of the store, so the clocks of the hosts need not
// agree. aoscdb.Store is one.
type Leases interface {
	// Acquire takes the lease when it is free, expired or already the holder's, and returns its new epoch.
	// ok is false while somebody else has it.
	Acquire(ctx context.Context, name, holder string, ttl time.Duration) (epoch uint64, ok bool, err error)
	// Renew prolongs a lease; ok is false when it is no longer the holder's at that epoch.
	Renew(ctx context.Context, name, holder string, epoch uint64, ttl time.Duration) (ok bool, err error)
	// Release gives the lease up early, so that a standby need not wait for its expiry.
	Release(ctx context.Context, name, holder string, epoch uint64) error
}

// LeaseReader is a Leases that can also say who holds a lease, for messages to people.
type LeaseReader interface {
	LeaseHolder(ctx context.Context, name string) (holder string, expiresAt time.Time, err error)
}

// Lease is a lease held: every write made under it names it, and the store refuses the write when the holder or the
// epoch are no longer right (I8).
type Lease struct {
	Name, Holder string
	Epoch        uint64
}

// ErrLeaseHeld is returned by Lead with env.Once when another process holds the lease.
var ErrLeaseHeld = errors.New("lease is held by another process")

// Lead runs fn while this process holds the lease, and waits as a standby while another does.
//
// The ctx given to fn ends before the lease can have expired: the lease is renewed every ttl/3, and given up once
// 2/3 of ttl passed since the begin of the last renewal that succeeded, by this host's monotonic clock. Then Lead
// waits for fn to return, and stands by again. A process that was stopped (SIGSTOP, a frozen machine) past its ttl
// may still run a few instructions of fn before it notices; the store fences those (aoscdb.Store.AsLeader).
//
// Lead returns when ctx ends (nil) or fn returns by itself (its error), and gives the lease back in both cases.
// With env.Once it returns an error that wraps ErrLeaseHeld, and says who the holder is, in place of standing by.
func Lead(ctx context.Context, env *Env, leases Leases, name string, ttl time.Duration,
	fn func(context.Context, Lease) error) error {
	if ttl <= 0 {
		return fmt.Errorf("lease %s: ttl must be positive, not %s", name, ttl)
	}
	l := &leader{env: env, leases: leases, name: name, ttl: ttl}
	env.chassisMetrics().leading.WithLabelValues(name).Set(0)
	for {
		lease, since, err := l.acquire(ctx)
		if err != nil {
			if ctx.Err() != nil && !env.Once {
				return nil
			}
			return err
		}
		ended, err := l.hold(ctx, lease, since, fn)
		if ended || ctx.Err() != nil {
			return err
		}
	}
}

type leader struct {
	env    *Env
	leases Leases
	name   string
	ttl    time.Duration
}

// acquire waits until the lease is ours and returns it with the begin of the request that got it: the lease cannot
// expire earlier than ttl after that.
func (l *leader) acquire(ctx context.Context) (Lease, time.Time, error) {
	said := ""
	for {
		since := time.Now()
		actx, cancel := context.WithTimeout(ctx, l.ttl)
		epoch, ok, err := l.leases.Acquire(actx, l.name, l.env.Holder, l.ttl)
		cancel()
		// An answer that took longer than the lease lasts is worth nothing.
		if err == nil && ok && time.Since(since) < giveUpAfter(l.ttl) {
			return Lease{Name: l.name, Holder: l.env.Holder, Epoch: epoch}, since, nil
		}
		if ctx.Err() != nil {
			return Lease{}, since, ctx.Err()
		}
		if err == nil && ok {
			err = fmt.Errorf("the store took %s to answer, too long for a lease of %s", time.Since(since).Round(time.Millisecond), l.ttl)
		}
		if err != nil {
			err = fmt.Errorf("take lease %s: %w", l.name, err)
		} else {
			err = fmt.Errorf("%w: %s", ErrLeaseHeld, l.describe(ctx))
		}
		if l.env.Once {
			return Lease{}, since, err
		}
		l.standby(err, &said)
		pause(ctx, retryEvery(l.ttl))
	}
}

// standby makes the wait visible: a standby that sees the other's lease does its work, one that cannot ask does not.
func (l *leader) standby(err error, said *string) {
	held := errors.Is(err, ErrLeaseHeld)
	if held {
		l.env.state.set(nil, "standing by: "+err.Error())
	} else {
		l.env.state.set(err, "")
	}
	// The expiry in the text of a held lease changes all the time: compare by kind, not by text.
	text := ErrLeaseHeld.Error()
	if !held {
		text = err.Error()
	}
	if text == *said {
		return
	}
	*said = text
	if held {
		l.env.Log.Info("standing by", "lease", l.name, "reason", err)
	} else {
		l.env.Log.Error("cannot ask for the lease, will be tried again", "lease", l.name, "error", err)
	}
}

func (l *leader) describe(ctx context.Context) string {
	reader, ok := l.leases.(LeaseReader)
	if !ok {
		return l.name
	}
	holder, expires, err := reader.LeaseHolder(ctx, l.name)
	if err != nil {
		return l.name
	}
	return fmt.Sprintf("%s by %s until %s unless renewed", l.name, holder, expires.UTC().Format(time.RFC3339))
}

// hold runs fn under the lease. ended says that fn came to an end of its own.
func (l *leader) hold(ctx context.Context, lease Lease, since time.Time,
	fn func(context.Context, Lease) error) (ended bool, err error) {
	gauge := l.env.chassisMetrics().leading.WithLabelValues(l.name)
	gauge.Set(1)
	defer gauge.Set(0)
	l.env.Log.Info("leading", "lease", l.name, "epoch", lease.Epoch)

	fctx, cancel := context.WithCancelCause(ctx)
	// The watchdog and the renewals are apart on purpose: a renewal that hangs must not keep fn going.
	watchdog := time.AfterFunc(giveUpAfter(l.ttl)-time.Since(since), func() {
		cancel(fmt.Errorf("lease %s was not renewed for two thirds of its ttl of %s", l.name, l.ttl))
	})
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		l.keep(fctx, cancel, watchdog, lease, since)
	}()

	err = fn(fctx, lease)
	lost := fctx.Err() != nil && ctx.Err() == nil
	why := context.Cause(fctx)
	cancel(nil)
	<-kept
	watchdog.Stop()
	if !lost {
		l.release(ctx, lease)
		return ctx.Err() == nil, err
	}
	l.env.state.set(why, "")
	l.env.Log.Warn("lease lost, work under it stopped", "lease", l.name, "epoch", lease.Epoch, "reason", why, "error", err)
	if l.env.Once {
		return true, why
	}
	return false, nil
}

// keep renews the lease until fctx ends, and ends fctx when the store says that the lease is another's.
func (l *leader) keep(fctx context.Context, cancel context.CancelCauseFunc, watchdog *time.Timer, lease Lease, tried time.Time) {
	failing := false
	for {
		pause(fctx, renewAfter(failing, l.ttl)-time.Since(tried))
		if fctx.Err() != nil {
			return
		}
		tried = time.Now()
		ok, err := l.leases.Renew(fctx, lease.Name, lease.Holder, lease.Epoch, l.ttl)
		switch {
		case err != nil:
			if !failing && fctx.Err() == nil {
				l.env.Log.Warn("lease not renewed, trying again", "lease", l.name, "error", err)
			}
			failing = true
		case !ok:
			cancel(fmt.Errorf("lease %s is no longer ours at epoch %d", l.name, lease.Epoch))
			return
		default:
			failing = false
			// Counted from the begin of the request: the store counts from some moment after it.
			watchdog.Reset(giveUpAfter(l.ttl) - time.Since(tried))
		}
	}
}

// release gives the lease back even though ctx may have ended, within a bound: a standby then takes over at once.
func (l *leader) release(ctx context.Context, lease Lease) {
	rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(l.ttl, 2*time.Second))
	defer cancel()
	if err := l.leases.Release(rctx, lease.Name, lease.Holder, lease.Epoch); err != nil {
		l.env.Log.Warn("lease not given back, it ends by itself", "lease", l.name, "ttl", l.ttl, "error", err)
	}
}

// giveUpAfter is how long after the begin of a good renewal the work under a lease may go on. The last third of the
// ttl is for fn to notice and return.
func giveUpAfter(ttl time.Duration) time.Duration { return ttl / 3 * 2 }

// retryEvery is how often a standby asks, and how soon a failed renewal is repeated.
func retryEvery(ttl time.Duration) time.Duration {
	return min(max(ttl/10, 50*time.Millisecond), time.Second)
}

// renewAfter is the time between the begins of two renewals.
func renewAfter(failing bool, ttl time.Duration) time.Duration {
	if failing {
		return retryEvery(ttl)
	}
	return ttl / 3
}
