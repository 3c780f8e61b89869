package aoscdb

import (
	"context"
	"database/sql"
	"iter"
	"time"
)

const localColumns = "host, port, `database`, table_name, hash_current, hash_desired, status, last_run, `group`, " +
	"desired_blob, create_time, table_rows, bytes"

// LocalStatus streams the rows of one instance in the order of databases and tables; it holds one row at a time. Texts
// that repeat (hashes, names) are the same string in every row, so keeping 20,000 rows costs a few megabytes. The
// loop's body runs while the connection is busy: it must not wait for another connection of a pool that has only one.
// An error comes as the last pair.
func (s *StatusStore) LocalStatus(ctx context.Context, host string, port int) iter.Seq2[LocalStatus, error] {
	return func(yield func(LocalStatus, error) bool) {
		fail := func(err error) { yield(LocalStatus{}, wrap(err, "read aosc_local_status of %s:%d", host, port)) }
		rows, err := s.db.QueryContext(ctx, "SELECT `database`, table_name, hash_current, hash_desired, status, last_run, "+
			"`group`, desired_blob, create_time, table_rows, bytes FROM "+s.local()+
			" WHERE host = ? AND port = ? ORDER BY `database`, table_name", host, port)
		if err != nil {
			fail(err)
			return
		}
		defer rows.Close()
		same := interner{}
		for rows.Next() {
			row, err := same.scanLocal(rows, host, port)
			if err != nil {
				fail(err)
				return
			}
			if !yield(row, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			fail(err)
		}
	}
}

// interner returns one string for equal texts. A tier has few tables, databases and desired hashes, and most current
// hashes equal the desired one.
type interner map[string]string

func (m interner) text(raw sql.RawBytes) string {
	if s, ok := m[string(raw)]; ok { // the compiler does not allocate here
		return s
	}
	s := string(raw)
	m[s] = s
	return s
}

func (m interner) scanLocal(rows *sql.Rows, host string, port int) (LocalStatus, error) {
	row := LocalStatus{Host: host, Port: port}
	var database, table, current, desired, status, group, blob sql.RawBytes
	err := rows.Scan(&database, &table, &current, &desired, &status, &row.LastRun, &group, &blob, &row.CreateTime,
		&row.TableRows, &row.Bytes)
	if err != nil {
		return row, err
	}
	row.Database, row.Table, row.HashDesired = m.text(database), m.text(table), m.text(desired)
	row.Status, row.Group, row.DesiredBlob = m.text(status), m.text(group), m.text(blob)
	if current != nil {
		hash := m.text(current)
		row.HashCurrent = &hash
	}
	return row, nil
}

// PutLocal writes rows, new or not, a thousand per statement. Times are cut to whole seconds, as the columns are: rounding
// would put LastRun after the moment at which the hash was computed.
func (s *StatusStore) PutLocal(ctx context.Context, rows []LocalStatus) error {
	if len(rows) == 0 {
		return nil
	}
	err := s.write(ctx, func(ctx context.Context, q querier) error {
		return inBatches(rows, func(batch []LocalStatus) error { return s.putLocal(ctx, q, batch) })
	})
	return wrap(err, "write %d rows of aosc_local_status of %s:%d", len(rows), rows[0].Host, rows[0].Port)
}

func (s *StatusStore) putLocal(ctx context.Context, q querier, batch []LocalStatus) error {
	var now time.Time // read at most once a batch
	args := make([]any, 0, 13*len(batch))
	for _, r := range batch {
		last := r.LastRun
		if last.IsZero() {
			if now.IsZero() {
				if err := q.QueryRowContext(ctx, "SELECT NOW()").Scan(&now); err != nil {
					return err
				}
			}
			last = now
		}
		args = append(args, r.Host, r.Port, r.Database, r.Table, r.HashCurrent, r.HashDesired, r.Status,
			last.Truncate(time.Second), r.Group, r.DesiredBlob, wholeSecond(r.CreateTime), r.TableRows, r.Bytes)
	}
	_, err := exec(ctx, q, "INSERT INTO "+s.local()+" ("+localColumns+") VALUES "+rowsOf(len(batch), 13)+" AS new "+
		"ON DUPLICATE KEY UPDATE hash_current = new.hash_current, hash_desired = new.hash_desired, status = new.status, "+
		"last_run = new.last_run, `group` = new.`group`, desired_blob = new.desired_blob, create_time = new.create_time, "+
		"table_rows = new.table_rows, bytes = new.bytes", args...)
	return err
}

// wholeSecond cuts a time to what a column without fraction keeps.
func wholeSecond(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.Truncate(time.Second)
}

// LocalKey names one row of aosc_local_status of a known instance.
type LocalKey struct{ Database, Table string }

// DeleteLocal removes rows of one instance: of databases that are gone, and of tables no longer desired.
func (s *StatusStore) DeleteLocal(ctx context.Context, host string, port int, keys []LocalKey) error {
	if len(keys) == 0 {
		return nil
	}
	err := s.write(ctx, func(ctx context.Context, q querier) error {
		return inBatches(keys, func(batch []LocalKey) error {
			args := []any{host, port}
			for _, k := range batch {
				args = append(args, k.Database, k.Table)
			}
			_, err := exec(ctx, q, "DELETE FROM "+s.local()+" WHERE host = ? AND port = ? AND (`database`, table_name) IN ("+
				rowsOf(len(batch), 2)+")", args...)
			return err
		})
	})
	return wrap(err, "delete %d rows of aosc_local_status of %s:%d", len(keys), host, port)
}

// TableWant is a table and the blob its rows should have been computed from.
type TableWant struct{ Table, Blob string }

// TableSummary is what the rows of one table on one instance say.
type TableSummary struct {
	Table string
	NotOK int    // databases that differ from the wanted blob, or lack the table
	Stale int    // databases judged by another blob: nothing is known of them
	Total int    // databases with a row, NotOK and Stale among them
	Bytes uint64 // data and index bytes of the tables in NotOK
}

// Summary is one query for any number of tables, and returns one element per want, in order. A table without rows has
// Total 0.
func (s *StatusStore) Summary(ctx context.Context, host string, port int, want []TableWant) ([]TableSummary, error) {
	if len(want) == 0 {
		return nil, nil
	}
	type part struct {
		table, blob  string
		notOK, total int
		bytes        uint64
	}
	args := []any{host, port}
	for _, w := range want {
		args = append(args, w.Table)
	}
	parts, err := list(ctx, s.db, func(p *part) []any { return []any{&p.table, &p.blob, &p.notOK, &p.total, &p.bytes} },
		"SELECT table_name, desired_blob, SUM(status <> 'OK'), COUNT(*), SUM(IF(status <> 'OK', bytes, 0)) FROM "+s.local()+
			" WHERE host = ? AND port = ? AND table_name IN "+rowsOf(1, len(want))+" GROUP BY table_name, desired_blob", args...)
	if err != nil {
		return nil, wrap(err, "summarise aosc_local_status of %s:%d", host, port)
	}
	byTable := map[string][]part{}
	for _, p := range parts {
		byTable[p.table] = append(byTable[p.table], p)
	}
	out := make([]TableSummary, len(want))
	for i, w := range want {
		out[i].Table = w.Table
		for _, p := range byTable[w.Table] {
			out[i].Total += p.total
			if p.blob != w.Blob {
				out[i].Stale += p.total
				continue
			}
			out[i].NotOK += p.notOK
			out[i].Bytes += p.bytes
		}
	}
	return out, nil
}
