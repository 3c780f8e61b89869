package mysql

import (
	"context"
	"database/sql"
)

// The two tables of sessions. That of information_schema cannot be read while any session runs a statement with a
// character outside of utf8mb3 (error 3854, seen on MySQL 9.7), so it is only for servers without performance_schema.
const (
	PerformanceProcesslist = "performance_schema.processlist"
	informationProcesslist = "information_schema.processlist"
)

// Processlist is the table in which a server's sessions can be read.
func Processlist(ctx context.Context, db *sql.DB) (string, error) {
	var on bool
	if err := db.QueryRowContext(ctx, "SELECT @@performance_schema").Scan(&on); err != nil {
		return "", err
	}
	if on {
		return PerformanceProcesslist, nil
	}
	return informationProcesslist, nil
}
