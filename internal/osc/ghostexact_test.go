package osc

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/testkit"
)

// exact are changes of columns that a plan lets gh-ost make: the values come out as ALTER TABLE makes them, also in rows
// that gh-ost knows from the binary log alone.
var exact = []struct {
	from, to string
	values   []string
}{
	{"INT", "BIGINT", []string{"-2147483648", "2147483647", "NULL"}},
	{"TINYINT UNSIGNED", "INT UNSIGNED", []string{"255"}},
	{"SMALLINT UNSIGNED", "INT", []string{"65535"}},
	{"MEDIUMINT UNSIGNED", "BIGINT UNSIGNED", []string{"16777215"}},
	{"BIGINT UNSIGNED", "DECIMAL(20,0)", []string{"18446744073709551615"}},
	{"BIGINT UNSIGNED", "BIGINT UNSIGNED", []string{"18446744073709551615"}},
	{"INT(8) ZEROFILL", "INT(8) ZEROFILL", []string{"42"}},
	{"DECIMAL(65,30)", "DECIMAL(65,30)", []string{"-12345678901234567890123456789012345.123456789012345678901234567890",
		"0.000000000000000000000000000001"}},
	{"DECIMAL(10,2)", "DECIMAL(14,4)", []string{"1.50", "-0.01"}},
	{"FLOAT", "FLOAT", []string{"3.4028234e38", "1.17549435e-38", "16777217", "0.1", "123456789"}},
	{"FLOAT(10,3)", "FLOAT(10,3)", []string{"1234.567", "0.1"}},
	{"DOUBLE", "DOUBLE", []string{"1.7976931348623157e308", "2.2250738585072014e-308", "0.1", "9007199254740993"}},
	{"VARCHAR(20) CHARACTER SET latin1", "VARCHAR(40) CHARACTER SET latin1", []string{"x'818D8F909D80A0FF'", "'1.50'", "'20.0'"}},
	{"VARCHAR(20) CHARACTER SET latin1", "TEXT CHARACTER SET latin1", []string{"x'818D8F909D80A0FF'"}},
	{"VARCHAR(20) CHARACTER SET ascii", "VARCHAR(20) CHARACTER SET utf8mb4", []string{"'abc'"}},
	{"VARCHAR(20) CHARACTER SET utf8mb3", "VARCHAR(20) CHARACTER SET utf8mb4", []string{`'abcé\0'`}},
	{"TEXT CHARACTER SET utf8mb3", "LONGTEXT CHARACTER SET utf8mb4", []string{"REPEAT('é', 30000)"}},
	{"VARCHAR(20) CHARACTER SET utf8mb4", "VARCHAR(400) CHARACTER SET utf8mb4", []string{`'abcé😀\0\\'`, "'ab  '"}},
	{"CHAR(10) CHARACTER SET utf8mb4", "VARCHAR(20) CHARACTER SET utf8mb4", []string{"'ab  '", "''"}},
	{"BINARY(5)", "BINARY(5)", []string{"x'0100'", "x'ff000000'"}},
	{"VARBINARY(20)", "BLOB", []string{"x'00ff8100'"}},
	{"BLOB", "LONGBLOB", []string{"x'00ff8100'"}},
	{"BIT(1)", "BIT(1)", []string{"1", "0"}},
	{"BIT(17)", "BIT(17)", []string{"131071", "1"}},
	{"BIT(64)", "BIT(64)", []string{"18446744073709551615", "1"}},
	{"YEAR", "YEAR", []string{"0", "2024", "1901"}},
	{"DATE", "DATE", []string{"'0000-00-00'", "'2024-00-00'", "'9999-12-31'"}},
	{"DATETIME(2)", "DATETIME(6)", []string{"'2024-01-02 03:04:05.01'", "'1000-01-01 00:00:00'", "'0000-00-00 00:00:00'"}},
	{"TIMESTAMP(3) NULL", "TIMESTAMP(6) NULL", []string{"'2024-01-02 03:04:05.001'", "'1970-01-01 05:00:01'", "'0000-00-00 00:00:00'"}},
	{"TIME(2)", "TIME(6)", []string{"'-838:59:59'", "'-00:00:00.01'", "'-11:22:33.99'"}},
	{"ENUM('p','s','')", "ENUM('p','s','','é')", []string{"'p'", "''"}},
	{"SET('a','b','c')", "SET('a','b','c','d')", []string{"'a,c'", "''"}},
	{"GEOMETRY", "GEOMETRY", []string{"ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('POINT(1 2)', 4326)"}},
	{"POINT", "POINT", []string{"ST_GeomFromText('POINT(1.5 2)')"}},
	{"VECTOR(3)", "VECTOR(3)", []string{"STRING_TO_VECTOR('[1,2,3]')"}},
}

// TestGhostIsExact writes every value before the copy, and again once the copy is verified: what gh-ost writes then nobody compares.
func TestGhostIsExact(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.FreshServer(t, map[string]string{"default_time_zone": "+05:00"}))
	b.settings.DirectMaxRows = 0
	rows := 0
	var from, to, names []string
	for i, e := range exact {
		name := fmt.Sprintf("c%d", i)
		names = append(names, name)
		from, to = append(from, name+" "+e.from), append(to, name+" "+e.to)
		rows = max(rows, len(e.values))
	}
	row := func(id int) string {
		values := []string{fmt.Sprint(id)}
		for _, e := range exact {
			values = append(values, e.values[id%len(e.values)])
		}
		return "(" + strings.Join(values, ", ") + ")"
	}
	insert := func(first int) string {
		var all []string
		for i := range rows {
			all = append(all, row(first+i))
		}
		return "INSERT INTO t (id, " + strings.Join(names, ", ") + ") VALUES " + strings.Join(all, ", ")
	}
	// Values as they are computed: stored, and from a moment when they are read.
	const computed = ", n int NOT NULL DEFAULT 0, g int GENERATED ALWAYS AS (n * 2) STORED, m timestamp NULL DEFAULT '2024-01-02 03:04:05', " +
		"v date GENERATED ALWAYS AS (cast(m as date)) VIRTUAL, PRIMARY KEY (id)) DEFAULT CHARSET=utf8mb4"
	const lax = "SET SESSION sql_mode = ''"
	b.exec(lax, "CREATE TABLE t (id int NOT NULL, "+strings.Join(from, ", ")+computed, insert(0))
	text := "CREATE TABLE t (id bigint NOT NULL, " + strings.Join(to, ", ") + computed
	p := b.plan("t", text)
	if p.Engine != EngineGhost {
		t.Fatalf("planned %s", p.Engine)
	}

	holder, err := b.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	for _, s := range []string{"START TRANSACTION", "SELECT COUNT(*) FROM " + b.database + ".t"} {
		if _, err := holder.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	a := b.begin(p)
	testkit.Eventually(t, 3*time.Minute, "the copy is verified and waits for an open transaction", func() bool {
		if a.ended() {
			t.Fatalf("the run ended: %v", a.err)
		}
		return strings.HasPrefix(a.progress().Detail, "waits:")
	})
	b.exec(lax, "UPDATE t SET n = n + 1", insert(100),
		"CREATE TABLE truth LIKE t", strings.Replace(insert(0), "INTO t ", "INTO truth ", 1),
		"UPDATE truth SET n = n + 1", strings.Replace(insert(100), "INTO t ", "INTO truth ", 1),
		"ALTER TABLE truth "+p.Change.Clauses)
	if _, err := holder.ExecContext(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if <-a.done; a.err != nil {
		t.Fatal(a.err)
	}
	for i, name := range append(names, "id", "n", "g", "m", "v") {
		what, equal := name, "HEX(o.%[2]s) <=> HEX(t.%[2]s)"
		if i < len(exact) {
			what = exact[i].from + " to " + exact[i].to
		}
		switch word, _, _ := strings.Cut(what, "("); {
		case strings.HasPrefix(word, "FLOAT"), strings.HasPrefix(word, "DOUBLE"):
			equal = "o.%[2]s <=> t.%[2]s" // HEX is of a whole number
		case word == "ENUM":
			equal = "o.%[2]s + 0 <=> t.%[2]s + 0" // the error value looks like an empty member
		}
		var differ int
		err := b.db.QueryRowContext(t.Context(),
			fmt.Sprintf("SELECT COUNT(*) FROM %[1]s.truth o LEFT JOIN %[1]s.t t USING (id) WHERE t.n IS NULL OR NOT ("+equal+")",
				b.database, name)).Scan(&differ)
		if err != nil || differ > 0 {
			t.Errorf("%s: %d of %d rows are not what ALTER TABLE makes of them, %v", what, differ, 2*rows, err)
		}
	}
}
