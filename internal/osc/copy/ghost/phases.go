package ghost

import (
	"context"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/osc/copy"
	"github.com/aosc/aosc/internal/osc/copy/preflight"
	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/wait"
)

// phases are what a copy goes through, in order.
func (c *run) phases(ctx context.Context) error {
	if err := c.awaitCopy(ctx); err != nil {
		return err
	}
	fault.Point(faultVerifyBefore)
	if err := c.Host.Unchanged(ctx); err != nil {
		return err
	}
	if err := c.verify(ctx); err != nil {
		return err
	}
	fault.Point(faultVerifyAfter)
	return c.cutOver(ctx)
}

// awaitCopy waits until all rows are copied. As soon as the copy exists it prepares the comparison: what cannot be verified
// must be refused before hours are spent on it.
func (c *run) awaitCopy(ctx context.Context) error {
	c.Host.Enter(copy.StateCopying, "")
	began := time.Now()
	return c.child.await(ctx, func(s Status) (bool, error) {
		switch s.Phase {
		case "", PhaseStarting:
			if time.Since(began) > startLimit {
				return false, fmt.Errorf("gh-ost has not begun to copy within %v: it may not see its own changes in the binary log "+
					"(binlog-do-db, binlog-ignore-db), or wait for a lock; it said: %s", startLimit, c.child.failure())
			}
			return false, nil
		case PhaseFailed:
			return false, c.child.ended()
		}
		if c.comparison == nil {
			if err := c.prepareComparison(ctx); err != nil {
				return false, err
			}
		}
		return s.Phase == PhasePostponed, nil
	})
}

// prepareComparison reads both tables as they are now.
func (c *run) prepareComparison(ctx context.Context) error {
	original, err := verify.ReadTable(ctx, c.DB, c.Database, c.Table)
	if err != nil {
		return err
	}
	copied, err := verify.ReadTable(ctx, c.DB, c.Database, c.Names.Ghost)
	if err != nil {
		return err
	}
	key, err := ghostKey(original, &copied)
	if err != nil {
		return c.Host.Refuse("%v", err)
	}
	zone, err := preflight.ReadZone(ctx, c.DB)
	if err != nil {
		return err
	}
	if reason := followed(original, copied, zone); reason != "" {
		return c.Host.Refuse("%s", reason)
	}
	c.comparison, err = verify.Prepare(verify.Request{
		DB: c.DB, Original: original, Copy: copied, Key: key, Lossy: c.Lossy,
		ChunkSize: c.ChunkSize * verifyFactor, RowsEstimate: c.Rows,
		Gate: c.gate, Health: c.health, Progress: c.compared.Store,
	})
	if err != nil {
		return c.Host.Refuse("the copy could not be verified: %v", err)
	}
	return nil
}

// watchChild returns when the child ends or shows no sign of life.
func (c *run) watchChild(ctx context.Context) error {
	tick := time.NewTicker(stuckLimit / 100)
	defer tick.Stop()
	heard := time.Now()
	for {
		status, news := c.child.latest()
		if status.Phase == PhaseCopying {
			fault.Point(faultHeard)
		}
		select {
		case <-news:
			heard = time.Now()
		case <-tick.C:
			if time.Since(heard) > stuckLimit {
				return fmt.Errorf("the gh-ost child has said nothing for %v: it is taken for stuck", stuckLimit)
			}
		case <-c.child.exited:
			return c.child.ended()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// verify compares original and copy.
func (c *run) verify(ctx context.Context) error {
	c.Host.Enter(copy.StateVerifying, "")
	result, err := c.comparison.Run(ctx)
	if err != nil {
		return err
	}
	c.Logger.Info("copy verified", "rows", result.Rows, "chunks", result.Chunks, "settled", result.Settled)
	return nil
}

// gate holds the comparison, and the cut-over, while the operator or gh-ost rests.
func (c *run) gate(ctx context.Context) error {
	for {
		changed := c.Control.Changed()
		status, news := c.child.latest()
		if c.Control.Get() == copy.PrivOK && !status.Throttled {
			return nil
		}
		select {
		case <-changed:
		case <-news:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// health tells the comparison how far gh-ost is.
func (c *run) health(ctx context.Context) (verify.Health, error) {
	h, err := c.backlog(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	status, _ := c.child.latest()
	h.Seen, h.Idle = status.Seen, status.Throttled || c.Control.Get() != copy.PrivOK
	return h, err
}

// backlog bounds what gh-ost has read and not applied. It does not count the batch that it is applying: that shows as a
// statement under way, or as progress between two looks.
func (c *run) backlog(ctx context.Context) (verify.Health, error) {
	before, _, err := Backlog(ctx, c.child.socket)
	if err != nil {
		return verify.Health{}, err
	}
	applying, err := copy.Sessions(ctx, c.DB, []string{marker}, c.Database, c.Names.Ghost)
	if err != nil {
		return verify.Health{}, err
	}
	applied, waiting, err := Backlog(ctx, c.child.socket)
	if err != nil {
		return verify.Health{}, err
	}
	if applied != before || len(applying) > 0 {
		waiting += applied - before + BatchSize
	}
	return verify.Health{Applied: applied, Backlog: waiting}, nil
}

// cutOver commands the swap until gh-ost has ended. Each attempt holds up queries on the table for some seconds at most; one
// that fails lets them through and goes back to postponing.
func (c *run) cutOver(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		if err := c.awaitOpportunity(ctx); err != nil {
			return err
		}
		if err := c.Host.Unchanged(ctx); err != nil {
			return err
		}
		if err := c.keepCounter(ctx); err != nil {
			return err
		}
		c.Host.Enter(copy.StateCuttingOver, fmt.Sprintf("attempt %d of %d", attempt, c.Retries))
		fault.Point(faultCutoverBefore)
		ended, err := c.tryCutOver(ctx)
		if err != nil || ended {
			fault.Point(faultCutoverAfter)
			return err
		}
		if attempt >= c.Retries {
			return fmt.Errorf("%d attempts at the cut-over failed: %s%s", attempt, c.child.log.lastError(), c.Host.HeldBy(ctx))
		}
		c.Host.Enter(copy.StateCopying, fmt.Sprintf("cut-over attempt %d of %d failed: %s%s", attempt, c.Retries,
			c.child.log.lastError(), c.Host.HeldBy(ctx)))
		if err := wait.For(ctx, min(time.Second<<min(attempt, 5), 30*time.Second)); err != nil {
			return err
		}
	}
}

// tryCutOver commands one attempt; ended when gh-ost has gone, false when it postpones again.
func (c *run) tryCutOver(ctx context.Context) (ended bool, err error) {
	began, left := time.Now(), false
	if ok, err := Unpostpone(ctx, c.child.socket); err != nil || !ok {
		if c.gone(ctx) {
			return true, nil
		}
		return false, err
	}
	err = c.child.await(ctx, func(s Status) (bool, error) {
		left = left || s.Phase != PhasePostponed
		if time.Since(began) > cutOverLimit {
			return false, fmt.Errorf("gh-ost neither finished nor gave up its cut-over within %v (phase %q): it is taken for stuck", cutOverLimit,
				s.Phase)
		}
		return left && s.Phase == PhasePostponed, nil
	})
	if isEnded(err) {
		return true, nil // well or badly: the server knows
	}
	return false, err
}

// gone tells whether the child has ended.
func (c *run) gone(ctx context.Context) bool {
	return isEnded(context.Cause(ctx))
}

// awaitOpportunity waits until an attempt has a chance: nobody said PAUSE, gh-ost is at work, no long transaction has the
// table, no session writes in a way gh-ost does not see.
func (c *run) awaitOpportunity(ctx context.Context) error {
	for {
		if err := c.gate(ctx); err != nil {
			return err
		}
		who, err := c.Host.Opportunity(ctx)
		if err != nil {
			return err
		}
		status, _ := c.child.latest()
		held := c.Control.Terms().Gate
		if held != "" && status.Phase == PhasePostponed {
			c.Host.Enter(copy.StateGate, held)
		} else if who == "" && status.Phase == PhasePostponed {
			return nil
		}
		if held == "" && who != "" {
			c.Host.Enter(copy.StateCuttingOver, "waits: "+who)
		}
		if err := wait.For(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}
