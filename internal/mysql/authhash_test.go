package mysql_test

import (
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// TestHashPassword: an account made from our hash logs in with the password and with no other, and the server would
// have made the same hash.
func TestHashPassword(t *testing.T) {
	srv := testkit.Server(t)
	admin := srv.DB()
	for _, password := range []string{"x", "correct horse battery staple", "with 'quotes' and \\", "größe", "0123456789012345678901234567890123456789012345678901234567890123456789"} {
		hash, err := mysql.HashPassword(password)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := admin.ExecContext(t.Context(), "CREATE USER 'hashed'@'%' IDENTIFIED WITH caching_sha2_password AS "+mysql.QuoteString(hash)); err != nil {
			t.Fatal(err)
		}
		for _, try := range []struct {
			password string
			works    bool
		}{{password, true}, {password + "x", false}, {"", false}} {
			db, err := mysql.Open(srv.Addr(), mysql.Credentials{User: "hashed", Password: try.password, TLS: "skip-verify"}, mysql.Options{})
			if err != nil {
				t.Fatal(err)
			}
			err = db.PingContext(t.Context())
			if (err == nil) != try.works || err != nil && !mysql.IsAccessDenied(err) {
				t.Errorf("account of %q, login with %q: %v", password, try.password, err)
			}
			if got := mysql.CheckPassword(hash, try.password); got != try.works {
				t.Errorf("CheckPassword of %q with %q is %v", password, try.password, got)
			}
			db.Close()
		}
		if _, err := admin.ExecContext(t.Context(), "ALTER USER 'hashed'@'%' IDENTIFIED WITH caching_sha2_password BY "+mysql.QuoteString(password)); err != nil {
			t.Fatal(err)
		}
		var theirs string
		if err := admin.QueryRowContext(t.Context(), "SELECT authentication_string FROM mysql.user WHERE user = 'hashed'").Scan(&theirs); err != nil {
			t.Fatal(err)
		}
		if !mysql.CheckPassword(theirs, password) || mysql.CheckPassword(theirs, password+"x") {
			t.Errorf("the server's own hash of %q is not recognised: %q", password, theirs)
		}
		if _, err := admin.ExecContext(t.Context(), "DROP USER 'hashed'@'%'"); err != nil {
			t.Fatal(err)
		}
	}
	for _, hash := range []string{"", "$A$005$short", "$A$010$" + string(make([]byte, 63)), "plain"} {
		if mysql.CheckPassword(hash, "x") {
			t.Errorf("%q belongs to a password", hash)
		}
	}
}
