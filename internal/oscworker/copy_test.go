package oscworker

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/testkit"
)

// A copying alter of several databases under writes: I1 (no acknowledged row is lost), I4 (the form is there, in every
// database, on primary and replica), I5 (nothing is left behind), I7 (no errant transaction).
func TestCopyUnderWrites(t *testing.T) { byEngine(t, copyUnderWrites) }

func copyUnderWrites(t *testing.T, engine string) {
	t.Parallel()
	cluster := testkit.Lend(t, 2)
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows, t.CopyEngine = 0, engine }, cluster)
	db := f.database(tablePlain, 0)
	f.database(tablePlain, 5000)
	f.database("", 0)        // lacks the table
	f.database(tableCopy, 0) // has it as desired
	w := testkit.NewWriter(t, f.primary, testkit.WriterOptions{Database: db, Table: "t", Rate: 500})
	w.Start(t.Context())
	testkit.Eventually(t, patience, "some rows are written", func() bool { return w.Stats().Inserts > 500 })
	f.allow(tableCopy)
	f.queue(f.primary)
	f.worker("w1", nil)
	row := f.awaitStatus(f.primary, aoscdb.OSCDone)
	if row.Percentage != 100 || row.Try != 1 || row.Error != "" {
		t.Errorf("the row: %+v", row)
	}
	var entries []entry
	if err := json.Unmarshal([]byte(row.Detail), &entries); err != nil {
		t.Fatal(err)
	}
	engines := map[string]string{}
	for _, e := range entries {
		engines[e.Database] = e.Engine
		if e.State != osc.StateDone || e.Percentage != 100 {
			t.Errorf("detail of %s: %+v", e.Database, e)
		}
	}
	want := map[string]string{f.databases[0]: engine, f.databases[1]: engine, f.databases[2]: "create"}
	for database, engine := range want {
		if engines[database] != engine {
			t.Errorf("%s was altered by %q, want %s", database, engines[database], engine)
		}
	}
	if len(engines) != len(want) {
		t.Errorf("databases touched: %v, want only %v", engines, want)
	}
	testkit.CheckWriter(t, w, cluster)
	if s := w.Stats(); s.Refused+s.Unknown > 0 {
		t.Errorf("%d writes failed, the last with: %s", s.Refused+s.Unknown, s.LastError)
	}
	for _, s := range cluster.Servers() {
		f.mustHave(s, tableCopy)
	}
	f.noLeftovers()
	f.mustBeOK()
	running, err := f.store.RunningAlters(t.Context())
	f.do(err)
	if len(running) != 1 || running[0].OSCStatus != aoscdb.RunRunning {
		t.Errorf("running_alters: %+v, want the claimed row for the scheduler to end", running)
	}
	if woken, err := f.store.Wakeups(t.Context(), aoscdb.DaemonScheduler); err != nil || len(woken) == 0 {
		t.Errorf("the scheduler was not woken: %v", err)
	}
}

// mustBeOK fails the test unless the status rows of the primary say OK for every database.
func (f *fixture) mustBeOK() {
	f.t.Helper()
	a := f.primary.Addr()
	var seen []string
	for r, err := range f.rows(f.primary).LocalStatus(f.t.Context(), a.Host, a.Port) {
		f.do(err)
		if r.Group == "udb" && slices.Contains(f.databases, r.Database) {
			seen = append(seen, r.Database)
			if r.Status != aoscdb.LocalOK {
				f.t.Errorf("aosc_local_status of %s: %s", r.Database, r.Status)
			}
		}
	}
	if len(seen) != len(f.databases) {
		f.t.Errorf("aosc_local_status has %v, want %v", seen, f.databases)
	}
}

// osc_priv by plain SQL while rows are being copied: PAUSE, OK, STOP are obeyed within two seconds, STOP leaves the table
// as it was (I5), and OK begins again.
func TestOperator(t *testing.T) { byEngine(t, operator) }

func operator(t *testing.T, engine string) {
	t.Parallel()
	cluster := testkit.Lend(t, 2)
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows, t.CopyEngine = 0, engine }, cluster)
	f.database(tablePlain, 30000)
	f.allow(tableCopy)
	f.queue(f.primary)
	f.priv(f.primary, aoscdb.PrivPause)
	stop := f.worker("w1", func(c *Config) { c.ChunkSize = 10 }) // slow, so that there is time to say something

	state := func(want string) func(aoscdb.OSCRow) bool {
		return func(r aoscdb.OSCRow) bool {
			var entries []entry
			return json.Unmarshal([]byte(r.Detail), &entries) == nil && len(entries) == 1 && entries[0].State == want
		}
	}
	testkit.Eventually(t, patience, "the worker looks and leaves", func() bool {
		woken := f.row(f.primary)
		if woken.Status != aoscdb.OSCWaiting {
			t.Fatalf("begun although osc_priv is PAUSE: %+v", woken)
		}
		return time.Since(woken.LastUpdate) > time.Second
	})
	f.priv(f.primary, aoscdb.PrivOK)
	f.await(f.primary, "it copies", func(r aoscdb.OSCRow) bool { return r.Percentage > 1 && state(osc.StateCopying)(r) })

	watch := testkit.StartStopwatch(t, f.primary)
	f.priv(f.primary, aoscdb.PrivPause)
	f.await(f.primary, "it is paused", state(osc.StatePaused))
	watch.Within(t, 2*time.Second, "PAUSE")
	// What was under way as it was told is finished, and reported; then it shows that it lives, and stands still.
	since, still := time.Now(), aoscdb.OSCRow{Percentage: -1}
	f.await(f.primary, "it stands still for two seconds and shows that it lives", func(r aoscdb.OSCRow) bool {
		if r.Percentage != still.Percentage {
			since, still = time.Now(), r
		}
		return time.Since(since) > 2*time.Second && r.LastUpdate.After(still.LastUpdate) && state(osc.StatePaused)(r)
	})

	watch = testkit.StartStopwatch(t, f.primary)
	f.priv(f.primary, aoscdb.PrivOK)
	f.await(f.primary, "it copies again", func(r aoscdb.OSCRow) bool { return state(osc.StateCopying)(r) })
	watch.Within(t, 3*time.Second, "OK") // gh-ost says once a second that it copies

	watch = testkit.StartStopwatch(t, f.primary)
	f.priv(f.primary, aoscdb.PrivStop)
	row := f.awaitStatus(f.primary, aoscdb.OSCWaiting)
	watch.Within(t, 2*time.Second, "STOP")
	if row.OSCPriv != aoscdb.PrivStop || row.Try != 0 || row.Owner != "" {
		t.Errorf("after STOP: %+v, want osc_priv STOP and no try counted", row)
	}
	f.mustHave(f.primary, tablePlain)
	f.noLeftovers()
	if running, err := f.store.RunningAlters(t.Context()); err != nil || len(running) != 1 || running[0].OSCStatus != aoscdb.RunReady {
		t.Errorf("running_alters after STOP: %+v, %v, want READY", running, err)
	}

	stop()
	f.worker("w2", nil)
	f.priv(f.primary, aoscdb.PrivOK)
	f.awaitStatus(f.primary, aoscdb.OSCDone)
	f.mustHave(f.primary, tableCopy)
	f.noLeftovers()
}
