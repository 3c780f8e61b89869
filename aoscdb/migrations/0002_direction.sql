-- ordering='rolling' begins with the primary where the change is stricter or narrower than what the table is.
ALTER TABLE current_alters
  ADD COLUMN primary_first tinyint(1) NOT NULL DEFAULT 0 INVISIBLE COMMENT 'ordering rolling: 1 = the primary goes before its replicas';
