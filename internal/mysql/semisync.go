package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// SemiSyncSource is the source's side of semi-synchronous replication.
type SemiSyncSource struct {
	Enabled bool
	// Acks is how many replicas must have a transaction in their relay log before its commit returns; 0 = 1.
	Acks int
	// Timeout is how long a commit waits for them before the source falls back to asynchronous replication, and with
	// it gives up I1 for what follows. 0 = as good as for ever, which is lossless.
	Timeout time.Duration
}

// semiSyncForever is the longest the server takes: 2^32-1 ms, 49 days.
const semiSyncForever = (1<<32 - 1) * time.Millisecond

// SetSemiSyncSource installs the source's plugin where it is missing and sets it, all in one statement so that it is
// never enabled with somebody else's time-out. Commits wait after the binary log is synced and before the engine
// commits (AFTER_SYNC, the server's default): no reader sees what a failover could lose.
func SetSemiSyncSource(ctx context.Context, db *sql.DB, v Version, s SemiSyncSource) error {
	names := v.semiSyncSource()
	if err := ensurePlugin(ctx, db, names); err != nil {
		return err
	}
	timeout := s.Timeout
	if timeout <= 0 || timeout > semiSyncForever {
		timeout = semiSyncForever
	}
	set := []string{
		names.prefix + "timeout = " + strconv.FormatInt(timeout.Milliseconds(), 10),
		names.prefix + v.semiSyncWaitVariable() + " = " + strconv.Itoa(max(s.Acks, 1)),
		names.prefix + "enabled = " + onOff(s.Enabled),
	}
	return exec(ctx, db, "SET GLOBAL "+strings.Join(set, ", GLOBAL "), "set semi-synchronous replication at the source")
}

// SetSemiSyncReplica installs the replica's plugin where it is missing and enables or disables it. A running receiver
// keeps what it started with: it acknowledges, or stops to, only from its next start on.
func SetSemiSyncReplica(ctx context.Context, db *sql.DB, v Version, enabled bool) error {
	names := v.semiSyncReplica()
	if err := ensurePlugin(ctx, db, names); err != nil {
		return err
	}
	return exec(ctx, db, "SET GLOBAL "+names.prefix+"enabled = "+onOff(enabled), "set semi-synchronous replication at the replica")
}

// SemiSyncStatus is how semi-synchronous replication stands at a source at this moment.
type SemiSyncStatus struct {
	Active  bool // commits wait; false after a fall-back to asynchronous replication
	Clients int  // replicas connected that acknowledge
	Waiting int  // sessions waiting for an acknowledgement now
}

// ReadSemiSync asks a source; all zero where the plugin is not installed.
func ReadSemiSync(ctx context.Context, db *sql.DB, v Version) (SemiSyncStatus, error) {
	prefix := v.semiSyncSource().prefix
	rows, err := db.QueryContext(ctx, "SHOW GLOBAL STATUS LIKE "+QuoteString(prefix+"%"))
	if err != nil {
		return SemiSyncStatus{}, fmt.Errorf("read the status of semi-synchronous replication: %w", err)
	}
	defer rows.Close()
	var s SemiSyncStatus
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return SemiSyncStatus{}, fmt.Errorf("read the status of semi-synchronous replication: %w", err)
		}
		number, _ := strconv.Atoi(value) // not all values are numbers; those below are
		switch strings.TrimPrefix(strings.ToLower(name), prefix) {
		case "status":
			s.Active = value == "ON"
		case "clients":
			s.Clients = number
		case "wait_sessions":
			s.Waiting = number
		}
	}
	return s, rows.Err()
}

// ensurePlugin installs a plugin of the server unless it is there: INSTALL PLUGIN itself is refused while the server is
// super_read_only, where nothing is to be done.
func ensurePlugin(ctx context.Context, db *sql.DB, names semiSyncNames) error {
	var active bool
	err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.plugins WHERE plugin_name = ? AND plugin_status = 'ACTIVE'",
		names.plugin).Scan(&active)
	if err != nil {
		return fmt.Errorf("look for plugin %s: %w", names.plugin, err)
	}
	if active {
		return nil
	}
	_, err = db.ExecContext(ctx, "INSTALL PLUGIN "+names.plugin+" SONAME "+QuoteString(names.library))
	if err != nil && !IsNumber(err, ErrUDFExists) { // somebody else was quicker
		return fmt.Errorf("install plugin %s: %w", names.plugin, err)
	}
	return nil
}
