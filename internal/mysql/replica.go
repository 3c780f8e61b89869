package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ReplicaStatus is how a server's replication stands, as SHOW REPLICA STATUS tells it.
type ReplicaStatus struct {
	Channel    string // "" is the default channel
	Source     Addr   // as configured; SourceUUID says who it really is
	SourceUUID string // empty until it connected for the first time
	IORunning  string // Yes, No, Connecting
	SQLRunning string // Yes, No
	Retrieved  string // GTIDs received and kept in the relay log
	Executed   string // GTIDs of the whole server
	IOError    string // last error of the receiver with its number and time, "" when none
	SQLError   string // last error of an applier, likewise
	// SecondsBehind is how old the event being applied is, 0 when there is none to apply: also while the receiver is not
	// connected and nobody knows what the source has. It means something only together with Receiving. nil when the
	// server does not know.
	SecondsBehind *int64
	// Delay is by how much it is meant to stay behind (SOURCE_DELAY): its lag says nothing of its health.
	Delay        time.Duration
	AutoPosition bool // follows by GTIDs
	// Filters are the replication filters in force, each with its name; "" when there are none. What they leave out counts as executed.
	Filters string
}

// Receiving tells whether the receiver is connected to its source at this moment.
func (r *ReplicaStatus) Receiving() bool { return r.IORunning == "Yes" }

// ReadReplicaStatus asks a server for its replication status; nil, nil when no source is configured. Of several
// channels the default one is told, else the first with a source (group replication's own channels have none).
func ReadReplicaStatus(ctx context.Context, db *sql.DB) (*ReplicaStatus, error) {
	rows, err := db.QueryContext(ctx, "SHOW REPLICA STATUS")
	if err != nil {
		return nil, fmt.Errorf("SHOW REPLICA STATUS: %w", err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, fmt.Errorf("SHOW REPLICA STATUS: %w", err)
	}
	var found *ReplicaStatus
	for rows.Next() {
		row, err := scanRow(rows, columns)
		if err != nil {
			return nil, fmt.Errorf("SHOW REPLICA STATUS: %w", err)
		}
		r, err := replicaStatusOf(row)
		if err != nil {
			return nil, err
		}
		if r.Source.Host != "" && (found == nil || r.Channel == "") {
			found = r
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("SHOW REPLICA STATUS: %w", err)
	}
	return found, nil
}

// scanRow reads a row of any shape: SHOW statements grow columns from version to version.
func scanRow(rows *sql.Rows, columns []string) (map[string]sql.NullString, error) {
	values := make([]sql.NullString, len(columns))
	targets := make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	if err := rows.Scan(targets...); err != nil {
		return nil, err
	}
	row := make(map[string]sql.NullString, len(columns))
	for i, c := range columns {
		row[c] = values[i]
	}
	return row, nil
}

func replicaStatusOf(row map[string]sql.NullString) (*ReplicaStatus, error) {
	text := func(column string) string { return row[column].String }
	r := &ReplicaStatus{
		Channel:      text("Channel_Name"),
		SourceUUID:   text("Source_UUID"),
		IORunning:    text("Replica_IO_Running"),
		SQLRunning:   text("Replica_SQL_Running"),
		Retrieved:    strings.ReplaceAll(text("Retrieved_Gtid_Set"), "\n", ""),
		Executed:     strings.ReplaceAll(text("Executed_Gtid_Set"), "\n", ""),
		IOError:      threadError(row, "Last_IO"),
		SQLError:     threadError(row, "Last_SQL"),
		AutoPosition: text("Auto_Position") == "1",
	}
	if host := text("Source_Host"); host != "" {
		port, err := strconv.Atoi(text("Source_Port"))
		if err != nil {
			return nil, fmt.Errorf("SHOW REPLICA STATUS: Source_Port is %q", text("Source_Port"))
		}
		r.Source = Addr{Host: host, Port: port}
	}
	if s := row["Seconds_Behind_Source"]; s.Valid {
		n, err := strconv.ParseInt(s.String, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("SHOW REPLICA STATUS: Seconds_Behind_Source is %q", s.String)
		}
		r.SecondsBehind = &n
	}
	if s := row["SQL_Delay"]; s.Valid {
		n, err := strconv.ParseInt(s.String, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("SHOW REPLICA STATUS: SQL_Delay is %q", s.String)
		}
		r.Delay = time.Duration(n) * time.Second
	}
	var filters []string
	for _, name := range []string{"Replicate_Do_DB", "Replicate_Ignore_DB", "Replicate_Do_Table", "Replicate_Ignore_Table", "Replicate_Wild_Do_Table",
		"Replicate_Wild_Ignore_Table", "Replicate_Rewrite_DB"} {
		if value := text(name); value != "" {
			filters = append(filters, name+" = "+value)
		}
	}
	r.Filters = strings.Join(filters, ", ")
	return r, nil
}

// ReadGlobalFilters are the replication filters that a server has for whatever it replicates, also while it replicates nothing; "" when
// there are none.
func ReadGlobalFilters(ctx context.Context, db *sql.DB) (string, error) {
	var filters sql.NullString
	err := db.QueryRowContext(ctx, `SELECT GROUP_CONCAT(filter_name, ' = ', filter_rule ORDER BY filter_name SEPARATOR ', ')
		FROM performance_schema.replication_applier_global_filters WHERE filter_rule <> ''`).Scan(&filters)
	if err != nil {
		return "", fmt.Errorf("read the replication filters: %w", err)
	}
	return filters.String, nil
}

func threadError(row map[string]sql.NullString, prefix string) string {
	text := row[prefix+"_Error"].String
	if text == "" {
		return ""
	}
	return fmt.Sprintf("error %s: %s (%s)", row[prefix+"_Errno"].String, text, row[prefix+"_Error_Timestamp"].String)
}
