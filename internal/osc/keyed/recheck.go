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

// checked is what is known of a key that is to be compared. Rounds count from 1.
type checked struct {
	round   int // in which it was found different last
	since   int // in which that was last counted, or first seen
	strikes int // how often it was found different although all that was executed when it was counted is applied, and it was not written since
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

// again brings keys back that were found different in a round, before which all was applied that was executed after the round settled.
func (r *recheck) again(keys []value, were map[value]checked, round, settled int) (worst value, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		if _, written := r.keys[k]; written {
			continue
		}
		c := were[k]
		c.round = round
		switch {
		case c.since == 0:
			c.since = round
		case c.since <= settled:
			c.since = round
			c.strikes++
		}
		r.keys[k] = c
		if c.strikes > most {
			worst, most = k, c.strikes
		}
	}
	return worst, most
}

func (r *recheck) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.keys)
}

const (
	recheckBatch = 500
	recheckEvery = 100 * time.Millisecond
	// strikes is how often a key must be found different, with all applied in between that may explain it, before the copy is given up.
	strikes = 5
)

// settling tells up to which round differences were seen before something that is applied by now.
type settling struct {
	round   int // the newest such round
	pending int // the one whose moment is waited for, 0 = none
	moment  mysql.GTIDSet
}

// look moves round on, where all is applied.
func (s *settling) look(applied mysql.GTIDSet) {
	if s.pending > 0 && applied.Contains(s.moment) {
		s.round, s.pending = s.pending, 0
	}
}

// keepComparing compares keys that changed since they were compared, all the time, so that few are left for the cut-over.
//
// What differs in a snapshot is explained by a change that is not applied yet, or being applied: then the key is written to the ghost after
// that moment, and comes here again as a new one. A key that differs again and again, while all is applied in between that was executed
// when it was seen, and that is not written, is a fault of the copy.
func (c *Copy) keepComparing(ctx context.Context) error {
	return c.withComparer(ctx, func(ctx context.Context, conn *sql.Conn) error {
		var at settling
		for round := 1; ; round++ {
			if err := wait.For(ctx, recheckEvery); err != nil {
				return err
			}
			at.look(c.ledger.mark())
			found := false
			for more := true; more; {
				if err := c.gate(ctx); err != nil {
					return err
				}
				different, left, err := c.compareSome(ctx, conn, round, at.round)
				if err != nil {
					return err
				}
				found, more = found || different, left
			}
			if found && at.pending == 0 {
				var err error
				at.pending = round
				if at.moment, err = mysql.GTIDExecuted(ctx, c.req.DB); err != nil {
					return err
				}
			}
		}
	})
}

// compareSome compares some keys: whether any differed, and whether some may be left in this round.
func (c *Copy) compareSome(ctx context.Context, conn *sql.Conn, round, settled int) (differed, left bool, err error) {
	c.turn.RLock() // what is taken here would be missing in the comparison under the lock
	defer c.turn.RUnlock()
	taken := c.recheck.take(recheckBatch, round)
	if len(taken) == 0 {
		return false, false, nil
	}
	different, err := c.different(ctx, conn, slices.Collect(maps.Keys(taken)))
	if err != nil {
		return false, false, err
	}
	if worst, most := c.recheck.again(different, taken, round, settled); most >= strikes {
		return true, false, c.difference(ctx, conn, []value{worst})
	}
	return len(different) > 0, true, nil
}

// different are those of some keys whose rows differ: halves that are equal are done with.
func (c *Copy) different(ctx context.Context, conn *sql.Conn, keys []value) ([]value, error) {
	_, equal, err := c.comparison.Equal(ctx, conn, c.key.among(original, keys), c.key.among(ghost, keys))
	if err != nil || equal {
		return nil, err
	}
	if len(keys) == 1 {
		return keys, nil
	}
	var different []value
	for _, half := range [][]value{keys[:len(keys)/2], keys[len(keys)/2:]} {
		d, err := c.different(ctx, conn, half)
		if err != nil {
			return nil, err
		}
		different = append(different, d...)
	}
	return different, nil
}

// difference is the error of rows that differ without reason.
func (c *Copy) difference(ctx context.Context, conn *sql.Conn, keys []value) error {
	found, err := c.comparison.Differ(ctx, conn, c.key.among(original, keys), c.key.among(ghost, keys))
	if err != nil {
		return err
	}
	if len(found) == 0 { // it has become equal: nothing is swapped in by an error
		found = []string{c.key.describe(keys[0])}
	}
	return &verify.Error{Database: c.req.Database, Table: c.req.Table, Copy: c.req.Ghost, Range: "of rows changed since they were compared",
		Key: found[0], Reason: fmt.Sprintf("%d rows differ although all changes are applied", len(found))}
}

// verify compares what has not been compared when it was copied. What is written from here on is compared again.
func (c *Copy) verify(ctx context.Context) error {
	c.req.Phase(PhaseVerifying, "")
	if c.byRange() {
		if err := c.compareRest(ctx); err != nil {
			return err
		}
		if low, left := c.covered.rest(); left {
			return fmt.Errorf("rows of %s from %s on were not compared: this is a fault of the copy", c.mover.from, c.key.describe(low))
		}
		c.req.Logger.Info("copy verified", "rows", c.compared.Load(), "changed since", c.recheck.size())
		return nil
	}
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
	set, err := mysql.GTIDExecuted(ctx, c.req.DB)
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
