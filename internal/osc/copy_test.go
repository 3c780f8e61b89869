package osc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/osc/copy"
	"github.com/aosc/aosc/internal/testkit"
)

// attempt is a run under way.
type attempt struct {
	*bench
	control *Control
	done    chan struct{}
	outcome Outcome
	err     error

	mu   sync.Mutex
	last Progress
}

// begin starts a run of p.
func (b *bench) begin(p Plan) *attempt {
	b.t.Helper()
	if p.Refused != "" {
		b.t.Fatalf("refused: %s", p.Refused)
	}
	a := &attempt{bench: b, control: NewControl(), done: make(chan struct{})}
	log := b.log()
	go func() {
		defer close(a.done)
		a.outcome, a.err = b.runner.Run(b.t.Context(), p, b.settings, a.control, func(p Progress) {
			log(p)
			a.mu.Lock()
			defer a.mu.Unlock()
			a.last = p
		})
	}()
	b.t.Cleanup(func() { <-a.done })
	return a
}

func (a *attempt) progress() Progress {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

func (a *attempt) ended() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// until waits for a condition while the run goes on.
func (a *attempt) until(what string, condition func(Progress) bool) {
	a.t.Helper()
	testkit.Eventually(a.t, testkit.Patience, what, func() bool {
		if condition(a.progress()) {
			return true
		}
		if a.ended() {
			a.t.Fatalf("the run ended before %s: %v", what, a.err)
		}
		return false
	})
}

func copying(p Progress) bool { return p.State == StateCopying && p.RowsCopied > 0 }

// slowly makes copies last for seconds.
func (b *bench) slowly() *bench {
	b.settings.ChunkSize = 10
	return b
}

// TestCopyUnderLoad is the main job: a steady writer on the primary of a semi-synchronous cluster while its table is
// copied, verified and swapped.
func TestCopyUnderLoad(t *testing.T) {
	cluster := testkit.Cluster(t, 2)
	b := newBench(t, cluster.Primary)
	b.settings.Replicas = []mysql.Addr{cluster.Replicas[0].Addr()}
	w := testkit.NewWriter(t, cluster.Primary, testkit.WriterOptions{Database: b.database, Table: "t", Workers: 4, Rate: 400})
	if err := w.Seed(t.Context(), 20_000); err != nil {
		t.Fatal(err)
	}
	w.Start(t.Context())
	text := "CREATE TABLE t (id bigint unsigned NOT NULL, version bigint unsigned NOT NULL, payload text NOT NULL, added int DEFAULT NULL, " +
		"PRIMARY KEY (id), KEY v (version)) DEFAULT CHARSET=utf8mb4"
	o := b.run("t", text, EngineGhost)
	w.Stop()
	if o.Engine != EngineGhost {
		t.Errorf("engine %s", o.Engine)
	}
	report := testkit.CheckWriter(t, w, cluster)
	t.Logf("I1: %v; %+v", report, w.Stats())
	testkit.NoErrantGTIDs(t, cluster)
	if w.Stats().Refused != 0 {
		t.Errorf("the application saw errors: %+v", w.Stats())
	}
}

// TestTamperedCopy changes, removes and adds rows in the copy behind gh-ost's back.
func TestTamperedCopy(t *testing.T) {
	srv := testkit.Server(t)
	for name, c := range map[string][]string{
		"changed": {"UPDATE _t_gho SET v = 'tampered' WHERE id = 17", "`id`=17", "column `v`"},
		"missing": {"DELETE FROM _t_gho WHERE id = 17", "`id`=17", "missing in the copy"},
		"extra":   {"INSERT INTO _t_gho (id, v) VALUES (-5, 'x')", "`id`=-5", "original has not"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tampered(t, srv, c[0], c[1:]...)
		})
	}
}

func tampered(t *testing.T, srv *mysqld.Server, statement string, named ...string) {
	b := newBench(t, srv)
	b.exec(oldT)
	b.fill("t", 2000)
	before, rows := b.form("t"), b.sum("t")
	var once sync.Once
	_, err := b.runner.Run(t.Context(), b.plan("t", newT), b.settings, NewControl(), func(p Progress) {
		if p.State == StateVerifying { // reported before the comparison begins
			once.Do(func() { b.exec(statement) })
		}
	})
	var differs *VerifyError
	if !errors.As(err, &differs) {
		t.Fatalf("got %v, want a VerifyError", err)
	}
	for _, part := range append(named, b.database, "t") {
		if !strings.Contains(differs.Error(), part) {
			t.Errorf("%q is not named: %v", part, differs)
		}
	}
	b.untouched("t", before)
	if now := b.sum("t"); now != rows {
		t.Errorf("I1: rows %s, before %s", now, rows)
	}
}

func TestStopWhileCopying(t *testing.T) {
	b := newBench(t, testkit.Server(t)).slowly()
	b.exec(oldT)
	b.fill("t", 50_000)
	before := b.form("t")
	a := b.begin(b.plan("t", newT))
	a.until("rows are copied", copying)
	watch := testkit.StartStopwatch(t, b.srv)
	a.control.Set(PrivStop)
	<-a.done
	watch.Within(t, 2*time.Second, "STOP, with everything removed,")
	if !errors.Is(a.err, ErrStopped) {
		t.Errorf("got %v", a.err)
	}
	b.untouched("t", before)
}

func TestPauseWhileCopying(t *testing.T) {
	b := newBench(t, testkit.Server(t)).slowly()
	b.exec(oldT)
	b.fill("t", 30_000)
	rows := b.sum("t")
	a := b.begin(b.plan("t", newT))
	a.until("rows are copied", copying)
	watch := testkit.StartStopwatch(t, b.srv)
	a.control.Set(PrivPause)
	a.until("paused", func(p Progress) bool { return p.State == StatePaused })
	copied, since := a.progress().RowsCopied, time.Now()
	// Paused means that the number stands still; gh-ost has 2 s to get there.
	testkit.Eventually(t, testkit.Patience, "nothing is copied any more", func() bool {
		if now := a.progress().RowsCopied; now != copied {
			copied, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
	watch.Within(t, 3*time.Second, "PAUSE, and a second without a row,")
	if copied == 0 || copied >= 30_000 {
		t.Fatalf("paused at %d rows: nothing is shown", copied)
	}
	b.exec("UPDATE t SET v = 'changed while paused' WHERE id = 1")
	b.exec("UPDATE t SET v = 'row 1' WHERE id = 1")
	watch = testkit.StartStopwatch(t, b.srv)
	a.control.Set(PrivOK)
	a.until("copying again", func(p Progress) bool { return p.RowsCopied > copied })
	watch.Within(t, 3*time.Second, "OK") // gh-ost looks once a second, and wants to have heard its own heartbeat
	<-a.done
	if a.err != nil {
		t.Fatal(a.err)
	}
	if now := b.sum("t"); now != rows {
		t.Errorf("I1: rows %s, before %s", now, rows)
	}
}

// TestCancelled: a daemon that is told to end leaves nothing behind.
func TestCancelled(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t)).slowly()
	b.exec(oldT)
	b.fill("t", 50_000)
	before := b.form("t")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := b.runner.Run(ctx, b.plan("t", newT), b.settings, NewControl(), func(p Progress) {
		if copying(p) {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	b.untouched("t", before)
}

// TestLockLost: without its lock a run must not go on, another may have begun.
func TestLockLost(t *testing.T) {
	t.Parallel()
	srv := testkit.Server(t)
	b := newBench(t, srv).slowly()
	b.exec(oldT)
	b.fill("t", 50_000)
	before := b.form("t")
	a := b.begin(b.plan("t", newT))
	a.until("rows are copied", copying)
	holder := testkit.Ask(t, srv, "SELECT IS_USED_LOCK(?)", b.tableLock("t"))
	b.exec("KILL " + holder)
	<-a.done
	if !errors.Is(a.err, mysql.ErrLockLost) {
		t.Errorf("got %v", a.err)
	}
	b.untouched("t", before)
}

// TestForeignCopy: tables with gh-ost's names that nobody recorded are somebody else's.
func TestForeignCopy(t *testing.T) {
	srv := testkit.Server(t)
	names := copy.NamesFor("t")
	for _, name := range []string{names.Ghost, names.Changelog, names.Old} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, srv)
			b.exec(oldT, fmt.Sprintf("CREATE TABLE %s (a int)", mysql.QuoteIdent(name)))
			b.fill("t", 300)
			_, err := b.runner.Run(t.Context(), b.plan("t", newT), b.settings, NewControl(), nil)
			var refused *RefusedError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v", err)
			}
			if all := b.tables(); len(all) != 2 {
				t.Errorf("tables %v", all)
			}
		})
	}
}

// TestDoneWithoutRecords: where the records cannot be read after a good cut-over the alter is done all the same, and what it
// left is settled by the next clean-up.
func TestDoneWithoutRecords(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t))
	b.exec(oldT)
	b.fill("t", 300)
	rows := b.sum("t")
	p := b.plan("t", newT)
	away := func(err error) {
		defer b.leftovers.open()()
		b.leftovers.away = err
	}
	_, err := b.runner.Run(t.Context(), p, b.settings, NewControl(), func(p Progress) {
		if p.State == StateCuttingOver {
			away(errors.New("aoscdb is away"))
		}
	})
	if err != nil {
		t.Errorf("the copy is done, and called a failure: %v", err)
	}
	if form := b.form("t"); form.Hash != p.Desired.Hash {
		t.Fatalf("the table is %s", form.Text)
	}
	away(nil)
	testkit.Eventually(t, testkit.Patience, "the next clean-up settles it", func() bool {
		_, err := b.runner.Clean(t.Context(), "c1", b.db, nil)
		all := b.tables()
		return err == nil && len(all) == 2 && all[0] == "_t_del"
	})
	if kept := b.sum("_t_del"); kept != rows {
		t.Errorf("I1: the old table has %s, had %s", kept, rows)
	}
	if left, _ := b.leftovers.List(t.Context(), "c1"); len(left) != 1 || left[0].State != LeftoverKeep || time.Until(left[0].KeepUntil) < b.settings.Retention/2 {
		t.Errorf("recorded: %+v", left)
	}
}

// TestStoppedWithoutRecords: an operator's STOP while the records cannot be read ends the copy within moments and leaves nothing of it
// on the server; the next clean-up forgets the records.
func TestStoppedWithoutRecords(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t)).slowly()
	b.exec(oldT)
	b.fill("t", 5000)
	a := b.begin(b.plan("t", newT))
	a.until("rows are copied", copying)
	save := b.leftovers.open()
	b.leftovers.away = errors.New("aoscdb is away")
	save()
	a.control.Set(PrivStop)
	<-a.done
	if !errors.Is(a.err, ErrStopped) {
		t.Errorf("the run ended with %v", a.err)
	}
	if all := b.tables(); len(all) != 1 {
		t.Errorf("I5: the tables after STOP: %v", all)
	}
	save = b.leftovers.open()
	b.leftovers.away = nil
	save()
	testkit.Eventually(t, testkit.Patience, "the next clean-up forgets the records", func() bool {
		_, err := b.runner.Clean(t.Context(), "c1", b.db, nil)
		left, listErr := b.leftovers.List(t.Context(), "c1")
		return err == nil && listErr == nil && len(left) == 0
	})
}

// TestSystemTablespace: a server without innodb_file_per_table prints another definition of every table it has altered, and
// the alter is finished all the same.
func TestSystemTablespace(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.FreshServer(t, map[string]string{"innodb_file_per_table": "OFF"}))
	b.exec(oldT)
	b.fill("t", 50)
	b.run("t", strings.Replace(oldT, "NOT NULL, PRIMARY", "NOT NULL, n int NOT NULL DEFAULT 7, PRIMARY", 1), EngineInstant)
	b.run("t", newT, EngineDirect)
	b.exec("DELETE FROM t")
	b.fill("t", 1000)
	b.run("t", strings.Replace(newT, "text", "mediumtext", 1), EngineGhost)
	if text := testkit.Ask(t, b.srv, "SELECT name FROM information_schema.innodb_tables WHERE space = 0 AND name = ?", b.database+"/t"); text == "" {
		t.Error("the table is not in the system tablespace: nothing is shown")
	}
}

// TestCleanOnFormerPrimary: an old table that is due is not touched on a server that is a replica by now (I7).
func TestCleanOnFormerPrimary(t *testing.T) {
	cluster := testkit.Cluster(t, 2)
	b := newBench(t, cluster.Primary)
	b.exec("CREATE TABLE _t_del (id int PRIMARY KEY)", "INSERT INTO _t_del VALUES (1)")
	if err := cluster.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	due := Leftover{Target: b.target("t"), Name: "_t_del", Kind: LeftoverOld, State: LeftoverKeep, KeepUntil: time.Now().Add(-time.Hour)}
	if err := b.leftovers.Record(t.Context(), []Leftover{due}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.runner.Clean(t.Context(), "c1", cluster.Replicas[0].DB(), nil); !errors.Is(err, errNotPrimary) {
		t.Errorf("I7: got %v", err)
	}
	testkit.NoErrantGTIDs(t, cluster)
	if n, err := b.runner.Clean(t.Context(), "c1", b.db, nil); n != 1 || err != nil {
		t.Errorf("on the primary: cleaned %d, %v", n, err)
	}
}

// TestCleanDropsOnlyWhatCopiesMake: a row of leftovers that names a user's table, written by hand or by mistake, drops nothing.
func TestCleanDropsOnlyWhatCopiesMake(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t))
	for _, name := range []string{"users", "t", "_users", "users_del"} {
		if name != "t" {
			b.exec("CREATE TABLE `" + name + "` (id int PRIMARY KEY)")
		}
		row := Leftover{Target: b.target("t"), Name: name, Kind: LeftoverOld, State: LeftoverDrop}
		if err := b.leftovers.Record(t.Context(), []Leftover{row}); err != nil {
			t.Fatal(err)
		}
		if n, err := b.runner.Clean(t.Context(), "c1", b.db, nil); n != 0 || err == nil || !strings.Contains(err.Error(),
			"correct or delete the row") {
			t.Errorf("%s: dealt with %d, %v", name, n, err)
		}
		all, err := b.leftovers.List(t.Context(), "c1")
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		if err := b.leftovers.Forget(t.Context(), all[0].ID); err != nil {
			t.Fatal(err)
		}
	}
	if n := testkit.Ask(t, b.srv, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ?", b.database); n != "3" {
		t.Errorf("%s tables are left of 3", n)
	}
}

// TestKeptOldTable: the old table is kept for the retention, moves aside for the next copy, and goes in steps when it is due.
func TestKeptOldTable(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t))
	b.exec(oldT)
	b.fill("t", 12_000) // more than is dropped at once
	rows := b.sum("t")
	b.run("t", newT, EngineGhost)
	if n, err := b.runner.Clean(t.Context(), "c1", b.db, nil); n != 0 || err != nil {
		t.Fatalf("cleaned %d of what is to be kept: %v", n, err)
	}
	if kept := b.sum("_t_del"); kept != rows {
		t.Errorf("the old table has %s, had %s", kept, rows)
	}
	b.settings.Retention = 0
	b.run("t", strings.Replace(newT, "text", "mediumtext", 1), EngineGhost)
	all := b.tables()
	if len(all) != 2 || !strings.HasPrefix(all[0], "_t_20") || !strings.HasSuffix(all[0], "_del") {
		t.Fatalf("tables %v: want the kept one under a name of its own, and none of the second copy", all)
	}
	for _, l := range b.leftovers.rows {
		if err := b.leftovers.SetState(t.Context(), l.ID, LeftoverKeep, time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := b.runner.Clean(t.Context(), "c1", b.db, nil); n != 1 || err != nil {
		t.Errorf("cleaned %d: %v", n, err)
	}
	b.untouched("t", b.form("t"))
}

// TestUnfitWriteWhileCopying: a value that is written after the plan was made and does not fit ends the copy. gh-ost would
// cut it without a word, even between the verification and the swap.
func TestUnfitWriteWhileCopying(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t))
	b.exec(oldT)
	b.fill("t", 500)
	before := b.form("t")
	p := b.plan("t", "CREATE TABLE t (id bigint NOT NULL, v varchar(20) NOT NULL, PRIMARY KEY (id))")
	if p.Refused != "" || len(p.Change.Findings) == 0 || len(p.Findings) != 0 {
		t.Fatalf("planned %s: %q %v %v", p.Engine, p.Refused, p.Change.Findings, p.Findings)
	}
	var once sync.Once
	_, err := b.runner.Run(t.Context(), p, b.settings, NewControl(), func(p Progress) {
		if p.State == StateCuttingOver { // verified: only gh-ost itself can notice now
			once.Do(func() { b.exec("UPDATE t SET v = 'longer than twenty characters' WHERE id = 7") })
		}
	})
	if err == nil || final(err) {
		t.Errorf("got %v", err)
	}
	b.untouched("t", before)
	if v := testkit.Ask(t, b.srv, "SELECT v FROM "+mysql.QuoteIdents(b.database, "t")+" WHERE id = 7"); v != "longer than twenty characters" {
		t.Errorf("I1: the acknowledged value is %q", v)
	}
}

// TestUniqueOverDuplicates: should a plan ever let gh-ost add a unique key over duplicates, rows that it drops without a
// word are missed by the verification.
func TestUniqueOverDuplicates(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t))
	b.exec(oldT)
	b.fill("t", 500)
	b.exec("UPDATE t SET v = 'row 2' WHERE id = 1")
	before := b.form("t")
	p := b.plan("t", "CREATE TABLE t (id bigint NOT NULL, v varchar(50) NOT NULL, PRIMARY KEY (id), UNIQUE KEY u (v))")
	if len(p.Facts.Blocks) == 0 || p.Refused == "" {
		t.Errorf("the plan does not refuse: %s %v", p.Engine, p.Findings)
	}
	p.Refused, p.Engine, p.Findings = "", EngineGhost, nil
	p.Change.Findings, p.Change.Ghost = nil, nil // nor does gh-ost look out for warnings
	_, err := b.runner.Run(t.Context(), p, b.settings, NewControl(), nil)
	var differs *VerifyError
	if !errors.As(err, &differs) || !strings.Contains(err.Error(), "missing in the copy") {
		t.Errorf("got %v", err)
	}
	b.untouched("t", before)
}

// TestLagThrottles: a replica that falls behind holds the copy up, and its catching up lets it go on.
func TestLagThrottles(t *testing.T) {
	cluster := testkit.Cluster(t, 2)
	b := newBench(t, cluster.Primary).slowly()
	b.settings.Replicas = []mysql.Addr{cluster.Replicas[0].Addr()}
	b.exec(oldT)
	b.fill("t", 20_000)
	rows := b.sum("t")
	a := b.begin(b.plan("t", newT))
	a.until("rows are copied", copying)
	// Paused, the copy does not come to its end before the replica lags by enough.
	a.control.Set(PrivPause)
	a.until("paused", func(p Progress) bool { return p.State == StatePaused })
	testkit.Exec(t, cluster.Replicas[0], "STOP REPLICA SQL_THREAD")
	started := false
	start := func() {
		if !started {
			started = true
			testkit.Exec(t, cluster.Replicas[0], "START REPLICA SQL_THREAD")
		}
	}
	defer start()
	testkit.Eventually(t, testkit.Patience, "the replica lags", func() bool {
		return testkit.Ask(t, cluster.Replicas[0], "SELECT MAX(last_update) < NOW() - INTERVAL 3 SECOND FROM "+
			mysql.QuoteIdents(b.database, copy.NamesFor("t").Changelog)) == "1"
	})
	a.control.Set(PrivOK)
	a.until("throttled, and why is said", func(p Progress) bool { return p.State == StateThrottled && strings.Contains(p.Detail, "replica-lag") })
	copied := a.progress().RowsCopied
	if copied >= 20_000 {
		t.Fatalf("throttled at %d rows: nothing is shown", copied)
	}
	start()
	a.until("copying again", func(p Progress) bool { return p.RowsCopied > copied })
	<-a.done
	if a.err != nil {
		t.Fatal(a.err)
	}
	if now := b.sum("t"); now != rows {
		t.Errorf("I1: rows %s, before %s", now, rows)
	}
	testkit.NoErrantGTIDs(t, cluster)
}

// TestCopyOverTLS: encrypted connections carry the whole copy, with statements under way that gh-ost's own look at the
// sessions could not stand.
func TestCopyOverTLS(t *testing.T) {
	t.Parallel()
	srv := testkit.Server(t)
	b := newBench(t, srv)
	w := testkit.NewWriter(t, srv, testkit.WriterOptions{Database: b.database, Table: "t", Workers: 2, Rate: 100}) // it writes emojis
	if err := w.Seed(t.Context(), 300); err != nil {
		t.Fatal(err)
	}
	// The account can do nothing without encryption, and has a password that would break a careless DSN.
	password := `p@ss:w/o?rd's "x"#%20`
	testkit.Exec(t, srv, "CREATE USER osc_tls@'%' IDENTIFIED BY "+mysql.QuoteString(password)+" REQUIRE SSL", "GRANT ALL ON *.* TO osc_tls@'%'")
	t.Cleanup(func() { srv.DB().Exec("DROP USER osc_tls@'%'") })
	secure := mysql.NewPool(mysql.Credentials{User: "osc_tls", Password: password, TLS: "skip-verify"}, mysql.Options{})
	t.Cleanup(func() { secure.Close() })
	b.runner.Pool = secure
	w.Start(t.Context())
	b.run("t", "CREATE TABLE t (id bigint unsigned NOT NULL, version bigint unsigned NOT NULL, payload text NOT NULL, PRIMARY KEY (id)) DEFAULT CHARSET=utf8mb4", EngineGhost)
	w.Stop()
	report, err := w.Check(t.Context(), srv.DB())
	if err != nil || report.Err() != nil {
		t.Errorf("I1: %v %v", err, report.Err())
	}
}

// TestCutOverWaits: a transaction open on the table is waited for before the cut-over, so that nobody queues up behind it.
func TestCutOverWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t))
	b.exec(oldT)
	b.fill("t", 300)
	tx := b.occupy("t")
	a := b.begin(b.plan("t", newT))
	a.until("waiting for the transaction", func(p Progress) bool { return strings.Contains(p.Detail, "transaction open") })
	b.exec("UPDATE t SET v = 'nobody waits' WHERE id = 1") // no lock request stands in the way
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	<-a.done
	if a.err != nil {
		t.Fatal(a.err)
	}
}
