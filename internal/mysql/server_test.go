package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// connect opens a pool of one connection.
func connect(t *testing.T, a mysql.Addr) *sql.DB {
	t.Helper()
	db, err := mysql.Open(a, mysql.Credentials{User: "root"}, mysql.Options{MaxOpen: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// scan runs a query of one row.
func scan(t *testing.T, db *sql.DB, query string, targets ...any) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(targets...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func run(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestReadServer(t *testing.T) {
	server := testkit.Server(t)
	got, err := mysql.ReadServer(t.Context(), server.DB())
	if err != nil {
		t.Fatal(err)
	}
	if got.Version.Major < 8 || !strings.HasPrefix(got.Version.Text, server.Version().Text[:3]) {
		t.Errorf("version %+v", got.Version)
	}
	var uuid, executed string
	scan(t, server.DB(), "SELECT @@server_uuid, REPLACE(@@GLOBAL.gtid_executed, '\\n', '')", &uuid, &executed)
	if got.UUID != uuid || got.GTIDExecuted != executed {
		t.Errorf("uuid %s, executed %s; want %s, %s", got.UUID, got.GTIDExecuted, uuid, executed)
	}
	if got.Port != server.Addr().Port || got.ServerID == 0 || got.Hostname == "" || got.Datadir == "" {
		t.Errorf("who and where: %+v", got)
	}
	if got.ReadOnly || got.SuperReadOnly || !got.LogBin || !got.LogReplicaUpdates || got.BinlogTransactionCompression {
		t.Errorf("switches: %+v", got)
	}
	if got.BinlogFormat != "ROW" || got.BinlogRowImage != "FULL" || got.BinlogRowValueOptions != "" || got.GTIDMode != "ON" {
		t.Errorf("binary log: %+v", got)
	}
	if got.Charset != "utf8mb4" || got.Collation != "utf8mb4_0900_ai_ci" || !strings.Contains(got.SQLMode, "STRICT_TRANS_TABLES") {
		t.Errorf("text: %+v", got)
	}
	if status, err := mysql.ReadReplicaStatus(t.Context(), server.DB()); status != nil || err != nil {
		t.Errorf("a server without source has the replica status %+v, %v", status, err)
	}
}

// Servers that call a variable otherwise, do not have it any more, or are no servers we know.
func TestReadServerOfOtherVersions(t *testing.T) {
	db := testkit.Server(t).DB()
	got, err := mysql.ReadServerLacking(t.Context(), db, "log_replica_updates", "nosuch_either", "0")
	if err != nil || got.LogReplicaUpdates || !got.LogBin || got.GTIDMode != "ON" {
		t.Errorf("gone: %+v, %v", got, err)
	}
	got, err = mysql.ReadServerLacking(t.Context(), db, "log_replica_updates", "log_replica_updates", "")
	if err != nil || !got.LogReplicaUpdates {
		t.Errorf("under its other name: %+v, %v", got, err)
	}
	got, err = mysql.ReadServerLacking(t.Context(), db, "gtid_mode", "", "")
	if !mysql.IsNumber(err, mysql.ErrUnknownSystemVariable) || !strings.Contains(err.Error(), "nosuch_gtid_mode") || got.Version.Major < 8 {
		t.Errorf("without gtid_mode: %+v, %v", got, err)
	}
}

func TestConnectErrors(t *testing.T) {
	server := testkit.Server(t)
	for _, c := range []struct {
		what string
		cred mysql.Credentials
		db   string
		is   func(error) bool
		says string
	}{
		{"wrong password", mysql.Credentials{User: "root", Password: "geheim"}, "", mysql.IsAccessDenied, "Access denied"},
		{"unknown database", mysql.Credentials{User: "root"}, "nosuch", mysql.IsNoSuchDatabase, "Unknown database"},
	} {
		db, err := mysql.Open(server.Addr(), c.cred, mysql.Options{DB: c.db})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		_, err = mysql.ReadServer(t.Context(), db)
		if !c.is(err) || mysql.IsConnection(err) || !strings.Contains(err.Error(), server.Addr().String()) ||
			!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// lateContext has passed its deadline and ends a moment later, as every context with a deadline does on a busy machine.
type lateContext struct{ context.Context }

func (lateContext) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }

// TestConnectOutOfTime: a connection that the caller's own deadline kept from being made is seen to be that: ctx.Err() is set
// when the error arrives, so nobody takes the end of his time for a fault of the server.
func TestConnectOutOfTime(t *testing.T) {
	db := connect(t, testkit.Server(t).Addr())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := db.Conn(lateContext{ctx})
	if err == nil || ctx.Err() == nil {
		t.Errorf("got %v, and the context says %v", err, ctx.Err())
	}
}

// Sessions are in UTC and utf8mb4, and text is quoted one way whatever the server's own sql_mode says, so that what
// SHOW CREATE TABLE prints and what QuoteString writes mean the same everywhere.
func TestSessionsHoldUnderAnySQLMode(t *testing.T) {
	server := testkit.Server(t)
	database := testkit.Database(t, server)
	var before string
	scan(t, server.DB(), "SELECT @@GLOBAL.sql_mode", &before)
	t.Cleanup(func() {
		if _, err := server.DB().ExecContext(context.WithoutCancel(t.Context()), "SET GLOBAL sql_mode = ?", before); err != nil {
			t.Error(err)
		}
	})
	for _, mode := range []string{before, "", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ANSI", "ANSI,NO_BACKSLASH_ESCAPES", "NO_BACKSLASH_ESCAPES,ANSI_QUOTES,TRADITIONAL"} {
		run(t, server.DB(), "SET GLOBAL sql_mode = "+mysql.QuoteString(mode))
		db := connect(t, server.Addr())
		var zone, charset, session, want string
		scan(t, db, "SELECT @@time_zone, @@character_set_connection, @@sql_mode, @@GLOBAL.sql_mode", &zone, &charset, &session, &want)
		if zone != "+00:00" || charset != "utf8mb4" {
			t.Errorf("time zone %s, charset %s", zone, charset)
		}
		for _, quoting := range []string{"ANSI_QUOTES", "ANSI", "NO_BACKSLASH_ESCAPES"} {
			want = strings.Trim(strings.ReplaceAll(","+want+",", ","+quoting+",", ","), ",")
		}
		if session != want {
			t.Errorf("server's sql_mode %q gives sessions %q, want %q", mode, session, want)
		}
		const comment = "it's a \\ \"back\\\\slash\" `\n\t\x00\x1a % ü" // the server keeps no 4-byte letters in comments
		name := "od`d \"näme\\' select ;"
		run(t, db, "CREATE TABLE "+mysql.QuoteIdents(database, name)+" (a INT COMMENT "+mysql.QuoteString(comment)+")")
		var got string
		err := db.QueryRowContext(t.Context(), "SELECT column_comment FROM information_schema.columns WHERE table_schema = ? AND table_name = ?",
			database, name).Scan(&got)
		if err != nil || got != comment {
			t.Errorf("under %q: comment %q came back as %q, %v", mode, comment, got, err)
		}
		if scan(t, db, "SELECT "+mysql.QuoteString(comment+"🐬"), &got); got != comment+"🐬" {
			t.Errorf("under %q: text %q came back as %q", mode, comment+"🐬", got)
		}
		run(t, db, "DROP TABLE "+mysql.QuoteIdents(database, name))
	}
}

func TestOpenDSN(t *testing.T) {
	server := testkit.Server(t)
	db, err := mysql.OpenDSN("root@tcp(" + server.Addr().String() + ")/?innodb_lock_wait_timeout=7")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var zone string
	var wait int
	var now time.Time
	scan(t, db, "SELECT @@time_zone, @@innodb_lock_wait_timeout, NOW()", &zone, &wait, &now)
	if zone != "+00:00" || wait != 7 || time.Since(now).Abs() > time.Minute {
		t.Errorf("time zone %s, innodb_lock_wait_timeout %d, now %v", zone, wait, now)
	}
}

// I7: what is done with NoBinlog makes no GTID, and no later user of the pool inherits the setting.
func TestWithSession(t *testing.T) {
	server := testkit.Server(t)
	database := testkit.Database(t, server)
	db := connect(t, server.Addr())
	mode := "NO_ZERO_DATE"
	s := mysql.Session{NoBinlog: true, LockWaitTimeout: 1500 * time.Millisecond, InnodbLockWaitTimeout: time.Millisecond,
		SQLMode: &mode, NoForeignKeyChecks: true, DB: database}
	executed := func() (set string) {
		scan(t, db, "SELECT @@GLOBAL.gtid_executed", &set)
		return set
	}
	before := executed()
	var first int64
	err := mysql.WithSession(t.Context(), db, s, func(ctx context.Context, conn *sql.Conn) error {
		var binlog, fk bool
		var lockWait, rowWait int
		var sqlMode, current string
		err := conn.QueryRowContext(ctx, `SELECT @@sql_log_bin, @@lock_wait_timeout, @@innodb_lock_wait_timeout, @@sql_mode,
			@@foreign_key_checks, DATABASE(), CONNECTION_ID()`).Scan(&binlog, &lockWait, &rowWait, &sqlMode, &fk, &current, &first)
		if err != nil {
			return err
		}
		if binlog || fk || lockWait != 2 || rowWait != 1 || sqlMode != mode || current != database {
			t.Errorf("sql_log_bin %v, foreign_key_checks %v, lock_wait_timeout %d, innodb_lock_wait_timeout %d, sql_mode %q, database %q",
				binlog, fk, lockWait, rowWait, sqlMode, current)
		}
		_, err = conn.ExecContext(ctx, "CREATE TABLE unlogged (a INT)")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if after := executed(); after != before {
		t.Errorf("unlogged DDL made GTIDs: %q became %q", before, after)
	}
	var binlog bool
	var second int64
	scan(t, db, "SELECT @@sql_log_bin, CONNECTION_ID()", &binlog, &second)
	if !binlog || first == second {
		t.Errorf("the pool kept the connection (%d, %d), sql_log_bin %v", first, second, binlog)
	}
}

func TestWithSessionErrors(t *testing.T) {
	server := testkit.Server(t)
	db := connect(t, server.Addr())
	mine := errors.New("mine")
	if err := mysql.WithSession(t.Context(), db, mysql.Session{}, func(context.Context, *sql.Conn) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
	for what, s := range map[string]mysql.Session{"nosuch": {DB: "nosuch"}, "sql_mode": {SQLMode: new("NONSENSE")}} {
		err := mysql.WithSession(t.Context(), db, s, func(context.Context, *sql.Conn) error {
			t.Errorf("%s: ran without its session", what)
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The pool has one connection: it must have come back each time.
	run(t, db, "DO 1")
}

// The predicates against the server's own errors, not only against numbers we wrote down.
func TestErrorsOfTheServer(t *testing.T) {
	server := testkit.Server(t)
	database := testkit.Database(t, server)
	db, err := mysql.Open(server.Addr(), mysql.Credentials{User: "root"}, mysql.Options{DB: database})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	run(t, db, "CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR(10))", "INSERT INTO t VALUES (1, 'x')")
	for _, c := range []struct {
		statement string
		is        func(error) bool
	}{
		{"SELECT * FROM nosuch", mysql.IsNoSuchTable},
		{"DROP TABLE nosuch", mysql.IsNoSuchTable},
		{"CREATE TABLE nosuch.t (a INT)", mysql.IsNoSuchDatabase},
		{"DROP DATABASE nosuch", mysql.IsNoSuchDatabase},
		{"ALTER TABLE t ADD COLUMN", mysql.IsSyntax},
		{"ALTER TABLE t MODIFY b INT, ALGORITHM=INPLACE", mysql.IsUnsupportedAlter},
		{"ALTER TABLE t ADD PRIMARY KEY (b), DROP PRIMARY KEY, ALGORITHM=INSTANT", mysql.IsUnsupportedAlter},
		{"ALTER TABLE t MODIFY a BIGINT, ALGORITHM=INPLACE", mysql.IsUnsupportedAlter},
	} {
		if _, err := db.ExecContext(t.Context(), c.statement); !c.is(err) {
			t.Errorf("%s: %v is not recognised", c.statement, err)
		}
	}

	tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("INSERT INTO t VALUES (2, 'y')"); !mysql.IsReadOnly(err) {
		t.Errorf("writing in a read-only transaction: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}

	holder, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback()
	if _, err := holder.Exec("UPDATE t SET b = 'z'"); err != nil {
		t.Fatal(err)
	}
	err = mysql.WithSession(t.Context(), db, mysql.Session{LockWaitTimeout: time.Second}, func(ctx context.Context, conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, "ALTER TABLE t ADD COLUMN c INT")
		return err
	})
	if !mysql.IsLockWaitTimeout(err) {
		t.Errorf("waiting for a metadata lock: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := db.ExecContext(ctx, "SELECT SLEEP(10)"); !mysql.IsConnection(err) {
		t.Errorf("a deadline: %v", err)
	}
}
