package oscworker

import (
	"testing"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/testkit"
)

// I8: a copy by the engine 'keyed' goes on after a SIGTERM, and after a SIGKILL, from where it was.
func TestCopyGoesOn(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows, t.CopyEngine = 0, "keyed" }, testkit.Lend(t, 2))
	f.database(tablePlain, 10000)
	f.allow(tableCopy)
	f.queue(f.primary)
	p := f.process("oscworker", "", "--oscworker-chunk-size=20")
	f.await(f.primary, "it copies", func(r aoscdb.OSCRow) bool { return r.Percentage > 1 })
	p.terminate(t)
	if row := f.row(f.primary); row.Status != aoscdb.OSCWaiting || row.Try != 0 {
		t.Errorf("after SIGTERM: %s, try %d", row.Status, row.Try)
	}
	if left := f.leftoverTables(f.primary); len(left) != 2 {
		t.Fatalf("after SIGTERM there are %v, want the copy and its progress", left)
	}
	f.process("oscworker", "osc.keyed.verified=kill").killed(t)
	f.worker("w2", func(c *Config) { c.Retention = 0 })
	f.awaitLog("w2", "the copy goes on from where an earlier run was")
	f.awaitStatus(f.primary, aoscdb.OSCDone)
	f.mustHave(f.primary, tableCopy)
	f.noLeftovers()
}

// I5: STOP for a row that nobody works on, whose copy is kept, leaves nothing; so does the end of the permission.
func TestKeptCopyIsDropped(t *testing.T) {
	for name, end := range map[string]func(*fixture){
		"STOP":    func(f *fixture) { f.priv(f.primary, aoscdb.PrivStop) },
		"revoked": func(f *fixture) { f.central("DELETE FROM allowed_alters") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows, t.CopyEngine = 0, "keyed" }, testkit.Lend(t, 2))
			f.database(tablePlain, 5000)
			f.allow(tableCopy)
			f.queue(f.primary)
			f.process("oscworker", "osc.keyed.chunk.after=kill@3").killed(t)
			if len(f.leftoverTables(f.primary)) != 2 {
				t.Fatal("the killed worker left nothing: this test proves nothing")
			}
			end(f)
			f.worker("w2", nil)
			testkit.Eventually(t, patience, "nothing is left", func() bool { return len(f.leftoverTables(f.primary)) == 0 })
			f.mustHave(f.primary, tablePlain)
		})
	}
}
