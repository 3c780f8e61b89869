package osc

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

// good are facts that speak for a copy of table t.
func good() copyFacts {
	return copyFacts{
		Server: mysql.Server{LogBin: true, BinlogFormat: "ROW", BinlogRowImage: "FULL", Datadir: "/data"},
		User:   "osc@%",
		Engine: "InnoDB",
		Original: verify.Table{Columns: []verify.Column{{Name: "id", DataType: "int", Type: "int"}},
			Keys: []verify.Key{{Name: "PRIMARY", Columns: []string{"id"}, Visible: true}}},
		Grants: []string{"GRANT ALL PRIVILEGES ON *.* TO `osc`@`%`"},
		Beside: []beside{{"t", "BASE TABLE", "InnoDB", ""}},
		Need:   10 << 30, Free: 11 << 30, FreeSeen: true,
	}
}

func TestCopyRefusal(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*copyFacts)
		reason string // part of it, "" = may be copied
		final  bool
	}{
		{"good", func(f *copyFacts) {}, "", false},
		{"no binary log", func(f *copyFacts) { f.Server.LogBin = false }, "log_bin", true},
		{"statements", func(f *copyFacts) { f.Server.BinlogFormat = "STATEMENT" }, "binlog_format", true},
		{"part of rows", func(f *copyFacts) { f.Server.BinlogRowImage = "MINIMAL" }, "binlog_row_image", true},
		{"compressed", func(f *copyFacts) { f.Server.BinlogTransactionCompression = true }, "compression", true},
		{"partial JSON", func(f *copyFacts) { f.Server.BinlogRowValueOptions = "PARTIAL_JSON" }, "PARTIAL_JSON", true},
		{"another engine", func(f *copyFacts) { f.Engine = "MyISAM" }, "MyISAM", true},
		{"triggers", func(f *copyFacts) { f.Triggers = 1 }, "triggers", true},
		{"a parent", func(f *copyFacts) { f.Children = 2 }, "other tables refer", true},
		{"a child", func(f *copyFacts) { f.Parents = 1 }, "foreign keys", true},
		{"no key", func(f *copyFacts) { f.Original.Keys = nil }, "no usable unique key", true},
		{"names", func(f *copyFacts) { f.Original.Columns[0].Name = "a,b" }, "gh-ost cannot handle a name", true},
		{"no privileges", func(f *copyFacts) { f.Grants = []string{"GRANT USAGE ON *.* TO `osc`@`%`"} }, "REPLICATION SLAVE", true},
		{"a copy of somebody else", func(f *copyFacts) { f.Beside = append(f.Beside, beside{"_t_gho", "BASE TABLE", "InnoDB", ""}) }, "none of ours", true},
		{"a changelog of somebody else", func(f *copyFacts) { f.Beside = append(f.Beside, beside{"_t_ghc", "BASE TABLE", "InnoDB", ""}) }, "none of ours", true},
		{"one that LIKE takes for the copy", func(f *copyFacts) { f.Beside = append(f.Beside, beside{"xt_gho", "BASE TABLE", "InnoDB", ""}) }, "LIKE", true},
		{"odd session", func(f *copyFacts) { f.Sessions = "connection 7 has set binlog_format=STATEMENT" }, "connection 7", false},
		{"disk", func(f *copyFacts) { f.Free = 9 << 30 }, "10.0 GiB, 9.0 GiB are free in /data", false},
		{"disk out of sight", func(f *copyFacts) { f.Free, f.FreeSeen = 0, false }, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := good()
			c.change(&f)
			reason, final := f.refusal("db", "t", nil)
			if (reason == "") != (c.reason == "") || !strings.Contains(reason, c.reason) || final != c.final {
				t.Errorf("%q final %v, want one with %q, final %v", reason, final, c.reason, c.final)
			}
		})
	}
}

func TestBesideRefusal(t *testing.T) {
	for _, c := range []struct {
		table   string
		found   beside
		ours    string
		refused bool
	}{
		{"t", beside{"_t_gho", "BASE TABLE", "InnoDB", ""}, "_t_gho", false},
		{"a_b", beside{"axb", "BASE TABLE", "InnoDB", ""}, "", false}, // taken for the table, but it is alike
		{"a_b", beside{"axb", "VIEW", "", ""}, "", true},              // gh-ost would call the table a view
		{"a_b", beside{"axb", "BASE TABLE", "MyISAM", ""}, "", true},  // and copy without locks
		{"a_b", beside{"_a_b_del", "BASE TABLE", "InnoDB", ""}, "", true},
	} {
		f := copyFacts{Beside: []beside{c.found}}
		if got := f.besideRefusal(c.table, map[string]bool{c.ours: true}); (got != "") != c.refused {
			t.Errorf("%s beside %s: %q, refused %v", c.found.Name, c.table, got, c.refused)
		}
	}
}

func TestLike(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a_b", "a_b", true}, {"a_b", "axb", true}, {"a_b", "ab", false}, {"a_b", "A_B", true}, {"a%", "abc", true},
		{"a%c", "abc", true}, {"a%c", "abd", false}, {"", "", true}, {"", "a", false}, {"%", "", true}, {"\u00e9_", "\u00e9x", true},
	} {
		if got := like(c.pattern, c.name); got != c.want {
			t.Errorf("%q LIKE %q is %v", c.name, c.pattern, got)
		}
	}
}

func TestGrants(t *testing.T) {
	tables := "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX, ALTER, LOCK TABLES, TRIGGER ON "
	for _, c := range []struct {
		name    string
		grants  []string
		missing string
	}{
		{"all", []string{"GRANT ALL PRIVILEGES ON *.* TO `u`@`%`"}, ""},
		{"by the book", []string{"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `u`@`%`", tables + "`db_1`.* TO `u`@`%`"}, ""},
		{"tables everywhere", []string{tables + "*.* TO `u`@`%`", "GRANT SUPER, REPLICATION SLAVE ON *.* TO `u`@`%`"}, ""},
		{"escaped database", []string{"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `u`@`%`", "GRANT ALL PRIVILEGES ON `db\\_1`.* TO `u`@`%`"}, ""},
		{"another database", []string{"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `u`@`%`", "GRANT ALL PRIVILEGES ON `db2`.* TO `u`@`%`"}, "`db_1`.*"},
		{"no replication", []string{tables + "*.* TO `u`@`%`"}, "REPLICATION CLIENT ON *.*; REPLICATION SLAVE ON *.*"},
		{"by a role", []string{"GRANT USAGE ON *.* TO `u`@`%`", "GRANT `dba`@`%` TO `u`@`%`"}, "does not see roles"},
	} {
		got := grantsRefusal(c.grants, "db_1", "u@%")
		if (got == "") != (c.missing == "") || !strings.Contains(got, c.missing) {
			t.Errorf("%s: %q, want one with %q", c.name, got, c.missing)
		}
	}
}

func TestGhostKey(t *testing.T) {
	columns := []verify.Column{
		{Name: "id", DataType: "int", Type: "int"}, {Name: "big", DataType: "bigint", Type: "bigint"},
		{Name: "name", DataType: "varchar", Type: "varchar(20)", Charset: "utf8mb4"}, {Name: "f", DataType: "float", Type: "float"},
		{Name: "g", DataType: "int", Type: "int", Generated: true}, {Name: "n", DataType: "int", Type: "int", Nullable: true},
	}
	key := func(name string, columns ...string) verify.Key {
		return verify.Key{Name: name, Columns: columns, Visible: true}
	}
	invisible := key("hidden", "id")
	invisible.Visible = false
	nullable := key("nulls", "n")
	nullable.Nullable = true
	expression := verify.Key{Name: "expr", Columns: []string{"", "id"}, Visible: true, Functions: true}
	for _, c := range []struct {
		name          string
		keys, copied  []verify.Key // copied nil = not there yet
		want, refusal string
	}{
		{"the primary key", []verify.Key{key("a", "big"), key("PRIMARY", "name")}, nil, "PRIMARY", ""},
		{"integers before text", []verify.Key{key("text", "name"), key("number", "big")}, nil, "number", ""},
		{"small before large", []verify.Key{key("large", "big"), key("small", "id")}, nil, "small", ""},
		{"no NULLs before NULLs", []verify.Key{nullable, key("text", "name")}, nil, "text", ""},
		{"only NULLs", []verify.Key{nullable}, nil, "", "no usable unique key"},
		{"none", nil, nil, "", "no usable unique key"},
		{"a float", []verify.Key{key("PRIMARY", "f")}, nil, "", "no usable unique key"},
		{"a float is passed over", []verify.Key{key("PRIMARY", "f"), key("u", "id")}, nil, "u", ""},
		{"an expression that it does not see", []verify.Key{expression}, nil, "", "without its expressions"},
		{"beside a primary key it does not matter", []verify.Key{expression, key("PRIMARY", "id")}, nil, "PRIMARY", ""},
		{"invisible", []verify.Key{invisible}, nil, "", "INVISIBLE"},
		{"either of two that sort alike", []verify.Key{key("visible", "id"), invisible}, nil, "", "INVISIBLE"},
		{"generated", []verify.Key{key("PRIMARY", "g")}, nil, "", "generated"},
		{"another primary key in the copy", []verify.Key{key("PRIMARY", "id"), key("u", "big")}, []verify.Key{key("PRIMARY", "big")}, "u", ""},
		{"the copy's key has more columns", []verify.Key{key("PRIMARY", "id")}, []verify.Key{key("PRIMARY", "id", "big")}, "PRIMARY", ""},
		{"none in common", []verify.Key{key("PRIMARY", "id")}, []verify.Key{key("PRIMARY", "big")}, "", "no usable unique key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			original := verify.Table{Columns: columns, Keys: c.keys}
			var copied *verify.Table
			if c.copied != nil {
				copied = &verify.Table{Columns: columns, Keys: c.copied}
			}
			got, err := ghostKey(original, copied)
			if got.Name != c.want || (err != nil) != (c.refusal != "") || err != nil && !strings.Contains(err.Error(), c.refusal) {
				t.Errorf("key %q, %v; want %q, %q", got.Name, err, c.want, c.refusal)
			}
		})
	}
}

func TestFollowed(t *testing.T) {
	for _, c := range []struct {
		o, n    verify.Column
		zone    timeZone
		refused string
	}{
		{verify.Column{DataType: "int", Type: "int"}, verify.Column{DataType: "bigint", Type: "bigint"}, timeZone{}, ""},
		{verify.Column{DataType: "set", Type: "set('a','b')"}, verify.Column{DataType: "set", Type: "set('a','b','c')"}, timeZone{}, ""},
		{verify.Column{DataType: "set", Type: "set('a','b')"}, verify.Column{DataType: "set", Type: "set('b','a')"}, timeZone{}, "members"},
		{verify.Column{DataType: "set", Type: "set('a','b')"}, verify.Column{DataType: "varchar", Type: "varchar(9)"}, timeZone{}, "members"},
		{verify.Column{DataType: "int", Type: "int", Generated: true}, verify.Column{DataType: "int", Type: "int"}, timeZone{}, "generated"},
		{verify.Column{DataType: "int", Type: "int"}, verify.Column{DataType: "int", Type: "int", Generated: true}, timeZone{}, ""},
		{verify.Column{DataType: "timestamp", Type: "timestamp"}, verify.Column{DataType: "datetime", Type: "datetime"}, timeZone{"SYSTEM", "UTC"}, ""},
		{verify.Column{DataType: "timestamp", Type: "timestamp"}, verify.Column{DataType: "datetime", Type: "datetime"}, timeZone{"SYSTEM", "CET"}, "time_zone"},
		{verify.Column{DataType: "timestamp", Type: "timestamp"}, verify.Column{DataType: "datetime", Type: "datetime"}, timeZone{"Europe/London", "UTC"}, "time_zone"},
		{verify.Column{DataType: "timestamp", Type: "timestamp"}, verify.Column{DataType: "timestamp", Type: "timestamp(6)"}, timeZone{"CET", ""}, ""},
	} {
		c.o.Name, c.n.Name = "c", "c"
		got := followed(verify.Table{Columns: []verify.Column{c.o}}, verify.Table{Columns: []verify.Column{c.n}}, c.zone)
		if (got == "") != (c.refused == "") || !strings.Contains(got, c.refused) {
			t.Errorf("%s to %s in %v: %q, want one with %q", c.o.Type, c.n.Type, c.zone, got, c.refused)
		}
	}
}

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
	var once sync.Once
	_, err := b.runner.Run(t.Context(), b.plan("t", newT), b.settings, NewControl(), func(p Progress) {
		if p.State == StateCuttingOver && strings.HasPrefix(p.Detail, "attempt") {
			once.Do(func() { b.exec("ALTER TABLE t ADD COLUMN z int DEFAULT 5") })
		}
	})
	if !final(err) || !strings.Contains(err.Error(), "`_t_del`") {
		t.Errorf("nobody is told: %v", err)
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
