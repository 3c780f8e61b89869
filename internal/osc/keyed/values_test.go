package keyed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// moments are when a row is written: before the copy, while ranges before and after it are copied, once all is copied and compared, at
// the gate.
var moments = []string{"before", "copying", "verifying", "waiting"}

// copyAt copies t and calls write at each moment, its number as argument. It waits until what was written at a moment is committed.
func (k *kit) copyAt(clauses string, write func(moment int)) error {
	k.Helper()
	req := k.request(clauses)
	req.Workers, req.MaxChunk = 2, 50
	write(0)
	var chunks, waited, verified atomic.Int32
	req.Gate = func(context.Context) error {
		if chunks.Add(1) == 4 {
			write(1)
		}
		return nil
	}
	phase := req.Phase
	req.Phase = func(p, detail string) {
		phase(p, detail)
		if p == PhaseVerifying && verified.Add(1) == 1 {
			write(2)
		}
	}
	req.Opportunity = func(context.Context) (string, error) {
		if waited.Add(1) == 1 {
			write(3)
		}
		return "", nil
	}
	return k.copy(req)
}

// asByHand compares the new table with what ALTER by hand makes of the old one.
func (k *kit) asByHand(clauses string, columns ...string) {
	k.Helper()
	k.exec("SET SESSION time_zone = @@GLOBAL.time_zone", "ALTER TABLE _t_del "+clauses)
	list := strings.Join(columns, ", ")
	got, want := k.rows("SELECT "+list+" FROM t ORDER BY id"), k.rows("SELECT "+list+" FROM _t_del ORDER BY id")
	if len(got) != len(want) {
		k.Errorf("I1: %d rows, by hand %d", len(got), len(want))
	}
	wrong := 0
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			if wrong++; wrong < 6 {
				k.Errorf("I13: row %s, by hand %s", got[i], want[i])
			}
		}
	}
}

// TestValues: whatever is written at whatever moment, the new table holds what ALTER by hand gives.
func TestValues(t *testing.T) {
	wide := "CREATE TABLE t (id int NOT NULL PRIMARY KEY, d decimal(10,2), j json, " +
		"l varchar(20) CHARACTER SET latin1, u char(10) CHARACTER SET ucs2, " +
		"e enum('a','b'), s set('x','y','z'), ts timestamp(3) NULL, dt datetime(6), t time(2), y year, b bit(9), bl blob, bi binary(4), " +
		"f float, " +
		"g varchar(40) GENERATED ALWAYS AS (concat(l, '-', d)) STORED, " +
		"dd date GENERATED ALWAYS AS (date(dt)) VIRTUAL, p point, n bigint unsigned)"
	row := func(id int) string {
		return fmt.Sprintf("(%d, 1.50, JSON_OBJECT('d', 20.0, 'n', CAST(1.50 AS DECIMAL(5,2)), 't', DATE'2024-02-29', "+
			"'b', CAST(x'0102' AS BINARY)), "+
			"_latin1 x'818D8F909D', _ucs2 x'00620063', 'b', 'x,z', '2024-03-10 02:30:00.123', '2024-03-10 02:30:00.654321', '-838:59:58.12', 2024, "+
			"b'101010101', x'00FF', x'0102', 1.1, POINT(1, 2), 18446744073709551615)", id)
	}
	columns := "(id, d, j, l, u, e, s, ts, dt, t, y, b, bl, bi, f, p, n)"
	for name, c := range map[string]struct{ clauses string }{
		"same values":      {"ADD z int DEFAULT 5"},
		"text of numbers":  {"MODIFY d varchar(20), MODIFY dt varchar(40), MODIFY ts datetime(3)"},
		"datetime to time": {"MODIFY dt timestamp(6) NULL, MODIFY j longtext, MODIFY e varchar(9)"},
		"character sets": {
			"MODIFY l varchar(20) CHARACTER SET utf8mb4, MODIFY u char(10) CHARACTER SET utf8mb4, MODIFY s set('z','y','x')"},
		"generated":            {"ADD w date GENERATED ALWAYS AS (date(dt)) STORED, ADD UNIQUE KEY (id, w)"},
		"added with the clock": {"ADD c varchar(9) NOT NULL DEFAULT 'x', MODIFY bi varbinary(10), MODIFY f double"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			k.exec(wide)
			var rows []string
			for id := range 300 {
				rows = append(rows, row(id*10))
			}
			k.exec("INSERT INTO t " + columns + " VALUES " + strings.Join(rows, ", "))
			err := k.copyAt(c.clauses, func(m int) {
				for _, at := range []int{10, 1500, 2900} {
					id := at + m*20
					k.exec(fmt.Sprintf("INSERT INTO t %s VALUES %s", columns, row(id+1)),
						fmt.Sprintf("UPDATE t SET id = %d WHERE id = %d", id+2, id),
						fmt.Sprintf("DELETE FROM t WHERE id = %d", id+10),
						fmt.Sprintf("UPDATE t SET j = JSON_SET(j, '$.d', 1.50), d = d + 1 WHERE id = %d", id+1))
					for i, end := range []string{"COMMIT", "ROLLBACK"} {
						x := fmt.Sprintf("'%s-%d-%d'", k.database, id, i)
						k.exec("XA START "+x,
							fmt.Sprintf("INSERT INTO t %s VALUES %s", columns, row(id+4+i)), "XA END "+x, "XA PREPARE "+x, "XA "+end+" "+x)
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			k.asByHand(c.clauses, "*", "HEX(l)", "HEX(u)", "HEX(bl)", "JSON_TYPE(JSON_EXTRACT(CAST(j AS JSON), '$.t'))", "e+0", "s+0")
		})
	}
}

// TestKeys: every kind of key is followed, whatever its order and collation.
func TestKeys(t *testing.T) {
	for name, c := range map[string]struct {
		definition, key string
		value           func(i int) string // of the key's columns
		clauses         string
	}{
		"bigint unsigned": {"a bigint unsigned NOT NULL, PRIMARY KEY (a)",
			"a", func(i int) string { return fmt.Sprintf("%d", uint64(1)<<63+uint64(i)) }, ""},
		"negative": {"a smallint NOT NULL, PRIMARY KEY (a)",
			"a", func(i int) string { return fmt.Sprint(i - 500) }, "MODIFY a bigint NOT NULL"},
		"descending": {"a int NOT NULL, b int NOT NULL, PRIMARY KEY (a, b DESC)",
			"a, b", func(i int) string { return fmt.Sprintf("%d, %d", i/10, i%10) }, ""},
		"text": {"a varchar(20) NOT NULL, PRIMARY KEY (a)", "a", func(i int) string { return fmt.Sprintf("'Key %d'", i) }, ""},
		"text, padded": {"a char(20) CHARACTER SET latin1 COLLATE latin1_german1_ci NOT NULL, PRIMARY KEY (a)",
			"a", func(i int) string { return fmt.Sprintf("'\u00e4%d'", i) }, "MODIFY a char(20) CHARACTER SET utf8mb4 NOT NULL"},
		"utf8mb3 to utf8mb4": {"a varchar(20) CHARACTER SET utf8mb3 NOT NULL, PRIMARY KEY (a)",
			"a", func(i int) string { return fmt.Sprintf("'\u00e9 %d'", i) }, "CONVERT TO CHARACTER SET utf8mb4"},
		"to binary": {"a varchar(20) NOT NULL, PRIMARY KEY (a)",
			"a", func(i int) string { return fmt.Sprintf("'Key %d'", i) }, "MODIFY a varchar(20) COLLATE utf8mb4_bin NOT NULL"},
		"from binary": {"a varchar(20) COLLATE utf8mb4_bin NOT NULL, PRIMARY KEY (a)",
			"a", func(i int) string { return fmt.Sprintf("'Key %d'", i) }, "MODIFY a varchar(20) NOT NULL"},
		"binary": {"a binary(4) NOT NULL, PRIMARY KEY (a)", "a", func(i int) string { return fmt.Sprintf("x'%04x'", i) }, ""},
		"decimal": {"a decimal(12,3) NOT NULL, PRIMARY KEY (a)",
			"a", func(i int) string { return fmt.Sprintf("%d.%03d", i-500, i) }, ""},
		"datetime": {"a datetime(4) NOT NULL, b time(1) NOT NULL, PRIMARY KEY (a, b)", "a, b", func(i int) string {
			return fmt.Sprintf("'2024-01-01 00:00:%02d.1234', '-%02d:00:00.%d'", i%60, i/60, i%10)
		}, ""},
		"date and year": {"a date NOT NULL, b year NOT NULL, c enum('q','p','o') NOT NULL, PRIMARY KEY (a, b, c)",
			"a, b, c", func(i int) string {
				return fmt.Sprintf("'2024-02-%02d', %d, %d", i%28+1, 2000+i/28, i%3+1)
			}, ""},
		"beside expressions": {"x int GENERATED ALWAYS AS (a * 2) VIRTUAL, a int NOT NULL, PRIMARY KEY (a), KEY f ((a + 1)), c int INVISIBLE",
			"a",
			func(i int) string { return fmt.Sprint(i) }, ""},
		"bit": {"a bit(20) NOT NULL, UNIQUE KEY (a)", "a", func(i int) string { return fmt.Sprint(i) }, ""},
		"secondary, unique": {"a int NOT NULL, b int NOT NULL, UNIQUE KEY (a), UNIQUE KEY (b)",
			"a, b", func(i int) string { return fmt.Sprintf("%d, %d", i, -i) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			k.exec("CREATE TABLE t (" + c.definition + ", id int NOT NULL, v varchar(20))")
			var rows []string
			for i := range 600 {
				rows = append(rows, fmt.Sprintf("(%s, %d, 'v')", c.value(i), i))
			}
			k.exec(fmt.Sprintf("INSERT INTO t (%s, id, v) VALUES %s", c.key, strings.Join(rows, ", ")))
			columns := strings.Split(c.key, ", ")
			assign := func(i int) string {
				texts := strings.Split(c.value(i), ", ")
				for j := range texts {
					texts[j] = columns[j] + " = " + texts[j]
				}
				return strings.Join(texts, ", ")
			}
			clauses := strings.TrimPrefix(c.clauses+", ADD z int DEFAULT 5", ", ")
			err := k.copyAt(clauses, func(m int) {
				for i := 5 + m; i < 600; i += 90 {
					k.exec(fmt.Sprintf("UPDATE t SET v = 'w' WHERE id = %d", i), fmt.Sprintf("DELETE FROM t WHERE id = %d", i+4),
						fmt.Sprintf("UPDATE t SET %s WHERE id = %d", assign(600+i), i+8), // away
						fmt.Sprintf("UPDATE t SET %s WHERE id = %d", assign(i+4), i+12))  // into the place of the one that was deleted
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			k.asByHand(clauses, "*")
		})
	}
}

// TestSwappedValues: rows exchange the values of a unique key all the time.
func TestSwappedValues(t *testing.T) {
	k := newKit(t)
	k.exec("CREATE TABLE t (id int NOT NULL PRIMARY KEY, u int, v varchar(10), UNIQUE KEY (u))")
	var rows []string
	for i := range 600 {
		rows = append(rows, fmt.Sprintf("(%d, %d, 'v')", i, i))
	}
	k.exec("INSERT INTO t VALUES " + strings.Join(rows, ", "))
	swap := func(a, b int) []string {
		return []string{"START TRANSACTION", "SET @a = (SELECT u FROM t WHERE id = " + fmt.Sprint(a) +
			"), @b = (SELECT u FROM t WHERE id = " + fmt.Sprint(b) + ")",
			"UPDATE t SET u = NULL WHERE id = " + fmt.Sprint(a), "UPDATE t SET u = @a WHERE id = " + fmt.Sprint(b),
			"UPDATE t SET u = @b WHERE id = " + fmt.Sprint(a), "COMMIT"}
	}
	err := k.copyAt("MODIFY v varchar(300)", func(m int) {
		r := seeded(t)
		for range 60 {
			if a, b := r.IntN(600), r.IntN(600); a != b {
				k.exec(swap(a, b)...)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	k.asByHand("MODIFY v varchar(300)", "*")
}

// TestOtherLogs: sessions may log in other ways; they are followed, or the copy ends.
func TestOtherLogs(t *testing.T) {
	for name, c := range map[string]struct {
		session, statement, lost string
	}{
		"compressed": {"SET SESSION binlog_transaction_compression = ON",
			"UPDATE t SET v = 'w', j = JSON_SET(j, '$.a', 2) WHERE id % 3 = 0", ""},
		"minimal":      {"SET SESSION binlog_row_image = MINIMAL", "UPDATE t SET v = 'w' WHERE id % 3 = 0", ""},
		"minimal, key": {"SET SESSION binlog_row_image = MINIMAL", "UPDATE t SET id = id + 100000 WHERE id % 3 = 0", ""},
		"noblob":       {"SET SESSION binlog_row_image = NOBLOB", "DELETE FROM t WHERE id % 3 = 0", ""},
		"partial JSON": {"SET SESSION binlog_row_value_options = PARTIAL_JSON",
			"UPDATE t SET j = JSON_SET(j, '$.a', 2, '$.b', 3), k = JSON_REMOVE(k, '$[0]') WHERE id % 3 = 0", ""},
		"partial and minimal": {"SET SESSION binlog_row_value_options = PARTIAL_JSON, SESSION binlog_row_image = MINIMAL",
			"UPDATE t SET id = id + 100000, k = JSON_REMOVE(k, '$[0]') WHERE id % 3 = 0", ""},
		"partial, compressed": {"SET SESSION binlog_row_value_options = PARTIAL_JSON, SESSION binlog_transaction_compression = ON",
			"UPDATE t SET j = JSON_SET(j, '$.a', 2) WHERE id % 3 = 0", ""},
		"statement":             {"SET SESSION binlog_format = STATEMENT", "UPDATE t SET v = 'w' WHERE id % 3 = 0", "binlog_format=STATEMENT"},
		"truncate":              {"DO 1", "TRUNCATE TABLE t", "changes the table"},
		"altered":               {"DO 1", "ALTER TABLE t ADD q int", "changes the table"},
		"trigger":               {"DO 1", "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @x = 1", "changes the table"},
		"another table altered": {"DO 1", "CREATE TABLE other LIKE t", ""},
		"a large transaction":   {"DO 1", "UPDATE t SET v = CONCAT(v, 'x'), id = -id", ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			k.exec("CREATE TABLE t (id int NOT NULL PRIMARY KEY, v varchar(10), j json, k json)")
			k.exec("INSERT INTO t WITH RECURSIVE s AS (SELECT 1 i UNION ALL SELECT i + 1 FROM s WHERE i < 900) " +
				"SELECT i, 'v', JSON_OBJECT('a', 1.0, 'b', REPEAT('x', 100)), JSON_ARRAY(1, 2, REPEAT('y', 100)) FROM s")
			err := k.copyAt("MODIFY v varchar(300)", func(m int) {
				if m == 1 {
					k.exec(c.session, c.statement)
				}
			})
			var l *LostError
			if c.lost != "" {
				if !errors.As(err, &l) || !strings.Contains(err.Error(), c.lost) {
					t.Fatalf("got %v, want %q", err, c.lost)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			k.asByHand("MODIFY v varchar(300)", "*")
		})
	}
}

// TestDoesNotFit: a value that the new definition does not take is an error that names row and column, and no other.
func TestDoesNotFit(t *testing.T) {
	for name, moment := range map[string]int{"copied": 0, "applied": 2} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			k.exec("CREATE TABLE t (id int NOT NULL PRIMARY KEY, v varchar(20))")
			k.exec("INSERT INTO t WITH RECURSIVE s AS (SELECT 1 i UNION ALL SELECT i + 1 FROM s WHERE i < 900) SELECT i, 'v' FROM s")
			err := k.copyAt("MODIFY v varchar(3)", func(m int) {
				if m == moment {
					k.exec("UPDATE t SET v = 'too long' WHERE id = 777")
				}
			})
			var fit *FitError
			if !errors.As(err, &fit) || !misfit(err) || !strings.Contains(err.Error(), "`id`=777") ||
				!strings.Contains(err.Error(), "'v'") {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// TestPermittedLoss: the loss of one column is permitted, and of no other.
func TestPermittedLoss(t *testing.T) {
	k := newKit(t)
	k.exec("CREATE TABLE t (id int NOT NULL PRIMARY KEY, v varchar(20), n int)",
		"INSERT INTO t VALUES (1, 'too long', 300), (2, 'x', 2), (3, NULL, 3)")
	req := k.request("MODIFY v varchar(3) NOT NULL, MODIFY n tinyint")
	req.Lossy = map[string]bool{"v": true}
	if err := k.copy(req); err == nil || !strings.Contains(err.Error(), "'n'") {
		t.Fatalf("got %v", err)
	}
	k.exec("DROP TABLE _t_gho", "UPDATE t SET n = 30 WHERE id = 1")
	if err := k.copy(req); err != nil {
		t.Fatal(err)
	}
	if got := k.rows("SELECT id, v, n FROM t"); !slices.Equal(got, []string{`"1" "too" "30"`, `"2" "x" "2"`, `"3" "" "3"`}) {
		t.Errorf("got %v", got)
	}
}

// TestCounterPastStatistics: neither are they when somebody has read the counter before, which the server repeats for a day.
func TestCounterPastStatistics(t *testing.T) {
	k := newKit(t)
	k.exec("CREATE TABLE t (id bigint unsigned NOT NULL PRIMARY KEY AUTO_INCREMENT, v varchar(20))", "INSERT INTO t (v) VALUES ('a')")
	k.rows("SELECT auto_increment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 't'")
	k.exec("ALTER TABLE t AUTO_INCREMENT = 9223372036854775900", // more than a signed integer holds
		"START TRANSACTION", "INSERT INTO t (v) VALUES ('c'), ('d')", "ROLLBACK")
	k.rows("SELECT auto_increment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 't'")
	k.exec("START TRANSACTION", "INSERT INTO t (v) VALUES ('e'), ('f')", "ROLLBACK")
	if err := k.copy(k.request("MODIFY v varchar(300)")); err != nil {
		t.Fatal(err)
	}
	k.exec("INSERT INTO t (v) VALUES ('g')")
	if got := k.rows("SELECT id, v FROM t ORDER BY id"); !slices.Equal(got, []string{`"1" "a"`, `"9223372036854775904" "g"`}) {
		t.Errorf("got %v", got)
	}
}

// TestCounter: ids that were given out and rolled back are not given again.
func TestCounter(t *testing.T) {
	k := newKit(t)
	k.exec("CREATE TABLE t (id int NOT NULL PRIMARY KEY AUTO_INCREMENT, v varchar(20))", "INSERT INTO t (v) VALUES ('a'), ('b')",
		"START TRANSACTION", "INSERT INTO t (v) VALUES ('c'), ('d')", "ROLLBACK", "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
		"INSERT INTO t VALUES (0, 'zero')")
	if err := k.copy(k.request("MODIFY v varchar(300)")); err != nil {
		t.Fatal(err)
	}
	k.exec("INSERT INTO t (v) VALUES ('e')")
	if got := k.rows("SELECT id, v FROM t ORDER BY id"); !slices.Equal(got, []string{`"0" "zero"`, `"1" "a"`, `"2" "b"`, `"5" "e"`}) {
		t.Errorf("got %v", got)
	}
}
