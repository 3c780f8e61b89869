-- Accounts. The address is compared without case; the domain is what most reports group by.
CREATE TABLE users (
  id         bigint unsigned NOT NULL AUTO_INCREMENT,
  email      varchar(190) NOT NULL,
  domain     varchar(190) GENERATED ALWAYS AS (substring_index(email, '@', -1)) VIRTUAL,
  name       varchar(100) NOT NULL DEFAULT '',
  status     enum('new','active','locked','closed') NOT NULL DEFAULT 'new',
  settings   json DEFAULT NULL COMMENT 'what the user chose; see "defaults" in the application',
  created_at datetime(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  updated_at datetime(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  PRIMARY KEY (id),
  UNIQUE KEY email (email),
  KEY domain (domain, created_at DESC),
  KEY theme ((CAST(settings->>'$.theme' AS char(20)))),
  CONSTRAINT email_has_at CHECK (email LIKE '%_@_%')
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
