package framework

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// closedRow is a row of the table of docs/decisions/019: statements, and what a super_read_only replica makes of each.
type closedRow struct {
	name string
	// before is executed in the same session while the server is open; prepared has a transaction of that xid prepared on the primary.
	before     []string
	statements []string // those after a semicolon are of the same session; what counts is all of them
	undo       []string // as root
	app, all   string   // what becomes of each as the cluster's user, and with all privileges
}

const (
	refused   = "refused (1290)"
	denied    = "refused (1227)"
	writes    = "**writes a GTID**"
	harmless  = "harmless"
	traceless = "**writes, without a GTID**"
	xidOfTest = "{xid}" // in statements, a transaction that is prepared on the primary and on the replica
)

var closedTable = []closedRow{
	{name: "INSERT, LOAD DATA, `SELECT ... FOR UPDATE`, XA START with an INSERT", statements: []string{"INSERT INTO d.t VALUES (50)",
		"LOAD DATA LOCAL INFILE 'Reader::rows' INTO TABLE d.t", "SELECT * FROM d.t FOR UPDATE", "XA START 'a'; INSERT INTO d.t VALUES (50)"},
		app: refused, all: refused},
	{name: "INSERT after `sql_log_bin = 0`", statements: []string{"SET sql_log_bin = 0; INSERT INTO d.t VALUES (50)"}, app: denied,
		all: refused},
	{name: "COMMIT, XA COMMIT ONE PHASE of a transaction begun before", before: []string{"BEGIN", "INSERT INTO d.t VALUES (51)"},
		statements: []string{"COMMIT"},
		app:        refused, all: refused},
	{before: []string{"XA START 'one'", "INSERT INTO d.t VALUES (52)", "XA END 'one'"}, statements: []string{"XA COMMIT 'one' ONE PHASE"},
		app: refused, all: refused},
	{name: "XA PREPARE of a transaction begun before", before: []string{"XA START 'two'", "INSERT INTO d.t VALUES (53)", "XA END 'two'"},
		statements: []string{"XA PREPARE 'two'"}, undo: []string{"XA ROLLBACK 'two'"}, app: writes, all: writes},
	{name: "XA PREPARE, XA COMMIT of a transaction without changes",
		statements: []string{"XA START 'none'; XA END 'none'; XA PREPARE 'none'; XA COMMIT 'none'"},
		app:        harmless, all: harmless},
	{name: "XA COMMIT, XA ROLLBACK of a transaction prepared before, on the primary or here, by any session",
		statements: []string{"XA COMMIT {xid}", "XA ROLLBACK {xid}", "USE d; XA COMMIT {xid}"}, app: writes, all: writes},
	{name: "the same after `sql_log_bin = 0`", statements: []string{"SET sql_log_bin = 0; XA COMMIT {xid}"},
		undo: []string{"XA ROLLBACK {xid}"}, app: denied, all: traceless},
	{before: []string{"XA START 'here'", "INSERT INTO d.t VALUES (54)", "XA END 'here'", "XA PREPARE 'here'"},
		statements: []string{"XA ROLLBACK 'here'"},
		app:        writes, all: writes},
	{name: "an empty transaction after `gtid_next = 'foreign:1'`", statements: []string{"SET gtid_next = '{uuid}:1'; BEGIN; COMMIT"},
		app: denied, all: writes},
	{name: "FLUSH TABLES, STATUS, OPTIMIZER_COSTS, USER_RESOURCES, PRIVILEGES", statements: []string{"FLUSH TABLES", "FLUSH TABLES d.t",
		"FLUSH STATUS", "FLUSH OPTIMIZER_COSTS",
		"FLUSH USER_RESOURCES", "FLUSH PRIVILEGES"}, app: denied, all: writes},
	{name: "FLUSH ERROR LOGS, RELAY LOGS", statements: []string{"FLUSH ERROR LOGS", "FLUSH RELAY LOGS"}, app: denied, all: writes},
	{name: "FLUSH LOGS, BINARY LOGS, TABLES WITH READ LOCK, `FLUSH LOCAL ...`", statements: []string{"FLUSH LOGS", "FLUSH BINARY LOGS",
		"FLUSH TABLES WITH READ LOCK; UNLOCK TABLES",
		"FLUSH LOCAL STATUS"}, app: denied, all: harmless},
	{name: "`ANALYZE TABLE ... UPDATE HISTOGRAM`, `DROP HISTOGRAM`, REPAIR TABLE",
		statements: []string{"ANALYZE TABLE d.t UPDATE HISTOGRAM ON id", "ANALYZE TABLE d.t DROP HISTOGRAM ON id",
			"REPAIR TABLE d.t"}, app: writes, all: writes},
	{name: "ANALYZE, OPTIMIZE, DDL, events, routines, views, triggers", statements: []string{"ANALYZE TABLE d.t", "OPTIMIZE TABLE d.t",
		"CREATE TABLE d.u (a INT)",
		"ALTER TABLE d.t ADD a INT", "DROP TABLE d.t", "TRUNCATE d.t", "CREATE DATABASE e",
		"CREATE EVENT d.e ON SCHEDULE EVERY 1 DAY DO SELECT 1", "CREATE FUNCTION d.f() RETURNS INT NO SQL RETURN 1",
		"CREATE VIEW d.v AS SELECT 1", "CREATE TRIGGER d.r BEFORE INSERT ON d.t FOR EACH ROW SET @a = 1"}, app: refused, all: refused},
	{name: "CHECK TABLE, CREATE TEMPORARY TABLE, HANDLER, CACHE INDEX, LOCK TABLES ... READ", statements: []string{"CHECK TABLE d.t",
		"CREATE TEMPORARY TABLE d.tt (a INT); INSERT INTO d.tt VALUES (1)",
		"HANDLER d.t OPEN AS h; HANDLER h CLOSE", "CACHE INDEX d.t IN default", "LOCK TABLES d.t READ; UNLOCK TABLES"}, app: harmless,
		all: harmless},
	{name: "ALTER USER and SET PASSWORD of its own, GRANT", statements: []string{"ALTER USER app IDENTIFIED BY 'x'", "SET PASSWORD = 'x'",
		"GRANT SELECT ON d.* TO app"},
		app: refused, all: refused},
	{name: "CREATE, DROP USER, roles", statements: []string{"CREATE USER u", "DROP USER app", "CREATE ROLE r"}, app: denied, all: refused},
	{name: "INSTALL PLUGIN, COMPONENT, CREATE FUNCTION SONAME, SERVER, TABLESPACE",
		statements: []string{"INSTALL PLUGIN clone SONAME 'mysql_clone.so'", "INSTALL COMPONENT 'file://component_validate_password'",
			"CREATE FUNCTION f RETURNS INT SONAME 'f.so'", "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'h')",
			"CREATE TABLESPACE ts ADD DATAFILE 'ts.ibd'"}, app: denied, all: refused},
	{name: "SET GLOBAL, SET PERSIST, RESET PERSIST, LOCK INSTANCE, STOP, START REPLICA",
		statements: []string{"SET GLOBAL wait_timeout = 28800", "SET PERSIST wait_timeout = 28800", "RESET PERSIST",
			"LOCK INSTANCE FOR BACKUP; UNLOCK INSTANCE", "STOP REPLICA", "START REPLICA"}, app: denied, all: harmless},
	{name: "ALTER INSTANCE RELOAD TLS, PURGE BINARY LOGS", statements: []string{"ALTER INSTANCE RELOAD TLS",
		"PURGE BINARY LOGS BEFORE '2020-01-01'"}, app: denied, all: harmless},
	{name: "SELECT from mysql.user, mysql.slave_master_info (a password in the clear)", statements: []string{"SELECT * FROM mysql.user",
		"SELECT * FROM mysql.slave_master_info"},
		app: denied, all: harmless},
}

// TestClosedMember: every statement of the table of decision 019 does on a super_read_only replica what the table says, by the GTIDs that
// the replica has executed of its own, and the document has the table.
func TestClosedMember(t *testing.T) {
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true, SuperReadOnly: true}, map[string]string{
		"partial_revokes": "ON", "skip_name_resolve": "ON", "local_infile": "ON"})
	ctx, p, r := t.Context(), c.Primary.DB(), c.Replicas[0].DB()
	hash, err := mysql.HashPassword("secret")
	if err != nil {
		t.Fatal(err)
	}
	if err := createUser(ctx, p, cotton.Spec{Name: "c", User: "app", PasswordHash: hash}, false); err != nil {
		t.Fatal(err)
	}
	testkit.Exec(t, c.Primary, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)")
	gomysql.RegisterReaderHandler("rows", func() io.Reader { return strings.NewReader("60\n") })
	accounts := []mysql.Credentials{{User: "app", Password: "secret", TLS: "skip-verify"}, c.Replicas[0].Credentials()}
	document, err := os.ReadFile("../../../docs/decisions/019-what-a-closed-member-still-writes.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range closedTable {
		if line := fmt.Sprintf("| %s | %s | %s |", row.name, row.app, row.all); row.name != "" && !strings.Contains(string(document), line) {
			t.Errorf("the document does not have the line %s", line)
		}
		for j, statement := range row.statements {
			for k, account := range accounts {
				want := []string{row.app, row.all}[k]
				xid := fmt.Sprintf("'%d-%d-%d'", i, j, k)
				if strings.Contains(statement, xidOfTest) {
					prepareOn(t, p, xid, 100+100*i+10*j+k)
				}
				if err := c.Sync(ctx); err != nil {
					t.Fatal(err)
				}
				statement := strings.NewReplacer(xidOfTest, xid, "{uuid}", fmt.Sprintf("aaaaaaaa-0000-4000-8000-0000000000%d%d", j,
					k)).Replace(statement)
				db, err := mysql.Open(c.Replicas[0].Addr(), account, mysql.Options{})
				if err != nil {
					t.Fatal(err)
				}
				rows := rowsOf(t, r)
				got := becomes(t, r, db, row.before, strings.Split(statement, "; "))
				if got == harmless && rowsOf(t, r) != rows {
					got = traceless
				}
				if got != want {
					t.Errorf("%s as %s: %s, want %s", statement, account.User, got, want)
				}
				db.Close()
				for _, undo := range row.undo {
					_, _ = r.ExecContext(ctx, strings.ReplaceAll(undo, xidOfTest, xid))
				}
			}
		}
	}
}

// rowsOf counts what an account may write to.
func rowsOf(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM d.t").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// prepareOn prepares a transaction and leaves it.
func prepareOn(t *testing.T, db *sql.DB, xid string, row int) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range []string{"XA START " + xid, fmt.Sprintf("INSERT INTO d.t VALUES (%d)", row), "XA END " + xid, "XA PREPARE " + xid} {
		if _, err := conn.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// becomes tells what becomes of statements in one session of a closed server; before is executed in it while the server is open.
func becomes(t *testing.T, admin, db *sql.DB, before, statements []string) string {
	t.Helper()
	ctx := t.Context()
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer conn.Raw(func(c any) error { return c.(io.Closer).Close() }) // what it has begun ends with it
	if len(before) > 0 {
		if err := mysql.SetReadOnly(ctx, admin, false); err != nil {
			t.Fatal(err)
		}
		for _, s := range before {
			if _, err := conn.ExecContext(ctx, s); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
	}
	if err := mysql.SetSuperReadOnly(ctx, admin, true); err != nil {
		t.Fatal(err)
	}
	had := executedBy(t, admin)
	for _, s := range statements {
		rows, err := conn.QueryContext(ctx, s)
		if err == nil {
			err = readAll(rows)
		}
		var my *gomysql.MySQLError
		if errors.As(err, &my) {
			switch my.Number {
			case 1044, 1142, 1045, 3619, 1370, 1143, 1410: // the same for privileges on a database, a table or an account
				my.Number = 1227
			}
			t.Logf("%s: %v", s, err)
			return fmt.Sprintf("refused (%d)", my.Number)
		}
		if err != nil {
			return err.Error()
		}
	}
	if !had.Contains(executedBy(t, admin)) {
		return writes
	}
	return harmless
}

// readAll reads the answer of a statement. Those that check tables tell there that they are refused.
func readAll(rows *sql.Rows) error {
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values := make([]sql.NullString, len(columns))
	targets := make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
	}
	return rows.Err()
}

// executedBy is what a server has executed, without what it receives.
func executedBy(t *testing.T, db *sql.DB) mysql.GTIDSet {
	t.Helper()
	server, err := mysql.ReadServer(context.WithoutCancel(t.Context()), db)
	if err != nil {
		t.Fatal(err)
	}
	set, err := mysql.ParseGTIDSet(server.GTIDExecuted)
	if err != nil {
		t.Fatal(err)
	}
	return set
}
