-- What failed on an instance and is tried again. It is here, and not in running_alters, while it waits: so it holds no instance and is
-- counted in no limit.

CREATE TABLE retries (
  host         varchar(255) CHARACTER SET ascii NOT NULL,
  port         int NOT NULL,
  `group`      varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  table_name   varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  desired_hash varchar(64) NOT NULL COMMENT 'the version of the table that was tried: of another one nothing is said here',
  tries        int unsigned NOT NULL COMMENT 'that failed',
  max_tries    int unsigned NOT NULL COMMENT 'after so many the alter goes on HOLD',
  failed_at    timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) COMMENT 'when the last one was found to have failed',
  next_at      timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) COMMENT 'not begun again before',
  error        varchar(2048) NOT NULL DEFAULT '',
  PRIMARY KEY (host, port, `group`, table_name),
  KEY by_table (`group`, table_name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;
