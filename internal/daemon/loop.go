package daemon

import (
	"context"
	"time"
)

const (
	defaultPoll = 500 * time.Millisecond
	minBackoff  = 500 * time.Millisecond
	maxBackoff  = 10 * time.Second
)

// LoopOptions say when Loop runs the next pass.
type LoopOptions struct {
	// Interval from the end of a good pass to the begin of the next when nothing wakes the loop. It must be positive.
	Interval time.Duration
	// Poll is how often Wake is asked, 500 ms when zero.
	Poll time.Duration
	// Wake says whether something calls for a pass now; nil = only the interval counts. It is asked between passes
	// only, so what it compares must be remembered from the last time it answered true: then a request that comes
	// in during a pass still leads to another pass. An error counts as false.
	Wake func(ctx context.Context) (bool, error)
	// MinGap is the least time from the begin of one pass to the begin of the next.
	MinGap time.Duration
	// Health is asked after every good pass, for /readyz; nil = a good pass is ready. What it finds wrong is neither counted as a
	// failed pass nor retried with a back-off.
	Health func() Health
}

// Loop runs pass again and again until ctx ends, and then returns nil. A failed pass is logged, counted
// (aosc_pass_total{result="error"}), makes /readyz say why, and is retried with a back-off of at most 10 s: so a
// database that is away for a minute ends no daemon.
//
// With env.Once it runs one pass and returns its error.
func Loop(ctx context.Context, env *Env, o LoopOptions, pass func(ctx context.Context) error) error {
	l := &loop{env: env, o: o, pass: pass}
	if l.o.Poll <= 0 {
		l.o.Poll = defaultPoll
	}
	if env.Once {
		return l.run(ctx)
	}
	env.SetReady(ErrStarting)
	for ctx.Err() == nil {
		begin := time.Now()
		err := l.run(ctx)
		if ctx.Err() != nil {
			break
		}
		l.note(err)
		if err != nil {
			pause(ctx, l.backoff)
			continue
		}
		l.wait(ctx, begin)
	}
	return nil
}

type loop struct {
	env  *Env
	o    LoopOptions
	pass func(context.Context) error

	failures int
	lastErr  string
	backoff  time.Duration
	wakeErr  string
}

// run does one pass and measures it. A pass cut short by the end of ctx is not counted: it neither failed nor not.
func (l *loop) run(ctx context.Context) error {
	begin := time.Now()
	l.env.state.pass(begin)
	err := l.pass(ctx)
	l.env.state.pass(time.Time{})
	if ctx.Err() == nil || err == nil {
		l.env.chassisMetrics().pass(err, time.Since(begin))
	}
	return err
}

// note records how the pass went. The same failure again and again is one line in the log, not one per try.
func (l *loop) note(err error) {
	if err == nil && l.o.Health != nil {
		h := l.o.Health()
		l.env.state.set(h.Err, h.Note)
	} else {
		l.env.SetReady(err)
	}
	if err == nil {
		if l.failures > 0 {
			l.env.Log.Info("passes succeed again", "failed_passes", l.failures)
		}
		l.failures, l.lastErr, l.backoff = 0, "", 0
		return
	}
	l.failures++
	l.backoff = min(max(2*l.backoff, minBackoff), maxBackoff)
	if text := err.Error(); text != l.lastErr {
		l.lastErr = text
		l.env.Log.Error("pass failed, will be tried again", "error", err, "retry_in", l.backoff)
		return
	}
	l.env.Log.Debug("pass failed again", "error", err, "failed_passes", l.failures, "retry_in", l.backoff)
}

// wait returns when the next pass is due or ctx ended.
func (l *loop) wait(ctx context.Context, begin time.Time) {
	interval := time.NewTimer(l.o.Interval)
	defer interval.Stop()
	if l.o.Wake != nil {
		poll := time.NewTicker(l.o.Poll)
		defer poll.Stop()
		for !l.awake(ctx) {
			select {
			case <-ctx.Done():
				return
			case <-interval.C:
				pause(ctx, l.o.MinGap-time.Since(begin))
				return
			case <-poll.C:
			}
		}
	} else {
		select {
		case <-ctx.Done():
			return
		case <-interval.C:
		}
	}
	pause(ctx, l.o.MinGap-time.Since(begin))
}

// awake asks Wake. Its error is logged when it begins, not at every poll: the next pass will report the same trouble.
func (l *loop) awake(ctx context.Context) bool {
	yes, err := l.o.Wake(ctx)
	text := ""
	if err != nil && ctx.Err() == nil {
		text = err.Error()
		if text != l.wakeErr {
			l.env.Log.Warn("cannot ask whether a pass is wanted, the interval still counts", "error", err)
		}
	}
	l.wakeErr = text
	return err == nil && yes
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
