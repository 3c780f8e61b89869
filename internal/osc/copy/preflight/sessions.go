package preflight

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/wait"
)

// Setting is what a session has set for itself.
type Setting struct {
	Connection  uint64
	Name, Value string
}

// Refusal says that follower, an engine, cannot follow what the session writes.
func (s Setting) Refusal(follower string) string {
	return fmt.Sprintf("connection %d has set %s=%s for itself: %s cannot follow what it writes; end that session", s.Connection, s.Name,
		s.Value, follower)
}

// lookAgain is how much later a session that is found is looked at again, and how often: statements about accounts change
// binlog_format for as long as they take.
const (
	lookAgain = 100 * time.Millisecond
	looks     = 5
)

// ReadSessions finds sessions that changed for themselves how they are logged. It takes a privilege to do so, so there are normally none.
// Where performance_schema is off or closed to us, none are found. What a session has for a moment only does not count: the server itself
// logs statements about accounts (CREATE USER, GRANT) in another format, and shows that as a setting of the session.
func ReadSessions(ctx context.Context, db *sql.DB) ([]Setting, error) {
	found, err := readSessions(ctx, db)
	for look := 1; err == nil && len(found) > 0 && look < looks; look++ {
		if err := wait.For(ctx, lookAgain); err != nil {
			return nil, err
		}
		var now []Setting
		now, err = readSessions(ctx, db)
		found = slices.DeleteFunc(found, func(s Setting) bool { return !slices.Contains(now, s) })
	}
	return found, err
}

func readSessions(ctx context.Context, db *sql.DB) ([]Setting, error) {
	rows, err := db.QueryContext(ctx, `
		SELECT COALESCE(t.processlist_id, 0), v.variable_name, v.variable_value
		  FROM performance_schema.variables_by_thread v JOIN performance_schema.threads t USING (thread_id)
		 WHERE v.variable_name = 'binlog_format' AND v.variable_value <> 'ROW'
		    OR v.variable_name = 'binlog_transaction_compression' AND v.variable_value = 'ON'
		    OR v.variable_name = 'binlog_row_image' AND v.variable_value <> 'FULL'
		    OR v.variable_name = 'binlog_row_value_options' AND v.variable_value <> ''
		 ORDER BY v.variable_name <> 'binlog_format' LIMIT 100`)
	if mysql.IsAccessDenied(err) || mysql.IsNoSuchTable(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for sessions that are logged in another way: %w", err)
	}
	defer rows.Close()
	var found []Setting
	for rows.Next() {
		var s Setting
		if err := rows.Scan(&s.Connection, &s.Name, &s.Value); err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	return found, rows.Err()
}
