package osc

import (
	"testing"

	"github.com/aosc/aosc/internal/testkit"
)

// TestFewLargeRows: a table of few rows and many bytes is copied, not altered while its writers wait; also where the statistics are of a
// time when it was empty.
func TestFewLargeRows(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.Server(t))
	b.settings.DirectMaxBytes = 2 << 20
	b.exec("CREATE TABLE t (id bigint NOT NULL, v longtext NOT NULL, PRIMARY KEY (id)) STATS_AUTO_RECALC=0", "INSERT INTO t VALUES (1, 'x')")
	const wider = "CREATE TABLE t (id bigint NOT NULL, v longtext NOT NULL, n decimal(10,2) DEFAULT NULL, PRIMARY KEY (id)) " +
		"STATS_AUTO_RECALC=0"
	const other = "CREATE TABLE t (id decimal(20,0) NOT NULL, v longtext NOT NULL, PRIMARY KEY (id)) STATS_AUTO_RECALC=0"
	if p := b.plan("t", other); p.Engine != EngineDirect || p.Rows != 1 {
		t.Errorf("one small row: %s, %d rows, %d bytes", p.Engine, p.Rows, p.Bytes)
	}
	b.exec("SET SESSION cte_max_recursion_depth = 100",
		"INSERT INTO t WITH RECURSIVE s AS (SELECT 2 i UNION ALL SELECT i + 1 FROM s WHERE i < 7) SELECT i, REPEAT('x', 1000000) FROM s")
	if p := b.plan("t", other); p.Engine != EngineGhost || p.Rows != 7 || p.Bytes < 6_000_000 {
		t.Errorf("six rows of a megabyte: %s (refused: %q), %d rows, %d bytes", p.Engine, p.Refused, p.Rows, p.Bytes)
	}
	if p := b.plan("t", wider); p.Engine != EngineInstant || p.Rows != 7 {
		t.Errorf("an instant change: %s, %d rows: statistics of when it had one row were believed", p.Engine, p.Rows)
	}
	b.exec("DELETE FROM t")
	if p := b.plan("t", other); p.Engine != EngineDirect {
		t.Errorf("empty again: %s", p.Engine)
	}
}
