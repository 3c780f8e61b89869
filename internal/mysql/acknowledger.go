package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// Acknowledger is a session that reads a server's binary log and acknowledges what it has received. A receiver says so, and who it is, in
// user variables of its session before it begins, so they tell it from one that only reads.
type Acknowledger struct {
	Session    uint64
	User, Host string
	UUID       string // of the server that receives; "" = it does not say
}

func (a Acknowledger) String() string {
	return fmt.Sprintf("%s from %s (server %s)", a.User, a.Host, a.UUID)
}

// acknowledging are the sessions with those variables, under their names before and since 8.0.26.
const acknowledging = `performance_schema.threads t JOIN performance_schema.user_variables_by_thread v ON v.thread_id = t.thread_id
	AND v.variable_name IN ('rpl_semi_sync_replica', 'rpl_semi_sync_slave') AND CONVERT(v.variable_value USING utf8mb4) <> '0'
	WHERE t.name = 'thread/sql/one_connection' AND t.processlist_command LIKE 'Binlog Dump%'`

// ReadAcknowledgers lists them.
func ReadAcknowledgers(ctx context.Context, db *sql.DB) ([]Acknowledger, error) {
	rows, err := db.QueryContext(ctx, `SELECT DISTINCT t.processlist_id, COALESCE(t.processlist_user, ''), COALESCE(t.processlist_host, ''),
		COALESCE((SELECT MAX(CONVERT(u.variable_value USING utf8mb4)) FROM performance_schema.user_variables_by_thread u
			WHERE u.thread_id = t.thread_id AND u.variable_name IN ('replica_uuid', 'slave_uuid')), '') FROM `+acknowledging)
	if err != nil {
		return nil, fmt.Errorf("list who acknowledges: %w", err)
	}
	defer rows.Close()
	var found []Acknowledger
	for rows.Next() {
		var a Acknowledger
		if err := rows.Scan(&a.Session, &a.User, &a.Host, &a.UUID); err != nil {
			return nil, fmt.Errorf("list who acknowledges: %w", err)
		}
		found = append(found, a)
	}
	return found, rows.Err()
}

// ReadServerIDs are the server_ids of the replicas that are connected to a server, by server_uuid.
func ReadServerIDs(ctx context.Context, db *sql.DB) (map[string]uint32, error) {
	rows, err := db.QueryContext(ctx, "SHOW REPLICAS")
	if err != nil {
		return nil, fmt.Errorf("list the replicas: %w", err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	found := map[string]uint32{}
	for rows.Next() {
		var id uint32
		var uuid sql.NullString
		into := make([]any, len(columns))
		for i, name := range columns {
			switch strings.ToLower(name) {
			case "server_id":
				into[i] = &id
			case "replica_uuid", "slave_uuid":
				into[i] = &uuid
			default:
				into[i] = new(sql.RawBytes)
			}
		}
		if err := rows.Scan(into...); err != nil {
			return nil, fmt.Errorf("list the replicas: %w", err)
		}
		found[uuid.String] = id
	}
	return found, rows.Err()
}

// EndSession ends a client's session; one that is over already is none to end.
func EndSession(ctx context.Context, db *sql.DB, id uint64) error {
	if _, err := db.ExecContext(ctx, fmt.Sprintf("KILL %d", id)); err != nil && !IsNumber(err, ErrNoSuchThread) {
		return fmt.Errorf("end session %d: %w", id, err)
	}
	return nil
}
