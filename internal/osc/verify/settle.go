package verify

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
	// maxPending bounds memory and delay: past it what is pending is settled before the walk goes on.
	maxPending = 2000
	// lookBatch and lockBatch are how many rows are looked at, and locked, at once.
	lookBatch = 200
	lockBatch = 50
	// looks is how often pending rows are looked at without a lock before they are locked. gh-ost sleeps a second when it
	// has nothing to do, so a change normally arrives within two.
	looks = 12
	// holdFor is how long writers of the locked rows wait at most in one attempt.
	holdFor  = 2500 * time.Millisecond
	pollCopy = 50 * time.Millisecond
	// strikes is how often rows must be found different under a lock with a drained backlog before the copy is given up.
	strikes = 2
	// settleWithin bounds the whole; time in which the copying process rests by its own decision does not count.
	settleWithin = 5 * time.Minute
)

// pace is what tests of a copy at rest shorten.
var pace = struct {
	lookEvery time.Duration // between two looks, and between two attempts under a lock
	linger    time.Duration // between the backlog's being applied and the last look
}{200 * time.Millisecond, 200 * time.Millisecond}

// pending are rows found different, waiting to be settled. Order is kept, so that the first difference is reported.
type pending struct {
	keys  []keyValue
	span  map[string]keyRange
	known map[string]bool
}

func (p *pending) full() bool { return len(p.keys) >= maxPending }

func (p *pending) add(k keyValue, span keyRange) {
	if p.known == nil {
		p.known, p.span = map[string]bool{}, map[string]keyRange{}
	}
	if id := k.id(); !p.known[id] {
		p.known[id] = true
		p.span[id] = span
		p.keys = append(p.keys, k)
	}
}

// keep drops all pending keys but those given.
func (p *pending) keep(keys []keyValue) {
	still := make(map[string]bool, len(keys))
	for _, k := range keys {
		still[k.id()] = true
	}
	kept := p.keys[:0]
	for _, k := range p.keys {
		if still[k.id()] {
			kept = append(kept, k)
			continue
		}
		delete(p.known, k.id())
		delete(p.span, k.id())
	}
	p.keys = kept
}

// note lists the rows under a condition on both sides in one snapshot and makes those that differ pending.
func (r *run) note(ctx context.Context, q Querier, span keyRange, condition func(side) string) error {
	differ, err := r.differ(ctx, q, condition)
	if err != nil {
		return fmt.Errorf("list the rows of a chunk of %s that differs from %s: %w", r.c.original.quoted(), r.c.copied.quoted(), err)
	}
	for _, k := range differ {
		r.add(k, span)
	}
	return nil
}

// differ are the keys whose rows are not the same on both sides, in one snapshot.
func (r *run) differ(ctx context.Context, q Querier, condition func(side) string) ([]keyValue, error) {
	found, order, err := r.list(ctx, q, r.c.rows(condition))
	if err != nil {
		return nil, err
	}
	var differ []keyValue
	for _, k := range order {
		if f := found[k.id()]; f[original] != f[copied] {
			differ = append(differ, k)
		}
	}
	return differ, nil
}

// list runs a statement of comparison.rows: per key the hash on each side, "" = no such row.
func (r *run) list(ctx context.Context, q Querier, query string) (map[string][2]string, []keyValue, error) {
	return list(ctx, q, query, len(r.c.key))
}

func list(ctx context.Context, q Querier, query string, parts int) (map[string][2]string, []keyValue, error) {
	found := map[string][2]string{}
	var order []keyValue
	err := each(ctx, q, query, func(rows *sql.Rows) error {
		var s side
		var hash string
		key := make(keyValue, parts)
		if err := rows.Scan(append([]any{&s, &hash}, pointers(key)...)...); err != nil {
			return err
		}
		hashes, seen := found[key.id()]
		if !seen {
			order = append(order, key)
		}
		hashes[s] = hash
		found[key.id()] = hashes
		return nil
	})
	return found, order, err
}

// settle finds out of every pending row whether its difference was a change on its way. It returns an *Error for
// the first that was not.
func (r *run) settle(ctx context.Context) error {
	r.result.Settled += len(r.keys)
	if err := r.look(ctx); err != nil || len(r.keys) == 0 {
		return err
	}
	patience := newPatience(settleWithin)
	hits := map[string]int{}
	for len(r.keys) > 0 {
		if err := r.req.Gate(ctx); err != nil {
			return err
		}
		batch := r.keys[:min(lockBatch, len(r.keys))]
		left, drained, err := r.underLock(ctx, batch)
		if err != nil {
			return err
		}
		if drained {
			for _, k := range left {
				if hits[k.id()]++; hits[k.id()] >= strikes {
					return r.difference(ctx, k)
				}
			}
		}
		r.keep(append(append([]keyValue{}, left...), r.keys[len(batch):]...))
		health, err := r.req.Health(ctx)
		if err != nil {
			return err
		}
		if len(left) > 0 && !patience.left(health.Idle) {
			return fmt.Errorf("%d rows of %s still differ from %s after %v: the copy does not catch up (backlog %d)",
				len(r.keys), r.c.original.quoted(), r.c.copied.quoted(), settleWithin, health.Backlog)
		}
		if len(left) > 0 {
			if err := wait.For(ctx, pace.lookEvery); err != nil { // let the writers that were held off through
				return err
			}
		}
	}
	return nil
}

// look re-reads pending rows a few times without a lock: most have become equal meanwhile.
func (r *run) look(ctx context.Context) error {
	for range looks {
		var still []keyValue
		for begin := 0; begin < len(r.keys); begin += lookBatch {
			batch := r.keys[begin:min(begin+lookBatch, len(r.keys))]
			differ, err := r.differ(ctx, r.conn, func(s side) string { return among(r.c.key, s, batch) })
			if err != nil {
				return fmt.Errorf("look again at rows of %s that differed: %w", r.c.original.quoted(), err)
			}
			still = append(still, differ...)
		}
		r.keep(still)
		if len(r.keys) == 0 {
			return nil
		}
		if err := wait.For(ctx, pace.lookEvery); err != nil {
			return err
		}
	}
	return nil
}

// underLock reads rows of the original under a shared lock and waits for the copy to become equal. left are those that
// did not; drained says that everything written before the lock had reached the copy by then, so left is its fault.
func (r *run) underLock(ctx context.Context, keys []keyValue) (left []keyValue, drained bool, err error) {
	empty := ""
	session := mysql.Session{SQLMode: &empty, InnodbLockWaitTimeout: time.Second, LockWaitTimeout: time.Second}
	err = mysql.WithSession(ctx, r.req.DB, session, func(ctx context.Context, conn *sql.Conn) error {
		// REPEATABLE READ also locks the gaps: a row that is missing cannot be inserted meanwhile.
		tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
		if err != nil {
			return err
		}
		defer tx.Rollback() // it wrote nothing; the rollback only lets the locks go
		locked, _, err := r.list(ctx, tx, r.c.rowsOf(original, among(r.c.key, original, keys))+" FOR SHARE")
		if err != nil {
			return err
		}
		left, drained, err = r.awaitEqual(ctx, keys, locked)
		return err
	})
	switch {
	case err == nil:
		return left, drained, nil
	case ctx.Err() != nil:
		return nil, false, context.Cause(ctx)
	case mysql.IsLockWaitTimeout(err) || mysql.IsNumber(err, mysql.ErrLockDeadlock):
		return keys, false, nil // a long transaction holds one of them: try again
	}
	return nil, false, fmt.Errorf("read rows of %s under a lock: %w", r.c.original.quoted(), err)
}

// awaitEqual polls the copy until it has the locked rows, holdFor at most. drained says that everything written before the
// lock had been applied by then.
func (r *run) awaitEqual(ctx context.Context, keys []keyValue, locked map[string][2]string) (left []keyValue, drained bool, err error) {
	d := drain{since: time.Now()}
	left = keys
	for {
		found, _, err := r.list(ctx, r.conn, r.c.rowsOf(copied, among(r.c.key, copied, left)))
		if err != nil {
			return nil, false, err
		}
		var still []keyValue
		for _, k := range left {
			if locked[k.id()][original] != found[k.id()][copied] {
				still = append(still, k)
			}
		}
		left = still
		if len(left) == 0 || d.done() || time.Since(d.since) > holdFor {
			return left, d.done(), nil
		}
		health, err := r.req.Health(ctx)
		if err != nil {
			return nil, false, err
		}
		if health.Idle {
			return left, false, nil // it will not catch up now: do not hold writers off for nothing
		}
		d.see(health)
		if err := wait.For(ctx, pollCopy); err != nil {
			return nil, false, err
		}
	}
}

// drain follows the copying process until it has applied everything that was written before a moment. Changes are applied
// in order: it is enough that as many have been as were outstanding when the moment's own had all been read. Waiting for an
// empty backlog would take for ever on a busy table.
type drain struct {
	since  time.Time
	target int       // Health.Applied that is enough, 0 = not known yet
	at     time.Time // when it was reached
}

func (d *drain) see(h Health) {
	if !h.Seen.After(d.since) {
		return
	}
	if d.target == 0 {
		d.target = h.Applied + h.Backlog + 1
	}
	if d.at.IsZero() && h.Applied+1 >= d.target {
		d.at = time.Now()
	}
}

// done leaves a moment for what was committed but not yet visible to the look before.
func (d *drain) done() bool { return !d.at.IsZero() && time.Since(d.at) > pace.linger }

// difference describes the fault of the copy at k.
func (r *run) difference(ctx context.Context, k keyValue) error {
	e := &Error{Database: r.c.original.Database, Table: r.c.original.Name, Copy: r.c.copied.Name,
		Key: r.describe(k), Range: r.describeRange(r.span[k.id()])}
	found, _, err := r.list(ctx, r.conn, r.c.rows(func(s side) string { return equals(r.c.key, s, k) }))
	if err != nil {
		return fmt.Errorf("describe a difference at %s: %w", e.Key, err)
	}
	switch f := found[k.id()]; {
	case f[copied] == "":
		e.Reason = "the row is missing in the copy (the new definition may have refused it, for example a duplicate in a new UNIQUE key)"
	case f[original] == "":
		e.Reason = "the copy has a row that the original has not"
	default:
		e.Reason = "the row differs in " + r.differingColumns(ctx, k)
	}
	return e
}

// differingColumns names the columns that differ. It only adds to a message: what it cannot find out it leaves out.
func (r *run) differingColumns(ctx context.Context, k keyValue) string {
	flags := make([]bool, len(r.c.names))
	targets := make([]any, len(flags))
	for i := range flags {
		targets[i] = &flags[i]
	}
	var names []string
	err := each(ctx, r.conn, r.c.differing(k), func(rows *sql.Rows) error {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		for i, differs := range flags {
			if differs {
				names = append(names, mysql.QuoteIdent(r.c.names[i]))
			}
		}
		return nil
	})
	if err != nil || len(names) == 0 {
		return "its contents"
	}
	return "column " + strings.Join(names, ", ")
}

// describe shows a key as people read it.
func (r *run) describe(k keyValue) string {
	parts := make([]string, len(k))
	for i, text := range k {
		o := r.c.key[i].original
		if o.labelled() {
			text = "x'" + text + "'"
		}
		parts[i] = mysql.QuoteIdent(o.Name) + "=" + text
	}
	return strings.Join(parts, ", ")
}

func (r *run) describeRange(span keyRange) string {
	low, high := "(beginning", "end)"
	if span.low != nil {
		low = "(" + r.describe(span.low)
	}
	if span.high != nil {
		high = r.describe(span.high) + "]"
	}
	return low + " .. " + high
}

// patience counts down time in which the copying process was at work.
type patience struct {
	budget time.Duration
	last   time.Time
}

func newPatience(d time.Duration) *patience { return &patience{budget: d, last: time.Now()} }

func (p *patience) left(idle bool) bool {
	now := time.Now()
	if !idle {
		p.budget -= now.Sub(p.last)
	}
	p.last = now
	return p.budget > 0
}
