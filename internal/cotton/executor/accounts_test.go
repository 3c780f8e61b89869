package executor

import (
	"database/sql/driver"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// TestLockedOut: an executor that its own server does not let in any more, since somebody made an account that takes the place of
// cotton's, or locked it, has the server put its accounts right: without an errant transaction, and closed.
func TestLockedOut(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	db := g.i.server.DB()
	before, err := mysql.ReadServer(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"SET SESSION sql_log_bin = 0", "SET GLOBAL super_read_only = OFF",
		"CREATE USER 'cotton_admin'@'127.0.0.1' IDENTIFIED BY 'x'", "CREATE USER 'cotton_repl'@'127.0.0.%' IDENTIFIED BY 'x'", "CREATE USER Cotton_Admin",
		"ALTER USER 'cotton_repl'@'%' ACCOUNT LOCK", "SET GLOBAL super_read_only = ON"} {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	// Sessions that are there go on; new ones are denied.
	if _, err := mysql.KillClients(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	db.SetMaxIdleConns(0)
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	testkit.Eventually(t, patience, "it was started again for its accounts", func() bool {
		return strings.Contains(g.heard.messages(), "does not let cotton in") && strings.Contains(g.heard.messages(), "mysqld answers again")
	})
	after, err := mysql.ReadServer(t.Context(), db)
	if err != nil || after.UUID != before.UUID || after.GTIDExecuted != before.GTIDExecuted || !after.SuperReadOnly {
		t.Errorf("before %+v, after %+v, %v", before, after, err)
	}
	var accounts string
	err = db.QueryRowContext(t.Context(), "SELECT GROUP_CONCAT(user, '@', host, ' ', account_locked ORDER BY user) FROM mysql.user WHERE user LIKE 'cotton%'").Scan(&accounts)
	if want := cotton.AdminAccount + "@% N," + cotton.ReplicationAccount + "@% N"; err != nil || accounts != want {
		t.Errorf("accounts: %s, want %s: %v", accounts, want, err)
	}
}
