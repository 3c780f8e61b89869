package keyed

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/wait"
)

// recheck are the keys that were written to the ghost since the comparison began: what was found equal before says nothing of them. Those
// that are found equal go, those that change meanwhile come back.
type recheck struct {
	mu   sync.Mutex
	on   bool
	keys map[value]checked
}

// checked is what is known of a key that is to be compared.
type checked struct {
	strikes int // how often it was found different with nothing on its way
	round   int // in which it was found different
}

func newRecheck() *recheck { return &recheck{keys: map[value]checked{}} }

// start begins to collect.
func (r *recheck) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = true
}

// add notes keys that were written.
func (r *recheck) add(keys []value) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.on {
		return
	}
	for _, k := range keys {
		r.keys[k] = checked{}
	}
}

// take removes some keys that were not compared in this round: one that is written meanwhile is there again.
func (r *recheck) take(most, round int) map[value]checked {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := map[value]checked{}
	for k, c := range r.keys {
		if len(taken) >= most {
			break
		}
		if c.round < round {
			taken[k] = c
			delete(r.keys, k)
		}
	}
	return taken
}

// again brings keys back that were found different in a round; strike counts it.
func (r *recheck) again(keys []value, were map[value]checked, round int, strike bool) (worst int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		if _, written := r.keys[k]; written {
			continue
		}
		c := checked{strikes: were[k].strikes, round: round}
		if strike {
			c.strikes++
		}
		r.keys[k] = c
		worst = max(worst, c.strikes)
	}
	return worst
}

func (r *recheck) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.keys)
}

const (
	recheckBatch = 200
	recheckEvery = 100 * time.Millisecond
	// strikes is how often a key must be found different, while nothing is known that is not applied, before the copy is given up.
	strikes = 5
)

// keepComparing compares keys that changed since the comparison began, all the time, so that few are left for the cut-over.
func (c *Copy) keepComparing(ctx context.Context) error {
	conn, err := c.req.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer mysql.Discard(conn)
	if _, err := conn.ExecContext(ctx, verify.Session); err != nil {
		return fmt.Errorf("prepare a session that compares rows: %w", err)
	}
	for round := 1; ; round++ {
		if err := wait.For(ctx, recheckEvery); err != nil {
			return err
		}
		for more := true; more; {
			if err := c.gate(ctx); err != nil {
				return err
			}
			if more, err = c.compareSome(ctx, conn, round); err != nil {
				return err
			}
		}
	}
}

// compareSome compares some keys; false when none are left in this round.
func (c *Copy) compareSome(ctx context.Context, conn *sql.Conn, round int) (bool, error) {
	c.turn.RLock() // what is taken here would be missing in the comparison under the lock
	defer c.turn.RUnlock()
	quiet := c.ledger.left() == 0
	taken := c.recheck.take(recheckBatch, round)
	if len(taken) == 0 {
		return false, nil
	}
	different, found, err := c.different(ctx, conn, slices.Collect(maps.Keys(taken)))
	if err != nil {
		return false, err
	}
	if c.recheck.again(different, taken, round, quiet && c.ledger.left() == 0) >= strikes {
		return true, c.difference(found)
	}
	return true, nil
}

// different are those of some keys whose rows differ: halves that are equal are done with.
func (c *Copy) different(ctx context.Context, conn *sql.Conn, keys []value) (different []value, found []string, err error) {
	found, err = c.differ(ctx, conn, keys)
	if err != nil || len(found) == 0 || len(keys) == 1 {
		if len(found) > 0 {
			different = keys
		}
		return different, found, err
	}
	found = nil
	for _, half := range [][]value{keys[:len(keys)/2], keys[len(keys)/2:]} {
		d, f, err := c.different(ctx, conn, half)
		if err != nil {
			return nil, nil, err
		}
		different, found = append(different, d...), append(found, f...)
	}
	return different, found, nil
}

// differ compares the rows of keys in one snapshot.
func (c *Copy) differ(ctx context.Context, conn *sql.Conn, keys []value) ([]string, error) {
	return c.comparison.Differ(ctx, conn, c.key.among(original, keys), c.key.among(ghost, keys))
}

func (c *Copy) difference(found []string) error {
	return &verify.Error{Database: c.req.Database, Table: c.req.Table, Copy: c.req.Ghost, Range: "of rows changed since they were compared",
		Key: found[0], Reason: fmt.Sprintf("%d rows differ although all changes are applied", len(found))}
}

// verify compares all rows. What is written from here on is compared again.
func (c *Copy) verify(ctx context.Context) error {
	c.req.Phase(PhaseVerifying, "")
	c.recheck.start()
	result, err := c.comparison.Run(ctx)
	if err != nil {
		return err
	}
	c.req.Logger.Info("copy verified", "rows", result.Rows, "chunks", result.Chunks, "settled", result.Settled)
	return nil
}

// caughtUpWithin bounds one question how far the stream is.
const caughtUpWithin = time.Second

// health tells the comparison how far the changes are.
func (c *Copy) health(ctx context.Context) (verify.Health, error) {
	h := verify.Health{Idle: c.req.Resting != nil && c.req.Resting()}
	asked := time.Now()
	set, err := executed(ctx, c.req.DB)
	if err != nil {
		return h, err
	}
	short, cancel := context.WithTimeout(ctx, caughtUpWithin)
	defer cancel()
	if c.stream.passed(short, set) == nil && c.routed(short) == nil {
		h.Seen = asked
	}
	h.Applied, h.Backlog = int(c.applied.Load()), c.ledger.left()
	return h, ctx.Err()
}
