-- Rows alone do not say how long a plain ALTER holds up writers: 200 rows of 1 MB did for seconds.
ALTER TABLE tiers
  ADD COLUMN direct_max_bytes bigint unsigned NOT NULL DEFAULT 33554432 INVISIBLE
    COMMENT 'up to this many bytes of data and indexes a plain ALTER may be used in place of a copy; 0 = no limit' AFTER direct_max_rows;
