package e2e

import (
	"strings"
	"testing"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/site"
)

// status_store='central', for replicas that refuse every write but their source's: a copy with its writer, an instant
// change and a new table, and no database aosc on any instance.
func TestCentralStore(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true, SuperReadOnly: true}, nil)
	s := newPlace(t, func(t *aoscdb.Tier) { t.StatusStore = aoscdb.StoreCentral }, c)
	loaded := s.Fill(site.Plain, 0)
	s.Fill("", 0) // lacks the table
	w := s.Writer(c, loaded, 2000, 100)
	s.Daemons()
	s.Alter("tabla1", site.Copied)
	s.MustHave("tabla1", site.Copied)
	wider := strings.Replace(site.Copied, "PRIMARY", "extra int DEFAULT NULL, PRIMARY", 1)
	s.Alter("tabla1", wider)
	s.MustHave("tabla1", wider)
	s.Lossless(c, w)
	s.Clean("tabla1")
	for _, server := range c.Servers() {
		if n := testkit.Ask(t, server, "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'aosc'"); n != "0" {
			t.Errorf("database aosc on %s although the store is central", server.Addr())
		}
	}
	if n := s.Ask("SELECT COUNT(*) FROM aosc_local_status WHERE status = 'OK'"); n != "4" {
		t.Errorf("%s rows OK in the central aosc_local_status, want 4", n)
	}
}

// ordering='rolling': each instance by itself, unlogged, replicas first, the primary last; no errant transaction (I7). A plan
// that needs a copy is refused by name.
func TestRolling(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 3, mysqld.ReplicaOptions{SemiSync: true}, nil)
	s := newPlace(t, func(t *aoscdb.Tier) { t.Ordering = aoscdb.OrderingRolling }, c)
	loaded := s.Fill(site.Plain, 0)
	s.Fill(site.Plain, 500)
	w := s.Writer(c, loaded, 500, 100)
	s.Daemons()
	s.Alter("tabla1", site.Column)
	s.MustHave("tabla1", site.Column)
	var order []string
	rows, err := s.Store.DB().QueryContext(t.Context(), "SELECT CONCAT(host, ':', port) FROM events WHERE what = 'done' AND host <> '' ORDER BY id")
	s.Do(err)
	defer rows.Close()
	for rows.Next() {
		var addr string
		s.Do(rows.Scan(&addr))
		order = append(order, addr)
	}
	s.Do(rows.Err())
	if len(order) != 3 || order[2] != c.Primary.Addr().String() {
		t.Errorf("altered in the order %v, want two replicas, then the primary %s", order, c.Primary.Addr())
	}
	s.Lossless(c, w)
	s.Clean("tabla1")

	s.Commit("tabla1", strings.Replace(site.Column, "varchar(100)", "text", 1))
	s.Allow("tabla1")
	s.Held("tabla1", aoscdb.HoldBrain, "rolling")
	s.MustHave("tabla1", site.Column)
}
