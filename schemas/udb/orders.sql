CREATE TABLE orders (
  id         bigint unsigned NOT NULL AUTO_INCREMENT,
  user_id    bigint unsigned NOT NULL,
  state      enum('open','paid','sent','done','refunded') NOT NULL DEFAULT 'open',
  currency   char(3) CHARACTER SET ascii NOT NULL DEFAULT 'EUR',
  total      decimal(12,2) NOT NULL DEFAULT '0.00',
  note       text,
  placed_at  timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  KEY by_user (user_id, placed_at),
  KEY by_state (state, placed_at),
  CONSTRAINT total_not_negative CHECK (total >= 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
