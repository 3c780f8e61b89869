package osc

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// tableSize is how large a table is. rows and bytes are the server's statistics; file is the size of the files that hold its rows, 0 where
// that is not known: a table in a tablespace with others, or an account without the privilege PROCESS.
type tableSize struct{ rows, bytes, file uint64 }

// staleFile is the least size of a file by which statistics are found stale: smaller ones are empty as often as not.
const staleFile = 1 << 20

// stale tells whether the statistics are of a time when the table was far smaller. They are taken anew when a tenth of the rows has
// changed, unless somebody has switched that off (innodb_stats_auto_recalc), or restored or imported the table.
func (s tableSize) stale() bool { return s.file >= staleFile && s.file/4 > s.bytes }

// size is how large a table is: rows, an estimate, and bytes, those of the files where they are more than the statistics say.
func (g *gathering) size(ctx context.Context, t Target) (rows, bytes uint64, err error) {
	s := g.sizes[t.Database]
	if !s.stale() {
		return s.rows, max(s.bytes, s.file), nil
	}
	counted, err := countFor(ctx, g.db, t)
	return max(s.rows, counted), s.file, err
}

// countFor counts the rows of a table for a short time; 0 when that does not suffice.
func countFor(ctx context.Context, db *sql.DB, t Target) (uint64, error) {
	var n uint64
	err := db.QueryRowContext(ctx, "SELECT /*+ MAX_EXECUTION_TIME(2000) */ COUNT(*) FROM "+mysql.QuoteIdents(t.Database, t.Table)).Scan(&n)
	if mysql.IsNumber(err, mysql.ErrQueryTimeout) || mysql.IsNoSuchTable(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("count the rows of %s: %w", mysql.QuoteIdents(t.Database, t.Table), err)
	}
	return n, nil
}

// readFiles adds the sizes of files. It is one query for all databases.
func readFiles(ctx context.Context, conn *sql.Conn, table string, sizes map[string]tableSize) error {
	literal := likeLiteral(table)
	rows, err := conn.QueryContext(ctx, "SELECT name, file_size FROM information_schema.innodb_tablespaces WHERE name LIKE ? OR name LIKE ?",
		"%/"+literal, "%/"+literal+"#p#%")
	if mysql.IsAccessDenied(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var bytes uint64
		if err := rows.Scan(&name, &bytes); err != nil {
			return err
		}
		database, _, _ := strings.Cut(name, "/")
		if s, ok := sizes[database]; ok {
			s.file += bytes
			sizes[database] = s
		}
	}
	return rows.Err()
}

// readSizes reads rows (an estimate) and bytes of one table in many databases, in one query. The server would otherwise
// answer from statistics up to a day old: a table filled since would seem empty.
func readSizes(ctx context.Context, db *sql.DB, table string, databases []string) (map[string]tableSize, error) {
	sizes := make(map[string]tableSize, len(databases))
	if len(databases) == 0 {
		return sizes, nil
	}
	args := []any{table}
	for _, d := range databases {
		args = append(args, d)
	}
	session := mysql.Session{LockWaitTimeout: DefaultLockWaitTimeout} // and thrown away afterwards, with the setting below
	err := mysql.WithSession(ctx, db, session, func(ctx context.Context, conn *sql.Conn) error {
		if err := mysql.FreshStatistics(ctx, conn); err != nil {
			return err
		}
		rows, err := conn.QueryContext(ctx, `
			SELECT table_schema, COALESCE(table_rows, 0), COALESCE(data_length, 0) + COALESCE(index_length, 0)
			  FROM information_schema.tables WHERE table_name = ? AND table_schema IN (?`+strings.Repeat(", ?", len(databases)-1)+`)`, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var database string
			var size tableSize
			if err := rows.Scan(&database, &size.rows, &size.bytes); err != nil {
				return err
			}
			sizes[database] = size
		}
		if err := rows.Err(); err != nil {
			return err
		}
		rows.Close()
		return readFiles(ctx, conn, table, sizes)
	})
	return sizes, err
}

// countUpTo makes an estimate exact around the limit below which a plain ALTER is used: it counts no more than limit+1 rows.
// An estimate below the limit is never believed: that of a table which was filled moments ago may be 0.
func countUpTo(ctx context.Context, db *sql.DB, t Target, estimate, limit uint64) (uint64, error) {
	if estimate > 2*limit {
		return estimate, nil
	}
	var n uint64
	err := db.QueryRowContext(ctx, fmt.Sprintf("SELECT COUNT(*) FROM (SELECT 1 FROM %s LIMIT %d) t",
		mysql.QuoteIdents(t.Database, t.Table), limit+1)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the rows of %s: %w", mysql.QuoteIdents(t.Database, t.Table), err)
	}
	if n > limit {
		return max(n, estimate), nil
	}
	return n, nil
}
