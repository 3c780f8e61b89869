package oscworker

import (
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// A copy that runs goes on while aoscdb hangs and then is gone, and is finished when it is back. Nothing new begins
// meanwhile.
func TestCentralDatabaseAway(t *testing.T) {
	t.Parallel()
	central := testkit.FreshServer(t, nil)
	store, err := aoscdb.Open(central.DSN("aoscdb"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if _, err := store.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := newFixtureOn(t, store, func(t *aoscdb.Tier) { t.DirectMaxRows = 0 }, testkit.Lend(t, 2))
	f.database(tablePlain, 20000)
	f.allow(tableCopy)
	f.queue(f.primary)
	f.worker("w1", func(c *Config) { c.ChunkSize = 20; c.Timeout = time.Second })
	f.await(f.primary, "it copies", func(r aoscdb.OSCRow) bool { return r.Percentage > 1 })
	row := f.instanceRow(f.primary)
	f.do(central.Pause())
	testkit.Eventually(t, patience, "the copy goes on while aoscdb hangs", func() bool {
		now := f.instanceRow(f.primary)
		return now.Status == aoscdb.OSCRunning && now.Percentage > row.Percentage+5
	})
	f.do(central.Kill())
	row = f.instanceRow(f.primary)
	testkit.Eventually(t, patience, "the copy goes on while aoscdb is gone", func() bool {
		now := f.instanceRow(f.primary)
		return now.Status == aoscdb.OSCRunning && now.Percentage > row.Percentage+5
	})
	f.do(central.Restart(t.Context()))
	done := f.awaitStatus(f.primary, aoscdb.OSCDone)
	if done.Try != 1 {
		t.Errorf("try %d, want 1: aoscdb being away cost the copy", done.Try)
	}
	f.mustHave(f.primary, tableCopy)
	f.noLeftovers()
}

// instanceRow is the row without asking aoscdb where it is.
func (f *fixture) instanceRow(s *mysqld.Server) aoscdb.OSCRow {
	f.t.Helper()
	row, err := aoscdb.InstanceStatus(s.DB()).OSCRow(f.t.Context(), s.Addr().Host, s.Addr().Port, "udb", "t")
	f.do(err)
	return row
}

// status_store='central': the same, with the rows in aoscdb, for instances whose replicas refuse all writes; from the
// scheduler's decision to its end.
func TestCentralStatusStore(t *testing.T) {
	t.Parallel()
	cluster := testkit.Lend(t, 2)
	f := newFixture(t, func(t *aoscdb.Tier) { t.StatusStore = aoscdb.StoreCentral; t.DirectMaxRows = 0 }, cluster)
	f.database(tablePlain, 1000)
	f.allow(tableCopy)
	f.target(f.primary)
	f.worker("w1", nil)
	f.scheduler("")
	f.awaitFinished()
	if row := f.row(f.primary); row.Status != aoscdb.OSCDone || row.Percentage != 100 {
		t.Errorf("the row in aoscdb: %+v", row)
	}
	own, err := aoscdb.InstanceStatus(f.primary.DB()).OSCRow(t.Context(), f.primary.Addr().Host, f.primary.Addr().Port, "udb", "t")
	if err == nil && own.CommitSHA == f.repo.Head() {
		t.Errorf("the instance has a row of its own: %+v", own)
	}
	f.mustHave(f.primary, tableCopy)
	f.mustBeOK()
	f.noLeftovers()
}

// The instance dies under a copy (I1, I5): when it is back, what the copy left is removed and it is made anew.
func TestInstanceDies(t *testing.T) {
	t.Parallel() // on servers of its own
	cluster := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows = 0 }, cluster)
	db := f.database(tablePlain, 20000)
	w := testkit.NewWriter(t, f.primary, testkit.WriterOptions{Database: f.database("", 0), Table: "w", Rate: 200})
	w.Start(t.Context())
	f.allow(tableCopy)
	f.queue(f.primary)
	stop := f.worker("w1", func(c *Config) { c.ChunkSize = 20; c.Timeout = time.Second })
	f.await(f.primary, "it copies", func(r aoscdb.OSCRow) bool { return r.Percentage > 1 })
	f.do(f.primary.Kill())
	f.awaitLog("w1", "msg=ended")
	f.do(f.primary.Restart(t.Context()))
	stop()
	f.worker("w2", nil)
	// Which connection noticed first decides: the row is taken up again, or failed for the scheduler to try again.
	row := f.await(f.primary, "it is done or failed", func(r aoscdb.OSCRow) bool {
		return r.Status == aoscdb.OSCDone || r.Status == aoscdb.OSCFailed
	})
	if row.Status == aoscdb.OSCFailed {
		if row.Final || row.Try != 1 {
			t.Errorf("final %v, try %d: a server that died is no reason to give up", row.Final, row.Try)
		}
		f.queue(f.primary)
		f.awaitStatus(f.primary, aoscdb.OSCDone)
	}
	testkit.CheckWriter(t, w, cluster)
	f.databases = []string{db}
	f.mustHave(f.primary, tableCopy)
	testkit.Exec(t, f.primary, "DROP TABLE "+f.pattern+"1.w")
	f.noLeftovers()
}

// A switchover under a copy: the old primary is fenced and follows the new one. The worker gives the row back within
// seconds, no try is counted, and no errant transaction is made (I7). What gh-ost's copy left is removed through the new primary (I5); the
// copy of keyed goes on there.
func TestPrimaryMoves(t *testing.T) { byEngine(t, primaryMoves) }

func primaryMoves(t *testing.T, engine string) {
	t.Parallel() // on servers of its own
	cluster := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{}, nil)
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows, t.CopyEngine = 0, engine }, cluster)
	f.database(tablePlain, 15000)
	f.allow(tableCopy)
	f.queue(f.primary)
	stop := f.worker("w1", func(c *Config) { c.ChunkSize = 10; c.Timeout = time.Second })
	f.await(f.primary, "it copies", func(r aoscdb.OSCRow) bool { return r.Percentage > 1 })

	old, next := cluster.Primary, cluster.Replicas[0]
	moved := time.Now()
	testkit.Exec(t, old, "SET GLOBAL super_read_only = ON")
	f.do(cluster.Sync(t.Context()))
	testkit.Exec(t, next, "STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF")
	f.do(mysqld.SetupReplica(t.Context(), old, next, mysqld.ReplicaOptions{}))
	cluster.Primary, cluster.Replicas[0] = next, old

	f.awaitLog("w1", "msg=ended")
	t.Logf("ended %v after the fence", time.Since(moved).Round(10*time.Millisecond))
	// read_only alone lets the worker's own bookkeeping through.
	testkit.Exec(t, old, "SET GLOBAL super_read_only = OFF")
	testkit.Eventually(t, patience, "the row is given back or failed", func() bool { return f.row(old).Status != aoscdb.OSCRunning })
	if engine == aoscdb.CopyGhost {
		testkit.Eventually(t, patience, "the new primary is clean", func() bool { return len(f.leftoverTables(next)) == 0 })
		f.noLeftovers()
	}
	f.mustHave(next, tablePlain)

	// The scheduler now gives it to the new primary.
	stop()
	f.worker("w2", nil)
	f.central("DELETE FROM running_alters")
	f.queue(next)
	f.awaitStatus(next, aoscdb.OSCDone)
	f.do(cluster.Sync(t.Context()))
	f.mustHave(old, tableCopy)
	f.noLeftovers()
}
