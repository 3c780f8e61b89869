package osc

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// TestValuesOfTheServer: whatever an engine, rows and defaults come out as by an ALTER by hand on that server, whose time zone, names of
// days, precision and sql_mode are not those of our sessions.
func TestValuesOfTheServer(t *testing.T) {
	t.Parallel()
	srv := testkit.FreshServer(t, map[string]string{"default_time_zone": "+05:00", "lc_time_names": "de_DE", "div_precision_increment": "7",
		"sql_mode": "STRICT_TRANS_TABLES,TIME_TRUNCATE_FRACTIONAL"})
	const head = "CREATE TABLE t (id int NOT NULL, ts timestamp(3) NULL DEFAULT NULL, dt datetime(3) DEFAULT NULL, a int NOT NULL DEFAULT 1"
	const tail = ", PRIMARY KEY (id))"
	for _, c := range []struct {
		name, more string // the desired columns beside those of head
		change     [2]string
		engine     Engine
	}{
		{"stored over a timestamp", ", d date GENERATED ALWAYS AS (CAST(ts AS DATE)) STORED, n varchar(20) GENERATED ALWAYS AS " +
			"(DAYNAME(ts)) STORED", [2]string{}, EngineDirect},
		{"a division", ", q varchar(40) GENERATED ALWAYS AS (CONCAT(a / 7)) STORED", [2]string{}, EngineDirect},
		{"timestamp to datetime", "", [2]string{"ts timestamp(3) NULL", "ts datetime(3)"}, EngineDirect},
		{"datetime to timestamp", "", [2]string{"dt datetime(3)", "dt timestamp(3) NULL"}, EngineDirect},
		{"a fraction cut off", "", [2]string{"dt datetime(3)", "dt datetime"}, EngineDirect},
		{"a default of the moment", ", c datetime NOT NULL DEFAULT CURRENT_TIMESTAMP", [2]string{}, EngineInstant},
		{"a literal default of a timestamp", ", c timestamp NOT NULL DEFAULT '2020-01-01 00:00:00'", [2]string{}, EngineInstant},
		{"datetime to timestamp, copied", "", [2]string{"dt datetime(3)", "dt timestamp(3) NULL"}, EngineGhost},
		{"a literal default, copied", ", c timestamp NOT NULL DEFAULT '2020-01-01 00:00:00'", [2]string{"a int", "a bigint"}, EngineGhost},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, srv)
			b.settings.AllowUnsafe = true // of a TIMESTAMP becoming a DATETIME, which loses its zone
			if c.engine == EngineGhost {
				b.settings.DirectMaxRows = 1
			}
			const own, ours = "SET SESSION time_zone = @@GLOBAL.time_zone, lc_time_names = @@GLOBAL.lc_time_names",
				"SET SESSION time_zone = '+00:00'"
			fill := func(table string) {
				b.exec(own, strings.Replace(head, "TABLE t", "TABLE "+table, 1)+tail,
					"INSERT INTO "+table+" VALUES (1, '2024-03-01 02:30:00.900', '2024-03-01 02:30:00.900', 5), (2, NULL, NULL, 1), (3, '2023-07-01 "+
						"23:30:00', '2023-12-31 23:59:59.999', 22)", ours)
			}
			fill("t")
			fill("by_hand")
			// What a person types.
			var clauses []string
			if c.change[0] != "" {
				clauses = append(clauses, "MODIFY "+c.change[1]+map[bool]string{true: " NOT NULL DEFAULT 1"}[strings.HasPrefix(c.change[1], "a ")])
			}
			for _, column := range strings.Split(strings.TrimPrefix(c.more, ", "), ", ") {
				if column != "" {
					clauses = append(clauses, "ADD "+column)
				}
			}
			b.exec(own, "ALTER TABLE by_hand "+strings.Join(clauses, ", "), ours)
			b.run("t", strings.Replace(head, c.change[0], c.change[1], 1)+c.more+tail, c.engine)
			rows := func(table string) string {
				columns := testkit.Ask(t, srv, "SELECT GROUP_CONCAT('COALESCE(CAST(', column_name, ' AS CHAR), ''-'')' ORDER BY ordinal_position) "+
					"FROM information_schema.columns WHERE table_schema = ? AND table_name = ?", b.database, table)
				if strings.Contains(c.name, "of the moment") { // to the hour
					columns = strings.Replace(columns, "CAST(c AS CHAR)",
						"ABS(TIMESTAMPDIFF(MINUTE, c, CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', '+05:00'))) < 50", 1)
				}
				return testkit.Ask(t, srv, fmt.Sprintf("SELECT GROUP_CONCAT(CONCAT_WS('|', %s) ORDER BY id SEPARATOR '\n') FROM %s", columns,
					mysql.QuoteIdents(b.database, table)))
			}
			if got, want := rows("t"), rows("by_hand"); got != want {
				t.Errorf("rows\n%s\nby hand\n%s", got, want)
			}
			got, want := b.form("t").Text, strings.Replace(b.form("by_hand").Text, "`by_hand`", "`t`", 1)
			if got != want {
				t.Errorf("defined as %s\nby hand %s", got, want)
			}
		})
	}
}

// TestZoneRefused: gh-ost applies changes in UTC. Where rows would come out differently for that, the copy is refused before it begins.
func TestZoneRefused(t *testing.T) {
	t.Parallel()
	away, utc := testkit.FreshServer(t, map[string]string{"default_time_zone": "+05:00"}), testkit.Server(t)
	const old = "CREATE TABLE t (id int NOT NULL, ts timestamp NULL DEFAULT NULL, dt datetime DEFAULT NULL, a int, PRIMARY KEY (id)"
	for _, c := range []struct{ before, after, reason string }{
		{"", ", g date GENERATED ALWAYS AS (CAST(ts AS DATE)) STORED", "generated column g"},
		{"", ", g date GENERATED ALWAYS AS (CAST(ts AS DATE)) VIRTUAL, KEY g (g)", "generated column g"},
		{"", ", g date GENERATED ALWAYS AS (CAST(ts AS DATE)) VIRTUAL, h int GENERATED ALWAYS AS (YEAR(g)) STORED", "generated column h"},
		{"", ", g int GENERATED ALWAYS AS (FROM_UNIXTIME(id)) STORED", "generated column g"},
		{", CONSTRAINT c CHECK (CAST(ts AS DATE) > '2000-01-01')", ", CONSTRAINT c CHECK (CAST(ts AS DATE) > '2000-01-01')", "CHECK"},
		{"", ", c datetime NOT NULL DEFAULT CURRENT_TIMESTAMP", "new column c"},
		{"", ", KEY f ((CAST(ts AS DATE)))", "key f"},
		{"", ", g date GENERATED ALWAYS AS (CAST(ts AS DATE)) VIRTUAL", ""},
		{"", ", g date GENERATED ALWAYS AS (CAST(dt AS DATE)) STORED", ""},
		{"", ", c timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP", ""},
	} {
		for _, srv := range []struct {
			away bool
			b    *bench
		}{{true, newBench(t, away)}, {false, newBench(t, utc)}} {
			b := srv.b
			b.exec(old+c.before+")", "INSERT INTO t (id) VALUES (1), (2)")
			b.settings.DirectMaxRows = 1
			p := b.plan("t", strings.Replace(old, "a int", "a bigint", 1)+c.after+")")
			refused := srv.away && c.reason != ""
			if (p.Refused != "") != refused || refused && (!strings.Contains(p.Refused, c.reason) || !p.Final) {
				t.Errorf("%q away %v: %s, refused: %q", c.after, srv.away, p.Engine, p.Refused)
			}
		}
	}
}
