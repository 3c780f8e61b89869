package mysql_test

import (
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// TestDiscardPrepared: a prepared XA transaction whose session has ended, and a lock on the whole server, are found and ended.
func TestDiscardPrepared(t *testing.T) {
	db := testkit.FreshServer(t, nil).DB()
	ctx := t.Context()
	if _, err := db.ExecContext(ctx, "CREATE DATABASE xa_discard"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Exec("DROP DATABASE xa_discard") })
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"CREATE TABLE xa_discard.t (id INT PRIMARY KEY)", "XA START 'g', 'b', 7", "INSERT INTO xa_discard.t VALUES (1)", "XA END 'g', 'b', 7",
		"XA PREPARE 'g', 'b', 7"} {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	conn.Raw(func(c any) error { return c.(interface{ Close() error }).Close() })
	conn.Close()
	if n, err := mysql.DiscardPrepared(ctx, db); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if left, err := mysql.Prepared(ctx, db); len(left) != 0 || err != nil {
		t.Fatalf("%v, %v", left, err)
	}
	var n int
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM xa_discard.t").Scan(&n); err != nil || n != 0 {
		t.Fatalf("%d rows, %v", n, err)
	}

	locker, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer locker.Close()
	if _, err := locker.ExecContext(ctx, "FLUSH TABLES WITH READ LOCK"); err != nil {
		t.Fatal(err)
	}
	if list, err := mysql.KillBlockers(ctx, db); len(list) != 1 || err != nil {
		t.Fatalf("%v, %v", list, err)
	}
	if list, err := mysql.Blockers(ctx, db); len(list) != 0 || err != nil {
		t.Fatalf("after they were ended: %v, %v", list, err)
	}
}
