package osc

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/testkit"
)

// keyedCases are changes that a copy by 'keyed' makes, or that are refused beforehand with what to do.
var keyedCases = []struct {
	name, before string
	rows         []string
	meanwhile    string // while the copy is compared
	after        string
	allow        bool   // allow_unsafe
	refused      string // a part of the refusal, "" = it is made
}{
	{name: "utf8mb3 to utf8mb4 under a unique key", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, a varchar(100) NOT NULL, " +
		"UNIQUE KEY u (a)) CHARSET utf8mb3",
		rows: []string{"INSERT INTO t VALUES (1,'a'),(2,'b'),(3,'é')"}, meanwhile: "UPDATE t SET a = CONCAT(a, 'ж') WHERE id > 1",
		after: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, a varchar(100) NOT NULL, UNIQUE KEY u (a)) CHARSET utf8mb4 COLLATE " +
			"utf8mb4_general_ci"},
	{name: "utf8mb3 to another collation of utf8mb4 under a unique key",
		before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, a varchar(100) NOT NULL, UNIQUE KEY u (a)) CHARSET utf8mb3",
		rows:   []string{"INSERT INTO t VALUES (1,'a'),(2,'b'),(3,'é')"}, meanwhile: "INSERT INTO t VALUES (4, 'ж')",
		after: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, a varchar(100) NOT NULL, UNIQUE KEY u (a)) CHARSET utf8mb4 COLLATE " +
			"utf8mb4_unicode_ci"},
	{name: "rows that are equal by the new collation", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, a varchar(100) NOT NULL, " +
		"UNIQUE KEY u (a)) CHARSET utf8mb4 COLLATE utf8mb4_general_ci",
		rows: []string{"INSERT INTO t VALUES (1,'ss'),(2,'ß')"}, refused: "rows are in the way",
		after: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, a varchar(100) NOT NULL, UNIQUE KEY u (a)) CHARSET utf8mb4 COLLATE " +
			"utf8mb4_0900_ai_ci"},
	{name: "the primary key's collation", before: "CREATE TABLE t (id varchar(100) NOT NULL PRIMARY KEY, k varchar(20) COLLATE " +
		"utf8mb4_general_ci) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_0900_ai_ci",
		rows: []string{"INSERT INTO t VALUES ('a','b'),('c ','d')"}, meanwhile: "UPDATE t SET id = 'x' WHERE id = 'a'",
		after: "CREATE TABLE t (id varchar(100) COLLATE utf8mb4_general_ci NOT NULL PRIMARY KEY, k varchar(20)) DEFAULT CHARSET utf8mb4 " +
			"COLLATE utf8mb4_general_ci"},
	{name: "the error value of an ENUM", before: "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, e ENUM('p','s'), f ENUM('p','s') " +
		"NOT NULL, s SET('a','b'), n INT)",
		rows:      []string{"INSERT IGNORE INTO t (e,f,s,n) VALUES ('p','p','a',1),('zzz','zzz','',2),('s','s','a,b',3),(NULL,'p',NULL,4)"},
		meanwhile: "UPDATE t SET n = n + 1",
		after: "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, e ENUM('p','s'), f ENUM('p','s') NOT NULL, s " +
			"SET('a','b'), n INT)"},
	{name: "members in another order", before: "CREATE TABLE t (id INT PRIMARY KEY, e ENUM('p','s'), s SET('a','b'))", allow: true,
		rows: []string{"INSERT IGNORE INTO t VALUES (1,'p','a'),(2,'zzz','a,b'),(3,'s','')"}, meanwhile: "UPDATE t SET s = 'b' WHERE id = 2",
		after: "CREATE TABLE t (id INT PRIMARY KEY, e ENUM('s','x','p'), s SET('b','a'))"},
	{name: "a latin1 text key", before: "CREATE TABLE t (id varchar(20) NOT NULL PRIMARY KEY, n int) CHARSET latin1",
		rows: []string{"INSERT INTO t VALUES ('é', 1), ('b', 2), (x'818d', 3)"}, meanwhile: "UPDATE t SET n = 7 WHERE id = 'é'",
		after: "CREATE TABLE t (id varchar(20) NOT NULL PRIMARY KEY, n bigint) CHARSET latin1"},
	{name: "a latin1 text key to utf8mb4", before: "CREATE TABLE t (id varchar(20) NOT NULL PRIMARY KEY, n int) CHARSET latin1 COLLATE " +
		"latin1_bin",
		rows: []string{"INSERT INTO t VALUES ('é', 1), ('b', 2), ('B', 3)"}, meanwhile: "DELETE FROM t WHERE id = 'B'",
		after: "CREATE TABLE t (id varchar(20) NOT NULL PRIMARY KEY, n bigint) CHARSET utf8mb4 COLLATE utf8mb4_bin"},
	{name: "the case of a key's column", before: "CREATE TABLE t (ID int NOT NULL PRIMARY KEY, n int)",
		rows: []string{"INSERT INTO t VALUES (1, 1), (2, 2)"}, meanwhile: "UPDATE t SET ID = 5 WHERE ID = 1",
		after: "CREATE TABLE t (id bigint NOT NULL PRIMARY KEY, n varchar(20))"},
	{name: "int to JSON", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n int, b bigint unsigned)",
		rows: []string{"INSERT INTO t VALUES (1, -7, 18446744073709551615), (2, NULL, 0)"}, meanwhile: "UPDATE t SET n = 5",
		after: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n json, b json)"},
	{name: "int to ENUM", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n int)",
		rows: []string{"INSERT INTO t VALUES (1, 1), (2, NULL), (3, 2)"}, meanwhile: "UPDATE t SET n = 2",
		after: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n ENUM('1','2','3'))"},
	{name: "int to ENUM of other texts", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n int)",
		rows: []string{"INSERT INTO t VALUES (1, 1)"}, refused: "numbers become the members of these numbers",
		after: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n ENUM('0','1'))"},
	{name: "int to ENUM of other texts, allowed", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n int)", allow: true,
		rows: []string{"INSERT INTO t VALUES (1, 1)"}, meanwhile: "UPDATE t SET n = 2",
		after: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n ENUM('0','1'))"},
	{name: "text to int", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n varchar(20), d text)",
		rows:      []string{"INSERT INTO t VALUES (1, '42', '1.5'), (2, NULL, '-3'), (3, '-2147483648', NULL)"},
		meanwhile: "UPDATE t SET n = '43' WHERE id = 1",
		after:     "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n int, d decimal(10,2))"},
	{name: "text to int, written otherwise", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n varchar(20))",
		rows: []string{"INSERT INTO t VALUES (1, '42'), (2, '007')"}, refused: "numbers that are written otherwise",
		after: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n int)"},
	{name: "text to int, written otherwise, allowed", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n varchar(20))", allow: true,
		rows: []string{"INSERT INTO t VALUES (1, '42'), (2, '007'), (3, ' 1.5')"}, meanwhile: "UPDATE t SET n = '1e2' WHERE id = 1",
		after: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n int)"},
	{name: "text that is no int, allowed", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n varchar(20))", allow: true,
		rows: []string{"INSERT INTO t VALUES (1, '42'), (2, '7 apples')"}, refused: "Correct these rows first",
		after: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n int)"},
	{name: "text to datetime", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n varchar(40), d varchar(40), h text, e varchar(9))",
		rows:      []string{"INSERT INTO t VALUES (1, '2024-02-29 10:00:00', '2024-02-29', '-838:59:59', 'x'), (2, NULL, NULL, NULL, NULL)"},
		meanwhile: "UPDATE t SET n = '2024-03-10 02:30:00'",
		after:     "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n datetime, d date, h time, e enum('y','x'))"},
	{name: "text to datetime, not all", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n varchar(40))",
		rows:    []string{"INSERT INTO t VALUES (1, '2024-02-29 10:00:00'), (2, 'tomorrow')"},
		refused: "only dates, with or without a time of day, fit",
		after:   "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n datetime)"},
	{name: "another primary key", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, tenant int NOT NULL, v varchar(20))",
		rows: []string{"INSERT INTO t VALUES (1, 5, 'a'), (2, 5, 'b'), (3, 6, 'c')"}, meanwhile: "UPDATE t SET tenant = 7, id = 9 WHERE id = 1",
		after: "CREATE TABLE t (id int NOT NULL, tenant int NOT NULL, v varchar(20), PRIMARY KEY (tenant, id))"},
	{name: "another primary key, by partitions", before: "CREATE TABLE t (id int NOT NULL AUTO_INCREMENT, day date NOT NULL, v " +
		"varchar(20), PRIMARY KEY (id))",
		rows:      []string{"INSERT INTO t VALUES (1, '2024-01-01', 'a'), (2, '2024-02-01', 'b')"},
		meanwhile: "UPDATE t SET day = '2024-03-01' WHERE id = 1",
		after: "CREATE TABLE t (id int NOT NULL AUTO_INCREMENT, day date NOT NULL, v varchar(200), PRIMARY KEY (id, day)) " +
			"PARTITION BY RANGE COLUMNS (day) (PARTITION p1 VALUES LESS THAN ('2024-02-01'), PARTITION p2 VALUES LESS THAN (MAXVALUE))"},
	{name: "another primary key whose column goes", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, code varchar(20) NOT NULL)",
		allow: true,
		rows:  []string{"INSERT INTO t VALUES (1, 'a'), (2, 'b')"}, refused: "Commit the new key first",
		after: "CREATE TABLE t (code varchar(20) NOT NULL PRIMARY KEY)"},
	{name: "no key", before: "CREATE TABLE t (id int, v varchar(20))", rows: []string{"INSERT INTO t VALUES (1, 'a')"},
		refused: "direct_max_rows", after: "CREATE TABLE t (id int, v text)"},
	{name: "a type of the key that is no order of the same", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, v varchar(20))",
		rows: []string{"INSERT INTO t VALUES (1, 'a')"}, refused: "direct_max_rows",
		after: "CREATE TABLE t (id varchar(20) NOT NULL PRIMARY KEY, v varchar(20))"},
	{name: "a generated column that is unique", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, v varchar(20), " +
		"g varchar(30) GENERATED ALWAYS AS (upper(v)) STORED, h varchar(30) GENERATED ALWAYS AS (lower(v)) VIRTUAL, UNIQUE KEY (g), UNIQUE " +
		"KEY (h))",
		rows: []string{"INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b'), (3, NULL)"}, meanwhile: "UPDATE t SET v = CONCAT('z', v)",
		after: "CREATE TABLE t (id bigint NOT NULL PRIMARY KEY, v varchar(20), " +
			"g varchar(30) GENERATED ALWAYS AS (upper(v)) STORED, h varchar(30) GENERATED ALWAYS AS (lower(v)) VIRTUAL, UNIQUE KEY (g), UNIQUE " +
			"KEY (h))"},
	{name: "a column that starts to be generated", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, v varchar(20), g varchar(30), s " +
		"varchar(30) AS (upper(v)) STORED)", allow: true,
		rows: []string{"INSERT INTO t (id, v, g) VALUES (1, 'a', 'x'), (2, 'b', 'y')"}, meanwhile: "UPDATE t SET v = CONCAT('z', v)",
		after: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, v varchar(20), g varchar(30) GENERATED ALWAYS AS (upper(v)) STORED, s varchar(30))"},
	{name: "a unique key added", before: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, v varchar(20), n int)",
		rows: []string{"INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)"}, meanwhile: "UPDATE t SET v = CONCAT('z', v)",
		after: "CREATE TABLE t (id int NOT NULL PRIMARY KEY, v varchar(20), n bigint, UNIQUE KEY (v))"},
}

// TestKeyedCases plans and makes each of them on a server that is not in UTC. A row is written while the copy is compared. Then the table
// is what ALTER TABLE makes of it by hand.
func TestKeyedCases(t *testing.T) {
	srv := testkit.FreshServer(t, map[string]string{"default_time_zone": "+05:00"})
	for _, c := range keyedCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := keyedBench(newBench(t, srv))
			b.settings.DirectMaxRows, b.settings.AllowUnsafe = 0, c.allow
			b.exec(append([]string{c.before}, c.rows...)...)
			p := b.plan("t", c.after)
			if c.refused != "" {
				if !p.Final || !strings.Contains(p.Refused, c.refused) {
					t.Errorf("refused: %q, want %q", p.Refused, c.refused)
				}
				return
			}
			if p.Refused != "" || p.Engine != EngineKeyed {
				t.Fatalf("planned %s, refused: %q", p.Engine, p.Refused)
			}
			var once sync.Once
			_, err := b.runner.Run(t.Context(), p, b.settings, NewControl(), func(now Progress) {
				if now.State == StateVerifying && c.meanwhile != "" {
					once.Do(func() { b.exec(c.meanwhile) })
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if form := b.form("t"); form.Hash != p.Desired.Hash {
				t.Errorf("I4: the table is %s", form.Text)
			}
			b.exec(append([]string{"RENAME TABLE t TO made", c.before}, c.rows...)...)
			if c.meanwhile != "" {
				b.exec(c.meanwhile)
			}
			b.exec("SET SESSION time_zone = @@GLOBAL.time_zone", "ALTER TABLE t "+p.Change.Clauses)
			if got, want := b.values("made"), b.values("t"); !slices.Equal(got, want) {
				t.Errorf("I13: the table holds\n%s\nby hand\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// values are all values of a table, or those of some columns, by bytes, and of members by number.
func (b *bench) values(table string, only ...string) []string {
	b.t.Helper()
	shape, err := verify.ReadTable(b.t.Context(), b.db, b.database, table)
	if err != nil {
		b.t.Fatal(err)
	}
	var list []string
	for _, c := range shape.Columns {
		if only != nil && !slices.Contains(only, c.Name) {
			continue
		}
		name := mysql.QuoteIdent(c.Name)
		list = append(list, fmt.Sprintf("COALESCE(HEX(CAST(%s AS BINARY)), 'NULL')", name))
		if c.DataType == "enum" || c.DataType == "set" {
			list = append(list, fmt.Sprintf("COALESCE(%s + 0, 'NULL')", name))
		}
		if c.DataType == "json" {
			list = append(list, fmt.Sprintf("COALESCE(CONCAT(JSON_TYPE(%[1]s), JSON_STORAGE_SIZE(%[1]s)), 'NULL')", name))
		}
	}
	rows, err := b.db.QueryContext(b.t.Context(), "SELECT CONCAT_WS(' ', "+strings.Join(list, ", ")+") FROM "+mysql.QuoteIdents(b.database,
		table)+" ORDER BY 1")
	if err != nil {
		b.t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var one sql.NullString
		if err := rows.Scan(&one); err != nil {
			b.t.Fatal(err)
		}
		out = append(out, one.String)
	}
	if err := rows.Err(); err != nil {
		b.t.Fatal(err)
	}
	return out
}
