package oscworker

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/testkit"
)

// I6: without its permission nothing is begun, whatever aosc_osc_ww says.
func TestNotPermitted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, testkit.Lend(t, 2))
	f.database(tablePlain, 10)
	for _, c := range []struct {
		name  string
		spoil func()
		gone  bool // the row is removed, not only given back
	}{
		{"on HOLD", func() { f.central("UPDATE current_alters SET status = 'HOLD', hold_by = 'operator'") }, false},
		{"revoked", func() { f.central("DELETE FROM allowed_alters") }, false},
		{"pinned to another version", func() { f.central("UPDATE current_alters SET desired_hash = 'other'") }, false},
		{"withdrawn by the scheduler", func() { f.central("DELETE FROM running_alters") }, true},
		{"no longer a current alter", func() { f.central("DELETE FROM current_alters") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.t = t
			f.allow(tableColumn)
			f.queue(f.primary)
			c.spoil()
			stop := f.worker("w1", func(c *Config) { c.Clean = 500 * time.Millisecond })
			if c.gone {
				testkit.Eventually(t, patience, "the row is removed", func() bool { return f.row(f.primary).Status == "" })
			} else {
				f.awaitLog("w1", `end="given back"`)
				f.awaitStatus(f.primary, aoscdb.OSCWaiting)
			}
			stop()
			if row := f.row(f.primary); row.Try != 0 {
				t.Errorf("a try was counted: %+v", row)
			}
			f.mustHave(f.primary, tablePlain)
		})
	}
}

// The scheduler withdraws what a worker is at work on: it breaks off within seconds, and nothing is left (I3, I5).
func TestWithdrawnWhileCopying(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows = 0 }, testkit.Lend(t, 2))
	f.database(tablePlain, 15000)
	f.allow(tableCopy)
	f.queue(f.primary)
	f.worker("w1", func(c *Config) { c.ChunkSize = 10 })
	f.await(f.primary, "it copies", func(r aoscdb.OSCRow) bool { return r.Percentage > 1 })
	f.central("DELETE FROM running_alters")
	testkit.Eventually(t, patience, "the row is gone", func() bool { return f.row(f.primary).Status == "" })
	testkit.Eventually(t, patience, "nothing is left behind", func() bool { return len(f.leftoverTables(f.primary)) == 0 })
	f.mustHave(f.primary, tablePlain)
	f.noLeftovers()
}

// I3: of two workers on one instance one works, and the other never touches the row.
func TestTwoWorkers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, testkit.Lend(t, 2))
	for range 10 {
		f.database(tablePlain, 10)
	}
	f.worker("w1", nil)
	f.worker("w2", nil)
	for n := range 4 {
		f.allow(columns(n + 1))
		f.queue(f.primary)
		row := f.awaitStatus(f.primary, aoscdb.OSCDone)
		if row.Try != 1 || !slices.Contains([]string{"w1", "w2"}, row.Owner) {
			t.Errorf("try %d by %q: two workers had it", row.Try, row.Owner)
		}
	}
	f.mustHave(f.primary, columns(4))
}

// A refused plan is final, keeps every database as it was (I5), and says why; data loss needs allow_unsafe (I6).
func TestRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, testkit.Lend(t, 2))
	f.database(tablePlain, 10)
	f.database(tableColumn, 10)
	testkit.Exec(t, f.primary, "UPDATE "+f.databases[1]+".t SET extra = 1")
	f.worker("w1", nil)
	f.allow(strings.Replace(tablePlain, "payload varchar(100)", "payload varchar(200)", 1))
	f.queue(f.primary)
	row := f.awaitStatus(f.primary, aoscdb.OSCFailed)
	if !row.Final || !strings.Contains(row.Error, "allow_unsafe") || !strings.Contains(row.Error, f.databases[1]) {
		t.Errorf("final %v: %q", row.Final, row.Error)
	}
	for database, has := range map[string]string{f.databases[0]: tablePlain, f.databases[1]: tableColumn} {
		f.databases = []string{database}
		f.mustHave(f.primary, has)
	}
	f.noLeftovers()
}
