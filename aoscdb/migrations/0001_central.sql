-- Central tables of aoscdb. Columns named in the original talk keep their name, type and order, so that
-- positional INSERTs by hand work for ever; everything added since is INVISIBLE and has a default.
--
-- Names that come from git, the file system or a server (tiers, clusters, databases, tables) are compared byte by byte,
-- as Linux servers compare them: under a _ci collation databases `a` and `A` of one instance would share one row.
-- Enums stay _ci, so that an operator may type 'hold'. Engine and character set are named because the database may have
-- been created by hand with others.

CREATE TABLE tiers (
  `group`                    varchar(64) COLLATE utf8mb4_0900_bin NOT NULL COMMENT 'tier name, the directory schemas/<group>',
  max_running                int unsigned NOT NULL DEFAULT 1 COMMENT 'instances of the tier altered at once, 0 = none',
  max_running_per_host       int unsigned NOT NULL DEFAULT 1 COMMENT '0 = no limit',
  max_running_per_datacenter int unsigned NOT NULL DEFAULT 0 COMMENT '0 = no limit',
  ordering                   enum('primary','rolling') NOT NULL DEFAULT 'primary',
  copy_engine                enum('ghost','spirit') NOT NULL DEFAULT 'ghost',
  status_store               enum('instance','central') NOT NULL DEFAULT 'instance',
  direct_max_rows            bigint unsigned NOT NULL DEFAULT 5000 COMMENT 'up to this many rows a plain ALTER may be used in place of a copy',
  create_missing             tinyint(1) NOT NULL DEFAULT 1,
  verify_interval_s          int unsigned NOT NULL DEFAULT 86400 COMMENT 'seconds between two checks of a DONE alter',
  verify_tries               int unsigned NOT NULL DEFAULT 3 COMMENT 'checks of a DONE alter before it is finished',
  enabled                    tinyint(1) NOT NULL DEFAULT 1 COMMENT '0 = nothing new is started',
  PRIMARY KEY (`group`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE allowed_alters (
  `group`      varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  table_name   varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  allowed_by   varchar(64) NOT NULL,
  allowed_at   timestamp NULL DEFAULT NULL COMMENT 'filled by the brain when left NULL',
  priority     int NOT NULL DEFAULT 10 COMMENT 'higher goes first',
  server_list  enum('default','custom') NOT NULL DEFAULT 'default',
  allow_unsafe tinyint(1) NOT NULL DEFAULT 0 INVISIBLE COMMENT '1 = the plan may lose data',
  `comment`    varchar(255) NOT NULL DEFAULT '' INVISIBLE,
  PRIMARY KEY (`group`, table_name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE custom_servers (
  `group`    varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  table_name varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  host       varchar(255) CHARACTER SET ascii NOT NULL,
  port       int NOT NULL,
  PRIMARY KEY (`group`, table_name, host, port)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE current_alters (
  `group`       varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  table_name    varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  status        enum('DONE','IPR','HOLD') NOT NULL,
  priority      int NOT NULL DEFAULT 10,
  server_list   enum('default','custom') NOT NULL DEFAULT 'default',
  reason        varchar(2048) NOT NULL DEFAULT '' INVISIBLE COMMENT 'why HOLD',
  hold_by       enum('','brain','worker','operator') NOT NULL DEFAULT '' INVISIBLE COMMENT 'whose HOLD: the brain lifts only its own',
  commit_sha    varchar(64) NOT NULL DEFAULT '' INVISIBLE COMMENT 'commit the desired schema is pinned to',
  desired_hash  varchar(64) NOT NULL DEFAULT '' INVISIBLE COMMENT 'git blob id of schemas/<group>/<table_name>.sql at commit_sha',
  pinned_at     timestamp(6) NULL DEFAULT NULL INVISIBLE COMMENT 'when desired_hash was last set: checksums that began before say nothing of it',
  tries         int unsigned NOT NULL DEFAULT 0 INVISIBLE COMMENT 'consecutive clean checks since DONE',
  next_check_at timestamp(6) NULL DEFAULT NULL INVISIBLE COMMENT 'when the next check of a DONE alter is due',
  check_from    timestamp(6) NULL DEFAULT NULL INVISIBLE COMMENT 'only checksums begun after this count for the next verdict',
  check_fresh   tinyint(1) NOT NULL DEFAULT 0 INVISIBLE COMMENT '1 = only fresh (uncached) checksums count',
  started_at    timestamp(6) NULL DEFAULT NULL INVISIBLE,
  allowed_by    varchar(64) NOT NULL DEFAULT '' INVISIBLE,
  collected_at  timestamp(6) NULL DEFAULT NULL INVISIBLE COMMENT 'when the collector last began to look at it',
  targets       int NOT NULL DEFAULT -1 INVISIBLE COMMENT 'instances found not OK by that look; -1 = never looked',
  unknowns      int NOT NULL DEFAULT -1 INVISIBLE COMMENT 'instances that look could not judge (I11)',
  total_targets int unsigned NOT NULL DEFAULT 0 INVISIBLE COMMENT 'different instances that ever were targets',
  PRIMARY KEY (`group`, table_name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE finished_alters (
  id           bigint unsigned NOT NULL AUTO_INCREMENT INVISIBLE,
  `group`      varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  table_name   varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  finished_at  timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  tries        int unsigned NOT NULL DEFAULT 0,
  commit_sha   varchar(64) NOT NULL DEFAULT '' INVISIBLE,
  desired_hash varchar(64) NOT NULL DEFAULT '' INVISIBLE,
  allowed_by   varchar(64) NOT NULL DEFAULT '' INVISIBLE,
  started_at   timestamp(6) NULL DEFAULT NULL INVISIBLE,
  targets      int unsigned NOT NULL DEFAULT 0 INVISIBLE COMMENT 'instances that were altered or checked along the way',
  outcome      enum('finished','revoked') NOT NULL DEFAULT 'finished' INVISIBLE,
  PRIMARY KEY (id),
  KEY by_table (`group`, table_name, finished_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE alter_targets (
  `group`    varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  table_name varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  host       varchar(255) CHARACTER SET ascii NOT NULL,
  port       int NOT NULL,
  cluster    varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  role       enum('primary','replica','unknown') NOT NULL DEFAULT 'unknown',
  found_at   timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  `databases` int unsigned NOT NULL DEFAULT 0 INVISIBLE COMMENT 'databases not OK there',
  bytes      bigint unsigned NOT NULL DEFAULT 0 INVISIBLE COMMENT 'data and index bytes of those tables',
  PRIMARY KEY (`group`, table_name, host, port)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE running_alters (
  host         varchar(255) CHARACTER SET ascii NOT NULL,
  port         int NOT NULL,
  `group`      varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  table_name   varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  osc_status   enum('READY','RUNNING','DONE') NOT NULL DEFAULT 'READY',
  last_updated timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  cluster      varchar(64) COLLATE utf8mb4_0900_bin NOT NULL DEFAULT '' INVISIBLE,
  datacenter   varchar(64) COLLATE utf8mb4_0900_bin NOT NULL DEFAULT '' INVISIBLE,
  bytes        bigint unsigned NOT NULL DEFAULT 0 INVISIBLE,
  percentage   decimal(5,2) NOT NULL DEFAULT 0 INVISIBLE,
  queued_at    timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) INVISIBLE,
  started_at   timestamp(6) NULL DEFAULT NULL INVISIBLE,
  epoch        bigint unsigned NOT NULL DEFAULT 0 INVISIBLE COMMENT 'lease epoch of the scheduler that wrote the row',
  -- One alter per instance (I3) is the key itself, not a habit of the scheduler.
  PRIMARY KEY (host, port),
  KEY by_table (`group`, table_name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE leases (
  name       varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  holder     varchar(255) COLLATE utf8mb4_0900_bin NOT NULL,
  epoch      bigint unsigned NOT NULL,
  expires_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE canonical_forms (
  `blob`         varchar(64) CHARACTER SET ascii NOT NULL,
  server_version varchar(64) CHARACTER SET ascii NOT NULL,
  charset        varchar(64) CHARACTER SET ascii NOT NULL,
  collation      varchar(64) CHARACTER SET ascii NOT NULL,
  sql_mode       varchar(512) CHARACTER SET ascii NOT NULL,
  canonical      mediumtext NOT NULL,
  hash           varchar(64) NOT NULL,
  made_at        timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (`blob`, server_version, charset, collation, sql_mode)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE events (
  id         bigint unsigned NOT NULL AUTO_INCREMENT,
  at         timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  actor      varchar(255) NOT NULL,
  `group`    varchar(64) COLLATE utf8mb4_0900_bin NOT NULL DEFAULT '',
  table_name varchar(64) COLLATE utf8mb4_0900_bin NOT NULL DEFAULT '',
  host       varchar(255) CHARACTER SET ascii NOT NULL DEFAULT '',
  port       int NOT NULL DEFAULT 0,
  what       varchar(64) NOT NULL,
  detail     text NOT NULL,
  PRIMARY KEY (id),
  KEY by_table (`group`, table_name, at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

-- "Run now" requests between daemons: a row here wakes the named daemon within a second or two.
CREATE TABLE wakeups (
  daemon       varchar(32) NOT NULL COMMENT 'checksum, brain, collector, scheduler',
  scope        varchar(320) COLLATE utf8mb4_0900_bin NOT NULL DEFAULT '' COMMENT 'checksum: tier:<group> or instance:<host>:<port>; others empty',
  requested_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  fresh_at     timestamp(6) NULL DEFAULT NULL COMMENT 'last request that wanted no cached hashes',
  PRIMARY KEY (daemon, scope)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

-- What the checksum last did per instance and tier: an instance without databases has no status rows, yet is judged.
CREATE TABLE checksum_passes (
  host             varchar(255) CHARACTER SET ascii NOT NULL,
  port             int NOT NULL,
  `group`          varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  commit_sha       varchar(64) NOT NULL DEFAULT '',
  started_at       timestamp(6) NULL DEFAULT NULL COMMENT 'begin of the last pass that finished',
  finished_at      timestamp(6) NULL DEFAULT NULL,
  fresh_started_at timestamp(6) NULL DEFAULT NULL COMMENT 'begin of the last finished pass that used no cached hashes',
  `databases`      int unsigned NOT NULL DEFAULT 0,
  `tables`         int unsigned NOT NULL DEFAULT 0 COMMENT 'databases x desired tables',
  not_ok           int unsigned NOT NULL DEFAULT 0,
  error            varchar(2048) NOT NULL DEFAULT '' COMMENT 'why the newest attempt failed, empty when it did not',
  PRIMARY KEY (host, port, `group`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

-- Tables a copy leaves or may leave behind, recorded before they can exist.
CREATE TABLE leftovers (
  id         bigint unsigned NOT NULL AUTO_INCREMENT,
  `group`    varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  cluster    varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  host       varchar(255) CHARACTER SET ascii NOT NULL COMMENT 'instance the copy ran on',
  port       int NOT NULL,
  `database` varchar(64) COLLATE utf8mb4_0900_bin NOT NULL,
  table_name varchar(64) COLLATE utf8mb4_0900_bin NOT NULL COMMENT 'the table that was being altered',
  leftover   varchar(64) COLLATE utf8mb4_0900_bin NOT NULL COMMENT 'the table that may be left behind',
  kind       enum('ghost','changelog','old') NOT NULL,
  state      enum('live','keep','drop') NOT NULL DEFAULT 'live' COMMENT 'live: a copy may be using it; keep: old data until keep_until; drop: may go now',
  token      varchar(64) NOT NULL DEFAULT '' COMMENT 'the run that made it',
  created_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  keep_until timestamp(6) NULL DEFAULT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY one (cluster, `database`, leftover)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;
