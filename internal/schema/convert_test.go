package schema_test

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

// sample is a type and values at the edges of what it holds.
type sample struct {
	typ    string
	values []string // SQL expressions
}

var samples = []sample{
	{"tinyint", []string{"-128", "127", "0"}},
	{"tinyint unsigned", []string{"255", "0"}},
	{"smallint", []string{"-32768", "32767", "2020"}},
	{"mediumint unsigned", []string{"16777215"}},
	{"int", []string{"-2147483648", "2147483647", "16777217"}},
	{"int unsigned", []string{"4294967295", "16777217"}},
	{"bigint", []string{"-9223372036854775808", "9223372036854775807", "9007199254740993"}},
	{"bigint unsigned", []string{"18446744073709551615", "9007199254740993"}},
	{"decimal(10,2)", []string{"12345678.99", "-1.5"}},
	{"decimal(5,0)", []string{"99999", "-99999"}},
	{"decimal(20,6) unsigned", []string{"12345678901234.000001"}},
	{"float", []string{"0.1", "16777216", "1e30"}},
	{"double", []string{"0.1", "1e300", "-9007199254740993"}},
	{"bit(4)", []string{"b'1111'", "b'0'"}},
	{"bit(12)", []string{"b'100000000001'"}},
	{"year", []string{"1999", "2155"}},
	{"char(5)", []string{"'abc'", "'ééééé'"}},
	{"char(10)", []string{"'abcdefghij'"}},
	{"varchar(10)", []string{"'abcdefghij'", "'x  '", "'🐬'", "''"}},
	{"varchar(10) CHARACTER SET latin1", []string{"'éééééééééé'", "'€'"}},
	{"varchar(10) CHARACTER SET ascii", []string{"'abc'"}},
	{"varchar(10) CHARACTER SET utf8mb3", []string{"'жжжжжжжжжж'"}},
	{"varchar(300)", []string{"REPEAT('é', 300)"}},
	{"tinytext", []string{"REPEAT('x', 255)"}},
	{"text", []string{"REPEAT('x', 65535)"}},
	{"text CHARACTER SET latin1", []string{"REPEAT('é', 65535)"}},
	{"mediumtext", []string{"REPEAT('x', 65536)", "'12'"}},
	{"longtext", []string{"REPEAT('é', 70000)", "'{}'"}},
	{"binary(4)", []string{"x'ff00ff00'", "'abcd'"}},
	{"varbinary(8)", []string{"x'ff'", "'ab '", "x'0000'"}},
	{"tinyblob", []string{"x'c3a9'", "'a'"}},
	{"blob", []string{"REPEAT('x', 65535)"}},
	{"enum('a','b','c')", []string{"'a'", "'c'"}},
	{"enum('b','a')", []string{"'a'", "'b'"}},
	{"enum('a','b','c','it''s')", []string{"'it''s'"}},
	{"set('a','b')", []string{"'a,b'", "''"}},
	{"set('a','b','c')", []string{"'a,c'"}},
	{"date", []string{"'2020-02-29'", "'1000-01-01'"}},
	{"datetime", []string{"'2020-02-29 23:59:59'", "'1000-01-01 00:00:00'"}},
	{"datetime(3)", []string{"'2020-02-29 23:59:59.123'"}},
	{"datetime(6)", []string{"'2020-02-29 23:59:59.123456'"}},
	{"timestamp(2) NULL", []string{"'2020-02-29 23:59:59.12'"}},
	{"time", []string{"'-838:59:59'", "'10:00:00'"}},
	{"time(6)", []string{"'10:00:00.000001'"}},
	{"json", []string{`'{"a": [1, "é"]}'`, "'1'"}},
	{"point", []string{"ST_GeomFromText('POINT(1 2)')"}},
	{"geometry", []string{"ST_GeomFromText('LINESTRING(1 2, 3 4)')"}},
}

// harmless are findings that hold though values survive the way there and back: they become something else meanwhile, or
// are counted otherwise in the binary log.
var harmless = map[string]bool{schema.ConvertColumn: true, schema.EnumReorder: true, schema.CharsetLoss: true}

// TestNoLossGoesUnnoticed converts values of each type to every other type and back, as the server does it when nothing
// is strict. Where a value does not survive, a finding must say so (I6), by its check where it has one.
func TestNoLossGoesUnnoticed(t *testing.T) {
	t.Parallel()
	srv := testkit.FreshServer(t, map[string]string{"innodb_flush_method": "nosync", "innodb_doublewrite": "OFF"})
	database := testkit.Database(t, srv)
	env := envOf(t, srv, database)
	mat := &schema.Materialiser{}
	forms := make([]schema.Form, len(samples))
	for i, s := range samples {
		f, err := mat.Form(t.Context(), srv.DB(), desired("t", "CREATE TABLE t (id int PRIMARY KEY, v "+s.typ+")"), env)
		if err != nil {
			t.Fatal(err)
		}
		forms[i] = f
	}
	mode := "NO_ENGINE_SUBSTITUTION"
	for i, from := range samples {
		t.Run(from.typ, func(t *testing.T) {
			t.Parallel()
			err := mysql.WithSession(t.Context(), srv.DB(), mysql.Session{DB: database, SQLMode: &mode}, func(ctx context.Context, conn *sql.Conn) error {
				c := &converter{t: t, conn: conn, table: fmt.Sprintf("s%d", i), from: from}
				c.fill()
				for j, to := range samples {
					if i != j {
						c.to(to, database, forms[i], forms[j], env.Version)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

type converter struct {
	t     *testing.T
	conn  *sql.Conn
	table string
	from  sample
}

func (c *converter) exec(statement string) error {
	_, err := c.conn.ExecContext(c.t.Context(), statement)
	return err
}

func (c *converter) must(statement string) {
	c.t.Helper()
	if err := c.exec(statement); err != nil {
		c.t.Fatal(statement, err)
	}
}

// fill makes the table of values, and one with a column of each type for where they go and come back from.
func (c *converter) fill() {
	c.must("CREATE TABLE " + c.table + " (id int AUTO_INCREMENT PRIMARY KEY, v " + c.from.typ + ")")
	c.must("INSERT INTO " + c.table + " (v) VALUES (" + strings.Join(c.from.values, "), (") + "), (NULL)")
}

// to compares what a conversion does with what is found about it.
func (c *converter) to(to sample, database string, current, desired schema.Form, version string) {
	change, err := schema.Diff(current, desired, version)
	if err != nil {
		c.t.Errorf("to %s: %v", to.typ, err)
		return
	}
	noticed, checked := "", false
	for _, f := range change.Findings {
		is, err := f.Real(c.t.Context(), c.conn, database, c.table)
		if err != nil {
			c.t.Errorf("to %s: %v", to.typ, err)
		}
		if is {
			noticed = f.String()
			checked = checked || f.Check != nil && !harmless[f.Code]
		}
	}
	switch lost := c.lost(to); {
	case lost != "" && noticed == "":
		c.t.Errorf("to %s loses %s, and nothing is found: %v", to.typ, lost, change.Findings)
	case lost == "" && checked:
		c.t.Errorf("to %s loses nothing, but: %s", to.typ, noticed)
	}
}

// wholeNumbers are types of whole numbers.
var wholeNumbers = regexp.MustCompile("^(tinyint|smallint|mediumint|int|bigint|year)")

// lost converts the values there and back, and returns one that does not survive.
func (c *converter) lost(to sample) string {
	c.must("CREATE TEMPORARY TABLE there (id int PRIMARY KEY, v " + to.typ + ")")
	defer c.must("DROP TEMPORARY TABLE there")
	c.must("CREATE TEMPORARY TABLE back (id int PRIMARY KEY, v " + c.from.typ + ")")
	defer c.must("DROP TEMPORARY TABLE back")
	value, again := "v", "v"
	if wholeNumbers.MatchString(c.from.typ) && to.typ == "json" {
		// As ALTER TABLE makes it; on the way back the server takes the largest number of all for one out of range.
		value, again = "CAST(CONCAT(v) AS JSON)", "CAST(v AS CHAR)"
	}
	if err := c.exec("INSERT IGNORE INTO there SELECT id, " + value + " FROM " + c.table); err != nil {
		return err.Error()
	}
	if err := c.exec("INSERT IGNORE INTO back SELECT id, " + again + " FROM there"); err != nil {
		return err.Error()
	}
	var example sql.NullString
	err := c.conn.QueryRowContext(c.t.Context(), "SELECT CONCAT(LEFT(HEX(o.v), 40), ' becomes ', COALESCE(LEFT(HEX(b.v), 40), 'NULL')) FROM "+c.table+
		" o LEFT JOIN back b USING (id) WHERE o.v IS NOT NULL AND (b.v IS NULL OR CAST(o.v AS BINARY) <> CAST(b.v AS BINARY)) LIMIT 1").Scan(&example)
	if err != nil && err != sql.ErrNoRows {
		c.t.Fatal(to.typ, err)
	}
	return example.String
}
