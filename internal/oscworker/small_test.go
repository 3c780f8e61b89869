package oscworker

import (
	"fmt"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/testkit"
)

// Many databases with a small table: the worker may add tens of milliseconds per table to what the server takes for the
// ALTER itself, whatever the engine.
func TestManySmallTables(t *testing.T) {
	const databases = 20
	f := newFixture(t, nil, testkit.Cluster(t, 2))
	for range databases {
		f.database(tablePlain, 100)
	}
	for _, c := range []struct{ name, ddl, statement string }{
		{"instant", tableColumn, "ADD COLUMN extra int DEFAULT NULL, ALGORITHM=INSTANT"},
		{"copy", tableCopy, "DROP COLUMN extra, MODIFY payload text NOT NULL, ALGORITHM=COPY"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.t = t
			begun := time.Now()
			for n := range databases { // a loop by hand, on a table of its own beside
				database := f.databases[n]
				testkit.Exec(t, f.primary, fmt.Sprintf("ALTER TABLE %s.t %s", database, c.statement))
			}
			loop := time.Since(begun)
			f.undo(c.name)
			f.allow(c.ddl)
			f.central("UPDATE allowed_alters SET allow_unsafe = 1")
			f.queue(f.primary)
			stop := f.worker("w1", nil)
			watch := testkit.StartStopwatch(t, f.primary)
			f.awaitStatus(f.primary, aoscdb.OSCDone)
			took := watch.Took()
			stop()
			f.mustHave(f.primary, c.ddl)
			added := (took - loop) / databases
			t.Logf("%d tables: loop %v, worker %v, %v added per table", databases, loop.Round(time.Millisecond), took.Round(time.Millisecond), added.Round(100*time.Microsecond))
			// A machine on which the loop by hand is slow is not a worker that is.
			if most := 100*time.Millisecond + 4*loop/databases; added > most {
				t.Errorf("%v added per table, want at most %v", added, most)
			}
		})
	}
}

// undo brings the tables back to where the loop began.
func (f *fixture) undo(what string) {
	f.t.Helper()
	for _, database := range f.databases {
		if what == "instant" {
			testkit.Exec(f.t, f.primary, "ALTER TABLE "+database+".t DROP COLUMN extra")
		} else {
			testkit.Exec(f.t, f.primary, "ALTER TABLE "+database+".t MODIFY payload varchar(100) NOT NULL, ADD COLUMN extra int DEFAULT NULL")
		}
	}
}
