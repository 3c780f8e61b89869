package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// row is what the writer knows of one row: the last acknowledged version of it, or that its deletion was acknowledged.
type row struct {
	hits    uint64
	deleted bool
	// unsure: the last operation's outcome is unknown (the connection broke), so either version is right.
	unsure bool
}

// writer runs a steady stream of inserts, updates and deletes against one table and remembers every operation the
// server acknowledged, so that the demo can ask afterwards whether any was lost (I1).
type writer struct {
	db       *sql.DB
	database string
	pace     time.Duration

	mu    sync.Mutex
	rows  map[uint64]row
	acked int
	err   error
}

// firstWriterID keeps the writer's rows apart from the seeded ones.
const firstWriterID = 1 << 32

func newWriter(db *sql.DB, database string, pace time.Duration) *writer {
	return &writer{db: db, database: database, pace: pace, rows: map[uint64]row{}}
}

// run writes until ctx ends. Errors of single operations are part of life (a cut-over makes a statement wait, never
// fail); the last one is kept for the report.
func (w *writer) run(ctx context.Context) {
	tick := time.NewTicker(w.pace)
	defer tick.Stop()
	next := uint64(firstWriterID)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		id := next
		switch r := rand.IntN(10); {
		case r < 5 || next == firstWriterID:
			next++
			w.do(ctx, id, row{hits: 0}, "INSERT INTO "+w.table()+" (id, owner, name) VALUES (?, ?, ?)", id, id%1000, fmt.Sprintf("w-%d", id))
		case r < 8:
			id, have, ok := w.pick(next)
			if ok {
				w.do(ctx, id, row{hits: have.hits + 1}, "UPDATE "+w.table()+" SET hits = hits + 1 WHERE id = ?", id)
			}
		default:
			id, _, ok := w.pick(next)
			if ok {
				w.do(ctx, id, row{deleted: true}, "DELETE FROM "+w.table()+" WHERE id = ?", id)
			}
		}
	}
}

func (w *writer) table() string { return mysql.QuoteIdent(w.database) + ".tabla1" }

// pick returns a random row that is known to exist.
func (w *writer) pick(next uint64) (uint64, row, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range 20 {
		id := firstWriterID + rand.Uint64N(next-firstWriterID)
		if r, ok := w.rows[id]; ok && !r.deleted && !r.unsure {
			return id, r, true
		}
	}
	return 0, row{}, false
}

func (w *writer) do(ctx context.Context, id uint64, after row, query string, args ...any) {
	_, err := w.db.ExecContext(ctx, query, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.rows[id] = after
		w.acked++
	case errors.Is(err, context.Canceled) || mysql.IsConnection(err):
		before := w.rows[id]
		before.unsure = true
		w.rows[id] = before
	default:
		w.err = err
	}
}

// verdict of one database on one instance.
type verdict struct {
	acked, rows, missing, wrong, ghosts int
}

func (v verdict) ok() bool { return v.missing == 0 && v.wrong == 0 && v.ghosts == 0 }

// check reads every row of the writer back from one instance and compares it with what was acknowledged.
func (w *writer) check(ctx context.Context, db *sql.DB) (verdict, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := verdict{acked: w.acked}
	found, err := db.QueryContext(ctx, "SELECT id, hits FROM "+w.table()+" WHERE id >= ?", uint64(firstWriterID))
	if err != nil {
		return v, fmt.Errorf("read %s back: %w", w.table(), err)
	}
	defer found.Close()
	seen := make(map[uint64]bool, len(w.rows))
	for found.Next() {
		var id, hits uint64
		if err := found.Scan(&id, &hits); err != nil {
			return v, err
		}
		seen[id] = true
		v.rows++
		switch want, ok := w.rows[id]; {
		case want.unsure:
		case !ok || want.deleted:
			v.ghosts++
		case want.hits != hits:
			v.wrong++
		}
	}
	for id, want := range w.rows {
		if !want.deleted && !want.unsure && !seen[id] {
			v.missing++
		}
	}
	return v, found.Err()
}
