package osc

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

func TestNotRolling(t *testing.T) {
	base := "`id` int NOT NULL, `v` varchar(10) DEFAULT NULL"
	for _, c := range []struct{ name, before, after, refused string }{
		{"an index", base, base + ", KEY `v` (`v`)", ""},
		{"a column at the end", base, base + ", `c` int DEFAULT NULL", ""},
		{"its own values in each instance", base, base + ", `c` datetime DEFAULT CURRENT_TIMESTAMP", "evaluated"},
		{"a dropped one at the end", base + ", `c` int DEFAULT NULL", base, ""},
		{"one in the middle", base, "`id` int NOT NULL, `c` int DEFAULT NULL, `v` varchar(10) DEFAULT NULL", "position"},
		{"a rename, which is a drop and an empty new column", base, "`id` int NOT NULL, `w` varchar(10) DEFAULT NULL", "empty here"},
		{"wider", base, "`id` int NOT NULL, `v` varchar(20) DEFAULT NULL", ""},
		{"stricter", base, "`id` int NOT NULL, `v` varchar(10) NOT NULL DEFAULT ''", ""},
	} {
		form := func(columns string) schema.Form {
			f, err := schema.Normalise("CREATE TABLE `t` (" + columns + ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci")
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		before, after := form(c.before), form(c.after)
		got := notRolling(before, after, schema.DirectionOf(before, after))
		if (got == "") != (c.refused == "") || !strings.Contains(got, c.refused) {
			t.Errorf("%s: %q, want one with %q", c.name, got, c.refused)
		}
	}
}

func TestAsideName(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if got := asideName("orders", at); got != "_orders_20260102030405_del" {
		t.Error(got)
	}
	if got := asideName(strings.Repeat("\u0436", 64), at); len([]rune(got)) != 64 || !strings.HasSuffix(got, "_del") {
		t.Error(got)
	}
}

func TestSettingsBounds(t *testing.T) {
	for _, c := range []struct{ in, want Settings }{
		{Settings{}, Settings{CopyEngine: "ghost", LockWaitTimeout: DefaultLockWaitTimeout, Retries: DefaultRetries, MaxLag: DefaultMaxLag, ChunkSize: DefaultChunkSize}},
		{Settings{LockWaitTimeout: time.Minute, ChunkSize: 1}, Settings{CopyEngine: "ghost", LockWaitTimeout: 3 * time.Second, Retries: DefaultRetries, MaxLag: DefaultMaxLag, ChunkSize: 10}},
		{Settings{LockWaitTimeout: time.Millisecond, ChunkSize: 1 << 30}, Settings{CopyEngine: "ghost", LockWaitTimeout: time.Second, Retries: DefaultRetries, MaxLag: DefaultMaxLag, ChunkSize: 100_000}},
	} {
		got := c.in.withDefaults()
		if got.CopyEngine != c.want.CopyEngine || got.LockWaitTimeout != c.want.LockWaitTimeout || got.Retries != c.want.Retries ||
			got.MaxLag != c.want.MaxLag || got.ChunkSize != c.want.ChunkSize {
			t.Errorf("%+v becomes %+v, want %+v", c.in, got, c.want)
		}
	}
}

// TestChangedWhileCopying: what somebody does to the table while its rows are copied is not undone by the swap.
func TestChangedWhileCopying(t *testing.T) {
	srv := testkit.Server(t)
	for name, c := range map[string]struct{ statement, there string }{
		"a column": {"ALTER TABLE t ADD COLUMN z int DEFAULT 5",
			"SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = ? AND table_name = 't' AND column_name = 'z'"},
		"an index": {"ALTER TABLE t ADD KEY z (v)",
			"SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = ? AND table_name = 't' AND index_name = 'z'"},
		"a trigger": {"CREATE TRIGGER z BEFORE INSERT ON t FOR EACH ROW SET NEW.v = UPPER(NEW.v)",
			"SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = ? AND event_object_table = 't'"},
		"a foreign key to it": {"CREATE TABLE child (id bigint PRIMARY KEY, FOREIGN KEY (id) REFERENCES t (id))",
			"SELECT COUNT(*) FROM information_schema.referential_constraints WHERE constraint_schema = ? AND referenced_table_name = 't'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, srv).slowly()
			b.exec(oldT)
			b.fill("t", 3000)
			rows := b.sum("t")
			var once sync.Once
			_, err := b.runner.Run(t.Context(), b.plan("t", newT), b.settings, NewControl(), func(p Progress) {
				if copying(p) {
					once.Do(func() { b.exec(c.statement) })
				}
			})
			if err == nil {
				t.Error("the run succeeded")
			}
			if testkit.Ask(t, srv, c.there, b.database) != "1" {
				t.Error("I1: it is gone")
			}
			if now := b.sum("t"); now != rows {
				t.Errorf("I1: rows %s, before %s", now, rows)
			}
			for _, table := range b.tables() {
				if table != "t" && table != "child" {
					t.Errorf("I5: table %s is left", table)
				}
			}
			t.Log(err)
		})
	}
}

// TestTruncatedAfterVerification: rows that went by TRUNCATE, of which gh-ost learns nothing, do not come back with the swap,
// however long it has to wait after the comparison.
func TestTruncatedAfterVerification(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t))
	b.exec(oldT)
	b.fill("t", 300)
	p := b.plan("t", newT)
	tx := b.occupy("t")
	a := b.begin(p)
	a.until("the cut-over waits for the table", func(p Progress) bool { return p.State == StateCuttingOver && strings.HasPrefix(p.Detail, "waits") })
	var truncated sync.WaitGroup
	truncated.Go(func() { b.exec("TRUNCATE TABLE t") })
	testkit.Eventually(t, testkit.Patience, "TRUNCATE waits, too", func() bool {
		return testkit.Ask(t, b.srv, "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE object_schema = ? AND object_name = 't' AND lock_status = 'PENDING'",
			b.database) != "0"
	})
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	truncated.Wait()
	<-a.done
	if a.err == nil || final(a.err) {
		t.Errorf("got %v", a.err)
	}
	if rows := testkit.Ask(t, b.srv, "SELECT COUNT(*) FROM "+mysql.QuoteIdents(b.database, "t")); rows != "0" {
		t.Errorf("%s rows came back", rows)
	}
	b.untouched("t", p.Current)
}

// TestChangedInTheLastMoment: a change made between the last look and the swap cannot be kept out. It is not lost: the table
// before stays, and a person is told.
func TestChangedInTheLastMoment(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t))
	b.settings.Retention = 0 // else it would be kept anyway
	b.exec(oldT)
	b.fill("t", 300)
	// On a busy machine the change comes in time to be noticed before the swap: then nothing is undone, and it is tried again.
	for tries := 1; ; tries++ {
		var once sync.Once
		_, err := b.runner.Run(t.Context(), b.plan("t", newT), b.settings, NewControl(), func(p Progress) {
			if p.State == StateCuttingOver && strings.HasPrefix(p.Detail, "attempt") {
				once.Do(func() { b.exec("ALTER TABLE t ADD COLUMN z int DEFAULT 5") })
			}
		})
		if final(err) && strings.Contains(err.Error(), "`_t_del`") {
			break
		}
		if all := b.tables(); err == nil || tries == 20 || !strings.Contains(err.Error(), "plan again") || len(all) != 1 {
			t.Fatalf("nobody is told: %v; tables %v", err, all)
		}
		t.Logf("noticed before the swap: %v", err)
		b.exec("ALTER TABLE t DROP COLUMN z")
	}
	if left, _ := b.leftovers.List(t.Context(), "c1"); len(left) != 1 || left[0].Name != "_t_del" || left[0].State != LeftoverKeep {
		t.Errorf("recorded: %+v", left)
	}
	if _, err := b.runner.Clean(t.Context(), "c1", b.db, nil); err != nil {
		t.Error(err)
	}
	if all := b.tables(); len(all) != 2 || all[0] != "_t_del" {
		t.Fatalf("I1: tables %v", all)
	}
	if n := testkit.Ask(t, b.srv, "SELECT COUNT(z) FROM "+mysql.QuoteIdents(b.database, "_t_del")); n != "300" {
		t.Errorf("I1: %s values of the new column", n)
	}
}
