package osc

import (
	"context"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/osc/ghost"
)

// enter changes what the run says it is doing.
func (c *copyRun) enter(phase, why string) {
	c.set(func() { c.phase, c.why = phase, why })
	c.publish()
}

func (c *copyRun) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// Shares of the whole in Progress.Fraction.
const (
	shareCopy   = 0.85
	shareVerify = 0.13
)

// publish reports the run as it is. Its mutex also keeps reports from overtaking each other.
func (c *copyRun) publish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := Progress{Database: c.plan.Database, Engine: c.plan.Engine, State: c.phase, Detail: c.why, RowsTotal: c.plan.Rows}
	var s ghost.Status
	switch {
	case c.child != nil:
		s, _ = c.child.latest()
	case c.keyed != nil:
		s = c.keyed.status()
		c.rows = c.keyed.compared()
	}
	if s.RowsTotal > 0 {
		p.RowsTotal = uint64(s.RowsTotal)
	}
	p.RowsCopied = uint64(max(s.RowsCopied, 0))
	p.Lag, p.LagKnown = s.Lag, s.Ghost != ""
	share := func(done uint64) float64 { return min(float64(done)/float64(max(p.RowsTotal, 1)), 1) }
	switch p.State {
	case StateCopying:
		p.Fraction, p.ETA = shareCopy*share(p.RowsCopied), s.ETA
		if c.keyed != nil {
			p.ETA = remaining(time.Since(c.keyed.began), p.RowsCopied, p.RowsTotal)
		}
		if s.Phase == ghost.PhasePostponed || s.Phase == ghost.PhaseCuttingOver {
			p.Fraction = shareCopy + shareVerify
		}
	case StateVerifying:
		p.Fraction = shareCopy + shareVerify*share(c.rows)
	case StateCuttingOver:
		p.Fraction = shareCopy + shareVerify
	}
	switch {
	case p.State == StateCuttingOver && s.Phase == ghost.PhaseCuttingOver:
	case c.control.Get() == PrivPause:
		p.State, p.ETA = StatePaused, 0
	case s.Throttled:
		p.State, p.Detail, p.ETA = StateThrottled, s.Reason, 0
	}
	c.report(p)
}

// remaining is how long the rest of a copy takes at its rate so far, 0 = unknown.
func remaining(took time.Duration, done, all uint64) time.Duration {
	if done == 0 || done >= all {
		return 0
	}
	return time.Duration(float64(took) / float64(done) * float64(all-done))
}

// reportEvery is how often progress is reported besides changes of state.
const reportEvery = 250 * time.Millisecond

// watchChild reports the child's progress, and returns when it ends or shows no sign of life.
func (c *copyRun) watchChild(ctx context.Context) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	heard, reported := time.Now(), time.Time{}
	for {
		status, news := c.child.latest()
		if status.Phase == ghost.PhaseCopying {
			fault.Point(faultCopying)
		}
		if time.Since(reported) >= reportEvery {
			c.publish()
			reported = time.Now()
		}
		select {
		case <-news:
			heard = time.Now()
		case <-tick.C:
			if time.Since(heard) > stuckLimit {
				return fmt.Errorf("the gh-ost child has said nothing for %v: it is taken for stuck", stuckLimit)
			}
		case <-c.child.exited:
			return c.childEnded()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lockAnswer is how long a server may take to say whose the table's lock is. One that hangs gives it to nobody else, and a
// copy of many hours is not to be thrown away for a hiccup.
const lockAnswer = 30 * time.Second

// watchLock makes sure once a second that the table's lock is still ours: who has lost it must not go on, another
// run may have begun.
func (c *copyRun) watchLock(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		check, cancel := context.WithTimeout(ctx, lockAnswer)
		err := c.lock.Check(check)
		cancel()
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// roleEvery is how often a copy looks whether its server still takes writes.
const roleEvery = 100 * time.Millisecond

// watchRole ends the copy once its server is read_only. Its own statements fail by then, unless the account passes read_only: then every
// heartbeat from here on would be an errant transaction (I7). A server that does not answer is not judged (I11).
func (c *copyRun) watchRole(ctx context.Context) error {
	tick := time.NewTicker(roleEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var readOnly bool
		if err := c.db.QueryRowContext(ctx, "SELECT @@global.read_only").Scan(&readOnly); err == nil && readOnly {
			if c.child != nil {
				c.child.abandon() // it has no time to be polite
			}
			return fmt.Errorf("%w: the server became read_only during the copy", errNotPrimary)
		}
	}
}

// obey carries PAUSE and OK to gh-ost by its own commands. STOP ends the context of the run.
func (c *copyRun) obey(ctx context.Context) error {
	said := PrivOK
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		changed := c.control.Changed()
		want := c.control.Get()
		var again <-chan time.Time
		if want != said {
			command := ghost.CommandNoThrottle
			if want == PrivPause {
				command = ghost.CommandThrottle
			}
			if c.child.command(ctx, command) == nil {
				said = want
				c.publish()
			} else {
				again = retry.C // it does not listen before it begins to copy
			}
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
