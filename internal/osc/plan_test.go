package osc

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

func TestPlanRefusals(t *testing.T) {
	srv := testkit.Server(t)
	for _, c := range []struct {
		name          string
		prelude       []string
		before, after string
		change        func(*Settings)
		engine        Engine
		refused       string
	}{
		{"missing", nil, "", oldT, nil, EngineCreate, ""},
		{"missing and not to be made", nil, "", oldT, func(s *Settings) { s.CreateMissing = false }, EngineCreate, "create_missing"},
		{"copy", nil, oldT, newT, nil, EngineGhost, ""},
		{"spirit", nil, oldT, newT, func(s *Settings) { s.CopyEngine = "spirit" }, "spirit", "is not known"},
		{"no unique key", nil, "CREATE TABLE t (id bigint NOT NULL, v varchar(50) NOT NULL)", "CREATE TABLE t (id bigint NOT NULL, v text NOT NULL)", nil, EngineGhost, "unique key"},
		{"no unique key, small", nil, "CREATE TABLE t (id bigint NOT NULL, v varchar(50) NOT NULL)", "CREATE TABLE t (id bigint NOT NULL, v text NOT NULL)",
			func(s *Settings) { s.DirectMaxRows = 5000 }, EngineDirect, ""},
		{"trigger", []string{"CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.v = UPPER(NEW.v)"}, oldT, newT, nil, EngineGhost, "triggers"},
		{"a child", []string{"CREATE TABLE child (id bigint, FOREIGN KEY (id) REFERENCES t (id))"}, oldT, newT, nil, EngineGhost, "other tables refer"},
		{"drops a column", nil, oldT, "CREATE TABLE t (id bigint NOT NULL, PRIMARY KEY (id))", nil, EngineInstant, "drop_column v"},
		{"drops a column with permission", nil, oldT, "CREATE TABLE t (id bigint NOT NULL, PRIMARY KEY (id))", func(s *Settings) { s.AllowUnsafe = true }, EngineInstant, ""},
		{"a view", nil, "CREATE VIEW t AS SELECT 1 AS id", oldT, nil, "", "no ALTER TABLE"},
		{"DDL that does not parse", nil, oldT, "CREATE TABLE t (id nonsense)", nil, "", "refuses"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, srv)
			b.settings.DirectMaxRows = 10
			if c.before != "" {
				b.exec(c.before)
			}
			if c.before != "" && !strings.Contains(c.before, "VIEW") {
				b.fill("t", 20)
			}
			b.exec(c.prelude...)
			if c.change != nil {
				c.change(&b.settings)
			}
			p := b.plan("t", c.after)
			if (p.Refused == "") != (c.refused == "") || !strings.Contains(p.Refused, c.refused) || p.Refused != "" && !p.Final {
				t.Errorf("refused %q (final %v), want one with %q", p.Refused, p.Final, c.refused)
			}
			if c.engine != "" && p.Engine != c.engine {
				t.Errorf("engine %s, want %s", p.Engine, c.engine)
			}
			if p.Engine != EngineNone && p.Refused == "" && p.SQL == "" {
				t.Error("what would be run is not said")
			}
		})
	}
}

// TestPlanRows: how large a table is, is not taken from old statistics where a plain ALTER depends on it.
func TestPlanRows(t *testing.T) {
	b := newBench(t, testkit.Server(t))
	b.exec("CREATE TABLE t (id bigint NOT NULL, v varchar(50) NOT NULL, PRIMARY KEY (id)) STATS_AUTO_RECALC=0", "ANALYZE TABLE t")
	if p := b.plan("t", newT); p.Rows != 0 {
		t.Fatalf("%d rows in an empty table", p.Rows)
	}
	b.fill("t", 2000)
	if p := b.plan("t", newT); p.Rows <= b.settings.DirectMaxRows || p.Engine == EngineDirect {
		t.Errorf("%d rows, %s", p.Rows, p.Engine)
	}
}

// TestManyTables: hundreds of equal small tables cost one proof, and milliseconds each to plan and to alter.
func TestManyTables(t *testing.T) {
	const n = 60
	b := newBench(t, testkit.Server(t))
	databases := make([]string, n)
	for i := range databases {
		databases[i] = b.database + "_" + strconv.Itoa(i)
		b.exec("CREATE DATABASE "+databases[i], "USE "+databases[i], oldT, "INSERT INTO t VALUES (1, 'x')")
	}
	defer func() {
		for _, d := range databases {
			b.exec("DROP DATABASE " + d)
		}
	}()
	d := schema.Desired{Tier: "udb", Table: "t", Blob: "blob", Text: newT}
	watch := testkit.StartStopwatch(t, b.srv)
	plans, err := b.planner.PlanMany(t.Context(), b.db, b.db, b.target("t"), d, b.settings, databases)
	if err != nil {
		t.Fatal(err)
	}
	planned := watch.Took()
	if len(b.planner.memo) != 1 {
		t.Errorf("%d proofs for %d equal tables", len(b.planner.memo), n)
	}
	watch = testkit.StartStopwatch(t, b.srv)
	for i, p := range plans {
		if p.Database != databases[i] || p.Engine != EngineDirect || p.Refused != "" {
			t.Fatalf("plan %d: %s %s %q", i, p.Database, p.Engine, p.Refused)
		}
		if _, err := b.runner.Run(t.Context(), p, b.settings, NewControl(), nil); err != nil {
			t.Fatal(err)
		}
	}
	ran := watch.Took()
	began := time.Now()
	for _, d := range databases {
		b.exec("ALTER TABLE " + mysql.QuoteIdents(d, "t") + " ADD COLUMN again bigint, ALGORITHM=COPY")
	}
	plain := time.Since(began)
	per := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000/n) }
	t.Logf("per table: planned %s, run %s; a plain ALTER alone %s", per(planned), per(ran), per(plain))
	// Where a plain ALTER is slow the machine is.
	if over, most := (planned+ran-plain)/n, 50*time.Millisecond+2*plain/n; over > most {
		t.Errorf("%v per table over a plain ALTER, want at most %v", over, most)
	}
}

// TestStaleEstimate: the server's statistics may say that a table is empty which has just been filled. Only a count makes it
// small enough for a plain ALTER.
func TestStaleEstimate(t *testing.T) {
	b := newBench(t, testkit.Server(t))
	b.settings.DirectMaxRows = 0
	const frozen = " STATS_PERSISTENT=1 STATS_AUTO_RECALC=0"
	b.exec(oldT + frozen)
	if p := b.plan("t", newT+frozen); p.Engine != EngineDirect || p.Rows != 0 {
		t.Errorf("empty: %s of %d rows", p.Engine, p.Rows)
	}
	b.fill("t", 50)
	b.exec("FLUSH TABLES t") // what it learnt of the rows since is forgotten
	if p := b.plan("t", newT+frozen); p.Engine != EngineGhost || p.Rows == 0 {
		t.Errorf("filled, with old statistics: %s of %d rows", p.Engine, p.Rows)
	}
}
