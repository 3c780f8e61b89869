-- What the named locks of this installation are called. Any account of a server may take any name (GET_LOCK needs no privilege), so
-- theirs are made of something that only those who may read aoscdb know.

CREATE TABLE secrets (
  name  varchar(32) NOT NULL,
  value varchar(128) CHARACTER SET ascii NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

INSERT INTO secrets (name, value) VALUES ('locks', HEX(RANDOM_BYTES(32)));
