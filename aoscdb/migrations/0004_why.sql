-- Why what is allowed does not run: who lives, what stands in the way, and the answer.

CREATE TABLE daemons (
  name       varchar(32) NOT NULL COMMENT 'checksum, brain, collector, scheduler, oscworker',
  holder     varchar(255) COLLATE utf8mb4_0900_bin NOT NULL COMMENT 'the process: host:pid:random',
  serves     varchar(2048) NOT NULL DEFAULT '' COMMENT 'tier, host and instances it is restricted to, empty = all',
  version    varchar(64) NOT NULL DEFAULT '',
  started_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  seen_at    timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) COMMENT 'last heartbeat, every two seconds',
  stopped_at timestamp(6) NULL DEFAULT NULL COMMENT 'it was asked to end, and did',
  note       varchar(2048) NOT NULL DEFAULT '' COMMENT 'what /readyz answers while it is ready',
  error      varchar(2048) NOT NULL DEFAULT '' COMMENT 'why it is not ready, empty when it is',
  PRIMARY KEY (name, holder)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

-- What the collector and the scheduler find in the way of one alter on one instance.
CREATE TABLE obstacles (
  `group`    varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  table_name varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  host       varchar(255) CHARACTER SET ascii NOT NULL COMMENT 'empty: no instance in particular',
  port       int NOT NULL,
  found_by   enum('collector','scheduler') NOT NULL,
  code       varchar(32) NOT NULL,
  reason     varchar(2048) NOT NULL,
  since      timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (`group`, table_name, host, port, found_by)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

-- The answer, written by whichever daemon lives. Read it through the view `why`.
CREATE TABLE why_rows (
  `group`    varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  table_name varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  host       varchar(255) CHARACTER SET ascii NOT NULL COMMENT 'empty: the alter as a whole',
  port       int NOT NULL,
  code       varchar(32) NOT NULL,
  why        varchar(2048) NOT NULL,
  since      timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) COMMENT 'when this answer began',
  PRIMARY KEY (`group`, table_name, host, port)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE why_turn (
  id tinyint unsigned NOT NULL,
  at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) COMMENT 'when why_rows was last found true or made so',
  PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

INSERT IGNORE INTO why_turn (id, at) VALUES (1, '2000-01-01');

-- What no daemon can say of itself is said here: that none of them lives.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW why (`group`, table_name, host, port, code, why, since) AS
SELECT r.`group`, r.table_name, r.host, r.port,
  IF(t.at < NOW(6) - INTERVAL 15 SECOND, 'daemon_down', r.code),
  IF(t.at < NOW(6) - INTERVAL 15 SECOND,
     CONCAT('no daemon has been seen since ', DATE_FORMAT(t.at, '%Y-%m-%d %H:%i:%s'), ' (aoscdb''s clock); what was known then: ', r.why), r.why),
  IF(t.at < NOW(6) - INTERVAL 15 SECOND, t.at, r.since)
FROM why_rows AS r JOIN why_turn AS t
UNION ALL
SELECT a.`group`, a.table_name, '', 0,
  IF(t.at < NOW(6) - INTERVAL 15 SECOND, 'daemon_down', 'admission'),
  IF(t.at < NOW(6) - INTERVAL 15 SECOND,
     CONCAT('waits for admission, and no daemon has been seen since ', DATE_FORMAT(t.at, '%Y-%m-%d %H:%i:%s'), ' (aoscdb''s clock)'),
     'waits for admission: the brain takes it up within seconds'),
  COALESCE(a.allowed_at, NOW())
FROM allowed_alters AS a JOIN why_turn AS t
WHERE NOT EXISTS (SELECT 1 FROM why_rows AS r WHERE r.`group` = a.`group` AND r.table_name = a.table_name AND r.host = '' AND r.port = 0);

ALTER TABLE running_alters
  ADD COLUMN state varchar(32) NOT NULL DEFAULT '' INVISIBLE COMMENT 'what its worker last said it is doing',
  ADD COLUMN note varchar(2048) NOT NULL DEFAULT '' INVISIBLE COMMENT 'and why it waits',
  ADD COLUMN rows_copied bigint unsigned NOT NULL DEFAULT 0 INVISIBLE,
  ADD COLUMN rows_total bigint unsigned NOT NULL DEFAULT 0 INVISIBLE COMMENT 'an estimate',
  ADD COLUMN rows_per_s double NOT NULL DEFAULT 0 INVISIBLE,
  ADD COLUMN eta_s double NOT NULL DEFAULT 0 INVISIBLE COMMENT '0 = unknown',
  ADD COLUMN lag_s double NULL DEFAULT NULL INVISIBLE COMMENT 'how far the copy is behind the binary log, NULL = unknown';

ALTER TABLE events
  ADD COLUMN statement mediumtext NULL INVISIBLE COMMENT 'what ran on that instance, one statement per different ALTER';

ALTER TABLE finished_alters
  ADD COLUMN allow_unsafe tinyint(1) NULL DEFAULT NULL INVISIBLE COMMENT 'NULL: finished by a release that did not keep it',
  ADD COLUMN `comment` varchar(255) NOT NULL DEFAULT '' INVISIBLE,
  ADD COLUMN instances json DEFAULT NULL INVISIBLE COMMENT 'where what ran: [{"instance", "at", "actor", "statement"}]';

-- A withdrawn alter must not read like a finished one in SELECT *, which shows the four columns of the original: it has no
-- finished_at.
ALTER TABLE finished_alters
  MODIFY COLUMN finished_at timestamp NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'NULL = withdrawn, it never finished',
  ADD COLUMN ended_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP INVISIBLE COMMENT 'when it finished or was withdrawn';

UPDATE finished_alters SET ended_at = finished_at WHERE finished_at IS NOT NULL;

UPDATE finished_alters SET finished_at = NULL WHERE outcome = 'revoked';

-- What was permitted is kept with the alter: the row of allowed_alters may be gone when it ends.
ALTER TABLE current_alters
  ADD COLUMN allow_unsafe tinyint(1) NOT NULL DEFAULT 0 INVISIBLE,
  ADD COLUMN `comment` varchar(255) NOT NULL DEFAULT '' INVISIBLE;
