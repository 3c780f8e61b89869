package osc

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/testkit"
)

// TestPartitionFilled: rows that come into a partition between the plan, which found it empty, and the ALTER, are not dropped. What is
// written while the ALTER waits for its lock counts too.
func TestPartitionFilled(t *testing.T) {
	t.Parallel()
	const before = "CREATE TABLE t (id int NOT NULL, v varchar(50), PRIMARY KEY (id)) PARTITION BY RANGE (id) " +
		"(PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20), PARTITION p2 VALUES LESS THAN MAXVALUE)"
	after := strings.Replace(before, "PARTITION p1 VALUES LESS THAN (20), ", "", 1)
	for _, unsafe := range []bool{false, true} {
		b := newBench(t, testkit.Server(t))
		b.settings.AllowUnsafe = unsafe // of some other loss: nobody was asked about these rows
		b.exec(before, "INSERT INTO t VALUES (1, 'a'), (25, 'c')")
		p := b.plan("t", after)
		if p.Refused != "" || len(p.Findings) > 0 {
			t.Fatalf("planned %s, refused: %q, %v", p.Engine, p.Refused, p.Findings)
		}
		tx := b.occupy("t") // an open transaction: the ALTER has to wait for its lock
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO "+b.database+".t VALUES (15, 'b')"); err != nil {
			t.Fatal(err)
		}
		a := b.begin(p)
		testkit.Eventually(t, time.Minute, "the run waits for the table", func() bool {
			return testkit.Ask(t, b.srv, "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE object_schema = ? AND object_name = 't' "+
				"AND lock_status = 'PENDING'", b.database) != "0"
		})
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		<-a.done
		if !errors.Is(a.err, errFilled) || Final(a.err) {
			t.Errorf("the run ended with %v", a.err)
		}
		if got := testkit.Ask(t, b.srv, "SELECT GROUP_CONCAT(id ORDER BY id) FROM "+b.database+".t"); got != "1,15,25" {
			t.Errorf("I1: rows %s", got)
		}
		if p = b.plan("t", after); len(p.Findings) != 1 || (p.Refused == "") != unsafe {
			t.Errorf("planned again: refused: %q, %v", p.Refused, p.Findings)
		}
		b.exec("DELETE FROM t WHERE id = 15", "INSERT INTO t VALUES (26, 'd')")
		b.run("t", after, EngineInplace)
	}
}

// TestCounterKept: ids that rolled-back transactions consumed while a table was copied do not come again.
func TestCounterKept(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t))
	const text = "CREATE TABLE t (id bigint NOT NULL AUTO_INCREMENT, v varchar(50) NOT NULL, PRIMARY KEY (id))"
	b.exec(text)
	b.fill("t", 300)
	tx := b.occupy("t")
	a := b.begin(b.plan("t", strings.Replace(text, "varchar(50)", "text", 1)))
	a.until("the cut-over waits for the table", func(p Progress) bool {
		return p.State == StateCuttingOver && strings.HasPrefix(p.Detail,
			"waits")
	})
	b.exec("BEGIN", "INSERT INTO t (v) VALUES ('a'), ('b'), ('c')", "ROLLBACK")
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	<-a.done
	if a.err != nil {
		t.Fatal(a.err)
	}
	b.exec("INSERT INTO t (v) VALUES ('d')")
	if got := testkit.Ask(t, b.srv, "SELECT MAX(id) > 303 AND MAX(id) < 303 + 2000 FROM "+b.database+".t"); got != "1" {
		t.Errorf("the next id was %s, 301 to 303 were given out already", testkit.Ask(t, b.srv, "SELECT MAX(id) FROM "+b.database+".t"))
	}
}

// TestLongNames: copies of two tables whose names share what gh-ost does not cut off need the same names, one after the other: the first
// one's old table, kept for a while, makes room and stays.
func TestLongNames(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t))
	first, second := strings.Repeat("x", 60)+"_1", strings.Repeat("x", 60)+"_2"
	for i, table := range []string{first, second, first} {
		if i < 2 {
			b.exec(strings.Replace(oldT, "TABLE t", "TABLE "+table, 1))
			b.fill(table, 300)
		}
		text := strings.Replace(newT, "TABLE t", "TABLE "+table, 1)
		if i == 2 {
			text = strings.Replace(text, "text", "varchar(400)", 1)
		}
		rows := b.sum(table)
		b.run(table, text, EngineGhost)
		if now := b.sum(table); now != rows {
			t.Errorf("I1: rows of %s: %s, before %s", table, now, rows)
		}
	}
	left, err := b.leftovers.List(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, table := range b.tables() {
		there[table] = true
	}
	kept := map[string]int{}
	for _, l := range left {
		if l.State != LeftoverKeep || !there[l.Name] {
			t.Errorf("recorded: %+v, there: %v", l, there[l.Name])
		}
		kept[l.Table]++
	}
	if kept[first] != 2 || kept[second] != 1 || len(there) != 5 {
		t.Errorf("kept %v, tables %v", kept, fmt.Sprint(b.tables()))
	}
}
