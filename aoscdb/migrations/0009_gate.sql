-- The gate before a copy is swapped in, and the limits past which a copy is slowed or rests.
ALTER TABLE allowed_alters
  ADD COLUMN cut_over enum('auto','manual') NOT NULL DEFAULT 'auto' INVISIBLE
    COMMENT 'manual = a copy, verified and caught up, waits until it is told to be swapped in: aosc cutover, or auto here';
ALTER TABLE tiers
  ADD COLUMN max_lag_ms int unsigned NOT NULL DEFAULT 0 INVISIBLE
    COMMENT 'a copy rests while a replica lags by more milliseconds; 0 = as oscworker.max-lag says',
  ADD COLUMN max_threads_running int unsigned NOT NULL DEFAULT 100 INVISIBLE
    COMMENT 'it rests while Threads_running of the primary is more; 0 = not looked at',
  ADD COLUMN max_commit_ms int unsigned NOT NULL DEFAULT 500 INVISIBLE
    COMMENT 'while a commit on the primary takes more milliseconds; 0 = not looked at',
  ADD COLUMN max_history_list bigint unsigned NOT NULL DEFAULT 1000000 INVISIBLE
    COMMENT 'while the history list of the primary is longer; 0 = not looked at',
  ADD COLUMN max_redo_age_pct tinyint unsigned NOT NULL DEFAULT 80 INVISIBLE
    COMMENT 'while the checkpoint age is more percent of the capacity of the redo log; 0 = not looked at',
  ADD COLUMN cut_over_window varchar(255) NOT NULL DEFAULT '' INVISIBLE
    COMMENT 'copies are swapped in only then, such as Mon-Fri 02:00-05:00 Europe/Madrid; empty = at any time';
