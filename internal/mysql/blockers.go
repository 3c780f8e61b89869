package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// Blocker is a session with a lock on the whole server: FLUSH TABLES WITH READ LOCK, LOCK INSTANCE FOR BACKUP. An applier waits for it.
type Blocker struct {
	ID         int64 // for KILL
	User, Host string
	Lock       string // as performance_schema names it: GLOBAL, BACKUP LOCK
}

func (b Blocker) String() string {
	return fmt.Sprintf("session %d of %s@%s (%s)", b.ID, b.User, b.Host, strings.ToLower(b.Lock))
}

// Blockers are the sessions, other than this one, that hold a lock on the whole server until they give it up. Commits and DDL
// take the same locks in another mode, appliers among them: these are no blockers.
func Blockers(ctx context.Context, db *sql.DB) ([]Blocker, error) {
	rows, err := db.QueryContext(ctx, `SELECT t.processlist_id, COALESCE(t.processlist_user, ''), COALESCE(t.processlist_host, ''), MIN(l.object_type)
		FROM performance_schema.metadata_locks l JOIN performance_schema.threads t ON t.thread_id = l.owner_thread_id
		WHERE l.lock_status = 'GRANTED' AND l.lock_duration = 'EXPLICIT' AND l.lock_type = 'SHARED' AND l.object_type IN ('GLOBAL', 'BACKUP LOCK')
			AND t.name = 'thread/sql/one_connection' AND t.processlist_id <> CONNECTION_ID()
		GROUP BY 1, 2, 3 ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("list the sessions that lock the server: %w", err)
	}
	defer rows.Close()
	var list []Blocker
	for rows.Next() {
		var b Blocker
		if err := rows.Scan(&b.ID, &b.User, &b.Host, &b.Lock); err != nil {
			return nil, fmt.Errorf("list the sessions that lock the server: %w", err)
		}
		list = append(list, b)
	}
	return list, rows.Err()
}

// KillBlockers ends them.
func KillBlockers(ctx context.Context, db *sql.DB) ([]Blocker, error) {
	list, err := Blockers(ctx, db)
	if err != nil {
		return nil, err
	}
	for _, b := range list {
		if _, err := db.ExecContext(ctx, fmt.Sprintf("KILL %d", b.ID)); err != nil && !IsNumber(err, ErrNoSuchThread) {
			return list, fmt.Errorf("end %s: %w", b, err)
		}
	}
	return list, nil
}
