package oscworker

import (
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/testkit"
)

// unlogged is what an operator writes by hand on an instance.
func (f *fixture) unlogged(query string) {
	f.t.Helper()
	conn, err := f.primary.DB().Conn(f.t.Context())
	f.do(err)
	defer conn.Close()
	defer mysql.Discard(conn)
	for _, q := range []string{"SET sql_log_bin=0", query} {
		_, err := conn.ExecContext(f.t.Context(), q)
		f.do(err)
	}
}

// gated is a fixture whose copies wait at the gate, under writes.
func gated(t *testing.T, engine string) (*fixture, *testkit.Writer) {
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows, t.CopyEngine = 0, engine }, testkit.Lend(t, 2))
	w := testkit.NewWriter(t, f.primary, testkit.WriterOptions{Database: f.database(tablePlain, 0), Table: "t", Rate: 100})
	w.Start(t.Context())
	testkit.Eventually(t, patience, "some rows are written", func() bool { return w.Stats().Inserts > 200 })
	f.allow(tableCopy)
	f.central("UPDATE allowed_alters SET cut_over = 'manual'")
	f.queue(f.primary)
	return f, w
}

const noRetention = "--oscworker-retention=0s"

// TestGate: a copy whose permission says cut_over='manual' waits, verified and caught up, for the operator's word in its row. PAUSE and a
// killed worker change nothing of that, and the table stays what it was until then.
func TestGate(t *testing.T) {
	t.Parallel()
	f, w := gated(t, aoscdb.CopyKeyed)
	p := f.process("oscworker", "", noRetention)
	f.awaitState(osc.StateGate, "aosc cutover udb t")
	f.mustHave(f.primary, tablePlain)

	watch := testkit.StartStopwatch(t, f.primary)
	f.priv(f.primary, aoscdb.PrivPause)
	f.awaitState(osc.StatePaused, "PAUSE")
	watch.Within(t, 2*time.Second, "PAUSE at the gate")
	f.priv(f.primary, aoscdb.PrivOK)
	f.awaitState(osc.StateGate, "aosc cutover udb t")

	f.do(p.cmd.Process.Kill())
	p.killed(t)
	f.process("oscworker", "", noRetention)
	f.await(f.primary, "another worker has it", func(r aoscdb.OSCRow) bool { return r.Try == 2 })
	f.awaitState(osc.StateGate, "aosc cutover udb t")
	f.mustHave(f.primary, tablePlain)

	f.unlogged("UPDATE aosc.aosc_osc_ww SET cut_over='GO' WHERE table_name='t'")
	if row := f.awaitStatus(f.primary, aoscdb.OSCDone); row.CutOver != aoscdb.CutOverAsAllowed {
		t.Errorf("cut_over is %s of a row that is DONE", row.CutOver)
	}
	testkit.CheckWriter(t, w, f.clusters[0])
	f.mustHave(f.primary, tableCopy)
	f.noLeftovers()
}

// TestGateByPermission: the word may be said for the alter as a whole, to either engine; STOP at the gate leaves nothing behind.
func TestGateByPermission(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{aoscdb.CopyKeyed, aoscdb.CopyGhost} {
		t.Run(engine, func(t *testing.T) {
			f, w := gated(t, engine)
			f.worker("w1", nil)
			f.awaitState(osc.StateGate, "manual")
			watch := testkit.StartStopwatch(t, f.primary)
			f.priv(f.primary, aoscdb.PrivStop)
			f.awaitStatus(f.primary, aoscdb.OSCWaiting)
			watch.Within(t, 2*time.Second, "STOP at the gate")
			f.mustHave(f.primary, tablePlain)
			f.noLeftovers()

			f.priv(f.primary, aoscdb.PrivOK)
			f.awaitState(osc.StateGate, "manual")
			f.central("UPDATE allowed_alters SET cut_over='auto'")
			f.awaitStatus(f.primary, aoscdb.OSCDone)
			testkit.CheckWriter(t, w, f.clusters[0])
			f.mustHave(f.primary, tableCopy)
		})
	}
}

// TestLimitsChangedWhileCopying: a limit of the tier that is lowered makes a copy rest within two seconds, and says why; raised again, the
// copy goes on.
func TestLimitsChangedWhileCopying(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows, t.CopyEngine = 0, aoscdb.CopyKeyed }, testkit.Lend(t, 2))
	f.database(tablePlain, 30000)
	f.allow(tableCopy)
	f.queue(f.primary)
	f.worker("w1", func(c *Config) { c.ChunkSize = 10 })
	f.awaitState(osc.StateCopying, "")
	f.await(f.primary, "it copies", func(r aoscdb.OSCRow) bool { return r.Percentage > 1 })

	watch := testkit.StartStopwatch(t, f.primary)
	f.central("UPDATE tiers SET max_threads_running = 1") // the session that asks is one
	f.awaitState(osc.StateThrottled, "Threads_running is")
	watch.Within(t, 2*time.Second, "a limit lowered")
	rested := f.entries()[0].RowsCopied
	f.await(f.primary, "it shows that it lives", func(aoscdb.OSCRow) bool { return f.entries()[0].State == osc.StateThrottled })
	if now := f.entries()[0]; now.RowsCopied > rested+100 { // a chunk of each worker was under way
		t.Errorf("%d rows were copied while it rested", now.RowsCopied-rested)
	}
	watch = testkit.StartStopwatch(t, f.primary)
	f.central("UPDATE tiers SET max_threads_running = 0")
	f.awaitState(osc.StateCopying, "")
	watch.Within(t, 2*time.Second, "a limit taken away")
	f.priv(f.primary, aoscdb.PrivStop) // chunks of ten rows take their time
	f.awaitStatus(f.primary, aoscdb.OSCWaiting)
}
