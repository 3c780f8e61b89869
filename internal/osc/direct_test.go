package osc

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// TestEngines runs each engine that needs no copy and reads the table back.
func TestEngines(t *testing.T) {
	b := newBench(t, testkit.Server(t))
	b.run("t", oldT, EngineCreate)
	b.fill("t", 500) // above direct_max_rows
	rows := b.sum("t")
	b.run("t", strings.Replace(oldT, "varchar(50) NOT NULL", "varchar(50) NOT NULL, c int DEFAULT NULL", 1), EngineInstant)
	b.run("t", strings.Replace(oldT, "varchar(50) NOT NULL", "varchar(60) NOT NULL, c int DEFAULT NULL", 1), EngineInplace)
	b.run("t", strings.Replace(oldT, "varchar(50) NOT NULL", "varchar(60) NOT NULL, c int DEFAULT NULL, KEY v (v)", 1), EngineInplace)
	b.settings.DirectMaxRows = 500
	b.run("t", strings.Replace(oldT, "varchar(50) NOT NULL", "text NOT NULL, c bigint DEFAULT NULL, KEY v (v(20))", 1), EngineDirect)
	b.run("t", strings.Replace(oldT, "varchar(50) NOT NULL", "text NOT NULL, c bigint DEFAULT NULL, KEY v (v(20))", 1), EngineNone)
	if now := b.sum("t"); now != rows {
		t.Errorf("I1: rows %s, before %s", now, rows)
	}
}

// occupy keeps a transaction open that has read the table, so that no ALTER gets its lock.
func (b *bench) occupy(table string) *sql.Tx {
	b.t.Helper()
	tx, err := b.srv.DB().BeginTx(b.t.Context(), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { tx.Rollback() })
	var n int
	if err := tx.QueryRowContext(b.t.Context(), "SELECT COUNT(*) FROM "+mysql.QuoteIdents(b.database, table)).Scan(&n); err != nil {
		b.t.Fatal(err)
	}
	return tx
}

// TestLockWait: an ALTER that does not get the table's lock lets the application through between its attempts, says who
// holds the lock, and succeeds when it is released.
func TestLockWait(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t))
	b.exec(oldT)
	b.fill("t", 10)
	b.settings.LockWaitTimeout = time.Second
	tx := b.occupy("t")
	a := b.begin(b.plan("t", newT))
	// performance_schema is read without locks, so that one look in many may miss the row: any attempt may say it.
	a.until("an attempt has failed, and who holds the lock is said", func(p Progress) bool {
		return strings.HasPrefix(p.Detail, "attempt ") && strings.Contains(p.Detail, "transaction open")
	})
	// The table stays occupied for as long: nothing but the ALTER's letting go can let this through.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := b.srv.DB().ExecContext(ctx, "UPDATE "+mysql.QuoteIdents(b.database, "t")+" SET v = 'x' WHERE id = 1"); err != nil {
		t.Errorf("a query of the application between two attempts: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	<-a.done
	if a.err != nil {
		t.Fatal(a.err)
	}
}

func TestLockNeverFree(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t))
	b.exec(oldT)
	before := b.form("t")
	b.settings.LockWaitTimeout, b.settings.Retries = time.Second, 2
	b.occupy("t")
	_, err := b.runner.Run(t.Context(), b.plan("t", newT), b.settings, NewControl(), nil)
	if !mysql.IsLockWaitTimeout(err) || final(err) || !strings.Contains(err.Error(), "2 attempts") {
		t.Errorf("got %v", err)
	}
	b.untouched("t", before)
}

// TestStopDirect: STOP kills an ALTER that waits or works.
func TestStopDirect(t *testing.T) {
	b := newBench(t, testkit.Server(t))
	b.exec(oldT)
	before := b.form("t")
	b.settings.LockWaitTimeout = 3 * time.Second
	b.occupy("t")
	a := b.begin(b.plan("t", newT))
	testkit.Eventually(t, testkit.Patience, "the ALTER waits", func() bool {
		return testkit.Ask(t, b.srv, "SELECT COUNT(*) FROM performance_schema.processlist WHERE info LIKE 'ALTER TABLE `"+b.database+"`%'") == "1"
	})
	watch := testkit.StartStopwatch(t, b.srv)
	a.control.Set(PrivStop)
	<-a.done
	watch.Within(t, 2*time.Second, "STOP")
	if !errors.Is(a.err, ErrStopped) {
		t.Errorf("got %v", a.err)
	}
	b.untouched("t", before)
}

// TestKilledConnection: what became of an ALTER whose connection broke is read from the server.
func TestKilledConnection(t *testing.T) {
	b := newBench(t, testkit.Server(t))
	b.exec(oldT)
	before := b.form("t")
	b.settings.LockWaitTimeout = 3 * time.Second
	b.occupy("t")
	a := b.begin(b.plan("t", newT))
	alters := " FROM performance_schema.processlist WHERE info LIKE 'ALTER TABLE `" + b.database + "`%'"
	testkit.Eventually(t, testkit.Patience, "the ALTER waits", func() bool { return testkit.Ask(t, b.srv, "SELECT COUNT(*)"+alters) == "1" })
	b.exec("KILL " + testkit.Ask(t, b.srv, "SELECT MAX(id)"+alters))
	<-a.done
	if a.err == nil || final(a.err) {
		t.Errorf("got %v, want an error of the moment", a.err)
	}
	b.untouched("t", before)
}

// TestRowsDoNotFit: a row written after the plan was made, and that does not fit, is refused; nothing is cut.
func TestRowsDoNotFit(t *testing.T) {
	b := newBench(t, testkit.Server(t))
	b.exec(oldT, "INSERT INTO t VALUES (1, 'short')")
	before := b.form("t")
	p := b.plan("t", strings.Replace(oldT, "varchar(50)", "varchar(5)", 1))
	b.exec("INSERT INTO t VALUES (2, 'longer than five')")
	rows := b.sum("t")
	if p.Refused != "" || len(p.Findings) != 0 {
		t.Fatalf("planned: %q %v", p.Refused, p.Findings)
	}
	_, err := b.runner.Run(t.Context(), p, b.settings, NewControl(), nil)
	if !final(err) {
		t.Errorf("got %v", err)
	}
	b.untouched("t", before)
	if now := b.sum("t"); now != rows {
		t.Errorf("I1: rows %s, before %s", now, rows)
	}
	if p := b.plan("t", strings.Replace(oldT, "varchar(50)", "varchar(5)", 1)); !p.Final || !strings.Contains(p.Refused, "allow_unsafe") {
		t.Errorf("I6: the next plan: %q", p.Refused)
	}
}

// TestPermittedLoss: what allow_unsafe permits comes out the same by a copy and by a plain ALTER.
func TestPermittedLoss(t *testing.T) {
	t.Parallel()
	srv := testkit.Server(t)
	before := "CREATE TABLE t (id int NOT NULL, v varchar(50), n int, d decimal(10,4), PRIMARY KEY (id))"
	after := "CREATE TABLE t (id int NOT NULL, v varchar(5), n tinyint NOT NULL, d decimal(10,1), PRIMARY KEY (id))"
	sums := map[Engine]string{}
	for limit, engine := range map[uint64]Engine{0: EngineGhost, 100: EngineDirect} {
		b := newBench(t, srv)
		b.exec(before, "INSERT INTO t VALUES (1, 'longer than five', 1000, 1.25), (2, NULL, NULL, -1.26), (3, 'ok', -1000, 7)")
		b.settings.DirectMaxRows, b.settings.AllowUnsafe = limit, true
		b.run("t", after, engine)
		sums[engine] = testkit.Ask(t, srv, "SELECT GROUP_CONCAT(CONCAT_WS('|', id, v, n, d) ORDER BY id) FROM "+mysql.QuoteIdents(b.database, "t"))
	}
	if want := "1|longe|127|1.3,2|0|-1.3,3|ok|-128|7.0"; sums[EngineGhost] != want || sums[EngineDirect] != want {
		t.Errorf("want %s, got %v", want, sums)
	}
}

// TestChangedSincePlanned: a plan is for the table it was made for.
func TestChangedSincePlanned(t *testing.T) {
	b := newBench(t, testkit.Server(t))
	b.exec(oldT)
	p := b.plan("t", newT)
	b.exec("ALTER TABLE t ADD COLUMN other int")
	if _, err := b.runner.Run(t.Context(), p, b.settings, NewControl(), nil); err == nil || final(err) || !strings.Contains(err.Error(), "plan again") {
		t.Errorf("got %v", err)
	}
	b.exec("DROP TABLE t", newT)
	if o, err := b.runner.Run(t.Context(), p, b.settings, NewControl(), nil); err != nil || o.Form.Hash != p.Desired.Hash {
		t.Errorf("somebody did it meanwhile: %v", err)
	}
}

// TestOneRunPerTable: I3, a second run of the same table does not start.
func TestOneRunPerTable(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t))
	b.exec(oldT)
	p := b.plan("t", newT)
	lock, ok, err := mysql.TryLock(t.Context(), b.srv.DB(), b.tableLock("t"))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := b.runner.Run(ctx, p, b.settings, NewControl(), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("I3: got %v while another run holds the lock", err)
	}
	lock.Release()
	b.run("t", newT, EngineDirect)
}

// TestRolling alters a replica and its primary one by one with nothing in the binary log: I7, no errant transaction, and
// replication goes on.
func TestRolling(t *testing.T) {
	cluster := testkit.Cluster(t, 2)
	primary := newBench(t, cluster.Primary)
	primary.exec(oldT)
	primary.fill("t", 500)
	if err := cluster.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(oldT, "varchar(50) NOT NULL", "varchar(50) NOT NULL, c int DEFAULT NULL, KEY v (v(20))", 1)
	replica := *primary
	replica.srv = cluster.Replicas[0]
	var err error
	if replica.db, err = replica.pool.DB(replica.srv.Addr()); err != nil {
		t.Fatal(err)
	}
	if _, err := replica.runner.Run(t.Context(), replica.plan("t", text), replica.settings, NewControl(), nil); !errors.Is(err, errNotPrimary) || final(err) {
		t.Errorf("I7: a logged change on a replica: %v", err)
	}
	replica.settings.NoBinlog, primary.settings.NoBinlog = true, true
	replica.run("t", text, EngineInplace)
	primary.exec("INSERT INTO t (id, v) VALUES (-1, 'while they differ')")
	if err := cluster.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	primary.run("t", text, EngineInplace)
	primary.exec("INSERT INTO t (id, v, c) VALUES (-2, 'after', 5)")
	if err := cluster.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, b := primary.sum("t"), replica.sum("t"); a != b {
		t.Errorf("I1: primary %s, replica %s", a, b)
	}
	testkit.NoErrantGTIDs(t, cluster)
	if p := primary.plan("t", strings.Replace(text, "varchar(50)", "text", 1)); !strings.Contains(p.Refused, "'rolling'") {
		t.Errorf("a copy under 'rolling': %q", p.Refused)
	}
}

// A missing table is made as it was committed. The order of keys decides which is the clustered index of a table without a
// PRIMARY KEY, and the normal form has them by name.
func TestCreateFromTheCommittedText(t *testing.T) {
	b := newBench(t, testkit.Server(t))
	b.run("ck", "create table if not exists ck (a int not null, b int not null, pad varchar(10), unique key z_first (a), unique key a_second (b)); -- committed", EngineCreate)
	index := testkit.Ask(t, b.srv, "SELECT i.name FROM information_schema.innodb_indexes i JOIN information_schema.innodb_tables t USING (table_id) "+
		"WHERE t.name = '"+b.database+"/ck' AND i.type = 3")
	if index != "z_first" {
		t.Errorf("the clustered index is %s", index)
	}
}

// Zero dates in the defaults of a table that has them are no reason to refuse a change beside them.
func TestZeroDateDefaultsBeside(t *testing.T) {
	b := newBench(t, testkit.Server(t))
	const head = "CREATE TABLE b00 (id bigint unsigned NOT NULL AUTO_INCREMENT, post_date datetime NOT NULL DEFAULT '0000-00-00 00:00:00', title text NOT NULL, "
	b.exec("SET SESSION sql_mode = ''", head+"PRIMARY KEY (id))", "INSERT INTO b00 (title) VALUES ('a'), ('b')")
	b.run("b00", head+"guid varchar(255) NOT NULL DEFAULT '', PRIMARY KEY (id))", EngineInstant)
	p := b.plan("b00", head+"guid varchar(255) NOT NULL DEFAULT '', late datetime DEFAULT '0000-00-00', PRIMARY KEY (id))")
	if !p.Final || !strings.Contains(p.Refused, "late") {
		t.Errorf("a new zero date, which the server would not take by hand: %q", p.Refused)
	}
}
