// Package writer puts a steady load of inserts, updates and deletes on a table and keeps a ledger of what the server
// acknowledged, so that afterwards the table can be held against it, on any instance: a row acknowledged to a client
// is never lost (I1). It knows three answers: acknowledged, refused, and unknown (the connection broke before the
// answer came); of an unknown operation either outcome is right.
//
// Each worker owns its ids, so the ledger needs no knowledge of how the server orders concurrent statements.
package writer

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/aosc/aosc/internal/mysql"
)

// Options say what to write where. DB and Table are required.
type Options struct {
	// DB is asked before each operation, so that a caller can move the load to another server.
	DB              func() *sql.DB
	Database, Table string
	// Names of the columns, "id", "version" and "payload" when empty: an unsigned bigint primary key, an unsigned
	// bigint, and a varchar of at least 64 characters of utf8mb4. Other columns of the table must have defaults.
	ID, Version, Payload string
	Workers              int           // 0 = 4
	Rate                 float64       // operations per second of all workers together; 0 = as many as the server takes
	Timeout              time.Duration // of one operation, which is then unknown; 0 = 1 min
	// Seen is told of every operation, by many goroutines; nil = nobody is.
	Seen func(Outcome)
}

// Outcome is how one operation went. Err is nil when it was acknowledged; Refused says that it surely did not happen.
type Outcome struct {
	Began, Ended time.Time
	Err          error
	Refused      bool
}

// Writer is the load and its ledger. Seed and Start once each, in this order; the rest may be called at any time.
type Writer struct {
	o       Options
	table   string // quoted
	limiter *rate.Limiter
	shards  []*shard
	stop    chan struct{} // closed by Stop
	stopped sync.Once
	running sync.WaitGroup

	mu    sync.Mutex // guards stats and last
	stats Stats
	last  time.Time // of the latest acknowledgement
}

// Stats count operations since Start.
type Stats struct {
	Inserts, Updates, Deletes uint64 // acknowledged
	Refused                   uint64 // the server said no: nothing happened
	Unknown                   uint64 // the connection broke before the answer
	// Contradictions are answers that the ledger says are impossible, such as an update that found no row.
	Contradictions uint64
	LongestGap     time.Duration // longest time between two acknowledgements: what clients saw of an outage
	LastError      string        // of the latest refused or unknown operation
}

// Acknowledged is how many operations the server confirmed.
func (s Stats) Acknowledged() uint64 { return s.Inserts + s.Updates + s.Deletes }

// New makes a writer; nothing runs yet.
func New(o Options) *Writer {
	if o.Workers <= 0 {
		o.Workers = 4
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	for name, fallback := range map[*string]string{&o.ID: "id", &o.Version: "version", &o.Payload: "payload"} {
		if *name == "" {
			*name = fallback
		}
	}
	limit := rate.Inf
	if o.Rate > 0 {
		limit = rate.Limit(o.Rate)
	}
	w := &Writer{
		o:       o,
		table:   mysql.QuoteIdents(o.Database, o.Table),
		limiter: rate.NewLimiter(limit, 1),
		stop:    make(chan struct{}),
	}
	for i := range o.Workers {
		w.shards = append(w.shards, &shard{worker: i, workers: o.Workers, uncertain: map[int]doubt{}})
	}
	return w
}

// CreateTable is the statement that creates a table to write to.
func (w *Writer) CreateTable() string {
	id := mysql.QuoteIdent(w.o.ID)
	return fmt.Sprintf("CREATE TABLE %s (%s bigint unsigned NOT NULL, %s bigint unsigned NOT NULL, %s varchar(100) NOT NULL, PRIMARY KEY (%s)) DEFAULT CHARSET=utf8mb4",
		w.table, id, mysql.QuoteIdent(w.o.Version), mysql.QuoteIdent(w.o.Payload), id)
}

// Start begins to write and returns at once. Writing ends with Stop or with ctx; the end of ctx breaks operations off.
func (w *Writer) Start(ctx context.Context) {
	w.mu.Lock()
	w.last = time.Now()
	w.mu.Unlock()
	for _, s := range w.shards {
		w.running.Go(func() { w.work(ctx, s) })
	}
}

// Stop lets the operations under way finish, and returns when no more will come.
func (w *Writer) Stop() {
	w.stopped.Do(func() { close(w.stop) })
	w.running.Wait()
}

// Stats are the counts so far.
func (w *Writer) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// NewGap forgets the longest gap so far: Stats.LongestGap is then of what follows.
func (w *Writer) NewGap() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.LongestGap = 0
}

// refusalPause keeps workers from spinning while a server refuses or is away.
const refusalPause = 20 * time.Millisecond

func (w *Writer) work(ctx context.Context, s *shard) {
	for {
		select {
		case <-w.stop:
			return
		default:
		}
		if w.limiter.Wait(ctx) != nil {
			return
		}
		if w.step(ctx, s) {
			continue
		}
		pause := time.NewTimer(refusalPause)
		select {
		case <-pause.C:
		case <-w.stop:
			pause.Stop()
			return
		case <-ctx.Done():
			pause.Stop()
			return
		}
	}
}

// step does one operation and enters its outcome in the ledger; false when it was not acknowledged.
func (w *Writer) step(ctx context.Context, s *shard) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	op := s.choose()
	query, args := w.statement(s, op)
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, w.o.Timeout)
	defer cancel()
	result, err := w.o.DB().ExecContext(ctx, query, args...)
	var affected int64
	if err == nil {
		affected, err = result.RowsAffected()
	}
	switch {
	case err == nil && affected == 1:
		s.acknowledge(op)
		w.count(op.kind, nil)
	case err == nil:
		err = fmt.Errorf("%s of row %d, of which version %d was acknowledged, changed %d rows", op.kind, s.id(op.index), op.before, affected)
		w.count(contradiction, err)
	case refused(err):
		w.count(refusal, err)
	default:
		s.doubt(op)
		w.count(unknown, err)
	}
	if w.o.Seen != nil {
		w.o.Seen(Outcome{Began: began, Ended: time.Now(), Err: err, Refused: err != nil && refused(err)})
	}
	return err == nil
}

// statement names the version it expects: a row that went back to an older one is noticed at once.
func (w *Writer) statement(s *shard, op operation) (string, []any) {
	id, version, payload := mysql.QuoteIdent(w.o.ID), mysql.QuoteIdent(w.o.Version), mysql.QuoteIdent(w.o.Payload)
	key := s.id(op.index)
	switch op.kind {
	case insert:
		return "INSERT INTO " + w.table + " (" + id + ", " + version + ", " + payload + ") VALUES (?, ?, ?)",
			[]any{key, op.after, Payload(key, uint64(op.after))}
	case update:
		return "UPDATE " + w.table + " SET " + version + " = ?, " + payload + " = ? WHERE " + id + " = ? AND " + version + " = ?",
			[]any{op.after, Payload(key, uint64(op.after)), key, op.before}
	default:
		return "DELETE FROM " + w.table + " WHERE " + id + " = ? AND " + version + " = ?", []any{key, op.before}
	}
}

// Payload is what a row of this id and version holds: different for each, and with characters that a wrong character
// set or bad quoting would damage.
func Payload(id, version uint64) string {
	return fmt.Sprintf("%016x é漢😀 '\"\\%% %d", splitmix(id<<20^version), version)
}

// splitmix spreads close numbers far apart.
func splitmix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// refused tells whether an error says that the statement surely had no effect: it never left, or the server itself
// refused it. Errors a server also gives when it is interrupted while committing do not say that.
func refused(err error) bool {
	var connect *mysql.ConnectError
	if errors.As(err, &connect) || errors.Is(err, driver.ErrBadConn) { // ErrBadConn promises that nothing was done
		return true
	}
	return mysql.Number(err) != 0 && !mysql.IsConnection(err) &&
		!mysql.IsNumber(err, mysql.ErrQueryInterrupted, mysql.ErrQueryTimeout)
}

func (w *Writer) count(what kind, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch what {
	case insert:
		w.stats.Inserts++
	case update:
		w.stats.Updates++
	case remove:
		w.stats.Deletes++
	case refusal:
		w.stats.Refused++
	case unknown:
		w.stats.Unknown++
	case contradiction:
		w.stats.Contradictions++
	}
	if err != nil {
		w.stats.LastError = err.Error()
		return
	}
	now := time.Now()
	w.stats.LongestGap = max(w.stats.LongestGap, now.Sub(w.last))
	w.last = now
}

// Mix of operations, of 100: the table grows slowly.
const (
	insertShare = 40
	updateShare = 40
)

func (s *shard) choose() operation {
	roll := rand.IntN(100)
	if len(s.live) == 0 || roll < insertShare {
		s.states = append(s.states, 0)
		return operation{kind: insert, index: len(s.states) - 1, after: 1}
	}
	slot := rand.IntN(len(s.live))
	index := s.live[slot]
	before := s.states[index]
	op := operation{kind: update, index: index, slot: slot, before: before, after: before + 1}
	if roll >= insertShare+updateShare {
		op.kind, op.after = remove, (before+1)|deleted
	}
	return op
}
