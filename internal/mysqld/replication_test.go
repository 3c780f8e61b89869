package mysqld_test

import (
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysqld"
)

// TestCluster: what is committed on the primary is on the replica after Sync, also after a restart of the replica; an
// errant transaction is noticed (I7).
func TestCluster(t *testing.T) {
	t.Parallel()
	c, err := mysqld.StartCluster(t.Context(), mysqld.ClusterOptions{Replicas: 1, Replica: mysqld.ReplicaOptions{SemiSync: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Remove(); err != nil {
			t.Error(err)
		}
	})
	replica := c.Replicas[0]
	tell(t, c.Primary, "CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)")
	if got := ask(t, c.Primary, "SELECT VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Rpl_semi_sync_source_yes_tx'"); got == "0" {
		t.Error("no commit was acknowledged by the replica: semi-sync does not work")
	}
	if err := replica.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, replica, "SELECT @@read_only"); got != "1" {
		t.Error("the replica is writable after a restart")
	}
	tell(t, c.Primary, "INSERT INTO d.t VALUES (2)")
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, replica, "SELECT COUNT(*) FROM d.t"); got != "2" {
		t.Errorf("the replica has %s rows, want 2", got)
	}
	if errant, err := c.ErrantGTIDs(t.Context()); err != nil || len(errant) > 0 {
		t.Fatalf("errant transactions of a healthy cluster: %v, %v", errant, err)
	}
	tell(t, replica, "INSERT INTO d.t VALUES (3)")
	errant, err := c.ErrantGTIDs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	uuid := ask(t, replica, "SELECT @@server_uuid")
	if got := errant[replica.Addr()]; !strings.HasPrefix(got, uuid+":1") || len(errant) != 1 {
		t.Errorf("I7: a transaction written on the replica is not found errant: %v, want %s", errant, uuid+":1")
	}
}
