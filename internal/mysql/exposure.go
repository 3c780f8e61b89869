package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
)

// Exposure is what of a server decides whether it can take writes that nobody else has.
type Exposure struct {
	ReadOnly, SuperReadOnly bool
	SemiSync                bool // enabled at the source's side
	Waits                   bool // commits wait for an acknowledgement: it has not fallen back
	Acknowledgers           int  // semi-synchronous replicas connected, under the accounts that were asked for
	Waiting                 int  // sessions that wait for an acknowledgement now
}

// Open tells whether a client can write. A server on which SET GLOBAL super_read_only = ON waits for commits under way
// shows super_read_only ON and read_only OFF meanwhile, and is open.
func (e Exposure) Open() bool { return !e.ReadOnly }

// Closed tells whether nobody can write any more, nor commit what was begun.
func (e Exposure) Closed() bool { return e.ReadOnly && e.SuperReadOnly }

// Acknowledged tells whether some replica acknowledges what is written. That one is connected says little by itself: a source does not
// notice
// for minutes that packets vanish. One that falls back has noticed with the first commit.
func (e Exposure) Acknowledged() bool { return e.SemiSync && e.Waits && e.Acknowledgers > 0 }

// ReadExposure asks a server, in one statement that waits for no lock of the server's data: neither FLUSH TABLES WITH READ
// LOCK nor sessions that wait for an acknowledgement hold it up. Who acknowledges under another account than those given does not count;
// with none given everybody does.
func ReadExposure(ctx context.Context, db *sql.DB, accounts ...string) (Exposure, error) {
	query := `SELECT LOWER(variable_name), variable_value FROM performance_schema.global_variables
		WHERE variable_name IN ('read_only', 'super_read_only', 'rpl_semi_sync_source_enabled', 'rpl_semi_sync_master_enabled')
		UNION ALL SELECT LOWER(variable_name), variable_value FROM performance_schema.global_status
		WHERE variable_name IN ('Rpl_semi_sync_source_clients', 'Rpl_semi_sync_master_clients',
			'Rpl_semi_sync_source_wait_sessions', 'Rpl_semi_sync_master_wait_sessions',
			'Rpl_semi_sync_source_status', 'Rpl_semi_sync_master_status')`
	args := make([]any, len(accounts))
	for i, a := range accounts {
		args[i] = a
	}
	if len(accounts) > 0 {
		query += " UNION ALL SELECT 'strangers', COUNT(DISTINCT t.thread_id) FROM " + acknowledging +
			" AND COALESCE(t.processlist_user, '') NOT IN (?" + strings.Repeat(", ?", len(accounts)-1) + ")"
	}
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return Exposure{}, fmt.Errorf("read whether the server takes writes: %w", err)
	}
	defer rows.Close()
	var e Exposure
	strangers := 0
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return Exposure{}, fmt.Errorf("read whether the server takes writes: %w", err)
		}
		number, _ := strconv.Atoi(value) // not all are numbers; those below are
		switch strings.Replace(name, "_master_", "_source_", 1) {
		case "read_only":
			e.ReadOnly = value == "ON"
		case "super_read_only":
			e.SuperReadOnly = value == "ON"
		case "rpl_semi_sync_source_enabled":
			e.SemiSync = value == "ON"
		case "rpl_semi_sync_source_status":
			e.Waits = value == "ON"
		case "rpl_semi_sync_source_clients":
			e.Acknowledgers = number
		case "rpl_semi_sync_source_wait_sessions":
			e.Waiting = number
		case "strangers":
			strangers = number
		}
	}
	e.Acknowledgers = max(e.Acknowledgers-strangers, 0)
	return e, rows.Err()
}
