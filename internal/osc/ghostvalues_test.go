package osc

import (
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/testkit"
)

// TestEnumErrorValue: gh-ost takes the error value of an ENUM for NULL. Such a table is refused before anything is copied, with or without
// NOT NULL (github/gh-ost#469), and altered by the server itself where it is small.
func TestEnumErrorValue(t *testing.T) {
	t.Parallel()
	for name, null := range map[string]string{"nullable": "", "not null": " NOT NULL"} {
		b := newBench(t, testkit.Server(t))
		text := "CREATE TABLE t (id {id} NOT NULL AUTO_INCREMENT, e ENUM('p','s')" + null + ", m ENUM('','x') NOT NULL, n INT, PRIMARY KEY (id))"
		before, after := strings.Replace(text, "{id}", "int", 1), strings.Replace(text, "{id}", "bigint", 1)
		b.exec(before, "INSERT INTO t (e, m, n) VALUES ('p', '', 1), ('s', 'x', 2), ('s', '', 3)")
		b.settings.DirectMaxRows = 1
		if p := b.plan("t", after); p.Engine != EngineGhost || p.Refused != "" {
			t.Errorf("%s: without such a value: %s, refused: %q", name, p.Engine, p.Refused)
		}
		b.exec("SET SESSION sql_mode = ''", "UPDATE t SET e = 'zzz' WHERE id = 2", "SET SESSION sql_mode = DEFAULT")
		p := b.plan("t", after)
		if p.Engine != EngineGhost || !p.Final || !strings.Contains(p.Refused, "column e is an ENUM") {
			t.Errorf("%s: %s, final %v, refused: %q", name, p.Engine, p.Final, p.Refused)
		}
		// A plan made a moment before the row was written.
		p.Refused, p.Final = "", false
		if _, err := b.runner.Run(t.Context(), p, b.settings, NewControl(), nil); !final(err) || !strings.Contains(err.Error(), "column e") {
			t.Errorf("%s: the run ended with %v", name, err)
		}
		b.untouched("t", p.Current)
		b.settings.DirectMaxRows = 100
		b.run("t", after, EngineDirect)
		if got := testkit.Ask(t, b.srv, "SELECT GROUP_CONCAT(e + 0 ORDER BY id) FROM "+b.database+".t"); got != "1,0,2" {
			t.Errorf("%s: e is %s", name, got)
		}
	}
}
