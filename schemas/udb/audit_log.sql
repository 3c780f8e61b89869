-- A partition per quarter; the first one is dropped and the next one added by hand, each in a commit of its own.
CREATE TABLE audit_log (
  id     bigint unsigned NOT NULL AUTO_INCREMENT,
  at     datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  actor  varchar(64) NOT NULL DEFAULT '',
  action varchar(64) NOT NULL,
  detail json DEFAULT NULL,
  PRIMARY KEY (id, at),
  KEY by_actor (actor, at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
PARTITION BY RANGE COLUMNS (at) (
  PARTITION p2026q3 VALUES LESS THAN ('2026-10-01'),
  PARTITION p2026q4 VALUES LESS THAN ('2027-01-01'),
  PARTITION later VALUES LESS THAN (MAXVALUE)
);
