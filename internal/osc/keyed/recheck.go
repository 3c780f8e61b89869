package keyed

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/osc/verify"
)

// recheck are the keys that were written to the ghost since the comparison began: what was found equal before says nothing of them. Those
// that are found equal go, those that change meanwhile come back.
type recheck struct {
	mu   sync.Mutex
	on   bool
	keys map[value]int // how often it was found different with nothing on its way
}

func newRecheck() *recheck { return &recheck{keys: map[value]int{}} }

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
		r.keys[k] = 0
	}
}

// take removes some keys, to be compared: one that is written meanwhile is there again.
func (r *recheck) take(most int) map[value]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := map[value]int{}
	for k, n := range r.keys {
		if len(taken) >= most {
			break
		}
		taken[k] = n
		delete(r.keys, k)
	}
	return taken
}

// again brings keys back that were found different; strike counts it.
func (r *recheck) again(keys []value, were map[value]int, strike bool) (worst int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		if _, written := r.keys[k]; written {
			continue
		}
		n := were[k]
		if strike {
			n++
		}
		r.keys[k] = n
		worst = max(worst, n)
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
	defer shut(conn)
	if _, err := conn.ExecContext(ctx, verify.Session); err != nil {
		return fmt.Errorf("prepare a session that compares rows: %w", err)
	}
	for {
		if err := pause(ctx, recheckEvery); err != nil {
			return err
		}
		if err := c.gate(ctx); err != nil {
			return err
		}
		for c.recheck.size() > 0 {
			differ, err := c.compareSome(ctx, conn)
			if err != nil {
				return err
			}
			if differ {
				break
			}
		}
	}
}

// compareSome compares some keys; true when some of them differ.
func (c *Copy) compareSome(ctx context.Context, conn *sql.Conn) (bool, error) {
	c.turn.RLock() // what is taken here would be missing in the comparison under the lock
	defer c.turn.RUnlock()
	quiet := c.ledger.left() == 0
	taken := c.recheck.take(recheckBatch)
	keys := make([]value, 0, len(taken))
	for k := range taken {
		keys = append(keys, k)
	}
	found, err := c.differ(ctx, conn, keys)
	if err != nil || len(found) == 0 {
		return false, err
	}
	// Which of them it is only matters where it stays.
	var different []value
	for _, k := range keys {
		one, err := c.differ(ctx, conn, []value{k})
		if err != nil {
			return false, err
		}
		if len(one) > 0 {
			different = append(different, k)
		}
	}
	if c.recheck.again(different, taken, quiet && c.ledger.left() == 0) >= strikes {
		return true, c.difference(found)
	}
	return len(different) > 0, nil
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
