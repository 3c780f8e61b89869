package pairs

import gostrings "strings"

var generated = []Pair{
	{Name: "add a virtual column", Before: `CREATE TABLE t (id int PRIMARY KEY, a int)`, After: `CREATE TABLE t (id int PRIMARY KEY, a int, g int AS (a * 2) VIRTUAL)`,
		Rows: []string{`INSERT INTO t VALUES (1, 1)`}, Way: Instant},
	{Name: "add a stored column", Before: `CREATE TABLE t (id int PRIMARY KEY, a varchar(9))`, After: `CREATE TABLE t (id int PRIMARY KEY, a varchar(9), g varchar(30) AS (concat(a, 'it''s', "\n")) STORED NOT NULL, KEY k (g))`,
		Rows: []string{`INSERT INTO t VALUES (1, 'x')`}, Way: Copy, BuildsIndex: true},
	{Name: "drop a virtual column", Before: `CREATE TABLE t (id int PRIMARY KEY, a int, g int AS (a * 2) VIRTUAL)`, After: `CREATE TABLE t (id int PRIMARY KEY, a int)`,
		Rows: []string{`INSERT INTO t (id, a) VALUES (1, 1)`}, Way: Instant},
	{Name: "drop a stored column", Before: `CREATE TABLE t (id int PRIMARY KEY, a int, g int AS (a * 2) STORED)`, After: `CREATE TABLE t (id int PRIMARY KEY, a int)`,
		Rows: []string{`INSERT INTO t (id, a) VALUES (1, 1)`}, Way: Instant},
	{Name: "expression of a stored column", Before: `CREATE TABLE t (id int PRIMARY KEY, a int, g int AS (a * 2) STORED, KEY k (g))`, After: `CREATE TABLE t (id int PRIMARY KEY, a int, g int AS (a * 3) STORED, KEY k (g))`,
		Rows: []string{`INSERT INTO t (id, a) VALUES (1, 1)`}, Way: Copy, BuildsIndex: true},
	{Name: "expression of a virtual column", Before: `CREATE TABLE t (id int PRIMARY KEY, a int, g int AS (a * 2) VIRTUAL, KEY k (g))`, After: `CREATE TABLE t (id int PRIMARY KEY, a int, g int AS (a * 3) VIRTUAL, KEY k (g))`,
		Rows: []string{`INSERT INTO t (id, a) VALUES (1, 1)`}, Way: Copy, BuildsIndex: true},
	{Name: "virtual to stored", Before: `CREATE TABLE t (id int PRIMARY KEY, g int AS (a * 2) VIRTUAL, a int, KEY k (g))`, After: `CREATE TABLE t (id int PRIMARY KEY, g int AS (a * 2) STORED, a int, KEY k (g))`,
		Rows: []string{`INSERT INTO t (id, a) VALUES (1, 1)`}, Way: Copy, BuildsIndex: true},
	{Name: "stored to virtual", Before: `CREATE TABLE t (id int PRIMARY KEY, a int, g int AS (a * 2) STORED)`, After: `CREATE TABLE t (id int PRIMARY KEY, a int, g int AS (a * 2) VIRTUAL)`,
		Rows: []string{`INSERT INTO t (id, a) VALUES (1, 1)`}, Way: Instant},
	{Name: "stored to plain", Before: `CREATE TABLE t (id int PRIMARY KEY, a int, g int AS (a * 2) STORED)`, After: `CREATE TABLE t (id int PRIMARY KEY, a int, g int)`,
		Rows: []string{`INSERT INTO t (id, a) VALUES (1, 1)`}, Way: Copy, BuildsIndex: true, Findings: []string{"generated"},
		Real: []string{"generated"}},
	{Name: "plain to stored", Before: `CREATE TABLE t (id int PRIMARY KEY, a int, g int)`, After: `CREATE TABLE t (id int PRIMARY KEY, a int, g int AS (a * 2) STORED)`,
		Rows: []string{`INSERT INTO t VALUES (1, 1, 9)`}, Way: Copy, BuildsIndex: true, Findings: []string{"generated"},
		Real: []string{"generated"}},
	{Name: "virtual to plain", Before: `CREATE TABLE t (id int PRIMARY KEY, a int, g int AS (a * 2) VIRTUAL)`, After: `CREATE TABLE t (id int PRIMARY KEY, a int, g int)`,
		Rows: []string{`INSERT INTO t (id, a) VALUES (1, 1)`}, Way: Copy, BuildsIndex: true, Findings: []string{"generated"}, Real: []string{"generated"}, NoCopy: true},
	{Name: "column beside generated ones", Before: `CREATE TABLE t (id int PRIMARY KEY, a int, s int AS (id + 1) STORED, v int AS (id * 2) VIRTUAL, j json)`,
		After: `CREATE TABLE t (id int PRIMARY KEY, a bigint, s int AS (id + 1) STORED, v int AS (id * 2) VIRTUAL, j json)`,
		Rows:  []string{`INSERT INTO t (id, a, j) VALUES (1, 1, '{"a": [1, "é"]}')`}, Way: Copy, BuildsIndex: true},
}

const byYear = "PARTITION BY RANGE (year(d)) (PARTITION p20 VALUES LESS THAN (2021), PARTITION p21 VALUES LESS THAN (2022)"

var partitions = []Pair{
	{Name: "partition added", Before: `CREATE TABLE t (id int, d date, PRIMARY KEY (id, d)) ` + byYear + `)`,
		After: `CREATE TABLE t (id int, d date, PRIMARY KEY (id, d)) ` + byYear + `, PARTITION p22 VALUES LESS THAN (2023))`,
		Rows:  []string{`INSERT INTO t VALUES (1, '2021-05-05')`}, Way: Inplace},
	{Name: "partition dropped", Before: `CREATE TABLE t (id int, d date, PRIMARY KEY (id, d)) ` + byYear + `)`,
		After: `CREATE TABLE t (id int, d date, PRIMARY KEY (id, d)) PARTITION BY RANGE (year(d)) (PARTITION p21 VALUES LESS THAN (2022))`,
		Rows:  []string{`INSERT INTO t VALUES (1, '2020-05-05')`}, Way: Inplace, Findings: []string{"drop_partition"}, Real: []string{"drop_partition"}},
	{Name: "empty partition dropped, two added", Before: `CREATE TABLE t (id int, d date, PRIMARY KEY (id, d)) ` + byYear + `)`,
		After: `CREATE TABLE t (id int, d date, PRIMARY KEY (id, d)) PARTITION BY RANGE (year(d)) (PARTITION p21 VALUES LESS THAN (2022), PARTITION p22 VALUES LESS THAN (2023), PARTITION rest VALUES LESS THAN MAXVALUE)`,
		Rows:  []string{`INSERT INTO t VALUES (1, '2021-05-05')`}, Way: Inplace, Findings: []string{"drop_partition"}, NoCopy: true},
	{Name: "partition added beside a column", Before: `CREATE TABLE t (id int, d date, a int, PRIMARY KEY (id, d)) ` + byYear + `)`,
		After: `CREATE TABLE t (id int, d date, a bigint, PRIMARY KEY (id, d)) ` + byYear + `, PARTITION p22 VALUES LESS THAN (2023))`,
		Rows:  []string{`INSERT INTO t VALUES (1, '2021-05-05', 1)`}, Way: Copy, BuildsIndex: true},
	{Name: "partition split", Before: `CREATE TABLE t (id int, d date, PRIMARY KEY (id, d)) ` + byYear + `, PARTITION rest VALUES LESS THAN MAXVALUE)`,
		After: `CREATE TABLE t (id int, d date, PRIMARY KEY (id, d)) ` + byYear + `, PARTITION p22 VALUES LESS THAN (2023), PARTITION rest VALUES LESS THAN MAXVALUE)`,
		Rows:  []string{`INSERT INTO t VALUES (1, '2022-05-05')`}, Way: Copy, BuildsIndex: true},
	{Name: "partitioning added", Before: `CREATE TABLE t (id int PRIMARY KEY, a int)`, After: `CREATE TABLE t (id int PRIMARY KEY, a int) PARTITION BY HASH (id) PARTITIONS 4`,
		Rows: []string{`INSERT INTO t VALUES (1, 1), (2, 2)`}, Way: Copy, BuildsIndex: true},
	{Name: "partitioning added that leaves rows out", Before: `CREATE TABLE t (id int PRIMARY KEY, a int)`, After: `CREATE TABLE t (id int PRIMARY KEY, a int) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10))`,
		Rows: []string{`INSERT INTO t VALUES (10, 1)`}, Way: Copy, BuildsIndex: true, Findings: []string{"repartition"}, Real: []string{"repartition"}},
	{Name: "partitioning removed", Before: `CREATE TABLE t (id int PRIMARY KEY, a int) PARTITION BY KEY (id) PARTITIONS 3`, After: `CREATE TABLE t (id int PRIMARY KEY, a int)`,
		Rows: []string{`INSERT INTO t VALUES (1, 1), (2, 2)`}, Way: Copy, BuildsIndex: true, Alter: "REMOVE PARTITIONING"},
	{Name: "more hash partitions", Before: `CREATE TABLE t (id int PRIMARY KEY, a int) PARTITION BY HASH (id) PARTITIONS 2`, After: `CREATE TABLE t (id int PRIMARY KEY, a int) PARTITION BY HASH (id) PARTITIONS 4`,
		Rows: []string{`INSERT INTO t VALUES (1, 1), (2, 2)`}, Way: Copy, BuildsIndex: true},
	{Name: "list values", Before: `CREATE TABLE t (id int, k varchar(9), PRIMARY KEY (id, k)) PARTITION BY LIST COLUMNS (k) (PARTITION p0 VALUES IN ('a', 'it''s'), PARTITION p1 VALUES IN ('c'))`,
		After: `CREATE TABLE t (id int, k varchar(9), PRIMARY KEY (id, k)) PARTITION BY LIST COLUMNS (k) (PARTITION p0 VALUES IN ('a'), PARTITION p1 VALUES IN ('c', 'd'))`,
		Rows:  []string{`INSERT INTO t VALUES (1, 'a'), (1, 'c')`}, Way: Copy, BuildsIndex: true, Findings: []string{"repartition"}},
	{Name: "column of a partitioned table", Before: `CREATE TABLE t (id int, d date, PRIMARY KEY (id, d)) ` + byYear + `)`,
		After: `CREATE TABLE t (id int, d date, a int, PRIMARY KEY (id, d)) ` + byYear + `)`,
		Rows:  []string{`INSERT INTO t VALUES (1, '2021-05-05')`}, Way: Instant},
	{Name: "subpartitions", Before: `CREATE TABLE t (id int, d date, a int, PRIMARY KEY (id, d)) PARTITION BY RANGE COLUMNS (d) SUBPARTITION BY HASH (id) SUBPARTITIONS 2 (PARTITION p0 VALUES LESS THAN ('2020-01-01'), PARTITION p1 VALUES LESS THAN (MAXVALUE))`,
		After: `CREATE TABLE t (id int, d date, a bigint, PRIMARY KEY (id, d)) PARTITION BY RANGE COLUMNS (d) SUBPARTITION BY HASH (id) SUBPARTITIONS 2 (PARTITION p0 VALUES LESS THAN ('2020-01-01'), PARTITION p1 VALUES LESS THAN (MAXVALUE))`,
		Rows:  []string{`INSERT INTO t VALUES (1, '2021-05-05', 1)`}, Way: Copy, BuildsIndex: true},
}

var options = []Pair{
	{Name: "row format", Before: `CREATE TABLE t (id int PRIMARY KEY, a varchar(20)) ROW_FORMAT=COMPACT`, After: `CREATE TABLE t (id int PRIMARY KEY, a varchar(20)) ROW_FORMAT=DYNAMIC`,
		Rows: []string{`INSERT INTO t VALUES (1, 'x')`}, Way: Rebuild, BuildsIndex: true},
	{Name: "row format dropped", Before: `CREATE TABLE t (id int PRIMARY KEY, a varchar(20)) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8`, After: `CREATE TABLE t (id int PRIMARY KEY, a varchar(20))`,
		Rows: []string{`INSERT INTO t VALUES (1, 'x')`}, Way: Rebuild, BuildsIndex: true},
	{Name: "statistics options", Before: `CREATE TABLE t (id int PRIMARY KEY) STATS_PERSISTENT=1 STATS_SAMPLE_PAGES=40 MIN_ROWS=4`, After: `CREATE TABLE t (id int PRIMARY KEY) STATS_AUTO_RECALC=0 MAX_ROWS=10`,
		Rows: []string{`INSERT INTO t VALUES (1)`}, Way: Inplace},
	{Name: "page compression", Before: `CREATE TABLE t (id int PRIMARY KEY, a varchar(20))`, After: `CREATE TABLE t (id int PRIMARY KEY, a varchar(20)) COMPRESSION='zlib'`,
		Rows: []string{`INSERT INTO t VALUES (1, 'x')`}, Way: Inplace},
	{Name: "engine", Before: `CREATE TABLE t (id int PRIMARY KEY, a int) ENGINE=InnoDB`, After: `CREATE TABLE t (id int PRIMARY KEY, a int) ENGINE=MyISAM`,
		Rows: []string{`INSERT INTO t VALUES (1, 1)`}, Way: Copy, BuildsIndex: true, Findings: []string{"engine"}, Real: []string{"engine"}},
	{Name: "to InnoDB", Before: `CREATE TABLE t (id int PRIMARY KEY, a int) ENGINE=MyISAM`, After: `CREATE TABLE t (id int PRIMARY KEY, a int) ENGINE=InnoDB`,
		Rows: []string{`INSERT INTO t VALUES (1, 1)`}, Way: Copy, BuildsIndex: true},
	{Name: "many changes at once", Before: `CREATE TABLE t (id int NOT NULL AUTO_INCREMENT, a int, b varchar(10), c int, PRIMARY KEY (id), KEY ka (a)) DEFAULT CHARSET=latin1 COMMENT='x'`,
		After: `CREATE TABLE t (id bigint unsigned NOT NULL AUTO_INCREMENT, b varchar(20) NOT NULL DEFAULT '', a int, d json, PRIMARY KEY (id), KEY kb (b), KEY ka (a, d_id), d_id int AS (d->>'$.id') STORED) DEFAULT CHARSET=utf8mb4 COMMENT='y'`,
		Rows:  []string{`INSERT INTO t VALUES (1, 1, 'é', 3)`}, Way: Copy, BuildsIndex: true, Findings: []string{"drop_column", "narrow_column", "not_null"}, Real: []string{"drop_column"}},
}

var (
	long     = gostrings.Repeat("n", 64)
	longUTF8 = gostrings.Repeat("ж", 64)
)

var names = []Pair{
	{Name: "64 characters", Table: long, Before: "CREATE TABLE " + long + " (" + long + " int PRIMARY KEY, a int)", After: "CREATE TABLE " + long + " (" + long + " int PRIMARY KEY, a bigint, " + long[1:] + " int, KEY " + long + " (a))",
		Rows: []string{"INSERT INTO " + long + " VALUES (1, 1)"}, Way: Copy, BuildsIndex: true},
	{Name: "64 characters of two bytes", Table: longUTF8, Before: "CREATE TABLE `" + longUTF8 + "` (id int PRIMARY KEY, `" + longUTF8 + "` int)", After: "CREATE TABLE `" + longUTF8 + "` (id int PRIMARY KEY, `" + longUTF8 + "` bigint)",
		Rows: []string{"INSERT INTO `" + longUTF8 + "` VALUES (1, 1)"}, Way: Copy, BuildsIndex: true},
	{Name: "quotes, spaces and backticks", Table: "it's a \"t`ble\"", Before: "CREATE TABLE `it's a \"t``ble\"` (`i``d` int PRIMARY KEY, `a b` int, `c,d(` varchar(9) DEFAULT 'x`y')",
		After: "CREATE TABLE `it's a \"t``ble\"` (`i``d` int PRIMARY KEY, `a b` bigint, `c,d(` varchar(9) DEFAULT 'x`y', `it's;--` int, KEY `k``'\"` (`a b`))",
		Rows:  []string{"INSERT INTO `it's a \"t``ble\"` VALUES (1, 1, 'x')"}, Way: Copy, BuildsIndex: true},
	{Name: "reserved words", Table: "select", Before: "CREATE TABLE `select` (`key` int PRIMARY KEY, `order` int, `group` varchar(3))", After: "CREATE TABLE `select` (`key` int PRIMARY KEY, `order` bigint, `group` varchar(3), `values` int, KEY `primary key` (`order`))",
		Rows: []string{"INSERT INTO `select` VALUES (1, 1, 'x')"}, Way: Copy, BuildsIndex: true},
	{Name: "other alphabets", Table: "таблица", Before: "CREATE TABLE `таблица` (`ид` int PRIMARY KEY, `имя` varchar(20) COMMENT 'имя 🐬')", After: "CREATE TABLE `таблица` (`ид` int PRIMARY KEY, `имя` varchar(30) COMMENT 'имя 🐬🐬', `表` enum('да','нет') DEFAULT 'да')",
		Rows: []string{"INSERT INTO `таблица` VALUES (1, '🐬')"}, Way: Rebuild, BuildsIndex: true},
	{Name: "letter case of a column", Before: `CREATE TABLE t (id int PRIMARY KEY, UserName int)`, After: `CREATE TABLE t (id int PRIMARY KEY, username int, b int)`,
		Rows: []string{`INSERT INTO t VALUES (1, 1)`}, Way: Instant},
}
