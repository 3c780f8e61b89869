package osc

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// wants makes a bench's clean-ups keep what dead runs have copied.
func (b *bench) wants(yes bool) *bench {
	b.runner.Wanted = func(context.Context, Leftover) (bool, error) { return yes, nil }
	return b
}

// begins runs a plan and gives what it first said of how it begins.
func (b *bench) begins(text string) (note string) {
	b.t.Helper()
	log := b.log()
	p := b.plan("t", text)
	if p.Engine != EngineKeyed {
		b.t.Fatalf("planned %s: %s", p.Engine, p.Refused)
	}
	_, err := b.runner.Run(b.t.Context(), p, b.settings, NewControl(), func(p Progress) {
		if log(p); note == "" && p.State == StateCopying && p.Detail != "" {
			note = p.Detail
		}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if form := b.form("t"); form.Hash != p.Desired.Hash {
		b.t.Fatalf("I4: the table is %s", form.Text)
	}
	return note
}

// TestKeyedGoesOn: a worker is killed half way. A clean-up leaves what it copied where it is, the next run goes on from there, and nothing
// of it is left in the end.
func TestKeyedGoesOn(t *testing.T) {
	t.Parallel()
	b := keyedBench(newVictimBench(t, testkit.Server(t))).wants(true)
	b.exec(oldT)
	b.fill("t", 5000)
	rows := b.sum("t")
	if err, out := b.victim(newT, "osc.keyed.chunk.after=kill@10"); !killed(err) {
		t.Fatalf("not killed: %v\n%s", err, out)
	}
	if _, err := b.runner.Clean(t.Context(), "c1", b.db, nil); err != nil {
		t.Fatal(err)
	}
	if all := b.tables(); !slices.Equal(all, []string{"_t_ghc", "_t_gho", "t"}) {
		t.Fatalf("after a clean-up there are %v", all)
	}
	note := b.begins(newT)
	if !strings.Contains(note, "goes on after") {
		t.Errorf("it said %q", note)
	}
	b.onlyOldKept(rows)
}

// TestKeyedKeptOrNot: what a dead run has copied goes when its alter is not wanted any more, or the table is another, or the next run says
// STOP.
func TestKeyedKeptOrNot(t *testing.T) {
	for name, then := range map[string]func(*bench){
		"not wanted": func(b *bench) { b.wants(false) },
		"another table": func(b *bench) {
			b.exec("ALTER TABLE t ADD other int")
		},
		"the progress is gone": func(b *bench) { b.exec("DROP TABLE _t_ghc") },
		"STOP": func(b *bench) {
			b.slowly().occupy("t")
			a := b.begin(b.plan("t", newT))
			a.until("it copies", func(p Progress) bool { return p.State == StateCopying && p.RowsCopied > 0 })
			a.control.Set(PrivStop)
			<-a.done
			if !errors.Is(a.err, ErrStopped) {
				b.t.Error(a.err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := keyedBench(newVictimBench(t, testkit.Server(t))).wants(true)
			b.exec(oldT)
			b.fill("t", 5000)
			if err, out := b.victim(newT, "osc.keyed.chunk.after=kill@5"); !killed(err) {
				t.Fatalf("not killed: %v\n%s", err, out)
			}
			then(b)
			b.clean()
			if all := b.tables(); !slices.Equal(all, []string{"t"}) {
				t.Errorf("there are %v", all)
			}
		})
	}
}

// TestKeyedLeft: a run that is told to leave ends, keeps what it has copied, and the next one goes on. After another desired definition it
// begins anew and says why.
func TestKeyedLeft(t *testing.T) {
	for text, says := range map[string]string{newT: "goes on after",
		strings.Replace(newT, "PRIMARY KEY", "KEY also (n), PRIMARY KEY", 1): "the table is to become something else"} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := keyedBench(newBench(t, testkit.Server(t)).slowly()).wants(true)
			b.exec(oldT)
			b.fill("t", 5000)
			rows := b.sum("t")
			a := b.begin(b.plan("t", newT))
			a.until("rows are copied", func(p Progress) bool { return p.RowsCopied > 100 })
			a.control.Set(PrivLeave)
			<-a.done
			if !errors.Is(a.err, ErrLeft) {
				t.Fatalf("it ended with %v", a.err)
			}
			if all := b.tables(); !slices.Equal(all, []string{"_t_ghc", "_t_gho", "t"}) {
				t.Fatalf("there are %v", all)
			}
			b.settings.ChunkSize = 1000
			if note := b.begins(text); !strings.Contains(note, says) {
				t.Errorf("it said %q, want %q", note, says)
			}
			b.onlyOldKept(rows)
		})
	}
}

// TestKeyedAfterFailover: the primary of a semi-synchronous cluster is killed (-9) half way through a copy, under a writer; the replica is
// promoted. The copy goes on there from what replication carried, and no acknowledged row is lost (I1).
func TestKeyedAfterFailover(t *testing.T) {
	cluster := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	b := keyedBench(newBench(t, cluster.Primary)).wants(true)
	var at atomic.Pointer[sql.DB]
	at.Store(cluster.Primary.DB())
	w := testkit.NewWriter(t, cluster.Primary, testkit.WriterOptions{Database: b.database, Table: "t", Workers: 3, Rate: 200,
		DB: func() *sql.DB { return at.Load() }})
	const rows = 30_000
	if err := w.Seed(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	w.Start(t.Context())
	text := "CREATE TABLE t (id bigint unsigned NOT NULL, version bigint unsigned NOT NULL, payload text NOT NULL, added int DEFAULT NULL, " +
		"PRIMARY KEY (id), KEY v (version)) DEFAULT CHARSET=utf8mb4"
	a := b.begin(b.plan("t", text))
	begun := time.Now()
	a.until("half is copied", func(p Progress) bool { return p.RowsCopied > rows/2 })
	took := time.Since(begun)
	reached := a.progress().RowsCopied
	if err := cluster.Primary.Kill(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // what was made on it is to be dropped, and nobody acknowledges that any more
		if err := cluster.Primary.Restart(context.Background()); err != nil {
			t.Error(err)
			return
		}
		if _, err := cluster.Primary.DB().ExecContext(context.Background(), "SET GLOBAL rpl_semi_sync_source_enabled = 0"); err != nil {
			t.Error(err)
		}
	})
	<-a.done
	t.Logf("on the dead primary: %v", a.err)
	next := cluster.Replicas[0]
	received := testkit.Ask(t, next, "SELECT received_transaction_set FROM performance_schema.replication_connection_status LIMIT 1")
	testkit.Ask(t, next, "SELECT WAIT_FOR_EXECUTED_GTID_SET(?)", received)
	testkit.Exec(t, next, "STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only = 0", "SET GLOBAL read_only = 0")
	testkit.Exec(t, next, "SET GLOBAL rpl_semi_sync_source_enabled = 0")
	at.Store(next.DB())

	n := *b
	n.srv = next
	var err error
	if n.db, err = n.pool.DB(next.Addr()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.runner.Clean(t.Context(), "c1", n.db, nil); err != nil {
		t.Fatal(err)
	}
	noted := testkit.Ask(t, next, "SELECT (SELECT SUM(moved) FROM "+mysql.QuoteIdents(b.database, "_t_ghc")+
		") + (SELECT CAST(value->>'$.copied' AS UNSIGNED) FROM "+mysql.QuoteIdents(b.database, "_t_ghc")+" WHERE id = 1)")
	begun = time.Now()
	note := n.begins(text)
	t.Logf("%d rows were copied in %v when the primary died, replication had carried %s; the copy went on for %v: %s", reached,
		took.Round(time.Millisecond), noted, time.Since(begun).Round(time.Millisecond), note)
	if !strings.Contains(note, "goes on after "+noted+" rows") {
		t.Errorf("it said %q", note)
	}
	w.Stop()
	reports, err := w.CheckAll(t.Context(), func(context.Context) error { return nil }, next.DB())
	if err != nil {
		t.Fatal(err)
	}
	if err := reports[0].Err(); err != nil {
		t.Errorf("I1: %v", err)
	}
	t.Logf("I1: %v; %+v", reports[0], w.Stats())
}
