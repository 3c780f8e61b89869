package verify

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Health is what the copying process says of itself at one moment.
type Health struct {
	// Seen is the newest moment whose writes on the original have all been read from the binary log.
	Seen    time.Time
	Applied int // changes applied to the copy so far
	// Backlog is how many changes at most have been read and not yet applied, those being applied included.
	Backlog int
	// Idle says that it applies nothing at the moment, by its own decision: paused, or throttled by lag.
	Idle bool
}

// Request asks for a comparison.
type Request struct {
	DB             *sql.DB // the server that holds both; two connections are used
	Original, Copy Table
	Key            Key             // a unique key of the original without NULLs, whose columns the copy has too
	Lossy          map[string]bool // columns (lower case) in which the operator permitted a loss
	ChunkSize      int             // rows per chunk at most
	RowsEstimate   uint64
	Index          string // of the copy, by which rows are found where no unique key of it begins with the key's columns

	// Gate is asked between chunks and blocks while the comparison should rest. Its error ends the comparison.
	Gate func(context.Context) error
	// Health asks the copying process.
	Health func(context.Context) (Health, error)
	// Progress hears how many rows have been compared; nil = nobody does.
	Progress func(rows uint64)
}

// Result is what a comparison that found no difference did.
type Result struct {
	Rows    uint64 // rows of the original compared
	Chunks  int
	Settled int // rows that differed at first because a change was still on its way
}

// chunkTime is how long one chunk should take: long snapshots hold back purge, and PAUSE is looked at between chunks.
const chunkTime = 300 * time.Millisecond

// maxQueryTime ends what would outlive us: an abandoned SELECT on the copy keeps it from being dropped.
const maxQueryTime = "/*+ MAX_EXECUTION_TIME(60000) */"

// Comparison is a prepared Request.
type Comparison struct {
	req Request
	c   *comparison
	pending
}

// Prepare checks whether the two tables can be compared at all and builds the statements. It asks no server.
func Prepare(req Request) (*Comparison, error) {
	c, err := newComparison(req.Original, req.Copy, req.Key, req.Lossy)
	if err != nil {
		return nil, err
	}
	if c.index[copied] == "" && req.Index != "" {
		c.index[copied] = " FORCE INDEX (" + mysql.QuoteIdent(req.Index) + ")"
	}
	if req.Progress == nil {
		req.Progress = func(uint64) {}
	}
	req.ChunkSize = max(req.ChunkSize, 100)
	return &Comparison{req: req, c: c}, nil
}

// Run compares all rows. It returns an *Error when the copy differs and no change under way explains it, and
// any other error when it could not find out.
//
// Each chunk is compared in one snapshot of both tables. Rows that differ there are usually changes that have not reached
// the copy yet: they are looked at again, and what still differs is read under a lock that holds writers of just
// those rows off, so that the copy must become equal as its backlog drains. Equality under the lock is proof, a
// difference that stays is a fault of the copy.
func (c *Comparison) Run(ctx context.Context) (Result, error) {
	var result Result
	empty := ""
	session := mysql.Session{SQLMode: &empty} // zero dates compare as they are, nothing becomes NULL
	err := mysql.WithSession(ctx, c.req.DB, session, func(ctx context.Context, conn *sql.Conn) error {
		r := &run{Comparison: c, conn: conn, result: &result}
		stop, err := mysql.KillOnCancel(ctx, r.req.DB, r.conn)
		if err != nil {
			return err
		}
		defer stop()
		if c.c.ordered {
			err = r.walk(ctx)
		} else {
			err = r.buckets(ctx)
		}
		if err != nil {
			return err
		}
		return r.settle(ctx)
	})
	return result, err
}

// run is one comparison under way.
type run struct {
	*Comparison
	conn   *sql.Conn
	result *Result
	size   int
}

// sum is one side of a chunk.
type sum struct {
	count uint64
	hash  string
}

// walk compares chunk by chunk in the order of the key.
func (r *run) walk(ctx context.Context) error {
	r.size = max(r.req.ChunkSize/4, 100)
	var low keyValue
	for last := false; !last; {
		if err := r.req.Gate(ctx); err != nil {
			return err
		}
		began := time.Now()
		high, err := r.keyAt(ctx, low)
		if err != nil {
			return err
		}
		last = high == nil
		if err := r.chunk(ctx, keyRange{low, high}); err != nil {
			return err
		}
		r.adapt(time.Since(began))
		r.req.Progress(r.result.Rows)
		if r.full() {
			if err := r.settle(ctx); err != nil {
				return err
			}
		}
		low = high
	}
	return nil
}

// adapt brings the size of the next chunk nearer to what takes chunkTime.
func (r *run) adapt(took time.Duration) {
	switch {
	case took > 2*chunkTime:
		r.size = max(r.size/2, 100)
	case took < chunkTime/2:
		r.size = min(r.size*2, r.req.ChunkSize)
	}
}

// keyAt is the end of the chunk that begins after low, nil when it is the last one.
func (r *run) keyAt(ctx context.Context, low keyValue) (keyValue, error) {
	rows, err := r.conn.QueryContext(ctx, r.c.boundary(low, r.size))
	if err != nil {
		return nil, fmt.Errorf("find the end of a chunk of %s: %w", r.c.original.quoted(), err)
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	key := make(keyValue, len(r.c.key))
	if err := rows.Scan(pointers(key)...); err != nil {
		return nil, err
	}
	return key, rows.Err()
}

// chunk compares one range; rows that differ become pending.
func (r *run) chunk(ctx context.Context, span keyRange) error {
	condition := func(s side) string { return span.condition(r.c.key, s) }
	rows, equal, err := r.c.equal(ctx, r.conn, condition)
	if err != nil {
		return err
	}
	r.result.Chunks++
	r.result.Rows += rows
	if equal {
		return nil
	}
	return r.note(ctx, r.conn, span, condition)
}

// bucketCount keeps a bucket small enough to be listed when it differs.
func (r *run) bucketCount() int { return int(r.req.RowsEstimate/uint64(r.req.ChunkSize)) + 16 }

// buckets compares where the key sorts differently in the copy (another collation): both tables are read once, summed
// up by a hash of the key; buckets that differ are then listed.
func (r *run) buckets(ctx context.Context) error {
	if err := r.req.Gate(ctx); err != nil {
		return err
	}
	n := r.bucketCount()
	var sums [2]map[int]sum
	sums[original], sums[copied] = map[int]sum{}, map[int]sum{}
	err := r.each(ctx, r.c.bucketSums(n), func(rows *sql.Rows) error {
		var s side
		var bucket int
		var got sum
		if err := rows.Scan(&s, &bucket, &got.count, &got.hash); err != nil {
			return err
		}
		sums[s][bucket] = got
		return nil
	})
	if err != nil {
		return fmt.Errorf("compare %s with %s: %w", r.c.original.quoted(), r.c.copied.quoted(), err)
	}
	r.result.Chunks = n
	for bucket := range n {
		r.result.Rows += sums[original][bucket].count
		if sums[original][bucket] == sums[copied][bucket] {
			continue
		}
		if err := r.req.Gate(ctx); err != nil {
			return err
		}
		if err := r.note(ctx, r.conn, keyRange{}, func(s side) string {
			return fmt.Sprintf("%s = %d", r.c.bucketOf(s, n), bucket)
		}); err != nil {
			return err
		}
		if r.full() {
			if err := r.settle(ctx); err != nil {
				return err
			}
		}
	}
	r.req.Progress(r.result.Rows)
	return nil
}

// each runs a query and hands over its rows.
func (r *run) each(ctx context.Context, query string, fn func(*sql.Rows) error) error {
	return each(ctx, r.conn, query, fn)
}

func each(ctx context.Context, q Querier, query string, fn func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func pointers(key keyValue) []any {
	out := make([]any, len(key))
	for i := range key {
		out[i] = &key[i]
	}
	return out
}
