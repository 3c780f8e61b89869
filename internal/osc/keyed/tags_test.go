package keyed

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// TestTags: transactions whose GTIDs have tags are followed, and a log is read from a set that has some.
func TestTags(t *testing.T) {
	srv := testkit.Server(t)
	if !srv.Version().TaggedGTIDs() {
		t.Skip("the server knows no tags")
	}
	k := newKit(t)
	k.exec("CREATE TABLE t (id int NOT NULL PRIMARY KEY, v varchar(20))",
		"INSERT INTO t WITH RECURSIVE s AS (SELECT 1 i UNION ALL SELECT i + 1 FROM s WHERE i < 900) SELECT i, 'v' FROM s")
	err := k.copyAt("MODIFY v varchar(300)", func(m int) {
		k.exec("SET gtid_next = 'AUTOMATIC:billing'", fmt.Sprintf("UPDATE t SET v = 'tagged' WHERE id %% 90 = %d", m))
		x := fmt.Sprintf("'%s-%d'", k.database, m)
		k.exec("SET gtid_next = 'AUTOMATIC:other_tag'", "XA START "+x, fmt.Sprintf("INSERT INTO t VALUES (%d, 'xa')", 10_040+m),
			fmt.Sprintf("DELETE FROM t WHERE id %% 90 = %d", m+10), "XA END "+x, "XA PREPARE "+x, "XA COMMIT "+x)
		k.exec(fmt.Sprintf("UPDATE t SET v = 'plain' WHERE id %% 90 = %d", m+20))
	})
	if err != nil {
		t.Fatal(err)
	}
	k.asByHand("MODIFY v varchar(300)", "*")
	got := k.rows("SELECT v, COUNT(*) FROM t GROUP BY v ORDER BY v")
	if want := []string{`"plain" "40"`, `"tagged" "40"`, `"v" "780"`, `"xa" "4"`}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	set, err := mysql.GTIDExecuted(t.Context(), k.db)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(set.String(), ":billing:") {
		t.Errorf("no tag in %s", set)
	}
	if plain, err := mysql.ParseGTIDSet("00000000-0000-0000-0000-000000000001:1-5:7"); err != nil || len(plain.Wire()) != 8+16+8+2*16 {
		t.Errorf("a set without tags takes %d bytes, %v", len(plain.Wire()), err)
	}
}
