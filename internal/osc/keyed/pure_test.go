package keyed

import (
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
)

const origin = "00000000-0000-0000-0000-000000000001:"

func set(t testing.TB, text string) mysql.GTIDSet {
	t.Helper()
	s, err := mysql.ParseGTIDSet(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTracker: keys wait for the chunks that were under way at their moment, and for no others.
func TestTracker(t *testing.T) {
	tr := newTracker()
	if m := tr.now(); m.begun {
		t.Error("nothing is begun")
	}
	one := tr.begin(span{"", "10"}, false)
	two := tr.begin(span{"10", "20"}, false)
	m := tr.now()
	if m.frontier != "20" || m.complete || len(m.underWay) != 2 {
		t.Errorf("%+v", m)
	}
	three := tr.begin(span{"20", ""}, true)
	key := []tracked{{key: "5"}}
	if free := tr.hold(m, key); free != nil || tr.holding() != 1 {
		t.Errorf("a key of a chunk under way is applied: %v", free)
	}
	if free := tr.end(two); free != nil {
		t.Errorf("applied while chunk 1 is under way: %v", free)
	}
	if free := tr.end(one); len(free) != 1 {
		t.Errorf("not applied at the end of both: %v", free)
	}
	if free := tr.hold(m, key); len(free) != 1 {
		t.Errorf("a chunk that has ended holds a key: %v", free)
	}
	if tr.finished() {
		t.Error("the last chunk is under way")
	}
	tr.end(three)
	if m := tr.now(); !m.complete || !tr.finished() {
		t.Errorf("%+v", m)
	}
}

// TestLedger: the mark never passes a transaction of which something is left, nor one whose keys come with a later one.
func TestLedger(t *testing.T) {
	l := newLedger(set(t, origin+"1-4"))
	enter := func(c change) *entry {
		t.Helper()
		c.gtid = origin + c.gtid
		if c.resolves != "" {
			c.resolves = origin + c.resolves
		}
		e, err := l.enter(c)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	done := func(e *entry, keys ...value) {
		t.Helper()
		for _, k := range keys {
			if err := l.done([]tracked{{k, e}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	mark := func(want string) {
		t.Helper()
		if got := l.mark(); !got.Equal(set(t, origin+want)) {
			t.Errorf("mark %s, want %s", got, want)
		}
	}
	five := enter(change{gtid: "5", keys: []value{"a", "b"}})
	enter(change{gtid: "5", done: true})
	six := enter(change{gtid: "6", keys: []value{"c"}, done: true})
	done(six, "c")
	mark("1-4")
	done(five, "a")
	mark("1-4")
	done(five, "b")
	mark("1-6")
	enter(change{gtid: "7", done: true, prepared: true})
	eight := enter(change{gtid: "8", keys: []value{"d"}, done: true})
	nine := enter(change{gtid: "9", keys: []value{"x"}, done: true, resolves: "7", xa: true})
	done(nine, "x")
	mark("1-6") // 7 and 9 at once, and 8 is between them
	done(eight, "d")
	mark("1-9")
	if l.left() != 0 {
		t.Errorf("%d left", l.left())
	}
}

// TestAssembly: what becomes of transactions, XA among them.
func TestAssembly(t *testing.T) {
	unknown := ""
	a := newAssembly(func(_, xid string) error { unknown = xid; return nil })
	show := func(changes []change) string { return fmt.Sprintf("%+v", changes) }
	is := func(got []change, want ...change) {
		t.Helper()
		if show(got) != show(want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	is(a.begin("1"))
	a.add("k")
	a.add("l")
	a.add("k")
	is(a.part(3))
	is(a.part(2), change{gtid: "1", keys: []value{"k", "l"}})
	a.add("m")
	is(a.end(), change{gtid: "1", keys: []value{"m"}, done: true})
	is(a.begin("2")) // XA, prepared
	a.start("x")
	a.add("n")
	is(a.part(1)) // its rows are nobody's to see
	got, err := a.prepare(false)
	if err != nil {
		t.Fatal(err)
	}
	is(got, change{gtid: "2", done: true, prepared: true})
	is(a.begin("3")) // DDL: it has no end of its own
	is(a.begin("4"), change{gtid: "3", done: true})
	got, err = a.resolve("x", true)
	if err != nil {
		t.Fatal(err)
	}
	is(got, change{gtid: "4", keys: []value{"n"}, done: true, resolves: "2", xa: true})
	is(a.begin("5")) // in one phase
	a.start("y")
	a.add("o")
	got, err = a.prepare(true)
	if err != nil {
		t.Fatal(err)
	}
	is(got, change{gtid: "5", keys: []value{"o"}, done: true, xa: true})
	is(a.begin("6"))
	if _, err := a.resolve("z", true); err != nil || unknown != "z" {
		t.Errorf("%v, %q", err, unknown)
	}
}

func TestJudge(t *testing.T) {
	a := about{database: "d", table: "orders"}
	for statement, want := range map[string]verdict{
		"XA START X'6b',X'',1":                     verdictXAStart,
		"XA COMMIT X'6B',X'',1":                    verdictXACommit,
		"XA ROLLBACK X'6b',X'',1":                  verdictXARollback,
		"XA END X'6b',X'',1":                       verdictNothing,
		"SAVEPOINT `orders`":                       verdictNothing,
		"CREATE USER 'orders'@'%'":                 verdictNothing,
		"CREATE TABLE new LIKE orders":             verdictNothing,
		"DROP TABLE `customers`":                   verdictNothing,
		"ALTER TABLE `orders` ADD x int":           verdictLost,
		"alter table d.orders add x int":           verdictLost,
		"/* orders */ ALTER TABLE x ADD y int":     verdictNothing,
		"ALTER TABLE x COMMENT 'orders'":           verdictNothing,
		"TRUNCATE orders":                          verdictLost,
		"DROP TABLE IF EXISTS `x`,`orders`":        verdictLost,
		"RENAME TABLE x TO y, orders TO z":         verdictLost,
		"CREATE TRIGGER t BEFORE INSERT ON orders": verdictLost,
		"CREATE UNIQUE INDEX i ON orders (x)":      verdictLost,
		"DROP DATABASE `d`":                        verdictLost,
		"DROP DATABASE `other`":                    verdictLost, // with d as the default one: careful
		"INSERT INTO x VALUES (1)":                 verdictLost, // in statement format: a trigger may write to the table
		"ALTER " + Marker + " TABLE orders ADD x":  verdictNothing,
		"ANALYZE TABLE orders":                     verdictNothing,
		"/*!50003 ALTER TABLE orders ADD x int */": verdictLost,
	} {
		if got, _, why := judge(a, "d", statement); got != want {
			t.Errorf("%s: %v (%s), want %v", statement, got, why, want)
		}
	}
	if got, _, _ := judge(a, "other", "ALTER TABLE orders ADD x int"); got != verdictNothing {
		t.Errorf("the table of that name in another database: %v", got)
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		rowBytes uint64
		size     int
		took     time.Duration
		want     int
	}{{1 << 20, 1000, 100 * time.Millisecond, 1000}, {1 << 20, 1000, 50 * time.Millisecond, 2000}, {1 << 20, 1000, time.Microsecond, 2000},
		{1 << 20, 1000, 200 * time.Millisecond, 500}, {1 << 20, 1000, time.Hour, 250}, {1 << 20, 1, time.Hour, 1},
		{1 << 20, 40_000, time.Millisecond, 50_000}, {1 << 20, 1, time.Millisecond, 2}, {0, 1, time.Hour, 1},
		{128, 2000, time.Hour, 1024}, {128, 1024, time.Second, 1024}, {1, 1000, time.Hour, 50_000},
	} {
		if got := sizesOf(c.rowBytes, 50_000).next(c.size, c.took, ChunkTime); got != c.want {
			t.Errorf("%d rows of %d bytes in %v: %d, want %d", c.size, c.rowBytes, c.took, got, c.want)
		}
	}
}

// TestTexts holds the texts of key values against what the server writes into its log, byte for byte.
func TestTexts(t *testing.T) {
	for _, c := range []struct {
		kind     byte
		meta     uint16
		column   verify.Column
		hex, out string
	}{
		{gomysql.MYSQL_TYPE_LONG, 0, verify.Column{}, "ffffffff", "-1"},
		{gomysql.MYSQL_TYPE_LONG, 0, verify.Column{Unsigned: true}, "ffffffff", "4294967295"},
		{gomysql.MYSQL_TYPE_INT24, 0, verify.Column{}, "000080", "-8388608"},
		{gomysql.MYSQL_TYPE_LONGLONG, 0, verify.Column{Unsigned: true}, "ffffffffffffffff", "18446744073709551615"},
		{gomysql.MYSQL_TYPE_NEWDECIMAL, 14<<8 | 4, verify.Column{}, "810dfb38d204d2", "1234567890.1234"},
		{gomysql.MYSQL_TYPE_NEWDECIMAL, 14<<8 | 4, verify.Column{}, "7ef204c72dfb2d", "-1234567890.1234"},
		{gomysql.MYSQL_TYPE_NEWDECIMAL, 5<<8 | 2, verify.Column{}, "800032", "0.50"},
		{gomysql.MYSQL_TYPE_TIME2, 2, verify.Column{}, "7fffffff", "-00:00:00.01"},
		{gomysql.MYSQL_TYPE_TIME2, 2, verify.Column{}, "7ffffef6", "-00:00:01.10"},
		{gomysql.MYSQL_TYPE_TIME2, 0, verify.Column{}, "800000", "00:00:00"},
		{gomysql.MYSQL_TYPE_DATE, 0, verify.Column{}, "5dd00f", "2024-02-29"},
		{gomysql.MYSQL_TYPE_YEAR, 0, verify.Column{}, "7c", "2024"},
		{gomysql.MYSQL_TYPE_YEAR, 0, verify.Column{}, "00", "0"},
		{gomysql.MYSQL_TYPE_VARCHAR, 20, verify.Column{DataType: "varchar"}, "026162", "6162"},
		{gomysql.MYSQL_TYPE_VARCHAR, 300, verify.Column{DataType: "varchar"}, "02006162", "6162"},
		{gomysql.MYSQL_TYPE_STRING, 0xfe04, verify.Column{DataType: "binary", Length: 4}, "020102", "01020000"},
		{gomysql.MYSQL_TYPE_STRING, 0xf701, verify.Column{DataType: "enum"}, "02", "2"},
		{gomysql.MYSQL_TYPE_BIT, 1<<8 | 1, verify.Column{}, "0155", "341"},
	} {
		data, err := hex.DecodeString(c.hex)
		if err != nil {
			t.Fatal(err)
		}
		size, err := valueSize(c.kind, c.meta, data)
		if err != nil || size != len(data) {
			t.Errorf("%s: %d bytes, %v", c.hex, size, err)
			continue
		}
		if got, err := textOf(part{original: c.column}, c.kind, c.meta, data); err != nil || got != c.out {
			t.Errorf("%s: %q, %v, want %q", c.hex, got, err, c.out)
		}
	}
}

// TestQueue: a key that waits is not taken twice, and every change of it is settled by the one application.
func TestQueue(t *testing.T) {
	q := newQueue()
	e, f := &entry{gtid: "1"}, &entry{gtid: "2"}
	for _, k := range []tracked{{"a", e}, {"b", e}, {"a", f}} {
		if err := q.put(t.Context(), []tracked{k}); err != nil {
			t.Fatal(err)
		}
	}
	keys, settles := q.take(1)
	if !slices.Equal(keys, []value{"a"}) || len(settles) != 2 || q.size() != 1 {
		t.Errorf("%v, %v, %d left", keys, settles, q.size())
	}
	if err := q.put(t.Context(), []tracked{{"a", f}}); err != nil || q.size() != 2 {
		t.Errorf("a key that is being applied changed again: %d left, %v", q.size(), err)
	}
}
