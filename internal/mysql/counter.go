package mysql

import (
	"context"
	"database/sql"
	"fmt"
)

// FreshStatistics makes information_schema ask the engine for the sizes of tables and their counters in a session. Without it the answer
// is up to a day old (information_schema_stats_expiry), and no hint in a statement sets that. The caller discards the session.
func FreshStatistics(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SET SESSION information_schema_stats_expiry = 0")
	return err
}

// NextID is the next AUTO_INCREMENT value of a table as it is now, NULL when it has no such column. The session has fresh statistics from
// then on.
func NextID(ctx context.Context, conn *sql.Conn, database, table string) (next sql.Null[uint64], err error) {
	if err = FreshStatistics(ctx, conn); err == nil {
		err = conn.QueryRowContext(ctx, "SELECT auto_increment FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
			database, table).Scan(&next)
	}
	if err != nil {
		return next, fmt.Errorf("read the AUTO_INCREMENT counter of %s: %w", QuoteIdents(database, table), err)
	}
	return next, nil
}
