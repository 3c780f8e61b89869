package keyed

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/wait"
)

var (
	faultChunkBefore = fault.Register("osc.keyed.chunk.before", "a chunk is begun, its rows are not moved")
	faultChunkAfter  = fault.Register("osc.keyed.chunk.after", "a chunk is committed, nobody has been told")
)

// dispenser hands out ranges in the order of the key, one at a time.
type dispenser struct {
	mover   *mover
	tracker *tracker

	mu    sync.Mutex
	holes []chunk // ranges that an earlier run left between those that it copied: they come first
	low   value
	last  bool // the last range is handed out
}

// chunk is a range that somebody is copying.
type chunk struct {
	id int
	span
}

// next begins the next range; false when there is none.
func (d *dispenser) next(ctx context.Context, conn *sql.Conn, size int) (chunk, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.holes) > 0 {
		hole := d.holes[0]
		d.holes = d.holes[1:]
		return hole, true, nil
	}
	r, ok, err := d.cut(ctx, conn, size)
	if err != nil || !ok {
		return chunk{}, false, err
	}
	return chunk{d.tracker.begin(r, d.last), r}, true, nil
}

// span hands out the next range without beginning it.
func (d *dispenser) span(ctx context.Context, conn *sql.Conn, size int) (span, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cut(ctx, conn, size)
}

// cut is the next range; false when there is none. The caller holds the mutex.
func (d *dispenser) cut(ctx context.Context, conn *sql.Conn, size int) (span, bool, error) {
	if d.last {
		return span{}, false, nil
	}
	ends, err := d.mover.values(ctx, conn, d.mover.boundary(d.low, size))
	if err != nil {
		return span{}, false, fmt.Errorf("find the end of a chunk of %s: %w", d.mover.from, err)
	}
	r := span{low: d.low}
	if len(ends) == 1 {
		r.high = ends[0]
	}
	d.last, d.low = r.high == "", r.high
	return r, true, nil
}

// copyAll moves all rows, by several workers, each of which compares what it has moved.
func (c *Copy) copyAll(ctx context.Context) error {
	return c.parallel(ctx, func(ctx context.Context) error {
		return withSession(ctx, c.req.DB, func(ctx context.Context, conn *sql.Conn) error {
			return c.withComparer(ctx, func(ctx context.Context, comparer *sql.Conn) error { return c.copyChunks(ctx, conn, comparer) })
		})
	})
}

// copyChunks is one worker's work.
func (c *Copy) copyChunks(ctx context.Context, conn, comparer *sql.Conn) error {
	return c.paced(ctx, func(size int, should time.Duration) (int, bool, error) {
		began := time.Now()
		next, ok, err := c.chunks.next(ctx, conn, size)
		if err != nil || !ok {
			return size, false, err
		}
		fault.Point(faultChunkBefore)
		rows, err := c.copyChunk(ctx, conn, next)
		if err != nil {
			return size, false, err
		}
		fault.Point(faultChunkAfter)
		c.copied.Add(uint64(rows))
		c.keeper.committed(next, rows)
		if err := c.dispatch(ctx, c.tracker.end(next.id)); err != nil {
			return size, false, err
		}
		size = c.sizes.next(size, time.Since(began), should)
		if !c.byRange() {
			return size, true, nil
		}
		return size, true, c.compareRange(ctx, comparer, next.span)
	})
}

const chunkTries = 20

// copyChunk moves the rows of one range, from one snapshot, and notes it in the same transaction.
func (c *Copy) copyChunk(ctx context.Context, conn *sql.Conn, next chunk) (rows int64, err error) {
	r := next.span
	condition := c.key.condition(original, r)
	for try := range chunkTries {
		err := inTransaction(ctx, conn, func() error {
			result, err := conn.ExecContext(ctx, c.mover.insert(condition))
			if err != nil {
				return err
			}
			if rows, err = result.RowsAffected(); err != nil {
				return err
			}
			return c.keeper.chunk(ctx, conn, next, rows)
		})
		switch {
		case err == nil:
			return rows, nil
		case ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case misfit(err):
			return 0, c.mover.unfit(ctx, conn, condition, err)
		case mysql.IsNumber(err, mysql.ErrDupEntry):
			if try == chunkTries-1 {
				return 0, &FitError{Table: c.mover.from, Key: abridged(c.describe(r)), Err: err}
			}
			if err := c.clearFor(ctx, conn, condition); err != nil {
				return 0, err
			}
		case !passing(err):
			return 0, fmt.Errorf("copy the rows of %s %s: %w", c.mover.from, abridged(c.describe(r)), err)
		}
		if err := wait.For(ctx, time.Duration(try)*10*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("copy the rows of %s %s: in %d attempts others were in the way", c.mover.from, abridged(c.describe(r)), chunkTries)
}

func (c *Copy) describe(r span) string {
	low := "the beginning"
	if r.low != "" {
		low = c.key.describe(r.low)
	}
	return "from " + low + " to " + c.key.describe(r.high)
}

// clearFor brings up to date those rows of the ghost that have a unique key's values in common with rows of a range: they changed
// since they were copied, and their changes are on their way, perhaps waiting for this very chunk.
func (c *Copy) clearFor(ctx context.Context, conn *sql.Conn, condition string) error {
	keys, err := c.mover.inTheWayOf(ctx, conn, nil, condition)
	switch {
	case err != nil && misfit(err):
		return c.mover.unfit(ctx, conn, condition, err)
	case err != nil && passing(err):
		return nil // the chunk is tried again
	case err != nil:
		return fmt.Errorf("find the rows of %s that are in the way of others: %w", c.mover.to, err)
	}
	c.turn.RLock()
	defer c.turn.RUnlock()
	for len(keys) > 0 {
		n := min(len(keys), batch)
		if err := c.settle(ctx, conn, keys[:n], nil); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}
