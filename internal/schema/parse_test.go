package schema_test

import (
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/schema"
)

func TestParseDesired(t *testing.T) {
	long := strings.Repeat("ж", 64)
	for _, c := range []struct {
		name, file, text string
		refused          string // part of the error, "" = accepted
	}{
		{"plain", "t", "CREATE TABLE t (id int)", ""},
		{"semicolon and comments", "t", "-- a\n# b\n/* c; */ create /* d */ table `t` (id int) -- e\n;;\n-- the end", ""},
		{"if not exists", "t", "CREATE TABLE IF NOT EXISTS t (id int);", ""},
		{"version comment", "t", "CREATE TABLE t (id int /*!80023 INVISIBLE */) /*!50100 PARTITION BY HASH (id) PARTITIONS 2 */", ""},
		{"whole statement in a version comment", "t", "/*!50000 CREATE TABLE t (id int) */;", ""},
		{"backticks in the name", "a`b", "CREATE TABLE `a``b` (id int)", ""},
		{"quotes and spaces in the name", `it's "x"`, "CREATE TABLE `it's \"x\"` (id int)", ""},
		{"double quotes for ANSI_QUOTES", "t", `CREATE TABLE "t" (id int)`, ""},
		{"64 letters", long, "CREATE TABLE " + long + " (id int)", ""},
		{"reserved word", "select", "CREATE TABLE `select` (`as` int, `like` int)", ""},
		{"semicolons in strings", "t", "CREATE TABLE t (a varchar(9) DEFAULT 'x;\\';y', b int COMMENT \"; DROP TABLE x\") COMMENT=';'", ""},
		{"words of queries in names and comments", "t", "CREATE TABLE t (`select` int) COMMENT='AS SELECT' /* LIKE x */", ""},
		{"partitions", "t", "CREATE TABLE t (id int) PARTITION BY RANGE ((id)) (PARTITION p0 VALUES LESS THAN (1), PARTITION p1 VALUES LESS THAN MAXVALUE)", ""},
		{"check with a query word in a string", "t", "CREATE TABLE t (a text, CHECK (a <> 'SELECT')) ENGINE=InnoDB", ""},
		{"union of merge tables", "t", "CREATE TABLE t (a int) ENGINE=MERGE UNION=(x, y)", ""},
		{"parent in the same database", "t", "CREATE TABLE t (a int, b decimal(3,1) DEFAULT 1.5 REFERENCES x (id), FOREIGN KEY (a) REFERENCES `x.y` (id))", ""},

		{"parent in another database", "t", "CREATE TABLE t (a int, FOREIGN KEY (a) REFERENCES app.users (id))", "another database"},
		{"quoted parent in another database", "t", "CREATE TABLE t (a int REFERENCES `app` . `users` (id))", "another database"},
		{"parent behind a version comment", "t", "CREATE TABLE t (a int REFERENCES app /*!50000 . */ users (id))", "another database"},
		{"union across databases", "t", "CREATE TABLE t (a int) ENGINE=MERGE UNION=(x, app.y)", "another database"},
		{"empty", "t", "", "no statement"},
		{"only comments", "t", "-- nothing\n/* here */ # at all", "no statement"},
		{"only a semicolon", "t", ";", "no statement"},
		{"two statements", "t", "CREATE TABLE t (id int); CREATE TABLE u (id int)", "second statement"},
		{"something behind", "t", "CREATE TABLE t (id int);\nDROP TABLE users", "second statement"},
		{"hidden second statement", "t", "CREATE TABLE t (id int) /*! ; DROP TABLE users */", "second statement"},
		{"not a table", "v", "CREATE VIEW v AS SELECT 1", "not a CREATE TABLE"},
		{"drop", "t", "DROP TABLE t", "not a CREATE TABLE"},
		{"alter", "t", "ALTER TABLE t ADD COLUMN a int", "not a CREATE TABLE"},
		{"or replace", "t", "CREATE OR REPLACE TABLE t (id int)", "not a CREATE TABLE"},
		{"delimiter", "t", "DELIMITER $$\nCREATE TABLE t (id int)$$", "not a CREATE TABLE"},
		{"temporary", "t", "CREATE TEMPORARY TABLE t (id int)", "TEMPORARY"},
		{"qualified", "t", "CREATE TABLE db.t (id int)", "database"},
		{"qualified and quoted", "t", "CREATE TABLE `db` . `t` (id int)", "database"},
		{"other name", "t", "CREATE TABLE u (id int)", "rename the file"},
		{"other case", "t", "CREATE TABLE T (id int)", "rename the file"},
		{"like", "t", "CREATE TABLE t LIKE u", "not a definition"},
		{"like in parentheses", "t", "CREATE TABLE t (LIKE u)", "not a definition"},
		{"select", "t", "CREATE TABLE t AS SELECT * FROM u", "not a definition"},
		{"select without as", "t", "CREATE TABLE t SELECT 1", "not a definition"},
		{"columns and select", "t", "CREATE TABLE t (id int) SELECT 1 AS id", "not a definition"},
		{"columns, options and select", "t", "CREATE TABLE t (id int) ENGINE=InnoDB REPLACE AS SELECT 1 AS id", "not a definition"},
		{"select in parentheses", "t", "CREATE TABLE t (id int) ((SELECT 1))", "not a definition"},
		{"only a select in parentheses", "t", "CREATE TABLE t (SELECT 1)", "not a definition"},
		{"with", "t", "CREATE TABLE t WITH x AS (SELECT 1) SELECT * FROM x", "not a definition"},
		{"values", "t", "CREATE TABLE t (a int) VALUES ROW(1)", "not a definition"},
		{"table statement", "t", "CREATE TABLE t TABLE u", "not a definition"},
		{"start transaction", "t", "CREATE TABLE t (a int) START TRANSACTION", "not a definition"},
		{"no columns", "t", "CREATE TABLE t", "no columns"},
		{"no name", "t", "CREATE TABLE", "names no table"},
		{"open parenthesis", "t", "CREATE TABLE t (id int", "parenthesis"},
		{"open quote", "t", "CREATE TABLE t (\nid int DEFAULT 'x)", "line 2: the quote"},
		{"open comment", "t", "CREATE TABLE t (id int) /* ", "not closed"},
		{"open version comment", "t", "CREATE TABLE t (id int) /*!80000 INVISIBLE ", "not closed"},
		{"bad utf-8", "t", "CREATE TABLE t (id int) COMMENT='\xff'", "UTF-8"},
		{"byte order mark", "t", "\ufeffCREATE TABLE t (id int)", "byte order mark"},
		{"NUL", "t", "CREATE TABLE t (id int)\x00", "NUL"},
		{"merge conflict", "t", "<<<<<<< HEAD\nCREATE TABLE t (id int)\n=======", "not a CREATE TABLE"},
		{"too large", "t", "CREATE TABLE t (id int) -- " + strings.Repeat("x", schema.MaxDesiredSize), "larger"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := "schemas/udb/" + c.file + ".sql"
			table, err := schema.ParseDesired(path, c.text)
			switch {
			case c.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.refused == "" && table != c.file:
				t.Errorf("table is %q", table)
			case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("error is %v, want %q", err, c.refused)
			case c.refused != "" && !strings.Contains(err.Error(), path):
				t.Errorf("the error does not name the file: %v", err)
			}
		})
	}
}
