-- keyed is the engine of new tiers. A tier that has ghost keeps it: whether somebody chose it cannot be told any more. What asked for
-- spirit, which was never there, gets the default.
UPDATE tiers SET copy_engine = 'keyed' WHERE copy_engine = 'spirit';
ALTER TABLE tiers MODIFY copy_engine enum('keyed','ghost') NOT NULL DEFAULT 'keyed';
