-- What an operator's HOLD means for a copy that is under way.

ALTER TABLE current_alters ADD COLUMN hold_how enum('stop','pause') NOT NULL DEFAULT 'stop' INVISIBLE
  COMMENT 'of an operator HOLD: stop what runs, or pause it in place';
