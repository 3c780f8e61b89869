package osc

import (
	"context"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/osc/copy"
)

// Shares of the whole in Progress.Fraction.
const (
	shareCopy   = 0.85
	shareVerify = 0.13
)

// Publish reports the run as it is. Its mutex also keeps reports from overtaking each other.
func (c *copyRun) Publish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := Progress{Database: c.plan.Database, Engine: c.plan.Engine, State: c.phase, Detail: c.why, RowsTotal: c.plan.Rows}
	var s copy.Progress
	if c.copy != nil {
		s = c.copy.Progress()
	}
	if s.Total > 0 {
		p.RowsTotal = s.Total
	}
	p.RowsCopied, p.Lag, p.LagKnown = s.Copied, s.Lag, s.LagKnown
	share := func(done uint64) float64 { return min(float64(done)/float64(max(p.RowsTotal, 1)), 1) }
	switch p.State {
	case StateCopying:
		p.Fraction, p.ETA = shareCopy*share(p.RowsCopied), s.ETA
		if s.Waits {
			p.Fraction = shareCopy + shareVerify
		}
	case StateVerifying:
		p.Fraction = shareCopy + shareVerify*share(s.Compared)
	case StateCuttingOver, StateGate:
		p.Fraction = shareCopy + shareVerify
	}
	rests := s.Rests
	if c.pace.Rest {
		rests = c.pace.Reason
	}
	switch {
	case p.State == StateCuttingOver && s.Swapping:
	case c.control.Get() == PrivPause:
		p.State, p.ETA = StatePaused, 0
	case rests != "":
		p.State, p.Detail, p.ETA = StateThrottled, rests, 0
	}
	if p.State == StateCopying {
		p.Workers = c.pace.Workers
		if p.Detail == "" {
			p.Detail = c.pace.Reason
		}
	}
	c.report(p)
}

// reportEvery is how often progress is reported besides changes of state.
const reportEvery = 250 * time.Millisecond

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
			c.copy.Abandon()
			return fmt.Errorf("%w: the server became read_only during the copy", errNotPrimary)
		}
	}
}
