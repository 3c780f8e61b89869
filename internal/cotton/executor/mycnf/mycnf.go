// Package mycnf makes the my.cnf of an instance: what cotton needs, what fits the instance's size, the agent's template
// and the cluster's overrides, in that order of strength from weak to strong; but nobody overrides what cotton's
// promises rest on.
package mycnf

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aosc/aosc/internal/cotton"
)

// Settings of one instance.
type Settings struct {
	MemMB    int64 // of the whole instance
	Nodes    int   // of the cluster
	Host     string
	Bind     string            // bind_address
	TLS      string            // directory of the server's certificate; empty = it has none
	Boot     string            // names the present boot of the machine
	Template map[string]string // of the agent
	Override map[string]string // of the cluster
}

// bufferPoolShare of the memory goes to the buffer pool, as in the original; a small instance keeps more for the rest,
// which hardly shrinks.
const (
	bufferPoolShare = 0.75
	restMB          = 192
	leastPoolMB     = 32
)

// Build returns the lines of my.cnf, for mysqld.Options.Config. The error names the setting that is refused.
func Build(s Settings) (map[string]string, error) {
	conf := defaults(s)
	for _, layer := range []map[string]string{s.Template, s.Override} {
		clean, err := normalise(layer)
		if err != nil {
			return nil, err
		}
		for name, value := range clean { // stored by a release that took them, or an agent's
			if unsafe[strings.TrimPrefix(name, "loose_")] != "" {
				continue
			}
			if minimum, ok := number(value); name == "max_connections" && ok && minimum < least[name] {
				value = strconv.FormatInt(least[name], 10)
			}
			conf[name] = value
		}
	}
	maps.Copy(conf, fixed(s))
	return conf, nil
}

// Check says what is wrong with overrides that somebody asks for: only what is known to be harmless is taken. What Build
// refuses, Check does, too.
func Check(override map[string]string) error {
	clean, err := normalise(override)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(clean)) {
		if why := check(name, clean[name]); why != "" {
			return fmt.Errorf("setting %q of my.cnf is refused: %s", name, why)
		}
	}
	return nil
}

func defaults(s Settings) map[string]string {
	pool := max(min(int64(float64(s.MemMB)*bufferPoolShare), s.MemMB-restMB), leastPoolMB)
	conf := map[string]string{
		"innodb_buffer_pool_size": strconv.FormatInt(pool, 10) + "M",
		// A silent source is noticed after this many seconds, and shows that it lives twice as often.
		"replica_net_timeout":        strconv.Itoa(int(cotton.DefaultTiming().ReplicaTimeout.Seconds())),
		"binlog_expire_logs_seconds": "259200",
		"max_connections":            "500",
	}
	if s.MemMB < 1024 { // what does not shrink by itself
		maps.Copy(conf, map[string]string{
			"table_open_cache": "400", "table_definition_cache": "600", "performance_schema_max_table_instances": "500",
			"loose_innodb_log_writer_threads": "OFF",
		})
	}
	return conf
}

// fixed is what cotton's promises rest on, whatever the template or the cluster says.
func fixed(s Settings) map[string]string {
	conf := map[string]string{
		"bind_address": s.Bind,
		"report_host":  s.Host,
		// Only the scheduler, with the cluster's epoch, opens a server for writing (I2), and starts replication.
		"super_read_only":    "ON",
		"read_only":          "ON",
		"skip_replica_start": "ON",
		// A server that crashed has all it promised: the primary to its clients, a replica to the primary whose commit
		// it acknowledged. relay_log_recovery would throw away what was acknowledged and not applied yet (I1). The relay log
		// itself is left to the operating system: syncing it costs five writes to the disk for each transaction, and a
		// replica that cannot keep up. What it acknowledged before its machine went down is not counted on; report_user tells
		// the scheduler under which boot the server runs (docs/decisions/014).
		"sync_binlog":                    "1",
		"innodb_flush_log_at_trx_commit": "1",
		"innodb_doublewrite":             "ON",
		"sync_relay_log":                 "0",
		"report_user":                    s.Boot,
		"relay_log_recovery":             "OFF",
		"relay_log":                      "relay", // the default has the host's name in it, which changes
		"binlog_row_image":               "FULL",
		// Online schema changes read the binary log; compressed transactions are closed to them.
		"binlog_transaction_compression": "OFF",
		"skip_name_resolve":              "ON",
		// What the cluster's user may not do in the server's own tables is revoked from it there.
		"partial_revokes": "ON",
	}
	if s.TLS != "" {
		ca, own := filepath.Join(s.TLS, cotton.AuthoritiesFile), filepath.Join(s.TLS, cotton.CertificateFile)
		maps.Copy(conf, map[string]string{
			"ssl_ca": ca, "ssl_cert": own, "ssl_key": own,
			"loose_clone_ssl_ca": ca, // with it CLONE verifies its donor before it sends a password
		})
	}
	if s.Nodes > 1 {
		// A replica acknowledges from its first connection on; whether a commit waits is set at the source.
		conf["loose_rpl_semi_sync_replica_enabled"] = "ON"
		conf["loose_rpl_semi_sync_slave_enabled"] = "ON"
		// Without a replica a commit waits, or falls back after the time-out; it never skips both (M8).
		conf["loose_rpl_semi_sync_source_wait_no_replica"] = "ON"
		conf["loose_rpl_semi_sync_master_wait_no_slave"] = "ON"
	}
	return conf
}

// StopEvents has a server start without running events, and tells whether it is to run them as the primary: unless its settings say
// otherwise. A server is never open when it starts.
func StopEvents(conf map[string]string) (wanted bool) {
	wanted = true
	for name, value := range conf {
		stripped := name
		for _, p := range prefixes {
			stripped = strings.TrimPrefix(stripped, p)
		}
		if stripped != "event_scheduler" {
			continue
		}
		switch strings.ToUpper(value) {
		case "ON", "1", "TRUE", "":
			wanted = wanted && !strings.HasPrefix(name, "skip_") && !strings.HasPrefix(name, "disable_")
		default:
			wanted = false
		}
	}
	if wanted {
		maps.DeleteFunc(conf, func(name, _ string) bool { return strings.HasSuffix(name, "event_scheduler") })
		conf["event_scheduler"] = "OFF"
	}
	return wanted
}

// refused settings, by why. A name that ends in * stands for all that begin so.
var refused = []struct {
	why   string
	names []string
}{
	{"cotton decides where an instance listens and what it is called", []string{"port", "bind_address", "admin_port", "admin_address", "skip_networking",
		"report_host", "report_port", "report_user", "report_password", "server_id", "server_uuid", "socket", "mysqlx*", "loose_mysqlx*", "create_admin_listener_thread"}},
	{"the volume has one place for everything", []string{"datadir", "basedir", "tmpdir", "replica_load_tmpdir", "slave_load_tmpdir", "pid_file", "log_error", "lc_messages_dir",
		"character_sets_dir", "plugin_dir", "innodb_data_home_dir", "innodb_data_file_path", "innodb_log_group_home_dir", "innodb_undo_directory",
		"innodb_directories", "innodb_temp_tablespaces_dir", "innodb_temp_data_file_path", "innodb_tmpdir", "innodb_doublewrite_dir", "log_bin", "log_bin_index", "log_bin_basename", "relay_log", "relay_log_index", "relay_log_info_file",
		"general_log_file", "slow_query_log_file", "secure_file_priv", "log_error_services", "persist*", "innodb_page_size", "lower_case_table_names"}},
	{"replication and failover rest on it", []string{"gtid*", "enforce_gtid_consistency", "skip_log_bin", "log_replica_updates", "log_slave_updates",
		"binlog_format", "binlog_row_image", "binlog_row_value_options", "binlog_transaction_compression", "binlog_checksum",
		"binlog_do_db", "binlog_ignore_db", "replicate_*", "replica_skip_errors", "slave_skip_errors", "skip_replica_start", "skip_slave_start",
		"relay_log_recovery", "relay_log_purge", "relay_log_space_limit", "rpl_semi_sync*", "rpl_stop*", "master_info*", "source_info*", "replica_net_timeout", "slave_net_timeout",
		"read_only", "super_read_only", "innodb_read_only", "innodb_force_recovery", "transaction_write_set_extraction", "group_replication*", "skip_name_resolve"}},
	{"with it a crash loses what was committed", []string{"sync_binlog", "innodb_flush_log_at_trx_commit", "sync_relay_log", "innodb_doublewrite", "innodb_redo_log_enabled", "innodb_support_xa",
		"innodb_flush_method", "innodb_checksum_algorithm"}},
	{"with it strangers get in, or commands are run", []string{"skip_grant_tables", "init_file", "init_connect", "init_replica", "init_slave", "plugin_load*", "early_plugin_load",
		"user", "chroot", "bootstrap", "initialize*", "daemonize", "gdb", "core_file", "allow_suspicious_udfs", "skip_show_database", "require_secure_transport", "ssl*", "tls*", "skip_ssl",
		"auto_generate_certs", "caching_sha2_password_*", "sha256_password_*", "authentication_policy", "default_authentication_plugin", "partial_revokes", "mandatory_roles", "local_infile"}},
}

// whole names that are also the beginning of a refused one: mysqld takes them for what they are.
var whole = []string{"slow_query_log", "general_log"}

var settingName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// prefixes that mysqld takes off an option's name before it looks it up.
var prefixes = []string{"loose_", "skip_", "disable_", "enable_", "maximum_"}

// normalise brings names to the form that my.cnf here has and refuses what is dangerous.
func normalise(layer map[string]string) (map[string]string, error) {
	out := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(layer)) {
		name := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(key)), "-", "_")
		if !settingName.MatchString(name) {
			return nil, fmt.Errorf("setting %q of my.cnf: not a name of a system variable", key)
		}
		if strings.ContainsAny(layer[key], "\r\n\x00") {
			return nil, fmt.Errorf("setting %q of my.cnf: its value holds a line break", key)
		}
		if why := dangerous(name); why != "" {
			return nil, fmt.Errorf("setting %q of my.cnf is refused: %s", key, why)
		}
		out[name] = strings.TrimSpace(layer[key])
	}
	return out, nil
}

// dangerous says why a setting is refused, empty when it is not. mysqld takes any unambiguous beginning of an option's
// name for the option, and several prefixes: so does this.
func dangerous(name string) string {
	if slices.Contains(whole, name) {
		return ""
	}
	forms := []string{name}
	for stripped := true; stripped; {
		stripped = false
		for _, p := range prefixes {
			if rest, ok := strings.CutPrefix(forms[len(forms)-1], p); ok && rest != "" {
				forms, stripped = append(forms, rest), true
			}
		}
	}
	for _, group := range refused {
		for _, bad := range group.names {
			stem, wild := strings.CutSuffix(bad, "*")
			for _, form := range forms {
				if strings.HasPrefix(stem, form) || wild && strings.HasPrefix(form, stem) {
					return group.why
				}
			}
		}
	}
	return ""
}

// ReadTemplate reads the [mysqld] section of an agent's template, an option file of MySQL's form. Directives that
// include other files are refused. An empty path is an empty template.
func ReadTemplate(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the template of my.cnf: %w", err)
	}
	defer f.Close()
	conf, section := map[string]string{}, ""
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '!':
			return nil, fmt.Errorf("read the template of my.cnf: %s:%d: %s is not supported", path, n, line)
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		case section == "mysqld":
			key, value, _ := strings.Cut(line, "=")
			conf[strings.TrimSpace(key)] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the template of my.cnf: %s: %w", path, err)
	}
	return conf, nil
}
