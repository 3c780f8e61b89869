package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// This file is the only one that knows how versions and flavours of MySQL differ. Everything else asks it by the name
// of what it needs, so that support for one more version is a change here.

// Oldest supported version. 8.0.23 brought CHANGE REPLICATION SOURCE TO, and all before 8.4 that is still maintained
// anywhere is newer than it.
const minMajor, minMinor, minPatch = 8, 0, 23

// Version is what a server says it is.
type Version struct {
	Major, Minor, Patch int
	MariaDB             bool
	Text                string // as the server prints it: "9.7.4", "8.0.36-28", "10.11.6-MariaDB-log"
}

var versionNumbers = regexp.MustCompile(`(\d+)\.(\d+)(?:\.(\d+))?`)

// ParseVersion reads the text of SELECT VERSION() (or of `mysqld --version`). MariaDB's fake prefix "5.5.5-" is
// skipped.
func ParseVersion(text string) (Version, error) {
	v := Version{Text: text, MariaDB: strings.Contains(strings.ToLower(text), "mariadb")}
	numbers := text
	if v.MariaDB {
		numbers = strings.TrimPrefix(text, "5.5.5-")
	}
	m := versionNumbers.FindStringSubmatch(numbers)
	if m == nil {
		return v, fmt.Errorf("%q is not a version of MySQL", text)
	}
	for i, field := range []*int{&v.Major, &v.Minor, &v.Patch} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return v, fmt.Errorf("%q is not a version of MySQL: %w", text, err)
		}
		*field = n
	}
	return v, nil
}

// String is the server's own text.
func (v Version) String() string { return v.Text }

// Compare orders by number: negative when v is older than o.
func (v Version) Compare(o Version) int {
	return cmp.Or(cmp.Compare(v.Major, o.Major), cmp.Compare(v.Minor, o.Minor), cmp.Compare(v.Patch, o.Patch))
}

// AtLeast compares MySQL's numbers. It is false for MariaDB, whose numbers mean other things.
func (v Version) AtLeast(major, minor, patch int) bool {
	switch {
	case v.MariaDB:
		return false
	case v.Major != major:
		return v.Major > major
	case v.Minor != minor:
		return v.Minor > minor
	}
	return v.Patch >= patch
}

// UnsupportedError refuses a server by name and says the way out.
type UnsupportedError struct {
	Version Version
	Why     string
}

func (e *UnsupportedError) Error() string { return e.Why }

// Supported is nil for MySQL (and builds of it such as Percona Server) from 8.0.23 on, else an *UnsupportedError.
func (v Version) Supported() error {
	if v.MariaDB {
		return &UnsupportedError{v, fmt.Sprintf("the server is MariaDB (%s), which is not supported: its DDL, GTIDs and "+
			"replication differ from MySQL's; migrate it to MySQL or Percona Server %d.%d.%d or newer, or take it out of the inventory",
			v.Text, minMajor, minMinor, minPatch)}
	}
	if !v.AtLeast(minMajor, minMinor, minPatch) {
		return &UnsupportedError{v, fmt.Sprintf("MySQL %s is not supported: %d.%d.%d or newer is needed; upgrade the server, "+
			"or take it out of the inventory", v.Text, minMajor, minMinor, minPatch)}
	}
	return nil
}

// TaggedGTIDs tells whether the server knows GTIDs of the form uuid:tag:number (8.3).
func (v Version) TaggedGTIDs() bool { return v.AtLeast(8, 3, 0) }

// variable is a system variable this package reads, and what to do on servers that do not have it.
type variable struct {
	name    string
	older   string // its name on older supported servers
	missing string // SQL that stands for it where the server has neither; "" = that is no server we support
}

// serverVariables are read by ReadServer, in this order.
var serverVariables = []variable{
	{name: "version"},
	{name: "server_uuid"},
	{name: "hostname"},
	{name: "port"},
	{name: "server_id"},
	{name: "read_only"},
	{name: "super_read_only"},
	// Deprecated since 8.0.34: where it is gone, ROW is all there is.
	{name: "binlog_format", missing: "'ROW'"},
	{name: "binlog_row_image", missing: "'FULL'"},
	{name: "binlog_row_value_options", missing: "''"},
	{name: "binlog_transaction_compression", missing: "0"},
	{name: "log_bin"},
	{name: "log_replica_updates", older: "log_slave_updates"}, // renamed in 8.0.26
	{name: "gtid_mode"},
	{name: "gtid_executed"},
	{name: "gtid_purged"},
	{name: "sql_mode"},
	{name: "character_set_server"},
	{name: "collation_server"},
	{name: "datadir"},
	{name: "lower_case_table_names"},
	{name: "event_scheduler"},
}

// semiSyncNames are the plugin of one side of semi-synchronous replication, its library, and the prefix of its
// variables. Renamed in 8.0.26; the old ones are gone in 9.x.
type semiSyncNames struct{ plugin, library, prefix string }

func (v Version) semiSyncSource() semiSyncNames {
	if v.AtLeast(8, 0, 26) {
		return semiSyncNames{"rpl_semi_sync_source", "semisync_source.so", "rpl_semi_sync_source_"}
	}
	return semiSyncNames{"rpl_semi_sync_master", "semisync_master.so", "rpl_semi_sync_master_"}
}

func (v Version) semiSyncReplica() semiSyncNames {
	if v.AtLeast(8, 0, 26) {
		return semiSyncNames{"rpl_semi_sync_replica", "semisync_replica.so", "rpl_semi_sync_replica_"}
	}
	return semiSyncNames{"rpl_semi_sync_slave", "semisync_slave.so", "rpl_semi_sync_slave_"}
}

// semiSyncWaitVariable names the number of acknowledgements a commit waits for, without its prefix.
func (v Version) semiSyncWaitVariable() string {
	if v.AtLeast(8, 0, 26) {
		return "wait_for_replica_count"
	}
	return "wait_for_slave_count"
}

// GeneratesPrimaryKeys tells whether a server adds a primary key to each table made without one: sql_generate_invisible_primary_key,
// from 8.0.30 on.
func GeneratesPrimaryKeys(ctx context.Context, db *sql.DB) (bool, error) {
	var name, value string
	err := db.QueryRowContext(ctx, "SHOW GLOBAL VARIABLES LIKE 'sql_generate_invisible_primary_key'").Scan(&name, &value)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find out whether the server generates primary keys: %w", err)
	}
	return value == "ON", nil
}
