package verify_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/testkit"
)

func TestMain(m *testing.M) {
	verify.Hurry()
	testkit.Main(m)
}

// healthy is a copying process that has always caught up.
func healthy(context.Context) (verify.Health, error) {
	return verify.Health{Seen: time.Now().Add(time.Hour)}, nil
}

func open(context.Context) error { return nil }

// compare compares t with _t_gho by the key PRIMARY.
func compare(t *testing.T, db *sql.DB, database string, lossy ...string) (verify.Result, error) {
	t.Helper()
	req := verify.Request{DB: db, ChunkSize: 100, RowsEstimate: 1000, Gate: open, Health: healthy, Lossy: map[string]bool{}}
	for _, name := range lossy {
		req.Lossy[name] = true
	}
	var err error
	if req.Original, err = verify.ReadTable(t.Context(), db, database, "t"); err != nil {
		t.Fatal(err)
	}
	if req.Copy, err = verify.ReadTable(t.Context(), db, database, "_t_gho"); err != nil {
		t.Fatal(err)
	}
	for _, k := range req.Original.Keys {
		if k.Name == "PRIMARY" {
			req.Key = k
		}
	}
	c, err := verify.Prepare(req)
	if err != nil {
		t.Fatal(err)
	}
	return c.Run(t.Context())
}

// wide lists types and values that a copy changes or keeps. INSERT ... SELECT into the new type is what both an ALTER and
// gh-ost do, so it must compare equal; where the value does not survive, it must not.
var wide = []struct {
	from, to string
	values   string // "(1), (2)"
	lossy    bool   // compare as permitted loss
	differs  bool   // the copy has lost something
}{
	{"int", "int", "(1),(-1),(NULL)", false, false},
	{"int", "bigint", "(1),(-2147483648),(NULL)", false, false},
	{"int unsigned", "bigint unsigned", "(4294967295),(0)", false, false},
	{"int(5) zerofill", "int unsigned", "(5),(0)", false, false},
	{"bigint", "int", "(1),(9999999999)", false, true},
	{"bigint", "int", "(1),(9999999999),(-9999999999)", true, false},
	{"int", "int unsigned", "(1),(-5)", false, true},
	{"int", "int unsigned", "(1),(-5)", true, false},
	{"int", "decimal(12,2)", "(1),(-7)", false, false},
	{"decimal(10,2)", "decimal(20,6)", "(1.25),(-99999999.99)", false, false},
	{"decimal(65,0)", "decimal(65,0)", "(" + strings.Repeat("9", 65) + ")", false, false},
	{"decimal(10,4)", "decimal(10,2)", "(1.25),(1.2345)", false, true},
	{"decimal(10,4)", "decimal(10,2)", "(1.25),(1.2355),(-1.2355)", true, false},
	{"decimal(10,2)", "int", "(3),(3.5)", true, false},
	{"decimal(10,2)", "int", "(3.5)", false, true},
	{"float", "float", "(0.1),(3.4e38),(1e-30)", false, false},
	{"float", "double", "(0.1),(3.4e38)", false, false},
	{"double", "double", "(0.1e0+0.2e0),(1e300)", false, false},
	{"double", "float", "(0.1),(123456789.123)", true, false},
	{"float", "decimal(20,6)", "(0.5),(1234.25)", false, false},
	{"int", "varchar(20)", "(1),(-22)", false, false},
	{"double", "varchar(40)", "(0.1e0),(1e100),(20)", true, false},
	{"varchar(20)", "int", "('17'),('-3'),('0'),(NULL)", false, false},
	{"varchar(20)", "int", "('17'),('0042')", false, true},
	{"varchar(20)", "int", "('17'),('0042'),(' 5'),('1.5'),('1e2'),(NULL)", true, false},
	{"varchar(20)", "decimal(10,2)", "('17'),('-3.5'),('0.25')", false, false},
	{"varchar(20)", "decimal(10,2)", "('17.125')", false, true},
	{"varchar(20)", "bigint unsigned", "('18446744073709551615')", false, false},
	{"varchar(20)", "int", "('17 apples')", false, true},
	{"varchar(10)", "varchar(200)", "('a'),(''),(NULL),('trailing ')", false, false},
	{"varchar(10)", "varchar(3)", "('abc'),('abcdef')", false, true},
	{"varchar(10)", "varchar(3)", "('abc'),('abcdef')", true, false},
	{"varchar(10)", "char(10)", "('abc'),('x ')", false, false},
	{"char(10)", "varchar(10)", "('abc'),('')", false, false},
	{"varchar(10)", "text", "('abc'),(NULL)", false, false},
	{"text", "varchar(30)", "('abc')", false, false},
	{"longtext", "longtext", "(REPEAT('x', 100000)),(NULL)", false, false},
	{"varchar(20) charset latin1", "varchar(20) charset utf8mb4", "('caf\u00e9'),('x')", false, false},
	{"varchar(20) charset utf8mb4", "varchar(20) charset latin1", "('caf\u00e9')", false, false},
	{"varchar(20) charset utf8mb4", "varchar(20) charset latin1", "('\u4e16\u754c')", false, true},
	{"varchar(20) charset utf8mb4", "varchar(20) charset latin1", "('\u4e16\u754c'),('a')", true, false},
	{"varchar(20)", "varchar(20) collate utf8mb4_bin", "('A'),('a')", false, false},
	{"varchar(20)", "varbinary(80)", "('abc'),('\u00e9')", false, false},
	{"varbinary(20)", "varchar(20) charset latin1", "('abc'),(x'e9')", false, false},
	{"binary(4)", "binary(8)", "('ab'),(x'00ff')", false, false},
	{"binary(4)", "varbinary(8)", "('ab'),(NULL)", false, false},
	{"varbinary(8)", "binary(8)", "('ab'),('')", false, false},
	{"blob", "longblob", "(x'00ff10'),(NULL)", false, false},
	{"varbinary(20)", "varbinary(2)", "('abc')", false, true},
	{"varbinary(20)", "varbinary(2)", "('abc'),('a')", true, false},
	{"date", "datetime", "('2020-01-31'),(NULL)", false, false},
	{"datetime", "datetime(6)", "('2020-01-31 10:11:12')", false, false},
	{"datetime(6)", "datetime", "('2020-01-31 10:11:12.600000')", false, true},
	{"datetime(6)", "datetime", "('2020-01-31 10:11:12.600000'),('2020-01-31 10:11:12.100000')", true, false},
	{"datetime", "date", "('2020-01-31 10:11:12')", true, false},
	{"datetime", "timestamp", "('2020-01-31 10:11:12')", false, false},
	{"timestamp", "datetime", "('2020-01-31 10:11:12')", false, false},
	{"timestamp(3)", "timestamp(6)", "('2020-01-31 10:11:12.125')", false, false},
	{"datetime", "datetime", "('0000-00-00 00:00:00')", false, false},
	{"time", "time(3)", "('10:11:12'),('-838:59:59')", false, false},
	{"time(3)", "time", "('10:11:12.9')", true, false},
	{"varchar(30)", "datetime", "('2020-01-31 10:11:12')", false, false},
	{"datetime", "varchar(30)", "('2020-01-31 10:11:12')", false, false},
	{"year", "int", "(2020),(NULL)", false, false},
	{"enum('a','b')", "enum('a','b','c')", "('a'),('b'),(NULL)", false, false},
	{"enum('a','b')", "enum('b','a')", "('a'),('b')", false, false},
	{"enum('a','b')", "enum('a')", "('a'),('b')", false, true},
	{"enum('a','b')", "enum('a')", "('a'),('b')", true, false},
	{"enum('a','b')", "varchar(10)", "('a'),('b')", false, false},
	{"varchar(10)", "enum('a','b')", "('a'),('b')", false, false},
	{"varchar(10)", "enum('a','b')", "('A'),('b')", false, true},
	{"varchar(10)", "enum('a','b')", "('A'),('b'),(NULL)", true, false},
	{"int", "enum('1','x')", "(1),(2),(NULL)", false, false},
	{"int", "enum('1','x')", "(1),(2),(NULL)", true, false},
	{"set('x','y')", "set('x','y','z')", "('x'),('x,y'),('')", false, false},
	{"set('x','y')", "varchar(10)", "('x,y')", false, false},
	{"bit(1)", "bit(8)", "(1),(0)", false, false},
	{"bit(8)", "int", "(255)", false, false},
	{"json", "json", `('{"a": 1.0, "b": [1e100, "x"]}'),(NULL)`, false, false},
	{"json", "longtext", `('{"a": [1, 2]}')`, false, false},
	{"varchar(50)", "json", `('{"a":[1,2]}')`, false, false},
	{"longtext", "json", `('{"a":[1,2]}'),(NULL)`, true, false},
	{"point", "geometry", "(ST_GeomFromText('POINT(1 2)'))", false, false},
	{"int", "int NOT NULL", "(1),(NULL)", false, true},
	{"int", "int NOT NULL", "(1),(NULL)", true, false},
	{"varchar(10)", "varchar(10) NOT NULL", "('x'),(NULL)", true, false},
	{"datetime", "datetime NOT NULL", "('2020-01-01'),(NULL)", true, false},
	{"enum('a','b')", "enum('a','b') NOT NULL", "('a'),(NULL)", true, false},
}

func TestExpressions(t *testing.T) {
	srv := testkit.Server(t)
	for i, c := range wide {
		t.Run(fmt.Sprintf("%d %s to %s", i, c.from, c.to), func(t *testing.T) {
			db := testkit.Database(t, srv)
			pairTables(t, srv.DB(), db, "id int PRIMARY KEY AUTO_INCREMENT, v "+c.from, "id int PRIMARY KEY AUTO_INCREMENT, v "+c.to)
			inSession(t, srv.DB(),
				fmt.Sprintf("INSERT INTO %s.t (v) VALUES %s", db, c.values),
				fmt.Sprintf("INSERT IGNORE INTO %[1]s._t_gho SELECT * FROM %[1]s.t", db))
			var lossy []string
			if c.lossy {
				lossy = []string{"v"}
			}
			_, err := compare(t, srv.DB(), db, lossy...)
			var found *verify.Error
			if c.differs != errors.As(err, &found) || !c.differs && err != nil {
				t.Fatalf("got %v, want a difference: %v", err, c.differs)
			}
			if c.differs && !strings.Contains(err.Error(), "`v`") {
				t.Errorf("the column is not named: %v", err)
			}
		})
	}
}

func pairTables(t *testing.T, db *sql.DB, database, original, copied string) {
	t.Helper()
	inSession(t, db, fmt.Sprintf("CREATE TABLE %s.t (%s) DEFAULT CHARSET utf8mb4", database, original),
		fmt.Sprintf("CREATE TABLE %s._t_gho (%s) DEFAULT CHARSET utf8mb4", database, copied))
}

// inSession runs statements on one connection without strict mode, as INSERT IGNORE does.
func inSession(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range append([]string{"SET SESSION sql_mode = ''"}, statements...) {
		if _, err := conn.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// TestKeys walks by keys of every kind that gh-ost walks by, over several chunks, and finds one changed row, one missing
// and one too many wherever they are.
func TestKeys(t *testing.T) {
	srv := testkit.Server(t)
	const n = 450 // chunks of 100
	numbers := fmt.Sprintf("WITH RECURSIVE s AS (SELECT 1 i UNION ALL SELECT i+1 FROM s WHERE i < %d) SELECT ", n)
	for _, c := range []struct{ name, from, to, value string }{
		{"int", "k int PRIMARY KEY", "k bigint PRIMARY KEY", "i*7"},
		{"int unsigned", "k int unsigned PRIMARY KEY", "k int unsigned PRIMARY KEY", "i + 4294960000"},
		{"negative", "k int PRIMARY KEY", "k int PRIMARY KEY", "i - 225"},
		{"decimal", "k decimal(10,2) PRIMARY KEY", "k decimal(14,4) PRIMARY KEY", "i / 4"},
		{"varchar", "k varchar(30) PRIMARY KEY", "k varchar(60) PRIMARY KEY", "CONCAT('\u00e9 it''s ', i)"},
		{"varchar, other collation", "k varchar(30) PRIMARY KEY", "k varchar(30) COLLATE utf8mb4_bin PRIMARY KEY", "CONCAT('n', i)"},
		{"varchar, other charset", "k varchar(30) CHARSET latin1 PRIMARY KEY", "k varchar(30) CHARSET utf8mb4 PRIMARY KEY", "CONCAT('\u00e9', i)"},
		{"enum and int", "e enum('c','b','a'), k int, PRIMARY KEY (e, k)", "e enum('c','b','a'), k int, PRIMARY KEY (e, k)", "i MOD 3 + 1, i"},
		{"binary", "k binary(20) PRIMARY KEY", "k binary(20) PRIMARY KEY", "UNHEX(SHA2(i, 256))"},
		{"varbinary", "k varbinary(40) PRIMARY KEY", "k varbinary(40) PRIMARY KEY", "UNHEX(SHA2(i, 256))"},
		{"datetime", "k datetime PRIMARY KEY", "k datetime(3) PRIMARY KEY", "'2020-01-01' + INTERVAL i SECOND"},
		{"timestamp", "k timestamp PRIMARY KEY", "k timestamp(6) PRIMARY KEY", "'2020-01-01' + INTERVAL i SECOND"},
		{"date", "k date PRIMARY KEY", "k date PRIMARY KEY", "'2020-01-01' + INTERVAL i DAY"},
		{"time", "k time PRIMARY KEY", "k time PRIMARY KEY", "SEC_TO_TIME(i - 200)"},
		{"double", "k double PRIMARY KEY", "k double PRIMARY KEY", "i / 7e0"},
		{"bit", "k bit(20) PRIMARY KEY", "k bit(20) PRIMARY KEY", "i"},
		{"three parts", "a varchar(10), b int, c date, PRIMARY KEY (a, b, c)", "a varchar(10), b bigint, c date, PRIMARY KEY (a, b, c)",
			"CONCAT('p', i DIV 150), i MOD 15, '2020-01-01' + INTERVAL i DAY"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := testkit.Database(t, srv)
			pairTables(t, srv.DB(), db, c.from+", v int", c.to+", v int")
			inSession(t, srv.DB(), fmt.Sprintf("INSERT INTO %s.t %s %s, i FROM s", db, numbers, c.value),
				fmt.Sprintf("INSERT INTO %[1]s._t_gho SELECT * FROM %[1]s.t", db))
			result, err := compare(t, srv.DB(), db)
			if err != nil || result.Rows != n {
				t.Fatalf("%d rows compared, want %d: %v", result.Rows, n, err)
			}
			for _, spoil := range []struct{ statement, reason string }{
				{"UPDATE %s._t_gho SET v = v + 1000 WHERE v = 217", "column `v`"},
				{"DELETE FROM %s._t_gho WHERE v = 1", "missing in the copy"},
				{fmt.Sprintf("DELETE FROM %%s.t WHERE v = %d", n), "not"},
			} {
				inSession(t, srv.DB(), fmt.Sprintf(spoil.statement, db))
				var found *verify.Error
				if _, err := compare(t, srv.DB(), db); !errors.As(err, &found) || !strings.Contains(found.Reason, spoil.reason) {
					t.Fatalf("after %s: %v", spoil.statement, err)
				}
				inSession(t, srv.DB(), fmt.Sprintf("DELETE FROM %s._t_gho", db),
					fmt.Sprintf("INSERT INTO %[1]s._t_gho SELECT * FROM %[1]s.t", db))
			}
		})
	}
}
