package copy

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

// What no retry can mend ends at the first try; what is not known to be so is tried again.
func TestFinal(t *testing.T) {
	server := func(n uint16) error { return fmt.Errorf("wrapped: %w", &driver.MySQLError{Number: n, Message: "x"}) }
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"refused", &RefusedError{Reason: "x"}, true},
		{"the copy differs", fmt.Errorf("a: %w", &VerifyError{}), true},
		{"text the server refuses", &schema.DDLError{Err: errors.New("x")}, true},
		{"no ALTER", &schema.DiffError{Err: errors.New("x")}, true},
		{"proof failed", &schema.ProofError{}, true},
		{"1048 of the server", server(1048), true},
		{"duplicate", server(1062), true},
		{"1197", server(1197), true},
		{"does not fit", server(1406), true},

		{"a privilege", server(1142), true},
		{"a wrong password, which may be about to be changed", server(1045), false},
		{"the parent of a foreign key, which another alter may make", server(1824), false},
		{"lock wait", server(1205), false},
		{"deadlock", server(1213), false},
		{"read only", server(1290), false},
		{"disk full", server(1114), false},
		{"a number in a text", errors.New("Error 1048 (23000): x"), false},
		{"stopped", ErrStopped, false},
		{"busy", ErrBusy, false},
	} {
		if got := Final(c.err); got != c.want {
			t.Errorf("%s: Final is %v, want %v", c.name, got, c.want)
		}
	}
}

// What a real server says of statements that fail the same way each time is final, by the numbers that it gives.
func TestFinalOnAServer(t *testing.T) {
	// A row in this table is more than its binary log's cache takes.
	srv := testkit.FreshServer(t, map[string]string{"max_binlog_cache_size": "8192", "binlog_cache_size": "8192"})
	database := testkit.Database(t, srv)
	testkit.Exec(t, srv, "CREATE USER nobody@'%'", "GRANT SELECT ON "+database+".* TO nobody@'%'")
	nobody, err := mysql.OpenDSN(fmt.Sprintf("nobody@tcp(%s)/%s", srv.Addr(), database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nobody.Close() })
	const table = "CREATE TABLE t (id bigint unsigned NOT NULL, v varchar(50), j text, PRIMARY KEY (id))"
	seen := []uint16{}
	for _, c := range []struct {
		name      string
		prepare   []string // beside the table, which has the rows 1 and 2
		statement string
		as        *sql.DB // nil: root
		passes    bool    // it is not final
	}{
		{name: "NULLs in the way, by ALTER", statement: "ALTER TABLE t MODIFY v varchar(50) NOT NULL"},
		{name: "NULLs in the way, by a copy", statement: "INSERT INTO other (id) SELECT v FROM t"},
		{name: "duplicates", statement: "ALTER TABLE t ADD UNIQUE KEY (j(10))"},
		{name: "too long", statement: "ALTER TABLE t MODIFY j varchar(2)"},
		{name: "too long, by a copy", statement: "INSERT INTO other (id, v) SELECT id, j FROM t"},
		{name: "out of range", prepare: []string{"UPDATE t SET id = 70000 WHERE id = 2"},
			statement: "ALTER TABLE t MODIFY id smallint unsigned NOT NULL"},
		{name: "no number", statement: "ALTER TABLE t MODIFY j int"},
		{name: "no date", statement: "ALTER TABLE t MODIFY j datetime"},
		{name: "no member", statement: "ALTER TABLE t MODIFY j enum('a')"},
		{name: "no JSON", statement: "ALTER TABLE t MODIFY j json"},
		{name: "a character that the charset lacks", prepare: []string{"UPDATE t SET j = '😀'"},
			statement: "ALTER TABLE t MODIFY j text CHARACTER SET latin1"},
		{name: "bytes that are no characters", prepare: []string{"ALTER TABLE t MODIFY j blob", "UPDATE t SET j = x'FF'"},
			statement: "ALTER TABLE t MODIFY j text CHARACTER SET utf8mb4"},
		{name: "a CHECK", statement: "ALTER TABLE t ADD CHECK (id > 1)"},
		{name: "no parent row", statement: "ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES other (id)"},
		{name: "no partition", statement: "ALTER TABLE t PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (2))"},
		{name: "an expression out of range", statement: "ALTER TABLE t ADD COLUMN g bigint unsigned AS (id - 100) STORED"},
		{name: "a functional key that truncates", statement: "ALTER TABLE t ADD KEY ((CAST(j AS UNSIGNED)))"},
		{name: "no geometry", statement: "ALTER TABLE t ADD COLUMN p point NOT NULL"},
		{name: "a new column without a value", statement: "INSERT INTO needs (id) SELECT id FROM t"},
		{name: "an invalid default", statement: "ALTER TABLE t ADD COLUMN d datetime DEFAULT 'x'"},
		{name: "an unknown engine", statement: "ALTER TABLE t ENGINE=nosuch"},
		{name: "a key that is too long", statement: "ALTER TABLE t MODIFY v varchar(4000), ADD KEY (v)"},
		{name: "a row that is too long", statement: "ALTER TABLE t ADD COLUMN a varchar(16000) NOT NULL, ADD COLUMN b varchar(16000) NOT NULL"},
		{name: "a key over nothing", statement: "ALTER TABLE t ADD KEY (nosuch)"},
		{name: "a key over a whole text", statement: "ALTER TABLE t ADD KEY (j)"},
		{name: "a text with a default", statement: "ALTER TABLE t ADD COLUMN c text DEFAULT 'x'"},
		{name: "AUTO_INCREMENT without a key", statement: "ALTER TABLE t ADD COLUMN c int AUTO_INCREMENT"},
		{name: "a unique key that lacks the partitions' column", prepare: []string{"ALTER TABLE t PARTITION BY HASH (id) PARTITIONS 2"},
			statement: "ALTER TABLE t ADD UNIQUE KEY (v)"},
		{name: "an unknown collation", statement: "ALTER TABLE t MODIFY v varchar(50) COLLATE nosuch"},
		{name: "an unknown character set", statement: "ALTER TABLE t MODIFY v varchar(50) CHARACTER SET nosuch"},
		{name: "no ALTER", statement: "ALTER TABLE t NONSENSE"},
		{name: "no privilege on the table", statement: "ALTER TABLE t ADD COLUMN c int", as: nobody},
		{name: "no privilege on the database", statement: "CREATE TABLE mysql.t (id int)", as: nobody},
		{name: "no privilege for the session", statement: "SET SESSION sql_log_bin = 0", as: nobody},
		{name: "more than max_binlog_cache_size", statement: "INSERT INTO wide (id, w) SELECT id, REPEAT('x', 100000) FROM t"},

		{name: "no parent table, which another alter may make", statement: "ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES later (id)",
			passes: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			execIn(t, srv.DB(), database, "DROP TABLE IF EXISTS t, other, needs, wide", table,
				"INSERT INTO t VALUES (1, NULL, 'some text'), (2, NULL, 'some text')",
				"CREATE TABLE other (id bigint unsigned NOT NULL, v varchar(2), PRIMARY KEY (id))",
				"CREATE TABLE needs (id bigint unsigned NOT NULL, must int NOT NULL, PRIMARY KEY (id))",
				"CREATE TABLE wide (id bigint unsigned NOT NULL, w longtext, PRIMARY KEY (id))")
			execIn(t, srv.DB(), database, c.prepare...)
			db := c.as
			if db == nil {
				db = srv.DB()
			}
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if c.as == nil {
				for _, s := range []string{"USE " + database, "SET SESSION sql_mode = " + mysql.QuoteString(schema.AlterSQLMode)} {
					if _, err := conn.ExecContext(t.Context(), s); err != nil {
						t.Fatal(err)
					}
				}
			}
			_, err = conn.ExecContext(t.Context(), c.statement)
			t.Logf("%v", err)
			seen = append(seen, mysql.Number(err))
			if Final(err) == c.passes {
				t.Errorf("Final is %v of %v", !c.passes, err)
			}
		})
	}
	var unseen []uint16
	for _, n := range serverFinal {
		if !slices.Contains(seen, n) {
			unseen = append(unseen, n)
		}
	}
	t.Logf("not provoked here: %v", unseen)
}

// execIn runs statements in a database.
func execIn(t *testing.T, db *sql.DB, database string, statements ...string) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range append([]string{"USE " + mysql.QuoteIdent(database)}, statements...) {
		if _, err := conn.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}
