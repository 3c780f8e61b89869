package mysql_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// A server is closed over the heads of clients that lock it, and not over those of accounts that are kept; one that does
// not answer any more is given up in time.
func TestCloseForWrites(t *testing.T) {
	server := testkit.FreshServer(t, nil)
	db := server.DB()
	table := testkit.Database(t, server) + ".t"
	testkit.Exec(t, server, "CREATE TABLE "+table+" (id INT)", "CREATE USER app IDENTIFIED BY 'app'", "GRANT ALL ON *.* TO app")
	pool := mysql.NewPool(mysql.Credentials{User: "app", Password: "app", TLS: "skip-verify"}, mysql.Options{})
	t.Cleanup(func() { pool.Close() })
	clients, err := pool.DB(server.Addr())
	check(t, err)
	open := func() bool {
		s, err := mysql.ReadServer(t.Context(), db)
		check(t, err)
		return !s.ReadOnly
	}
	lock := func(as *sql.DB) {
		conn, err := as.Conn(t.Context())
		check(t, err)
		t.Cleanup(func() { _ = conn.Raw(func(any) error { return driver.ErrBadConn }) }) // with its lock
		_, err = conn.ExecContext(t.Context(), "LOCK TABLES "+table+" WRITE")
		check(t, err)
	}
	waiting := func() bool {
		return testkit.Ask(t, server, "SELECT COUNT(*) FROM performance_schema.threads WHERE processlist_info = 'SET GLOBAL super_read_only = ON'") == "1"
	}

	user := server.Credentials().User
	lock(clients)
	check(t, mysql.CloseForWrites(t.Context(), db, 100*time.Millisecond, user))
	if open() {
		t.Error("a client's lock kept it open")
	}
	testkit.Exec(t, server, "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF")

	lock(db)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := mysql.CloseForWrites(ctx, db, 100*time.Millisecond, user); err == nil {
		t.Error("it was closed although a session that is kept locks it")
	}
	if !open() || waiting() {
		t.Error("the attempt was not called off")
	}

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- mysql.CloseForWrites(ctx, db, time.Hour, user) }()
	testkit.Eventually(t, patience, "the server waits to be closed", waiting)
	check(t, server.Pause())
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a server that hangs counts as closed")
		}
		check(t, server.Resume())
		// A server that wakes up goes on to wait: it learns only then that nobody does any more.
		testkit.Eventually(t, patience, "nobody waits to close it", func() bool {
			_, err := mysql.KillClients(t.Context(), db)
			check(t, err)
			return !waiting()
		})
	case <-time.After(patience):
		check(t, server.Resume())
		t.Fatal("a server that hangs is waited for without end: ", <-done)
	}
}
