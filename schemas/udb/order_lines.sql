CREATE TABLE order_lines (
  order_id bigint unsigned NOT NULL,
  line     smallint unsigned NOT NULL,
  sku      varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  quantity int unsigned NOT NULL DEFAULT 1,
  price    decimal(12,2) NOT NULL,
  amount   decimal(14,2) GENERATED ALWAYS AS (quantity * price) STORED,
  PRIMARY KEY (order_id, line),
  KEY sku (sku)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
