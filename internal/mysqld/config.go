package mysqld

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// initOnly are settings that are fixed when a data directory is made. A server that wants another value gets a data
// directory of its own instead of a copy of the template.
var initOnly = []string{"lower_case_table_names", "innodb_page_size", "innodb_data_file_path", "innodb_undo_directory"}

// templateConfig makes the data directory small, so that copying it is quick.
func templateConfig() map[string]string {
	return map[string]string{"innodb_data_file_path": "ibdata1:5M:autoextend", "innodb_autoextend_increment": "1"}
}

// myCnf is the server's my.cnf: our defaults, overridden by what the caller configured. It holds only what differs from the defaults
// of every supported version; those are already row-based binary logs with full images, updates of replicas logged,
// utf8mb4, a flush per commit of binary and redo log, performance_schema with metadata locks.
func (s *Server) myCnf() map[string]string {
	conf := templateConfig()
	maps.Copy(conf, map[string]string{
		"bind_address":    s.addr.Host,
		"port":            strconv.Itoa(s.addr.Port),
		"datadir":         s.Datadir(),
		"socket":          s.socket,
		"pid_file":        s.pidFile(),
		"log_error":       s.logPath(),
		"tmpdir":          filepath.Join(s.dir, "tmp"),
		"loose_mysqlx":    "OFF", // would listen on a second port
		"admin_port":      "0",
		"server_id":       strconv.FormatUint(uint64(s.serverID), 10),
		"report_host":     s.addr.Host,
		"report_port":     strconv.Itoa(s.addr.Port),
		"max_connections": "500",

		"skip_name_resolve": "ON",
		"local_infile":      "OFF",

		"gtid_mode":                "ON",
		"enforce_gtid_consistency": "ON",
		"log_bin":                  "binlog",
		"plugin_load_add":          strings.Join(s.plugins(), ";"),

		// Threads instead of the kernel's AIO: its slots are few for a whole machine (fs.aio-max-nr), and a stop waits
		// half a second for them.
		"innodb_use_native_aio": "OFF",

		"innodb_buffer_pool_size":             "64M",
		"innodb_buffer_pool_load_at_startup":  "OFF",
		"innodb_buffer_pool_dump_at_shutdown": "OFF",
		"loose_innodb_redo_log_capacity":      "64M", // since 8.0.30; what is before has 96M
		"loose_innodb_log_writer_threads":     "OFF", // dedicated threads only pay on many cores
	})
	if os.Geteuid() == 0 {
		conf["user"] = "root" // without it mysqld refuses to run as root
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, value := range s.config {
		delete(conf, "loose_"+key)
		conf[key] = value
	}
	return conf
}

// plugins are those every server loads: both sides of semi-synchronous replication, and clone.
func (s *Server) plugins() []string {
	source, replica := "semisync_source.so", "semisync_replica.so"
	if !s.opts.Install.Version.AtLeast(8, 0, 26) {
		source, replica = "semisync_master.so", "semisync_slave.so"
	}
	return []string{source, replica, "mysql_clone.so"}
}

func normalKey(key string) string { return strings.ReplaceAll(key, "-", "_") }

// writeConfig writes an option file. Keys are sorted, so that equal settings give equal files; `skip_` settings that
// take no value come as a bare word.
func writeConfig(path string, conf map[string]string) error {
	var b strings.Builder
	b.WriteString("[mysqld]\n")
	for _, key := range slices.Sorted(maps.Keys(conf)) {
		value := conf[key]
		if strings.ContainsAny(key+value, "\r\n") {
			return fmt.Errorf("write %s: setting %q holds a line break", path, key)
		}
		if value == "" && strings.HasPrefix(key, "skip_") {
			b.WriteString(key + "\n")
			continue
		}
		b.WriteString(key + " = " + value + "\n")
	}
	return os.WriteFile(path, []byte(b.String()), 0o640)
}
