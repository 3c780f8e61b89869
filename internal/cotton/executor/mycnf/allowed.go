package mycnf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// allowed are the settings that a cluster may be given, by why they are harmless to what cotton promises: whatever their value, the
// server answers cotton, commits what it acknowledges, and replicates all of it.
var allowed = []struct {
	why   string
	names []string
}{
	{"memory and caches: too much of them is the cluster's own size", []string{"innodb_buffer_pool_size", "innodb_buffer_pool_instances", "innodb_buffer_pool_chunk_size",
		"innodb_buffer_pool_dump_at_shutdown", "innodb_buffer_pool_dump_pct", "innodb_buffer_pool_load_at_startup", "innodb_log_buffer_size", "innodb_old_blocks_pct",
		"innodb_old_blocks_time", "innodb_sort_buffer_size", "innodb_ddl_buffer_size", "join_buffer_size", "sort_buffer_size", "read_buffer_size", "read_rnd_buffer_size",
		"key_buffer_size", "tmp_table_size", "max_heap_table_size", "temptable_max_ram", "temptable_max_mmap", "internal_tmp_mem_storage_engine", "table_open_cache",
		"table_open_cache_instances", "table_definition_cache", "schema_definition_cache", "stored_program_cache", "stored_program_definition_cache",
		"tablespace_definition_cache", "thread_cache_size", "host_cache_size", "binlog_cache_size", "binlog_stmt_cache_size", "query_alloc_block_size",
		"query_prealloc_size", "range_alloc_block_size", "range_optimizer_max_mem_size", "transaction_alloc_block_size", "transaction_prealloc_size", "preload_buffer_size",
		"set_operations_buffer_size", "histogram_generation_max_mem_size", "innodb_ft_cache_size", "innodb_ft_total_cache_size", "innodb_ft_result_cache_limit"}},
	{"speed of the disk and of background work", []string{"innodb_io_capacity", "innodb_io_capacity_max", "innodb_read_io_threads", "innodb_write_io_threads",
		"innodb_page_cleaners", "innodb_purge_threads", "innodb_purge_batch_size", "innodb_purge_rseg_truncate_frequency", "innodb_max_purge_lag",
		"innodb_max_purge_lag_delay", "innodb_flush_neighbors", "innodb_flush_sync", "innodb_flushing_avg_loops", "innodb_adaptive_flushing",
		"innodb_adaptive_flushing_lwm", "innodb_adaptive_hash_index", "innodb_adaptive_hash_index_parts", "innodb_max_dirty_pages_pct", "innodb_max_dirty_pages_pct_lwm",
		"innodb_lru_scan_depth", "innodb_idle_flush_pct", "innodb_redo_log_capacity", "innodb_log_writer_threads", "innodb_log_write_ahead_size", "innodb_log_spin_cpu_abs_lwm",
		"innodb_log_spin_cpu_pct_hwm", "innodb_log_wait_for_flush_spin_hwm", "innodb_undo_log_truncate", "innodb_max_undo_log_size", "innodb_rollback_segments",
		"innodb_thread_concurrency", "innodb_thread_sleep_delay", "innodb_concurrency_tickets", "innodb_commit_concurrency", "innodb_spin_wait_delay",
		"innodb_spin_wait_pause_multiplier", "innodb_sync_spin_loops", "innodb_sync_array_size", "innodb_read_ahead_threshold", "innodb_random_read_ahead",
		"innodb_change_buffering", "innodb_change_buffer_max_size", "innodb_ddl_threads", "innodb_parallel_read_threads", "innodb_open_files", "innodb_numa_interleave",
		"innodb_doublewrite_files", "innodb_doublewrite_pages", "innodb_doublewrite_batch_size", "innodb_fill_factor", "innodb_autoextend_increment",
		"innodb_extend_and_initialize", "innodb_online_alter_log_max_size", "innodb_fsync_threshold", "binlog_group_commit_sync_delay",
		"binlog_group_commit_sync_no_delay_count", "binlog_order_commits", "binlog_row_event_max_size", "binlog_transaction_dependency_history_size", "rpl_read_size",
		"replica_parallel_workers", "slave_parallel_workers", "replica_pending_jobs_size_max", "replica_checkpoint_group", "replica_checkpoint_period",
		"replica_compressed_protocol", "replica_transaction_retries", "replica_max_allowed_packet", "max_binlog_size", "max_relay_log_size", "low_priority_updates"}},
	{"how long clients and statements may wait", []string{"wait_timeout", "interactive_timeout", "connect_timeout", "net_read_timeout", "net_write_timeout", "net_retry_count",
		"lock_wait_timeout", "innodb_lock_wait_timeout", "innodb_deadlock_detect", "innodb_rollback_on_timeout", "max_execution_time", "max_connections", "back_log",
		"max_allowed_packet", "net_buffer_length", "max_prepared_stmt_count", "binlog_expire_logs_seconds"}},
	{"what SQL means to clients, and how it is planned", []string{"sql_mode", "character_set_server", "collation_server", "character_set_filesystem", "default_time_zone", "lc_time_names",
		"lc_messages", "default_week_format", "div_precision_increment", "group_concat_max_len", "cte_max_recursion_depth", "explicit_defaults_for_timestamp", "transaction_isolation",
		"auto_increment_increment", "auto_increment_offset", "innodb_autoinc_lock_mode", "sql_generate_invisible_primary_key", "sql_require_primary_key",
		"show_gipk_in_create_table_and_information_schema", "restrict_fk_on_non_standard_key", "updatable_views_with_limit", "automatic_sp_privileges", "block_encryption_mode",
		"max_error_count", "max_join_size", "max_length_for_sort_data", "max_points_in_geometry", "max_seeks_for_key", "max_sort_length", "max_sp_recursion_depth",
		"optimizer_prune_level", "optimizer_search_depth", "optimizer_switch", "optimizer_max_subgraph_pairs", "optimizer_trace_limit", "optimizer_trace_max_mem_size",
		"eq_range_index_dive_limit", "explain_format", "explain_json_format_version", "end_markers_in_json", "information_schema_stats_expiry", "innodb_stats_auto_recalc",
		"innodb_stats_persistent", "innodb_stats_persistent_sample_pages", "innodb_stats_transient_sample_pages", "innodb_stats_on_metadata", "innodb_stats_method",
		"innodb_stats_include_delete_marked", "innodb_default_row_format", "innodb_file_per_table", "innodb_strict_mode", "innodb_compression_level",
		"innodb_compression_failure_threshold_pct", "innodb_compression_pad_pct_max", "innodb_ft_enable_stopword", "innodb_ft_max_token_size", "innodb_ft_min_token_size",
		"innodb_ft_num_word_optimize", "innodb_ft_sort_pll_degree", "innodb_optimize_fulltext_only", "ft_boolean_syntax", "ft_max_word_len", "ft_min_word_len", "ft_query_expansion_limit",
		"ngram_token_size", "regexp_stack_limit", "regexp_time_limit", "windowing_use_high_precision", "parser_max_mem_size", "session_track_schema",
		"session_track_state_change", "session_track_system_variables", "session_track_transaction_info", "session_track_gtids", "big_tables", "old_alter_table",
		"log_bin_trust_function_creators", "event_scheduler"}},
	{"what is logged and measured", []string{"slow_query_log", "long_query_time", "min_examined_row_limit", "log_queries_not_using_indexes", "log_throttle_queries_not_using_indexes",
		"log_slow_admin_statements", "log_slow_extra", "log_slow_replica_statements", "general_log", "log_timestamps", "log_error_verbosity", "innodb_print_all_deadlocks",
		"innodb_print_ddl_logs", "innodb_status_output", "innodb_status_output_locks", "innodb_monitor_enable", "innodb_monitor_disable", "innodb_cmp_per_index_enabled",
		"binlog_row_metadata", "binlog_rows_query_log_events", "print_identified_with_as_hex", "max_digest_length", "performance_schema_digests_size",
		"performance_schema_max_digest_length", "performance_schema_max_sql_text_length", "performance_schema_max_table_instances", "performance_schema_instrument",
		"performance_schema_consumer_events_statements_history", "performance_schema_consumer_events_statements_history_long",
		"performance_schema_consumer_events_waits_current", "performance_schema_consumer_events_waits_history", "performance_schema_consumer_events_stages_current",
		"performance_schema_consumer_events_transactions_history"}},
	{"how passwords of clients are to be", []string{"default_password_lifetime", "password_history", "password_reuse_interval", "password_require_current",
		"generated_random_password_length", "activate_all_roles_on_login"}},
}

// unsafe are settings that were once taken. An instance that was given one starts without it.
var unsafe = map[string]string{
	"performance_schema": "cotton asks it who is connected, who acknowledges and what waits", "offline_mode": "with it no client gets in",
	"performance_schema_max_thread_instances":            "cotton asks performance_schema who is connected",
	"performance_schema_consumer_thread_instrumentation": "cotton asks performance_schema who is connected",
	"performance_schema_consumer_global_instrumentation": "cotton asks performance_schema who is connected",
	"binlog_error_action":                                "with IGNORE_ERROR a server goes on without its binary log, and nothing is replicated",
	"replica_exec_mode":                                  "with IDEMPOTENT a replica hides that it differs",
	"slave_exec_mode":                                    "with IDEMPOTENT a replica hides that it differs",
	"replica_preserve_commit_order":                      "without it a replica has gaps that a failover cannot see",
	"slave_preserve_commit_order":                        "without it a replica has gaps that a failover cannot see",
	"replica_type_conversions":                           "with it a replica may hold other values than its source",
	"slave_type_conversions":                             "with it a replica may hold other values than its source",
	"replica_sql_verify_checksum":                        "without it a damaged relay log is applied",
	"source_verify_checksum":                             "without it a damaged binary log is sent",
	"log_raw":                                            "with it passwords are written to the logs as they are",
	"log_output":                                         "with TABLE logs grow in the server's own tables, which every clone copies",
	"max_user_connections":                               "cotton's own accounts are bound by it, too",
	"max_connect_errors":                                 "the scheduler's host is bound by it, too",
	"global_connection_memory_limit":                     "cotton's own sessions may be ended by it",
	"connection_memory_limit":                            "a replica's sessions may be ended by it",
	"autocommit":                                         "clients whose statements are silently not committed lose them",
	"completion_type":                                    "commits would begin other transactions, or end sessions",
	"transaction_read_only":                              "with it clients cannot write",
	"default_storage_engine":                             "only InnoDB's tables survive a crash and a failover",
	"default_tmp_storage_engine":                         "only InnoDB is looked after",
	"innodb_fast_shutdown":                               "with 2 each stop is a crash",
	"innodb_force_load_corrupted":                        "with it damaged data are served",
	"innodb_table_locks":                                 "without it LOCK TABLES does not hold",
	"innodb_flush_log_at_timeout":                        "it is of no use where every commit is written to the disk",
	"binlog_expire_logs_auto_purge":                      "without it binary logs fill the volume",
	"binlog_encryption":                                  "it needs a keyring, which cotton does not set up",
	"innodb_redo_log_encrypt":                            "it needs a keyring, which cotton does not set up",
	"innodb_undo_log_encrypt":                            "it needs a keyring, which cotton does not set up",
	"default_table_encryption":                           "it needs a keyring, which cotton does not set up",
	"open_files_limit":                                   "the server takes what the agent allows",
	"innodb_dedicated_server":                            "it takes the machine's memory for the instance's",
	"server_memory":                                      "cotton sizes the server by the instance's memory",
	"thread_handling":                                    "cotton needs a thread of its own while clients take up all others",
	"upgrade":                                            "cotton decides when data are upgraded",
	"external_locking":                                   "an instance has its data for itself",
	"xa_detach_on_prepare":                               "prepared transactions are to survive their sessions",
	"replicate_same_server_id":                           "a former primary would run its own transactions again",
	"sporadic_binlog_dump_fail":                          "it breaks replication on purpose",
	"replica_allow_batching":                             "replication and failover rest on it",
	"rpl_semi_sync_replica_enabled":                      "replication and failover rest on it",
	"max_write_lock_count":                               "it can keep cotton's statements waiting without end",
	"delay_key_write":                                    "with it a crash damages tables of MyISAM",
	"disabled_storage_engines":                           "cotton's own statements may need them",
	"mysql_native_password":                              "passwords of that kind are easily broken",
	"show_replica_auth_info":                             "with it the replication account's password is shown",
	"show_slave_auth_info":                               "with it the replication account's password is shown",
	"persist_sensitive_variables_in_plaintext":           "with it passwords are written to a file as they are",
	"validate_config":                                    "with it the server checks its settings and ends",
	"replication_sender_observe_commit_only":             "acknowledgements rest on it",
	"replication_optimize_for_static_plugin_config":      "acknowledgements rest on it",
	"large_pages":                                        "the agent's system must be set up for it; use the agent's template",
	"memlock":                                            "the agent's system must be set up for it; use the agent's template",
}

// least values with which cotton still reaches the server, and replicas their source.
var least = map[string]int64{
	"max_connections": 20, "binlog_expire_logs_seconds": 3600, "wait_timeout": 10, "interactive_timeout": 10, "connect_timeout": 2, "net_read_timeout": 5,
	"net_write_timeout": 5, "max_execution_time": 1000, "max_allowed_packet": 1 << 20, "replica_max_allowed_packet": 1 << 20, "max_prepared_stmt_count": 100,
	"max_binlog_size": 1 << 20, "thread_cache_size": 0,
}

// zeroIsNone are those of them for which 0 stands for no limit.
var zeroIsNone = []string{"max_execution_time", "binlog_expire_logs_seconds"}

func isAllowed(name string) bool {
	for _, group := range allowed {
		if slices.Contains(group.names, name) {
			return true
		}
	}
	return false
}

// check says what is wrong with a setting that somebody asks for; empty when nothing is.
func check(name, value string) string {
	name = strings.TrimPrefix(name, "loose_")
	if !isAllowed(name) {
		if why := unsafe[name]; why != "" {
			return why
		}
		if why := dangerous(name); why != "" {
			return why
		}
		return "it is not among the settings that are known to be harmless" + nearest(name) +
			"; docs/cotton.md lists them. An agent's administrator can set others in the agent's template of my.cnf"
	}
	minimum, bounded := least[name]
	n, ok := number(value)
	if bounded && (!ok || n < minimum && !(n == 0 && slices.Contains(zeroIsNone, name))) {
		return fmt.Sprintf("%q: want a number of at least %d", value, minimum)
	}
	return ""
}

// number reads a value as mysqld does.
func number(value string) (int64, bool) {
	value = strings.ToUpper(strings.TrimSpace(value))
	shift := 0
	for suffix, by := range map[string]int{"K": 10, "M": 20, "G": 30, "T": 40} {
		if rest, ok := strings.CutSuffix(value, suffix); ok {
			value, shift = rest, by
			break
		}
	}
	n, err := strconv.ParseInt(value, 10, 64)
	return n << shift, err == nil && n >= 0 && n<<shift>>shift == n
}

// nearest names the allowed setting that was probably meant.
func nearest(name string) string {
	best, distance := "", max(len(name)/4, 2)+1
	for _, group := range allowed {
		for _, candidate := range group.names {
			if d := edits(name, candidate); d < distance {
				best, distance = candidate, d
			}
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// edits is how many letters must be added, dropped or replaced to turn one word into another.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
