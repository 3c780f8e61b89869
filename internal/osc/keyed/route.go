package keyed

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/wait"
)

const (
	collectKeys = 1000                 // keys that are judged at once
	collectFor  = 5 * time.Millisecond // and how long more are waited for
	maxHolding  = 200_000              // keys that wait for chunks: past it the stream waits
	askedAtOnce = 200                  // keys that the server is asked about in one statement
	waitSeconds = 1                    // for a transaction to become visible, in one question
)

// message goes from the stream to the router: a change, or a question whether all before it have been dealt with.
type message struct {
	change  change
	barrier chan struct{}
}

// take is where the stream hands changes to.
func (c *Copy) take(ctx context.Context, ch change) error { return c.send(ctx, message{change: ch}) }

func (c *Copy) send(ctx context.Context, m message) error {
	select {
	case c.in <- m:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// routed waits until all changes that the stream has handed on are held, queued, dropped or applied.
func (c *Copy) routed(ctx context.Context) error {
	m := message{barrier: make(chan struct{})}
	if err := c.send(ctx, m); err != nil {
		return err
	}
	select {
	case <-m.barrier:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// route judges keys once their transactions are visible, some at a time.
func (c *Copy) route(ctx context.Context) error {
	conn, err := c.req.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		got, err := c.collect(ctx)
		if err != nil {
			return err
		}
		if len(got.keys) > 0 {
			if err := visible(ctx, conn, got.gtids); err != nil {
				return err
			}
			if err := c.unlocked(ctx, conn, got.xa); err != nil {
				return err
			}
			if err := c.judge(ctx, conn, got.keys); err != nil {
				return err
			}
		}
		if got.barrier != nil {
			close(got.barrier)
		}
	}
}

// collected is what is judged at once.
type collected struct {
	keys    []tracked
	gtids   []string
	xa      []value // keys of XA transactions
	barrier chan struct{}
}

// collect takes changes off the channel until there are enough, or no more come, or somebody waits.
func (c *Copy) collect(ctx context.Context) (got collected, err error) {
	var enough <-chan time.Time
	for len(got.keys) < collectKeys {
		select {
		case m := <-c.in:
			if m.barrier != nil {
				got.barrier = m.barrier
				return got, nil
			}
			e, err := c.ledger.enter(m.change)
			if err != nil {
				return got, err
			}
			if len(m.change.keys) == 0 {
				continue
			}
			for _, k := range m.change.keys {
				got.keys = append(got.keys, tracked{k, e})
			}
			got.gtids = append(got.gtids, m.change.gtid)
			if m.change.xa {
				got.xa = append(got.xa, m.change.keys...)
			}
			if enough == nil {
				enough = time.After(collectFor)
			}
		case <-enough:
			return got, nil
		case <-ctx.Done():
			return got, context.Cause(ctx)
		}
	}
	return got, nil
}

// visible waits until transactions are in gtid_executed: from then on every new snapshot has them. In the binary log they are
// earlier, with semi-synchronous replication up to the acknowledgement.
func visible(ctx context.Context, conn *sql.Conn, gtids []string) error {
	set, err := mysql.ParseGTIDSet(joined(gtids))
	if err != nil {
		return err
	}
	return executedAll(ctx, conn, set)
}

func executedAll(ctx context.Context, conn *sql.Conn, set mysql.GTIDSet) error {
	for {
		var timedOut bool
		err := conn.QueryRowContext(ctx, fmt.Sprintf("SELECT WAIT_FOR_EXECUTED_GTID_SET('%s', %d)", set, waitSeconds)).Scan(&timedOut)
		if err != nil {
			return fmt.Errorf("wait until transactions of the binary log are visible: %w", err)
		}
		if !timedOut {
			return nil
		}
	}
}

// unlocked waits until XA transactions have ended in the engine: nothing promises that an XA COMMIT that is in gtid_executed is visible,
// but its rows stay locked until it is. Somebody else may have locked them since, and is waited for, too.
func (c *Copy) unlocked(ctx context.Context, conn *sql.Conn, keys []value) error {
	for len(keys) > 0 {
		n := min(len(keys), askedAtOnce)
		_, err := conn.ExecContext(ctx, fmt.Sprintf("DO (SELECT COUNT(*) FROM (SELECT 1 FROM %s FORCE INDEX (%s) WHERE %s FOR SHARE NOWAIT) "+
			"AS locked)", c.mover.from, mysql.QuoteIdent(c.key.name), c.key.among(original, keys[:n])))
		switch {
		case err == nil:
			keys = keys[n:]
			continue
		case !passing(err):
			return fmt.Errorf("wait until the rows of XA transactions are unlocked: %w", err)
		}
		if err := wait.For(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// judge finds out where the ranges of keys are, see tracker.
func (c *Copy) judge(ctx context.Context, conn *sql.Conn, keys []tracked) error {
	for c.tracker.holding() > maxHolding {
		if err := wait.For(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	m := c.tracker.now()
	if !m.begun {
		return c.ledger.done(keys)
	}
	var ahead []tracked
	if !m.complete {
		var err error
		if keys, ahead, err = c.split(ctx, conn, keys, m.frontier); err != nil {
			return err
		}
	}
	if err := c.ledger.done(ahead); err != nil {
		return err
	}
	if len(keys) == 0 {
		return nil
	}
	return c.dispatch(ctx, c.tracker.hold(m, keys))
}

// split asks the server which keys come after the frontier: the order is that of its collations.
func (c *Copy) split(ctx context.Context, conn *sql.Conn, keys []tracked, frontier value) (reached, ahead []tracked, err error) {
	for len(keys) > 0 {
		n := min(len(keys), askedAtOnce)
		terms := make([]string, n)
		for i := range terms {
			terms[i] = c.key.beyond(keys[i].key, frontier)
		}
		beyond := make([]bool, n)
		into := make([]any, n)
		for i := range into {
			into[i] = &beyond[i]
		}
		if err := conn.QueryRowContext(ctx, "SELECT "+strings.Join(terms, ", ")).Scan(into...); err != nil {
			return nil, nil, fmt.Errorf("compare keys with the end of what is copied: %w", err)
		}
		for i := range beyond {
			if beyond[i] {
				ahead = append(ahead, keys[i])
			} else {
				reached = append(reached, keys[i])
			}
		}
		keys = keys[n:]
	}
	return reached, ahead, nil
}

// dispatch gives keys to the workers that have them.
func (c *Copy) dispatch(ctx context.Context, keys []tracked) error {
	if len(keys) == 0 {
		return nil
	}
	shares := make([][]tracked, len(c.queues))
	for _, k := range keys {
		w := worker(k.key, len(c.queues))
		shares[w] = append(shares[w], k)
	}
	for w, share := range shares {
		if len(share) == 0 {
			continue
		}
		if err := c.queues[w].put(ctx, share); err != nil {
			return err
		}
	}
	return nil
}

// batch is how many keys are applied in one transaction.
const batch = 200

// work applies the keys of one queue.
func (c *Copy) work(ctx context.Context, q *queue) error {
	return withSession(ctx, c.req.DB, func(ctx context.Context, conn *sql.Conn) error {
		for {
			if err := q.await(ctx); err != nil {
				return err
			}
			if err := c.gate(ctx); err != nil {
				return err
			}
			if err := c.workOnce(ctx, conn, q); err != nil {
				return err
			}
		}
	})
}

func (c *Copy) workOnce(ctx context.Context, conn *sql.Conn, q *queue) error {
	c.turn.RLock()
	defer c.turn.RUnlock()
	keys, settles := q.take(batch)
	if len(keys) == 0 {
		return nil
	}
	return c.settle(ctx, conn, keys, settles)
}

// settle applies keys, and notes what that settles.
func (c *Copy) settle(ctx context.Context, conn *sql.Conn, keys []value, settles []tracked) error {
	if c.mover.uniques() {
		c.single.Lock()
		defer c.single.Unlock()
	}
	written, err := c.mover.apply(ctx, conn, keys)
	if err != nil {
		return err
	}
	c.applied.Add(uint64(len(written)))
	c.recheck.add(written)
	return c.ledger.done(settles)
}
