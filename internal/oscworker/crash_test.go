package oscworker

import (
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/testkit"
)

// I8: a worker killed at any of its own steps, as a real process, and started again: the alter is done, once, the status
// says so, nothing is left behind.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, testkit.Lend(t, 2))
	for range 3 {
		f.database(tablePlain, 10)
	}
	for n, fault := range []string{"worker.taken", "worker.planned", "worker.database.done=kill@2", "worker.status.refreshed",
		"worker.done.before", "worker.done.after"} {
		t.Run(fault, func(t *testing.T) {
			f.t = t
			desired := columns(n + 1)
			f.allow(desired)
			f.queue(f.primary)
			f.process("oscworker", armed(fault)).killed(t)
			died := f.row(f.primary)
			wantStatus, wantTry := aoscdb.OSCRunning, 2
			if fault == "worker.done.after" {
				wantStatus, wantTry = aoscdb.OSCDone, 1
			}
			if died.Status != wantStatus {
				t.Fatalf("it died and left the row %s, want %s", died.Status, wantStatus)
			}
			p := f.process("oscworker", "")
			row := f.awaitStatus(f.primary, aoscdb.OSCDone)
			if row.Try != wantTry || row.Percentage != 100 {
				t.Errorf("try %d at %v %%, want try %d at 100", row.Try, row.Percentage, wantTry)
			}
			p.terminate(t)
			for _, s := range f.clusters[0].Servers() {
				f.do(f.clusters[0].Sync(t.Context()))
				f.mustHave(s, desired)
			}
			f.mustBeOK()
			f.noLeftovers()
		})
	}
}

// armed adds the action where a test names only the point.
func armed(fault string) string {
	for _, c := range fault {
		if c == '=' {
			return fault
		}
	}
	return fault + "=kill"
}

// I1, I5, I8: a worker killed in the middle of a copy under writes. The copy it left is found, removed, and made anew.
func TestKilledWhileCopying(t *testing.T) { byEngine(t, killedWhileCopying) }

func killedWhileCopying(t *testing.T, engine string) {
	t.Parallel()
	cluster := testkit.Lend(t, 2)
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows, t.CopyEngine = 0, engine }, cluster)
	db := f.database(tablePlain, 0)
	w := testkit.NewWriter(t, f.primary, testkit.WriterOptions{Database: db, Table: "t", Rate: 200})
	w.Start(t.Context())
	testkit.Eventually(t, patience, "some rows are written", func() bool { return w.Stats().Inserts > 200 })
	f.allow(tableCopy)
	f.queue(f.primary)
	f.process("oscworker", copiedPoint[engine]+"=kill", "--oscworker-retention=0s").killed(t)
	if len(f.leftoverTables(f.primary)) == 0 {
		t.Fatal("the killed worker left nothing: this test proves nothing")
	}
	f.process("oscworker", "", "--oscworker-retention=0s")
	row := f.awaitStatus(f.primary, aoscdb.OSCDone)
	if row.Try != 2 {
		t.Errorf("try %d, want 2", row.Try)
	}
	testkit.CheckWriter(t, w, cluster)
	f.mustHave(f.primary, tableCopy)
	f.noLeftovers()
}

// I5: what a worker left that was killed while copying goes although nobody wants the alter any more.
func TestLeftoversOfAWithdrawnAlter(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows = 0 }, testkit.Lend(t, 2))
	f.database(tablePlain, 2000)
	f.allow(tableCopy)
	f.queue(f.primary)
	f.process("oscworker", copiedPoint[aoscdb.CopyKeyed]+"=kill").killed(t)
	f.priv(f.primary, aoscdb.PrivStop)
	p := f.process("oscworker", "")
	row := f.awaitStatus(f.primary, aoscdb.OSCWaiting)
	if row.OSCPriv != aoscdb.PrivStop {
		t.Errorf("osc_priv %s, want STOP kept", row.OSCPriv)
	}
	testkit.Eventually(t, patience, "the leftovers are gone", func() bool { return len(f.leftoverTables(f.primary)) == 0 })
	p.terminate(t)
	f.mustHave(f.primary, tablePlain)
	f.noLeftovers()
}

// SIGTERM in the middle of a copy: the row goes back to the queue, no try is counted, and the next worker does it. gh-ost's copy is gone
// (I5); the next worker goes on with that of keyed.
func TestTerminatedWhileCopying(t *testing.T) { byEngine(t, terminatedWhileCopying) }

func terminatedWhileCopying(t *testing.T, engine string) {
	t.Parallel()
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows, t.CopyEngine = 0, engine }, testkit.Lend(t, 2))
	f.database(tablePlain, 10000)
	f.allow(tableCopy)
	f.queue(f.primary)
	p := f.process("oscworker", "", "--oscworker-chunk-size=10")
	f.await(f.primary, "it copies", func(r aoscdb.OSCRow) bool { return r.Percentage > 1 })
	begun := time.Now()
	p.terminate(t)
	t.Logf("stopped after %v", time.Since(begun).Round(10*time.Millisecond))
	row := f.row(f.primary)
	if row.Status != aoscdb.OSCWaiting || row.Try != 0 || row.OSCPriv != aoscdb.PrivOK {
		t.Errorf("after SIGTERM: %s, try %d, osc_priv %s", row.Status, row.Try, row.OSCPriv)
	}
	f.mustHave(f.primary, tablePlain)
	if engine == aoscdb.CopyGhost {
		f.noLeftovers()
	}
	f.process("oscworker", "", "--oscworker-retention=0s")
	f.awaitStatus(f.primary, aoscdb.OSCDone)
	f.mustHave(f.primary, tableCopy)
	f.noLeftovers()
}

// copiedPoint is, by engine, a fault point at which rows are copied and the tables are not swapped.
var copiedPoint = map[string]string{aoscdb.CopyKeyed: "osc.keyed.verified", aoscdb.CopyGhost: "osc.verify.before"}

// byEngine runs a test once for each engine that copies.
func byEngine(t *testing.T, test func(*testing.T, string)) {
	for _, engine := range osc.CopyEngines() {
		t.Run(engine, func(t *testing.T) { test(t, engine) })
	}
}
