package testkit_test

import (
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// TestCopyDatabase: tables, rows and views of the copy are its own.
func TestCopyDatabase(t *testing.T) {
	s := testkit.Server(t)
	from, to := testkit.Database(t, s), testkit.Database(t, s, "it`s ")
	testkit.Exec(t, s,
		"CREATE TABLE "+from+".t (id int PRIMARY KEY COMMENT 'a `key`', n int, KEY (n)) COMMENT 'of rows'",
		"INSERT INTO "+from+".t VALUES (1, 10), (2, 20)",
		"CREATE VIEW "+from+".v AS SELECT SUM(n) AS n FROM "+from+".t")
	testkit.CopyDatabase(t, s.DB(), from, to)
	testkit.Exec(t, s, "INSERT INTO "+from+".t VALUES (3, 30)")
	if got := testkit.Ask(t, s, "SELECT n FROM "+mysql.QuoteIdent(to)+".v"); got != "30" {
		t.Errorf("the view of the copy has the sum %s, not 30", got)
	}
	comment := testkit.Ask(t, s, "SELECT table_comment FROM information_schema.tables WHERE table_schema = ? AND table_name = 't'", to)
	if comment != "of rows" {
		t.Errorf("the table of the copy has the comment %q", comment)
	}
}
