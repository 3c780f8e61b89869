CREATE TABLE tabla1 (
  id bigint unsigned NOT NULL AUTO_INCREMENT,
  owner bigint unsigned NOT NULL DEFAULT 0,
  name varchar(64) NOT NULL DEFAULT '',
  email varchar(128) NOT NULL DEFAULT '',
  hits bigint unsigned NOT NULL DEFAULT 0,
  body varchar(255) NOT NULL DEFAULT '',
  created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  note varchar(64) DEFAULT NULL,
  PRIMARY KEY (id),
  KEY owner (owner)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
