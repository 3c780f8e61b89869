-- The copy engine 'keyed' of the package internal/osc/keyed.
ALTER TABLE tiers MODIFY copy_engine enum('ghost','spirit','keyed') NOT NULL DEFAULT 'ghost';
