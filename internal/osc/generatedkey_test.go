package osc

import (
	"testing"

	"github.com/aosc/aosc/internal/testkit"
)

// TestGeneratedPrimaryKey: on a server that generates invisible primary keys, the key is nobody's to drop: whoever wrote the text does not
// know it. A missing table gets it as by hand, and every engine leaves it.
func TestGeneratedPrimaryKey(t *testing.T) {
	t.Parallel()
	b := newBench(t, testkit.FreshServer(t, map[string]string{"sql_generate_invisible_primary_key": "ON"}))
	ids := func() string {
		t.Helper()
		return testkit.Ask(t, b.srv, "SELECT GROUP_CONCAT(my_row_id, '=', b ORDER BY my_row_id) FROM "+b.database+".d01")
	}
	b.run("d01", "CREATE TABLE d01 (a int, b varchar(10))", EngineCreate)
	b.exec("INSERT INTO d01 (a, b) VALUES (1, 'x'), (1, 'y')")
	b.run("d01", "CREATE TABLE d01 (a int, b varchar(10))", EngineNone)
	b.run("d01", "CREATE TABLE d01 (a int, b varchar(10), c int)", EngineInstant)
	b.run("d01", "CREATE TABLE d01 (z int, a bigint, b varchar(10), c int)", EngineDirect)
	b.settings.DirectMaxRows = 1
	b.run("d01", "CREATE TABLE d01 (z int, a int, b varchar(10), c bigint)", EngineGhost)
	if got := ids(); got != "1=x,2=y" {
		t.Errorf("rows by their generated keys: %s", got)
	}
	if p := b.plan("d01", "CREATE TABLE d01 (z int, a int, c bigint)"); len(p.Findings) != 1 || p.Findings[0].Column != "b" {
		t.Errorf("a dropped column: %v %s", p.Findings, p.SQL)
	}
	// A table that cannot have one is made as the text says.
	b.run("p", "CREATE TABLE p (a int NOT NULL) PARTITION BY HASH (a) PARTITIONS 2", EngineCreate)
	// One that was made before the setting has none, and gets none by being altered.
	b.exec("SET SESSION sql_generate_invisible_primary_key = 0", "CREATE TABLE old (a int)")
	b.run("old", "CREATE TABLE old (a int, b int)", EngineInstant)
}
