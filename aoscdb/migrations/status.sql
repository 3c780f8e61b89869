-- The two status tables. They live in database `aosc` on each instance (written with sql_log_bin=0), or, where the
-- tier says status_store='central', once in aoscdb: the columns are the same, so the same SQL serves both.

CREATE TABLE IF NOT EXISTS aosc_local_status (
  host         varchar(255) CHARACTER SET ascii NOT NULL,
  port         int NOT NULL,
  `database`   varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  table_name   varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  hash_current varchar(64) DEFAULT NULL COMMENT 'NULL = the table is missing',
  hash_desired varchar(64) NOT NULL,
  status       enum('OK','NA','INC') NOT NULL,
  last_run     timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'when hash_current was last computed',
  `group`      varchar(64) COLLATE utf8mb4_0900_bin NOT NULL DEFAULT '' INVISIBLE,
  desired_blob varchar(64) NOT NULL DEFAULT '' INVISIBLE COMMENT 'git blob the desired hash was made from',
  create_time  datetime DEFAULT NULL INVISIBLE COMMENT 'information_schema.tables.create_time when hash_current was computed: the cache key of a warm pass',
  table_rows   bigint unsigned NOT NULL DEFAULT 0 INVISIBLE,
  bytes        bigint unsigned NOT NULL DEFAULT 0 INVISIBLE,
  PRIMARY KEY (host, port, `database`, table_name),
  -- One table on one instance, also where one database holds the rows of every instance.
  KEY by_table (host, port, table_name, status)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE IF NOT EXISTS aosc_osc_ww (
  host         varchar(255) CHARACTER SET ascii NOT NULL,
  port         int NOT NULL,
  table_name   varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  osc_priv     enum('OK','STOP','PAUSE') NOT NULL DEFAULT 'OK',
  status       enum('WAITING','RUNNING','DONE','FAILED') NOT NULL DEFAULT 'WAITING',
  percentage   decimal(5,2) NOT NULL DEFAULT 0,
  last_update  timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `try`        int unsigned NOT NULL DEFAULT 0,
  priority     int NOT NULL DEFAULT 10,
  start_time   timestamp NULL DEFAULT NULL,
  `group`      varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  error        text INVISIBLE,
  detail       json DEFAULT NULL INVISIBLE COMMENT 'per database: engine, state, rows copied, percentage',
  desired_blob varchar(64) NOT NULL DEFAULT '' INVISIBLE,
  commit_sha   varchar(64) NOT NULL DEFAULT '' INVISIBLE,
  owner        varchar(255) COLLATE utf8mb4_0900_bin NOT NULL DEFAULT '' INVISIBLE COMMENT 'the worker that took the row',
  final        tinyint(1) NOT NULL DEFAULT 0 INVISIBLE COMMENT '1 with FAILED: another try cannot help',
  cut_over     enum('AUTO','WAIT','GO') NOT NULL DEFAULT 'AUTO' INVISIBLE COMMENT 'of a copy: AUTO = as allowed_alters says, WAIT = wait at the gate, GO = swap it in',
  PRIMARY KEY (host, port, `group`, table_name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;
