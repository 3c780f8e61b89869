package mycnf_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/cotton/executor/mycnf"
)

func TestBuild(t *testing.T) {
	conf, err := mycnf.Build(mycnf.Settings{
		MemMB: 4096, Nodes: 3, Host: "db1.example", Bind: "*",
		Template: map[string]string{"max_connections": "100", "sort_buffer_size": "1M"},
		Override: map[string]string{"Max-Connections": "200", "innodb-buffer-pool-size": "1G"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"max_connections": "200", "sort_buffer_size": "1M", "innodb_buffer_pool_size": "1G", // override > template > default
		"super_read_only": "ON", "skip_replica_start": "ON", "sync_binlog": "1", "relay_log_recovery": "OFF", "sync_relay_log": "0",
		"innodb_flush_log_at_trx_commit": "1", "report_host": "db1.example", "bind_address": "*", "loose_rpl_semi_sync_replica_enabled": "ON",
	} {
		if conf[key] != want {
			t.Errorf("%s is %q, want %q", key, conf[key], want)
		}
	}
	single, err := mycnf.Build(mycnf.Settings{MemMB: 256, Nodes: 1})
	if err != nil || single["loose_rpl_semi_sync_replica_enabled"] != "" {
		t.Errorf("a single instance: %v, %v", single, err)
	}
	for mem, want := range map[int64]string{256: "64M", 200: "32M", 512: "320M", 768: "576M", 8192: "6144M"} {
		conf, err := mycnf.Build(mycnf.Settings{MemMB: mem})
		if err != nil || conf["innodb_buffer_pool_size"] != want {
			t.Errorf("%d MB: buffer pool %s, want %s (%v)", mem, conf["innodb_buffer_pool_size"], want, err)
		}
	}
}

// TestRefused: nothing that cotton's promises rest on can be overridden, by no spelling that mysqld understands.
func TestRefused(t *testing.T) {
	for _, key := range []string{
		"port", "Port", "datadir", "data", "server-id", "server_id", "gtid_mode", "gtid-mode", "skip-log-bin", "log-bin", "log_bin_index",
		"disable_log_bin", "super_read_only", "super", "loose-super_read_only", "loose_loose_super_read_only", "maximum-sync_binlog", "sync_binlog",
		"innodb_flush_log_at_trx_commit", "innodb_flush_log_at_trx", "relay_log_recovery", "rpl_semi_sync_source_timeout", "skip_grant_tables",
		"skip-grant", "init_file", "init-connect", "plugin_load_add", "plugin-load", "user", "socket", "skip_replica_start", "skip-slave-start",
		"replicate_do_db", "replicate-wild-ignore-table", "read_only", "local_infile", "tls_version", "mysqlx_port", "loose_mysqlx", "binlog_format",
		"bind-address", "report_host", "lower_case_table_names", "enforce_gtid_consistency", "log_replica_updates", "partial_revokes",
		"a b", "x=y", "!include", "[client]", "key\nport", "", "größe",
	} {
		if err := mycnf.Check(map[string]string{key: "1"}); err == nil {
			t.Errorf("%q is taken", key)
		} else if !strings.Contains(err.Error(), "my.cnf") {
			t.Errorf("%q: %v", key, err)
		}
	}
	for _, value := range []string{"1\nport=3306", "1\rx", "\x00"} {
		if err := mycnf.Check(map[string]string{"max_connections": value}); err == nil {
			t.Errorf("value %q is taken", value)
		}
	}
	for key, value := range map[string]string{
		"max_connections": "20", "max-connections": "2K", "innodb_buffer_pool_size": "1G", "sort_buffer_size": "1", "sql_mode": "", "long_query_time": "0.5",
		"slow_query_log": "ON", "character_set_server": "utf8mb4", "max_allowed_packet": "64M", "wait_timeout": "60", "binlog_expire_logs_seconds": "86400",
		"loose_innodb_redo_log_capacity": "1G", "event_scheduler": "OFF", "replica_parallel_workers": "8", "max_execution_time": "0",
		"transaction_isolation": "READ-COMMITTED", "log_bin_trust_function_creators": "1", "explicit_defaults_for_timestamp": "ON", "general_log": "ON",
	} {
		if err := mycnf.Check(map[string]string{key: value}); err != nil {
			t.Errorf("%q is refused: %v", key, err)
		}
	}
}

// TestUnsafe: what takes cotton's eyes, keeps it out or makes members differ is refused with why, and what nobody knows, with the
// nearest name; an instance that was given such a setting by an earlier release starts without it.
func TestUnsafe(t *testing.T) {
	for setting, want := range map[string]string{
		"performance_schema=OFF": "cotton asks it", "offline_mode=ON": "no client gets in", "binlog_error_action=IGNORE_ERROR": "without its binary log",
		"replica_exec_mode=IDEMPOTENT": "hides that it differs", "slave-exec-mode=IDEMPOTENT": "hides that it differs", "log_raw=ON": "passwords",
		"log_output=TABLE": "clone", "max_connections=1": "at least 20", "max_connections=many": "at least 20", "max_user_connections=1": "own accounts",
		"max_execution_time=1": "at least 1000", "binlog_expire_logs_seconds=1": "at least 3600", "default_storage_engine=MEMORY": "InnoDB",
		"autocommit=0": "not committed", "max_conections=100": "did you mean max_connections?", "inodb_io_capacity=1": "did you mean innodb_io_capacity?",
		"no_such_thing_at_all=1": "template", "ndb_batch_size=1": "template", "loose_performance_schema=OFF": "cotton asks it", "innodb_buffer_pool=1": "template",
	} {
		name, value, _ := strings.Cut(setting, "=")
		if err := mycnf.Check(map[string]string{name: value}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", setting, err, want)
		}
	}
	conf, err := mycnf.Build(mycnf.Settings{MemMB: 1024, Nodes: 3, Override: map[string]string{"performance_schema": "OFF", "max_connections": "1", "slave-exec-mode": "IDEMPOTENT"}})
	if err != nil || conf["performance_schema"] != "" || conf["max_connections"] != "20" || conf["slave_exec_mode"] != "" {
		t.Errorf("stored by an earlier release: %v, %v", conf, err)
	}
}

func TestTemplate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "my.cnf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("# ours\n[client]\nport = 1\n[mysqld]\n; fast\nmax_connections = 7\nsql-mode=\"ANSI,TRADITIONAL\"\nskip-external-locking\n[mysqld_safe]\nnice=1\n")
	conf, err := mycnf.ReadTemplate(path)
	if err != nil || len(conf) != 3 || conf["max_connections"] != "7" || conf["sql-mode"] != "ANSI,TRADITIONAL" {
		t.Errorf("%v, %v", conf, err)
	}
	write("[mysqld]\n!includedir /etc\n")
	if _, err := mycnf.ReadTemplate(path); err == nil || !strings.Contains(err.Error(), ":2: !includedir") {
		t.Errorf("an include: %v", err)
	}
	if _, err := mycnf.ReadTemplate(path + ".none"); err == nil {
		t.Error("a missing template is no error")
	}
	if conf, err := mycnf.ReadTemplate(""); conf != nil || err != nil {
		t.Errorf("no template: %v, %v", conf, err)
	}
}

// TestStopEvents: a server starts without running events, and whether it is to run them later is as its settings say.
func TestStopEvents(t *testing.T) {
	for _, c := range []struct {
		conf   map[string]string
		wanted bool
		value  string
	}{
		{map[string]string{}, true, "OFF"},
		{map[string]string{"event_scheduler": "on"}, true, "OFF"},
		{map[string]string{"loose_event_scheduler": "1"}, true, "OFF"},
		{map[string]string{"event_scheduler": "OFF"}, false, "OFF"},
		{map[string]string{"event_scheduler": "0"}, false, "0"},
		{map[string]string{"event_scheduler": "DISABLED"}, false, "DISABLED"},
		{map[string]string{"event_scheduler": "ON", "skip_event_scheduler": ""}, false, "ON"},
	} {
		had := maps.Clone(c.conf)
		wanted := mycnf.StopEvents(c.conf)
		if wanted != c.wanted || c.conf["event_scheduler"] != c.value || len(c.conf) > max(len(had), 1) {
			t.Errorf("%v: wanted %v, became %v", had, wanted, c.conf)
		}
	}
}
