package oscworker

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// rolling is a tier whose instances are altered each by itself. No scheduler takes the row of one that is done out of the limit.
func rolling(t *aoscdb.Tier) { t.Ordering, t.MaxRunning = aoscdb.OrderingRolling, 2 }

// alone runs statements on one instance, unlogged, as somebody's mistake would.
func (f *fixture) alone(s *mysqld.Server, statements ...string) {
	f.t.Helper()
	f.do(mysql.WithSession(f.t.Context(), s.DB(), mysql.Session{NoBinlog: true}, func(ctx context.Context, c *sql.Conn) error {
		for _, q := range statements {
			if _, err := c.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		return nil
	}))
}

// ordering='rolling': each instance by itself with sql_log_bin=0, so no transaction is made anywhere (I7), and the primary
// not before its replicas.
func TestRolling(t *testing.T) {
	t.Parallel()
	cluster := testkit.Lend(t, 2)
	f := newFixture(t, rolling, cluster)
	f.database(tablePlain, 100)
	f.database(tablePlain, 100)
	f.do(cluster.Sync(t.Context()))
	replica := cluster.Replicas[0]
	f.allow(tableColumn)
	f.worker("w1", nil)

	f.queue(f.primary)
	f.awaitLog("w1", "goes first and does not have the desired form")
	f.awaitStatus(f.primary, aoscdb.OSCWaiting)
	f.mustHave(f.primary, tablePlain)
	_, err := f.rows(f.primary).Withdraw(t.Context(), f.primary.Addr().Host, f.primary.Addr().Port, "udb", "t")
	f.do(err)

	before := testkit.Ask(t, f.primary, "SELECT @@GLOBAL.gtid_executed")
	f.queue(replica)
	f.awaitStatus(replica, aoscdb.OSCDone)
	f.mustHave(replica, tableColumn)
	f.mustHave(f.primary, tablePlain)
	testkit.Exec(t, f.primary, "INSERT INTO "+f.databases[0]+".t (id, version, payload) VALUES (1000, 0, 'meanwhile')")
	f.do(cluster.Sync(t.Context()))
	f.queue(f.primary)
	f.awaitStatus(f.primary, aoscdb.OSCDone)
	f.mustHave(f.primary, tableColumn)
	testkit.Exec(t, f.primary, "INSERT INTO "+f.databases[0]+".t (id, version, payload, extra) VALUES (1001, 0, 'after', 7)")
	f.do(cluster.Sync(t.Context()))
	if got := testkit.Ask(t, replica, "SELECT extra FROM "+f.databases[0]+".t WHERE id = 1001"); got != "7" {
		t.Errorf("replication brought %q", got)
	}
	f.noLeftovers()
	for _, s := range cluster.Servers() {
		made := testkit.Ask(t, s, "SELECT GTID_SUBTRACT(@@GLOBAL.gtid_executed, ?)", before)
		var first, last int
		_, interval, _ := strings.Cut(made, ":")
		if n, err := fmt.Sscanf(interval, "%d-%d", &first, &last); n != 2 || err != nil || last-first != 1 {
			t.Errorf("I7: transactions on %s: %s, want the two INSERTs of this test and nothing else", s.Addr(), made)
		}
	}
}

// A stricter change goes to the primary first: a NULL that it still takes would arrive at an altered replica as 0, in silence.
func TestRollingStricterChange(t *testing.T) {
	t.Parallel()
	cluster := testkit.Lend(t, 2)
	f := newFixture(t, rolling, cluster)
	f.database(strings.Replace(tablePlain, "version bigint unsigned NOT NULL", "version bigint unsigned", 1), 100)
	f.do(cluster.Sync(t.Context()))
	replica := cluster.Replicas[0]
	f.allow(tablePlain)
	f.worker("w1", nil)

	f.queue(replica)
	f.awaitLog("w1", "goes first and does not have the desired form")
	f.awaitStatus(replica, aoscdb.OSCWaiting)
	_, err := f.rows(replica).Withdraw(t.Context(), replica.Addr().Host, replica.Addr().Port, "udb", "t")
	f.do(err)
	f.queue(f.primary)
	f.awaitStatus(f.primary, aoscdb.OSCDone)
	f.mustHave(f.primary, tablePlain)
	f.queue(replica)
	f.awaitStatus(replica, aoscdb.OSCDone)
	f.mustHave(replica, tablePlain)
	testkit.Exec(t, f.primary, "INSERT INTO "+f.databases[0]+".t (id, version, payload) VALUES (1000, 0, 'after')")
	f.do(cluster.Sync(t.Context()))
}

// A plan that ordering='rolling' cannot carry out is refused for good, with what to do.
func TestRollingRefusesACopy(t *testing.T) {
	t.Parallel()
	cluster := testkit.Lend(t, 2)
	f := newFixture(t, func(t *aoscdb.Tier) { rolling(t); t.DirectMaxRows = 0 }, cluster)
	f.database(tablePlain, 100)
	f.do(cluster.Sync(t.Context()))
	f.allow(tableCopy)
	f.queue(cluster.Replicas[0])
	f.worker("w1", nil)
	row := f.awaitStatus(cluster.Replicas[0], aoscdb.OSCFailed)
	if !row.Final || !strings.Contains(row.Error, "rolling") {
		t.Errorf("final %v: %q", row.Final, row.Error)
	}
	f.mustHave(cluster.Replicas[0], tablePlain)
	f.noLeftovers()
}

// A replica that alone differs is mended in place, unlogged (I7); one whose primary differs too is left alone: its
// primary's ALTER would find the column there and stop replication.
func TestReplicaThatDrifted(t *testing.T) {
	t.Parallel()
	cluster := testkit.Lend(t, 2)
	replica := cluster.Replicas[0]
	f := newFixture(t, nil, cluster)
	db := f.database(tablePlain, 100)
	f.do(cluster.Sync(t.Context()))
	f.allow(tableColumn)
	f.queue(replica)
	stop := f.worker("w1", nil)
	f.awaitLog("w1", "goes first and does not have the desired form")
	f.awaitStatus(replica, aoscdb.OSCWaiting)
	stop()
	f.mustHave(replica, tablePlain)

	testkit.Exec(t, f.primary, "ALTER TABLE "+db+".t ADD COLUMN extra int DEFAULT NULL")
	f.do(cluster.Sync(t.Context()))
	f.alone(replica, "ALTER TABLE "+db+".t DROP COLUMN extra")
	stop = f.worker("w2", nil)
	f.awaitStatus(replica, aoscdb.OSCDone)
	f.mustHave(replica, tableColumn)
	f.noLeftovers()
	stop()
}

// A replica that lacks rows or values which its primary has is not given their empty shape: with a failover they would be
// lost, and nothing would have shown it (I1).
func TestReplicaThatLacksData(t *testing.T) {
	cluster := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{}, nil)
	replica := cluster.Replicas[0]
	for name, c := range map[string]struct{ primary, replica, says string }{
		"a column": {"UPDATE %s.t SET extra = 7 WHERE id = 5", "ALTER TABLE %s.t DROP COLUMN extra", "column `extra` has values"},
		"a table":  {"DO 1", "DROP TABLE %s.t", "the table has rows"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil, cluster)
			db := f.database(tablePlain, 100)
			testkit.Exec(t, f.primary, "ALTER TABLE "+db+".t ADD COLUMN extra int DEFAULT NULL", strings.ReplaceAll(c.primary, "%s", db))
			f.do(cluster.Sync(t.Context()))
			f.alone(replica, strings.ReplaceAll(c.replica, "%s", db))
			f.allow(tableColumn)
			f.queue(replica)
			stop := f.worker("w1", nil)
			row := f.awaitStatus(replica, aoscdb.OSCFailed)
			stop()
			if !row.Final || !strings.Contains(row.Error, c.says) || !strings.Contains(row.Error, "clone") {
				t.Errorf("final %v: %q", row.Final, row.Error)
			}
			columns := testkit.Ask(t, replica, "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = ? AND table_name = 't' AND column_name = 'extra'", db)
			if columns != "0" {
				t.Error("I1: it was given the shape of data that it does not have")
			}
		})
	}
}
