package mysql_test

import (
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// TestStopTorn: a replica whose receiver stopped in the middle of a transaction stops at once, and not after a minute;
// the transaction is received and applied as a whole when it goes on.
func TestStopTorn(t *testing.T) {
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{}, map[string]string{"max_allowed_packet": "64M"})
	source, replica := c.Primary.DB(), c.Replicas[0].DB()
	run(t, source, "CREATE DATABASE torn", "CREATE TABLE torn.t (a INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB)")
	torn := func() (transaction string) {
		var state string
		err := replica.QueryRowContext(t.Context(), `SELECT COALESCE(t.processlist_state, ''), COALESCE(c.processing_transaction, '')
			FROM performance_schema.replication_applier_status_by_coordinator c JOIN performance_schema.threads t USING (thread_id)`).Scan(&state, &transaction)
		if err != nil {
			return ""
		}
		return transaction
	}
	rows := 0
	for try := 0; ; try++ {
		if try == 20 {
			t.Fatal("no receiver could be stopped in the middle of a transaction")
		}
		const n = 300
		done := make(chan error, 1)
		go func() {
			_, err := source.ExecContext(t.Context(), "INSERT INTO torn.t (b) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) SELECT REPEAT('x', 200000) FROM n")
			done <- err
		}()
		for deadline := time.Now().Add(patience); torn() == "" && time.Now().Before(deadline); {
		}
		check(t, mysql.StopReceiver(t.Context(), replica))
		check(t, <-done)
		rows += n
		testkit.Eventually(t, patience, "the applier stands", func() bool {
			var idle bool
			err := replica.QueryRowContext(t.Context(), "SELECT COUNT(*) > 0 FROM performance_schema.threads WHERE name = 'thread/sql/replica_sql' AND processlist_state LIKE '%has read all relay log%'").Scan(&idle)
			return err == nil && idle
		})
		if torn() != "" {
			break
		}
		check(t, mysql.StartReplica(t.Context(), replica))
	}
	begun := time.Now()
	check(t, mysql.StopReplica(t.Context(), replica))
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	check(t, mysql.StartReplica(t.Context(), replica))
	testkit.Eventually(t, patience, "all rows are at the replica", func() bool {
		var n int
		return replica.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM torn.t").Scan(&n) == nil && n == rows
	})
}
