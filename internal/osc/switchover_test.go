package osc

import (
	"os"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// writerGrants are those of the account that writes what is replicated, as docs/operations.md has them.
var writerGrants = []string{
	"CREATE USER aosc_write IDENTIFIED BY 'w'",
	"GRANT ALTER, CREATE, DELETE, DROP, INDEX, INSERT, LOCK TABLES, REFERENCES, SELECT, TRIGGER, UPDATE ON *.* TO aosc_write",
	"GRANT PROCESS, REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO aosc_write",
}

// Somebody else makes the primary read_only in the middle of a copy and promotes a replica. Nothing that a copy writes may come after
// that: each transaction would be on the former primary alone (I7). No row is lost (I1), and the alter is made at the new primary.
func TestSwitchoverByOthersDuringACopy(t *testing.T) {
	cluster := testkit.FreshCluster(t, 3, mysqld.ReplicaOptions{}, nil)
	testkit.Exec(t, cluster.Primary, writerGrants...)
	b := newBench(t, cluster.Primary)
	b.runner.Writer = mysql.NewPool(mysql.Credentials{User: "aosc_write", Password: "w", TLS: b.pool.Credentials().TLS}, mysql.Options{MaxOpen: 4})
	t.Cleanup(func() { b.runner.Writer.Close() })
	if os.Getenv("AOSC_TEST_ONE_ACCOUNT") != "" { // to see what an account that passes read_only leaves
		b.runner.Writer = nil
	}
	b.settings.ChunkSize, b.settings.DirectMaxRows = 10, 1
	b.exec(oldT)
	b.fill("t", 20_000)
	before := b.sum("t")

	p := b.plan("t", newT)
	copying, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		begun := false
		_, err := b.runner.Run(t.Context(), p, b.settings, NewControl(), func(p Progress) {
			if !begun && p.State == StateCopying && p.RowsCopied > 100 {
				begun = true
				close(copying)
			}
		})
		ended <- err
	}()
	select {
	case <-copying:
	case err := <-ended:
		t.Fatalf("it ended before anything was switched: %v", err)
	}
	testkit.Exec(t, cluster.Primary, "SET GLOBAL read_only = 1")
	at := testkit.Ask(t, cluster.Primary, "SELECT @@GLOBAL.gtid_executed")
	next := cluster.Replicas[0]
	testkit.Ask(t, next, "SELECT WAIT_FOR_EXECUTED_GTID_SET(?)", at)
	<-time.After(400 * time.Millisecond) // as the switchover that was watched did
	testkit.Exec(t, next, "STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only = 0", "SET GLOBAL read_only = 0")

	if err := <-ended; err == nil || final(err) {
		t.Errorf("the copy on the former primary: %v, want an error that passes", err)
	} else {
		t.Log(err)
	}
	if errant := testkit.Ask(t, cluster.Primary, "SELECT GTID_SUBTRACT(@@GLOBAL.gtid_executed, ?)", at); errant != "" {
		t.Errorf("I7: errant on the former primary: %s", errant)
	}

	n := *b
	n.srv, n.t = next, t
	var err error
	if n.db, err = n.pool.DB(next.Addr()); err != nil {
		t.Fatal(err)
	}
	if after := n.sum("t"); after != before {
		t.Errorf("I1: %s became %s", before, after)
	}
	n.settings.ChunkSize = 1000
	n.run("t", newT, EngineGhost)
	if after := n.sum("t"); after != before {
		t.Errorf("I1: altered at the new primary, %s became %s", before, after)
	}
}

// Which accounts pass read_only shows in their grants.
func TestPassesReadOnly(t *testing.T) {
	for _, c := range []struct {
		grants []string
		want   string
	}{
		{[]string{"GRANT ALL PRIVILEGES ON *.* TO `root`@`%`"}, "ALL PRIVILEGES"},
		{[]string{"GRANT SELECT, SUPER ON *.* TO `a`@`%`"}, "SUPER"},
		{[]string{"GRANT SELECT ON *.* TO `a`@`%`", "GRANT BINLOG_ADMIN,CONNECTION_ADMIN ON *.* TO `a`@`%`"}, "CONNECTION_ADMIN"},
		{[]string{"GRANT SELECT, INSERT ON *.* TO `a`@`%`", "GRANT ALL PRIVILEGES ON `SUPER`.* TO `a`@`%`"}, ""},
		{[]string{"GRANT PROCESS ON *.* TO `SUPER`@`%`"}, ""},
	} {
		if got := passesReadOnly(c.grants); got != c.want {
			t.Errorf("%v: %q, want %q", c.grants, got, c.want)
		}
	}
}
