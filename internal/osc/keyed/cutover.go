package keyed

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/wait"
)

var (
	faultVerified     = fault.Register("osc.keyed.verified", "table and ghost are found equal, the cut-over is not begun")
	faultLocked       = fault.Register("osc.keyed.locked", "both tables are locked, the last keys are not applied")
	faultRenameBefore = fault.Register("osc.keyed.rename.before", "the last keys are compared, about to swap the tables")
	faultRenameAfter  = fault.Register("osc.keyed.rename.after", "the tables are swapped, their locks are not given up yet")
)

const (
	// underLock is how many keys may be left to apply, and to compare, when the tables are locked: writers wait meanwhile.
	underLock = 1000
	// lockedFor bounds the time for which writers wait, the waits for locks aside.
	lockedFor = time.Second
	askEvery  = 100 * time.Millisecond
)

// notNow is why an attempt at the cut-over was given up; another may succeed.
type notNow struct{ reason string }

func (e *notNow) Error() string { return e.reason }

// cutOver swaps the tables.
func (c *Copy) cutOver(ctx context.Context) error {
	fault.Point(faultVerified)
	retries := max(c.req.Retries, 1)
	for attempt := 1; ; attempt++ {
		if err := c.awaitOpportunity(ctx); err != nil {
			return err
		}
		c.req.Phase(PhaseCuttingOver, fmt.Sprintf("attempt %d of %d", attempt, retries))
		err := c.tryCutOver(ctx)
		var later *notNow
		if err == nil || ctx.Err() != nil || !errors.As(err, &later) {
			return err
		}
		if attempt >= retries {
			return fmt.Errorf("%d attempts at the cut-over failed: %w", attempt, err)
		}
		c.req.Phase(PhaseWaiting, fmt.Sprintf("cut-over attempt %d of %d failed: %v", attempt, retries, err))
		if err := wait.For(ctx, min(time.Second<<min(attempt-1, 5), 30*time.Second)); err != nil {
			return err
		}
	}
}

// awaitOpportunity waits until an attempt has a chance: nobody said to rest, few keys are left, nobody holds the table.
func (c *Copy) awaitOpportunity(ctx context.Context) error {
	said := ""
	pursuit := chase{limit: c.req.CatchUp}
	for {
		asked := time.Now()
		if err := c.gate(ctx); err != nil {
			return err
		}
		pursuit.rested(time.Since(asked))
		why, phase := "", PhaseWaiting
		if left, compare := c.ledger.left(), c.recheck.size(); left+compare > underLock/2 {
			if pursuit.lost(time.Now(), left+compare) {
				return &BehindError{Backlog: left, Uncompared: compare, After: pursuit.limit}
			}
			why = fmt.Sprintf("%d changed rows are to be applied and %d to be compared first", left, compare)
		} else {
			pursuit = chase{limit: c.req.CatchUp} // it has caught up: a later burst is judged anew
			var err error
			if why = c.held(); why != "" {
				phase = PhaseGate
			} else if c.req.Opportunity != nil {
				why, err = c.req.Opportunity(ctx)
			}
			if err != nil {
				return err
			}
		}
		if why == "" {
			if c.req.Unchanged == nil {
				return nil
			}
			return c.req.Unchanged(ctx)
		}
		if why != said {
			c.req.Phase(phase, why)
			said = why
		}
		if err := wait.For(ctx, askEvery); err != nil {
			return err
		}
	}
}

// held is why the cut-over has to wait for the operator's word, "" when it may begin.
func (c *Copy) held() string {
	if c.req.Held == nil {
		return ""
	}
	return c.req.Held()
}

// tryCutOver is one attempt, on one connection: whatever ends it gives the table back to its writers.
func (c *Copy) tryCutOver(ctx context.Context) error {
	// No worker is within a transaction on the ghost, and none begins: its rows are this attempt's.
	c.turn.Lock()
	defer c.turn.Unlock()
	return withSession(ctx, c.req.DB, func(ctx context.Context, conn *sql.Conn) error {
		if err := c.alignCounter(ctx, conn); err != nil {
			return err
		}
		if err := c.lockTables(ctx, conn); err != nil {
			return err
		}
		err := c.swap(ctx, conn)
		if _, unlock := conn.ExecContext(context.WithoutCancel(ctx), "UNLOCK TABLES"); err == nil && unlock != nil {
			c.req.Logger.Warn("the tables are swapped; the connection broke when they were unlocked", "error", unlock)
		}
		return err
	})
}

// lockTables keeps everybody else from both tables. Whoever has an open transaction on the table is waited for, briefly: everybody else
// waits behind us.
func (c *Copy) lockTables(ctx context.Context, conn *sql.Conn) error {
	seconds := max(int((c.req.LockWaitTimeout+time.Second-1)/time.Second), 1)
	// START TRANSACTION would give up the locks.
	set := fmt.Sprintf("SET SESSION lock_wait_timeout = %d, SESSION autocommit = 0, SESSION wait_timeout = 10", seconds)
	if _, err := conn.ExecContext(ctx, set); err != nil {
		return err
	}
	_, err := conn.ExecContext(ctx, fmt.Sprintf("LOCK %s TABLES %s WRITE, %s WRITE", Marker, c.mover.from, c.mover.to))
	if mysql.IsLockWaitTimeout(err) {
		return &notNow{fmt.Sprintf("the table's lock could not be taken in %d s", seconds)}
	}
	if err != nil {
		return fmt.Errorf("lock the table and its copy: %w", err)
	}
	return nil
}

// swap does what is left to do while nobody writes, and swaps.
func (c *Copy) swap(ctx context.Context, conn *sql.Conn) error {
	fault.Point(faultLocked)
	limited, cancel := context.WithTimeoutCause(ctx, lockedFor, &notNow{fmt.Sprintf("what was left to do took longer than %v", lockedFor)})
	defer cancel()
	err := c.lastKeys(limited, conn)
	if err == nil {
		err = c.alignCounter(ctx, conn)
	}
	if err != nil {
		if ctx.Err() == nil && limited.Err() != nil { // the time may be up at the very end: the connection is of no use then
			return context.Cause(limited)
		}
		return err
	}
	if c.req.StillOurs != nil {
		if err := c.req.StillOurs(limited); err != nil {
			if ctx.Err() == nil && limited.Err() != nil { // a busy server has not said so in time
				return context.Cause(limited)
			}
			return err
		}
	}
	if err := c.dropHelper(ctx, conn); err != nil {
		return err
	}
	fault.Point(faultRenameBefore)
	_, err = conn.ExecContext(ctx, fmt.Sprintf("RENAME %s TABLE %s TO %s, %s TO %s", Marker, c.mover.from,
		mysql.QuoteIdents(c.req.Database, c.req.Old), c.mover.to, c.mover.from))
	if mysql.IsLockWaitTimeout(err) {
		return &notNow{"somebody keeps the server from changing definitions (LOCK INSTANCE FOR BACKUP, FLUSH TABLES WITH READ LOCK)"}
	}
	if err != nil {
		return fmt.Errorf("swap the tables: %w", err)
	}
	fault.Point(faultRenameAfter)
	return nil
}

// dropHelper drops the index that only the copy needed: nothing is left to find by it.
func (c *Copy) dropHelper(ctx context.Context, conn *sql.Conn) error {
	if c.key.index != helperKey {
		return nil
	}
	_, err := conn.ExecContext(ctx, fmt.Sprintf("ALTER %s TABLE %s DROP KEY %s", Marker, c.mover.to, mysql.QuoteIdent(helperKey)))
	if mysql.IsLockWaitTimeout(err) {
		return &notNow{"somebody keeps the server from changing definitions (LOCK INSTANCE FOR BACKUP, FLUSH TABLES WITH READ LOCK)"}
	}
	if err != nil {
		return fmt.Errorf("drop the index %s of %s: %w", helperKey, c.mover.to, err)
	}
	return nil
}

// lastKeys applies and compares all that is left. Everything that was committed on the table is in gtid_executed by now, for whoever
// commits keeps the table until then.
func (c *Copy) lastKeys(ctx context.Context, conn *sql.Conn) error {
	set, err := mysql.GTIDExecuted(ctx, c.req.DB)
	if err != nil {
		return err
	}
	if err := c.stream.passed(ctx, set); err != nil {
		return err
	}
	if err := c.routed(ctx); err != nil {
		return err
	}
	done := 0
	for _, q := range c.queues {
		for q.size() > 0 {
			keys, settles := q.take(batch)
			if err := c.settleLocked(ctx, conn, keys, settles); err != nil {
				return err
			}
			if done += len(keys); done > underLock {
				return &notNow{fmt.Sprintf("more than %d changed rows were left to apply", underLock)}
			}
		}
	}
	if left := c.ledger.left(); left > 0 {
		return fmt.Errorf("%d changed rows are neither applied nor waiting to be: this is a fault of the copy", left)
	}
	return c.lastComparison(ctx, conn)
}

// settleLocked is settle for the connection that has the locks. Keys that could not be applied go back.
func (c *Copy) settleLocked(ctx context.Context, conn *sql.Conn, keys []value, settles []tracked) error {
	written, err := c.mover.apply(ctx, locked{conn}, keys)
	if err != nil {
		return errors.Join(err, c.dispatch(context.WithoutCancel(ctx), settles))
	}
	c.applied.Add(uint64(len(written)))
	c.recheck.add(written)
	return c.ledger.done(settles)
}

// lastComparison compares what changed and was not compared since. Nothing can change any more: a difference is a fault of the copy.
func (c *Copy) lastComparison(ctx context.Context, conn *sql.Conn) error {
	if c.recheck.size() > underLock {
		return &notNow{fmt.Sprintf("more than %d changed rows were left to compare", underLock)}
	}
	if _, err := conn.ExecContext(ctx, verify.Session); err != nil {
		return err
	}
	for {
		taken := c.recheck.take(recheckBatch, math.MaxInt)
		if len(taken) == 0 {
			_, err := conn.ExecContext(ctx, "COMMIT")
			return err
		}
		keys := slices.Collect(maps.Keys(taken))
		_, equal, err := c.comparison.Equal(ctx, conn, c.key.among(original, keys), c.key.among(ghost, keys))
		if err != nil {
			c.recheck.again(keys, taken, 0, 0)
			return err
		}
		if !equal {
			return c.difference(ctx, conn, keys)
		}
	}
}

// alignCounter brings the ghost's AUTO_INCREMENT counter to the table's: ids that were given out, and rolled back, are not given again.
func (c *Copy) alignCounter(ctx context.Context, conn *sql.Conn) error {
	have, err := mysql.NextID(ctx, conn, c.req.Database, c.req.Table)
	if err != nil {
		return err
	}
	got, err := mysql.NextID(ctx, conn, c.req.Database, c.req.Ghost)
	if err != nil {
		return err
	}
	if !have.Valid || !got.Valid || got.V >= have.V {
		return nil
	}
	_, err = conn.ExecContext(ctx, fmt.Sprintf("ALTER %s TABLE %s AUTO_INCREMENT = %d", Marker, c.mover.to, have.V))
	if mysql.IsLockWaitTimeout(err) {
		return &notNow{"the copy was in use"}
	}
	if err != nil {
		return fmt.Errorf("set the AUTO_INCREMENT counter of %s: %w", c.mover.to, err)
	}
	return nil
}
