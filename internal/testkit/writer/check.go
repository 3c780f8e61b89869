package writer

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// Report is what a table holds of what was acknowledged.
type Report struct {
	Acknowledged uint64 // operations in the ledger, the seed included
	Found        uint64 // of these, how many the table shows
	Rows         uint64 // in the table
	Lost         uint64 // rows that should exist and do not
	Wrong        uint64 // rows of another version or with other contents than acknowledged
	Unexpected   uint64 // rows that should not exist: deleted, or never written by the writer
	// Contradictions of Stats: seen by the workers themselves.
	Contradictions uint64
	Examples       []string // some of the differences, in words
}

// Difference is 0 when the table is as it must be: operations acknowledged but not found, rows that should not be
// there, and contradictions seen while writing.
func (r Report) Difference() uint64 {
	return max(r.Acknowledged-r.Found, r.Lost+r.Wrong) + r.Unexpected + r.Contradictions
}

// String is one line for people.
func (r Report) String() string {
	return fmt.Sprintf("%d operations acknowledged, %d found, difference %d (%d rows: %d lost, %d wrong, %d unexpected; %d contradictions)",
		r.Acknowledged, r.Found, r.Difference(), r.Rows, r.Lost, r.Wrong, r.Unexpected, r.Contradictions)
}

// Err is nil when nothing differs.
func (r Report) Err() error {
	if r.Difference() == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s", r, strings.Join(r.Examples, "; "))
}

// Check holds the table on one server against the ledger. Writing waits meanwhile. The error says that the table could
// not be read; differences are in the report.
func (w *Writer) Check(ctx context.Context, db *sql.DB) (Report, error) {
	reports, err := w.CheckAll(ctx, nil, db)
	if err != nil {
		return Report{}, err
	}
	return reports[0], nil
}

// CheckAll is Check on several servers for one moment of the ledger: writing waits, sync brings the replicas to what the
// primary has (mysqld.Cluster.Sync; nil where nothing is needed), then each is read.
func (w *Writer) CheckAll(ctx context.Context, sync func(context.Context) error, dbs ...*sql.DB) ([]Report, error) {
	for _, s := range w.shards {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	if sync != nil {
		if err := sync(ctx); err != nil {
			return nil, err
		}
	}
	reports := make([]Report, len(dbs))
	for i, db := range dbs {
		var err error
		if reports[i], err = w.check(ctx, db); err != nil {
			return nil, fmt.Errorf("check %s: %w", w.table, err)
		}
	}
	return reports, nil
}

// check runs with all shards locked.
func (w *Writer) check(ctx context.Context, db *sql.DB) (Report, error) {
	r := Report{Contradictions: w.Stats().Contradictions}
	if r.Contradictions > 0 {
		r.example("while writing: %s", w.Stats().LastError)
	}
	seen := make([][]bool, len(w.shards))
	for i, s := range w.shards {
		seen[i] = make([]bool, len(s.states))
	}
	rows, err := db.QueryContext(ctx, "SELECT "+mysql.QuoteIdent(w.o.ID)+", "+mysql.QuoteIdent(w.o.Version)+", "+
		mysql.QuoteIdent(w.o.Payload)+" FROM "+w.table)
	if err != nil {
		return r, err
	}
	defer rows.Close()
	var payload sql.RawBytes
	for rows.Next() {
		var id, version uint64
		if err := rows.Scan(&id, &version, &payload); err != nil {
			return r, err
		}
		r.Rows++
		shard := int((id - 1) % uint64(len(w.shards)))
		index, ours := w.shards[shard].index(id)
		if !ours || seen[shard][index] {
			r.Unexpected++
			r.example("row %d was never written, or is there twice", id)
			continue
		}
		seen[shard][index] = true
		r.compare(id, w.shards[shard].allowed(index), version, string(payload) == Payload(id, version))
	}
	if err := rows.Err(); err != nil {
		return r, err
	}
	for i, s := range w.shards {
		for index := range s.states {
			if !seen[i][index] {
				r.absent(s.id(index), s.allowed(index))
			}
		}
	}
	return r, nil
}

// compare judges a row that is there. allowed[0] is what was acknowledged; a second state is that of an unknown
// operation, which need not have happened.
func (r *Report) compare(id uint64, allowed []state, version uint64, intact bool) {
	acknowledged := allowed[0].operations()
	r.Acknowledged += acknowledged
	if intact {
		for _, s := range allowed {
			if s.present() && s.operations() == version {
				r.Found += acknowledged
				return
			}
		}
	}
	switch {
	case !allowed[0].present(): // and no unknown operation can have made this row
		r.Unexpected++
		r.Found += acknowledged
		r.example("row %d is there in version %d, but was deleted", id, version)
	case !intact:
		r.Wrong++
		r.example("row %d of version %d holds other contents", id, version)
	default:
		r.Wrong++
		r.Found += min(version, acknowledged)
		r.example("row %d is of version %d, acknowledged was %d", id, version, acknowledged)
	}
}

// absent judges a row that is not there.
func (r *Report) absent(id uint64, allowed []state) {
	acknowledged := allowed[0].operations()
	r.Acknowledged += acknowledged
	for _, s := range allowed {
		if !s.present() {
			r.Found += acknowledged
			return
		}
	}
	r.Lost++
	r.example("row %d is gone, version %d was acknowledged", id, acknowledged)
}

// maxExamples keeps a disaster readable.
const maxExamples = 10

func (r *Report) example(format string, args ...any) {
	if len(r.Examples) < maxExamples {
		r.Examples = append(r.Examples, fmt.Sprintf(format, args...))
	}
}
