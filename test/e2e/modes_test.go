package e2e

import (
	"strings"
	"testing"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// status_store='central', for replicas that refuse every write but their source's: a copy with its writer, an instant
// change and a new table, and no database aosc on any instance.
func TestCentralStore(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true, SuperReadOnly: true}, nil)
	s := newSite(t, func(t *aoscdb.Tier) { t.StatusStore = aoscdb.StoreCentral }, c)
	loaded := s.fill(plain, 0)
	s.fill("", 0) // lacks the table
	w := s.writer(c, loaded, 2000, 100)
	s.daemons()
	s.alter("tabla1", copied)
	s.mustHave("tabla1", copied)
	wider := strings.Replace(copied, "PRIMARY", "extra int DEFAULT NULL, PRIMARY", 1)
	s.alter("tabla1", wider)
	s.mustHave("tabla1", wider)
	s.lossless(c, w)
	s.clean("tabla1")
	for _, server := range c.Servers() {
		if n := testkit.Ask(t, server, "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'aosc'"); n != "0" {
			t.Errorf("database aosc on %s although the store is central", server.Addr())
		}
	}
	if n := s.ask("SELECT COUNT(*) FROM aosc_local_status WHERE status = 'OK'"); n != "4" {
		t.Errorf("%s rows OK in the central aosc_local_status, want 4", n)
	}
}

// ordering='rolling': each instance by itself, unlogged, replicas first, the primary last; no errant transaction (I7). A plan
// that needs a copy is refused by name.
func TestRolling(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 3, mysqld.ReplicaOptions{SemiSync: true}, nil)
	s := newSite(t, func(t *aoscdb.Tier) { t.Ordering = aoscdb.OrderingRolling }, c)
	loaded := s.fill(plain, 0)
	s.fill(plain, 500)
	w := s.writer(c, loaded, 500, 100)
	s.daemons()
	s.alter("tabla1", column)
	s.mustHave("tabla1", column)
	var order []string
	rows, err := s.store.DB().QueryContext(t.Context(), "SELECT CONCAT(host, ':', port) FROM events WHERE what = 'done' AND host <> '' ORDER BY id")
	s.do(err)
	defer rows.Close()
	for rows.Next() {
		var addr string
		s.do(rows.Scan(&addr))
		order = append(order, addr)
	}
	s.do(rows.Err())
	if len(order) != 3 || order[2] != c.Primary.Addr().String() {
		t.Errorf("altered in the order %v, want two replicas, then the primary %s", order, c.Primary.Addr())
	}
	s.lossless(c, w)
	s.clean("tabla1")

	s.commit("tabla1", strings.Replace(column, "varchar(100)", "text", 1))
	s.allow("tabla1")
	s.held("tabla1", aoscdb.HoldBrain, "rolling")
	s.mustHave("tabla1", column)
}
