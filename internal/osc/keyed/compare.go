package keyed

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
)

// coverage knows which ranges have been compared. Ranges meet where one begins with the key that the one before ends with.
type coverage struct {
	mu     sync.Mutex
	to     value          // up to where everything from the beginning of the table is
	all    bool           // nothing is left
	others map[value]span // by their beginning: those that do not join to yet
}

func newCoverage() *coverage { return &coverage{others: map[value]span{}} }

// add notes a range as compared.
func (c *coverage) add(r span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.others[r.low] = r
	for !c.all {
		next, ok := c.others[c.to]
		if !ok {
			return
		}
		delete(c.others, c.to)
		c.to, c.all = next.high, next.high == ""
	}
}

// forget gives up ranges beyond one that is missing: with them the whole rest is compared.
func (c *coverage) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.others)
}

// rest is from where on the table is not known to be compared whole; false when nothing is left.
func (c *coverage) rest() (low value, left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.to, !c.all
}

// withComparer runs fn on a connection that compares rows.
func (c *Copy) withComparer(ctx context.Context, fn func(context.Context, *sql.Conn) error) error {
	return mysql.WithSession(ctx, c.req.DB, mysql.Session{}, func(ctx context.Context, conn *sql.Conn) error {
		if _, err := conn.ExecContext(ctx, verify.Session); err != nil {
			return fmt.Errorf("prepare a session that compares rows: %w", err)
		}
		stop, err := mysql.KillOnCancel(ctx, c.req.DB, conn)
		if err != nil {
			return err
		}
		defer stop()
		return fn(ctx, conn)
	})
}

// byRange tells whether a range of keys is the same rows in both tables, so that ranges can be compared.
func (c *Copy) byRange() bool { return c.key.alike() }

// compareRange compares the rows of a range that is copied. Those that differ are, as a rule, changes that are on their way: they are
// compared again, like whatever is written to the ghost from now on.
func (c *Copy) compareRange(ctx context.Context, conn *sql.Conn, r span) error {
	onOriginal, onGhost := c.key.condition(original, r), c.key.condition(ghost, r)
	rows, equal, err := c.comparison.Equal(ctx, conn, onOriginal, onGhost)
	if err != nil {
		return err
	}
	if !equal {
		differing, err := c.comparison.Differing(ctx, conn, c.key.texts(original), c.key.texts(ghost), onOriginal, onGhost)
		if err != nil {
			return err
		}
		keys := make([]value, len(differing))
		for i, texts := range differing {
			keys[i] = valueOf(texts)
		}
		c.recheck.add(keys)
	}
	c.covered.add(r)
	c.compared.Add(rows)
	return nil
}

// compareRest compares, by several workers, what was copied and not compared by the way.
func (c *Copy) compareRest(ctx context.Context) error {
	low, left := c.covered.rest()
	if !left {
		return nil
	}
	c.covered.forget()
	d := &dispenser{mover: c.mover, low: low}
	return c.parallel(ctx, func(ctx context.Context) error {
		return c.withComparer(ctx, func(ctx context.Context, conn *sql.Conn) error {
			return c.paced(ctx, func(size int, should time.Duration) (int, bool, error) {
				began := time.Now()
				r, ok, err := d.span(ctx, conn, size)
				if err != nil || !ok {
					return size, false, err
				}
				if err := c.compareRange(ctx, conn, r); err != nil {
					return size, false, err
				}
				return c.sizes.next(size, time.Since(began), should), true, nil
			})
		})
	})
}

// parallel runs work once for each worker and waits; the first error ends the others.
func (c *Copy) parallel(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	for range c.req.Workers {
		group.Go(func() {
			if err := work(ctx); err != nil {
				cancel(err)
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}
