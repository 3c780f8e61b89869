package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// GTIDExecuted is what a server has executed.
func GTIDExecuted(ctx context.Context, db *sql.DB) (GTIDSet, error) {
	var text string
	if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_executed").Scan(&text); err != nil {
		return GTIDSet{}, fmt.Errorf("read gtid_executed: %w", err)
	}
	return ParseGTIDSet(strings.ReplaceAll(text, "\n", ""))
}

// CloneLocal makes a physical copy of a server's InnoDB data in a directory, which must not exist and whose parent must; the
// server itself writes there, and works on. A server that is cloned already refuses.
func CloneLocal(ctx context.Context, db *sql.DB, dir string) error {
	return exec(ctx, db, "CLONE LOCAL DATA DIRECTORY = "+QuoteString(dir), "clone into "+dir)
}

// BinaryLog is a binary log file of a server.
type BinaryLog struct {
	Name, Path string
	Size       int64 // in bytes
}

// BinaryLogs lists a server's binary logs, oldest first; the last one is in use.
func BinaryLogs(ctx context.Context, db *sql.DB) ([]BinaryLog, error) {
	var base string
	if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL.log_bin_basename").Scan(&base); err != nil {
		return nil, fmt.Errorf("find the binary logs: %w", err)
	}
	rows, err := db.QueryContext(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return nil, fmt.Errorf("list the binary logs: %w", err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, fmt.Errorf("list the binary logs: %w", err)
	}
	var logs []BinaryLog
	for rows.Next() {
		row, err := scanRow(rows, columns)
		if err != nil {
			return nil, fmt.Errorf("list the binary logs: %w", err)
		}
		l := BinaryLog{Name: row["Log_name"].String}
		if _, err := fmt.Sscan(row["File_size"].String, &l.Size); err != nil || l.Name == "" {
			return nil, fmt.Errorf("list the binary logs: %q has size %q", l.Name, row["File_size"].String)
		}
		l.Path = filepath.Join(filepath.Dir(base), l.Name)
		logs = append(logs, l)
	}
	return logs, rows.Err()
}

// FlushBinaryLogs closes the binary log in use and begins another. It is not replicated, and a super_read_only server
// does it, too.
func FlushBinaryLogs(ctx context.Context, db *sql.DB) error {
	return exec(ctx, db, "FLUSH LOCAL BINARY LOGS", "begin a new binary log")
}

// ForgetSource makes a server forget any source and throw away all relay logs, whatever state they are in.
func ForgetSource(ctx context.Context, db *sql.DB) error {
	if err := exec(ctx, db, "STOP REPLICA", "stop replication"); err != nil && !IsNumber(err, ErrNotReplica) {
		return err
	}
	return ResetReplicaAll(ctx, db)
}

// nobody is the source of relay logs that were put in place by hand; it is never connected to.
const nobody = "archive.invalid"

// ApplyFrom has a server that has forgotten its source (ForgetSource) apply relay logs from the first of them on, which lie in
// its data directory with their index. With before it stops before the first transaction of until, else after the last one
// that is left of it. Transactions that the server has executed, or numbered itself by its server_id, are passed over. It
// returns at once: see ReadReplicaStatus.
func ApplyFrom(ctx context.Context, db *sql.DB, first string, until GTIDSet, before bool) error {
	source := fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '%s', RELAY_LOG_FILE = %s, RELAY_LOG_POS = 4", nobody, QuoteString(first))
	if err := exec(ctx, db, source, "begin at relay log "+first); err != nil {
		return err
	}
	if until.Empty() {
		return errors.New("apply relay logs: nothing says where to stop")
	}
	which := "SQL_AFTER_GTIDS"
	if before {
		which = "SQL_BEFORE_GTIDS"
	}
	return exec(ctx, db, fmt.Sprintf("START REPLICA SQL_THREAD UNTIL %s = '%s'", which, until), "apply relay logs until "+until.String())
}

// Cloning tells whether a server's data are being replaced by a CLONE at this moment, whoever began it.
func Cloning(ctx context.Context, db *sql.DB) (bool, error) {
	var n int
	err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM performance_schema.clone_status WHERE state = 'In Progress'").Scan(&n)
	if IsNoSuchTable(err) { // without the plugin there is no such table
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask whether a clone is under way: %w", err)
	}
	return n > 0, nil
}
