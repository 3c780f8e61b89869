package oscworker

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

// withdrawal is one way in which work under way comes to a halt, and what was seen of it.
type withdrawal struct {
	name, effect string
	took         time.Duration
	altered      int
	history      string
}

// I14: whatever takes permission away reaches the copy under way within two seconds, nothing is begun on the next database,
// and the history tells what was altered and what was not. What may come back (enabled, limits) pauses, and goes on. Where aoscdb
// itself is away nothing can be taken back there: the worker says what runs on, and the operator stops it where it runs.
func TestPermissionWithdrawnInMidCopy(t *testing.T) {
	t.Parallel()
	cluster := testkit.Lend(t, 2)
	var seen []withdrawal
	stops := []struct {
		name     string
		withdraw func(f *fixture)
		says     string
	}{
		{"revoked", func(f *fixture) { f.central("DELETE FROM allowed_alters") }, "allowed_alters has no row"},
		{"another commit", func(f *fixture) { f.central("UPDATE current_alters SET desired_hash = REPEAT('0', 40)") }, "superseded"},
		{"HOLD by hand", func(f *fixture) { f.central("UPDATE current_alters SET status = 'HOLD'") }, "HOLD"},
		{"HOLD by the brain", func(f *fixture) {
			f.central("UPDATE current_alters SET status = 'HOLD', hold_by = 'brain', reason = 'the new commit is refused'")
		}, "the new commit is refused"},
		{"not among the custom servers", func(f *fixture) {
			f.central("UPDATE allowed_alters SET server_list = 'custom'")
		}, "custom_servers"},
		{"its tier is gone", func(f *fixture) { f.central("DELETE FROM tiers") }, "tiers has no row"},
	}
	stores := []string{aoscdb.StoreInstance, aoscdb.StoreCentral}
	if os.Getenv("AOSC_E2E") != "full" {
		stops = stops[:1]   // the others differ in what permit.Judge says, which its table tests
		stores = stores[:1] // TestStopFile has the file
	}
	for _, c := range stops {
		t.Run(c.name, func(t *testing.T) { seen = append(seen, withdrawn(t, cluster, c.name, c.withdraw, c.says)) })
	}
	t.Run("the tier", func(t *testing.T) { seen = append(seen, pausedByTheTier(t, cluster)...) })
	for _, store := range stores {
		t.Run("aoscdb killed, status_store="+store, func(t *testing.T) { seen = append(seen, centralKilled(t, cluster, store)...) })
	}
	for _, w := range seen {
		t.Logf("| %-46s | %-8s | %4.1f s | %2d of 10 | %s", w.name, w.effect, w.took.Seconds(), w.altered, w.history)
	}
}

// withdrawn takes a permission away for good.
func withdrawn(t *testing.T, cluster *mysqld.Cluster, name string, withdraw func(*fixture), says string) withdrawal {
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows = 0 }, cluster)
	f.midCopy()
	watch := testkit.StartStopwatch(t, f.primary)
	began := time.Now()
	withdraw(f)
	f.awaitIdle()
	took := time.Since(began)
	watch.Within(t, 2*time.Second, name)
	history := f.history("stopped")
	f.mustTell(history, says)
	f.noLeftovers()
	return withdrawal{name, "stopped", took, len(f.altered()), history}
}

// mustTell holds the history against the tables.
func (f *fixture) mustTell(history, says string) {
	f.t.Helper()
	altered := f.altered()
	if len(altered) == len(f.databases) || len(altered) == 0 {
		f.t.Errorf("%d of %d databases are altered, want those that were altered before", len(altered), len(f.databases))
	}
	for _, name := range altered {
		if !strings.Contains(history, name) {
			f.t.Errorf("the history does not name %s, which is altered", name)
		}
	}
	if !strings.Contains(history, says) || !strings.Contains(history, fmt.Sprintf("altered %d of %d", len(altered), len(f.databases))) {
		f.t.Errorf("the history: %q, want the reason %q and what was altered", history, says)
	}
}

// pausedByTheTier: what may come back pauses in place, says by what, and goes on when it does.
func pausedByTheTier(t *testing.T, cluster *mysqld.Cluster) (seen []withdrawal) {
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows = 0 }, cluster)
	f.midCopy()
	for _, c := range []struct{ name, take, give, says string }{
		{"enabled=0", "UPDATE tiers SET enabled = 0", "UPDATE tiers SET enabled = 1", "not enabled"},
		{"limits lowered (max_running=0)", "UPDATE tiers SET max_running = 0", "UPDATE tiers SET max_running = 1", "max_running"},
	} {
		watch, began := testkit.StartStopwatch(t, f.primary), time.Now()
		f.central(c.take)
		f.awaitState(osc.StatePaused, c.says)
		watch.Within(t, 2*time.Second, c.name)
		took, done := time.Since(began), len(f.altered())
		time.Sleep(1500 * time.Millisecond) // what is shown to stand still is time itself
		if now := len(f.altered()); now != done {
			t.Errorf("%s: %d databases were altered while it was paused", c.name, now-done)
		}
		seen = append(seen, withdrawal{c.name, "paused", took, done, "the row: " + c.says})
		f.central(c.give)
		f.awaitState(osc.StateCopying, "")
	}
	return seen
}

// centralKilled: aoscdb is killed in mid-copy. The worker says what runs on and how to stop it, in its log and, where the row is there,
// on the instance; nobody else is begun; the operator stops it where it runs; and once aoscdb is back the history tells what was altered,
// nothing is begun against the operator's word, and OK finishes it.
func centralKilled(t *testing.T, cluster *mysqld.Cluster, store string) (seen []withdrawal) {
	central := testkit.FreshServer(t, nil)
	db, err := aoscdb.Open(central.DSN("aoscdb"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := newFixtureOn(t, db, func(t *aoscdb.Tier) { t.DirectMaxRows, t.StatusStore = 0, store }, cluster)
	f.midCopy()
	onInstance := store == aoscdb.StoreInstance

	killed := time.Now()
	f.do(central.Kill())
	f.awaitLog("w1", "aoscdb does not answer: what is under way is altered to its end, no other database is begun")
	f.awaitLog("w1", f.stopFile)
	if onInstance {
		testkit.Eventually(t, patience, "the row says what runs on, and how to stop it", func() bool {
			detail := f.instanceRow(f.primary).Detail
			return strings.Contains(detail, "aoscdb does not answer") && strings.Contains(detail, "osc_priv='STOP'")
		})
	}
	seen = append(seen, withdrawal{"aoscdb killed: told what runs on", "told", time.Since(killed), len(f.altered()), ""})

	watch, began := testkit.StartStopwatch(t, f.primary), time.Now()
	way, says := "osc_priv='STOP' on the instance", "osc_priv"
	if onInstance {
		f.do(mysql.WithSession(t.Context(), f.primary.DB(), mysql.Session{NoBinlog: true}, func(ctx context.Context, c *sql.Conn) error {
			_, err := c.ExecContext(ctx, "UPDATE aosc.aosc_osc_ww SET osc_priv='STOP' WHERE `group`='udb' AND table_name='t'")
			return err
		}))
	} else {
		way, says = "a line in the stop file", f.stopFile
		f.do(os.WriteFile(f.stopFile, []byte(f.primary.Addr().String()+"\n"), 0o600))
	}
	testkit.Eventually(t, patience, "the copy is given up", func() bool { return len(f.leftoverTables(f.primary)) == 0 })
	took := time.Since(began)
	watch.Within(t, 2*time.Second, way)
	done := len(f.altered())
	if done > 2 { // one before, and the one that was under way
		t.Errorf("%d databases are altered: others were begun while aoscdb was away", done)
	}

	f.do(central.Restart(t.Context()))
	history := f.history("given back")
	f.mustTell(history, says)
	f.awaitStatus(f.primary, aoscdb.OSCWaiting)
	running, err := f.store.RunningAlters(t.Context())
	f.do(err)
	if len(running) != 1 || running[0].OSCStatus != aoscdb.RunReady {
		t.Errorf("running_alters once aoscdb is back: %+v, want READY", running)
	}
	f.noLeftovers()
	if now := len(f.altered()); now != done {
		t.Errorf("%d databases were altered against the operator's word", now-done)
	}
	if onInstance {
		f.priv(f.primary, aoscdb.PrivOK)
	} else {
		f.do(os.Remove(f.stopFile))
	}
	f.await(f.primary, "it is begun again", func(r aoscdb.OSCRow) bool { return r.Status == aoscdb.OSCRunning })
	return append(seen, withdrawal{"aoscdb away: " + way, "stopped", took, done, history})
}

// The operator's way where status_store='central': a file on the worker's machine.
func TestStopFile(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows, t.StatusStore = 0, aoscdb.StoreCentral }, testkit.Lend(t, 2))
	f.midCopy()
	watch, began := testkit.StartStopwatch(t, f.primary), time.Now()
	f.do(os.WriteFile(f.stopFile, []byte(f.primary.Addr().String()+"\n"), 0o600))
	f.awaitIdle()
	watch.Within(t, 2*time.Second, "the stop file")
	t.Logf("the stop file: nothing moves after %.1f s; altered %d of 10", time.Since(began).Seconds(), len(f.altered()))
	if h := f.history("given back"); !strings.Contains(h, f.stopFile) {
		t.Errorf("the history: %q, want the file's name", h)
	}
	f.do(os.Remove(f.stopFile))
	f.await(f.primary, "it is begun again", func(r aoscdb.OSCRow) bool { return r.Status == aoscdb.OSCRunning })
}

// I14, what needs a set-up of its own: a loss that was permitted and is no longer, an instance taken out of custom_servers, and one
// taken out of the inventory, under a worker that is for that instance alone.
func TestTakenOutInMidCopy(t *testing.T) {
	cluster := testkit.Cluster(t, 2)
	cases := []struct {
		name, desired, says string
		allow, take         func(f *fixture)
	}{
		{name: "out of the inventory", desired: tableCopy, says: "the inventory does not list the instance", take: (*fixture).unlist},
		{name: "allow_unsafe taken back", desired: tableNarrow, says: "allow_unsafe was taken back",
			allow: func(f *fixture) { f.central("UPDATE allowed_alters SET allow_unsafe = 1") },
			take:  func(f *fixture) { f.central("UPDATE allowed_alters SET allow_unsafe = 0") }},
		{name: "out of custom_servers", desired: tableCopy, says: "not among its custom_servers",
			allow: func(f *fixture) {
				f.do(f.store.SetCustomServers(f.t.Context(), "udb", "t", []aoscdb.CustomServer{{Host: f.primary.Addr().Host,
					Port: f.primary.Addr().Port},
					{Host: f.primary.Addr().Host, Port: 1}}))
				f.central("UPDATE allowed_alters SET server_list = 'custom'")
			},
			take: func(f *fixture) { f.central("DELETE FROM custom_servers WHERE port <> 1") }},
	}
	if os.Getenv("AOSC_E2E") != "full" {
		cases = cases[:1]
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows = 0 }, cluster)
			f.midCopyTo(c.desired, c.allow)
			watch, began := testkit.StartStopwatch(t, f.primary), time.Now()
			c.take(f)
			f.awaitIdle()
			took := time.Since(began)
			watch.Within(t, 2*time.Second, c.name)
			altered := havingForm(f, f.primary, c.desired)
			history := f.history("stopped")
			t.Logf("%-30s nothing moves after %.1f s; altered %d of 10; the history: %s", c.name, took.Seconds(), len(altered), history)
			if len(altered) == 10 || len(altered) == 0 {
				t.Errorf("%d of 10 databases are altered, want those that were altered before", len(altered))
			}
			if !strings.Contains(history, c.says) {
				t.Errorf("the history: %q, want the reason %q", history, c.says)
			}
			f.noLeftovers()
		})
	}
}

// tableNarrow needs a copy that loses data: payload has 50 characters.
var tableNarrow = strings.Replace(tablePlain, "varchar(100)", "varchar(10)", 1)

// unlist moves a list without the first cluster's primary to the inventory's place, as a deployment does: it was written a while ago.
func (f *fixture) unlist() {
	f.t.Helper()
	text, err := os.ReadFile(f.inventory)
	f.do(err)
	var kept []string
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, fmt.Sprintf("port: %d,", f.primary.Addr().Port)) {
			kept = append(kept, line)
		}
	}
	f.do(os.WriteFile(f.inventory+".new", []byte(strings.Join(kept, "")), 0o600))
	past := time.Now().Add(-time.Minute)
	f.do(os.Chtimes(f.inventory+".new", past, past))
	f.do(os.Rename(f.inventory+".new", f.inventory))
}

// midCopy brings a fixture to the middle of a copy: of ten databases the first is altered, another is being copied.
func (f *fixture) midCopy() {
	f.t.Helper()
	f.midCopyTo(tableCopy, nil)
}

// midCopyTo is midCopy towards a definition, with more to be permitted than that.
func (f *fixture) midCopyTo(desired string, allow func(*fixture)) {
	f.t.Helper()
	f.stopFile = f.t.TempDir() + "/stop"
	f.database(tablePlain, 500) // soon altered
	for range 9 {
		f.database(tablePlain, 6000)
	}
	f.allow(desired)
	if allow != nil {
		allow(f)
	}
	f.queue(f.primary)
	f.worker("w1", func(c *Config) {
		c.ChunkSize = 10
		c.Poll = 5 * time.Second
		c.Rest = time.Hour
		c.StopFile = f.stopFile
	}, f.primary)
	f.await(f.primary, "one database is altered and another is being copied", func(r aoscdb.OSCRow) bool {
		e := f.entries()
		done, copying := 0, 0
		for _, e := range e {
			if e.State == osc.StateDone {
				done++
			}
			if e.State == osc.StateCopying && e.Percentage > 3 {
				copying++
			}
		}
		return done >= 1 && copying == 1
	})
}

func (f *fixture) entries() []entry {
	var entries []entry
	if text := f.row(f.primary).Detail; text != "" {
		f.do(json.Unmarshal([]byte(text), &entries))
	}
	return entries
}

func (f *fixture) awaitState(state, says string) {
	f.t.Helper()
	f.await(f.primary, "a database is "+state, func(aoscdb.OSCRow) bool {
		for _, e := range f.entries() {
			if e.State == state && strings.Contains(e.Detail, says) {
				return true
			}
		}
		return false
	})
}

// awaitIdle waits until no worker has the row. The tier's row may be gone: then the row is on the instance.
func (f *fixture) awaitIdle() {
	f.t.Helper()
	rows := aoscdb.InstanceStatus(f.primary.DB())
	if tier, err := f.store.Tier(f.t.Context(), "udb"); err == nil && tier.StatusStore == aoscdb.StoreCentral {
		rows = f.store.CentralStatus()
	}
	testkit.Eventually(f.t, patience, "no worker has the row", func() bool {
		row, err := rows.OSCRow(f.t.Context(), f.primary.Addr().Host, f.primary.Addr().Port, "udb", "t")
		return err != nil || row.Status != aoscdb.OSCRunning
	})
}

// altered are the databases whose table has tableCopy's form.
func (f *fixture) altered() []string {
	f.t.Helper()
	return havingForm(f, f.primary, tableCopy)
}

func havingForm(f *fixture, s *mysqld.Server, ddl string) []string {
	f.t.Helper()
	want := f.form(s, ddl)
	var names []string
	for _, database := range f.databases {
		got, exists, err := schema.CurrentForm(f.t.Context(), s.DB(), database, "t")
		f.do(err)
		if exists && got.Hash == want.Hash {
			names = append(names, database)
		}
	}
	return names
}

// history is the detail of the newest event of a kind, once there is one.
func (f *fixture) history(what string) string {
	f.t.Helper()
	detail := ""
	testkit.Eventually(f.t, patience, "the history has "+what, func() bool {
		events, err := f.store.History(f.t.Context(), "udb", "t", 20)
		f.do(err)
		for _, e := range events {
			if e.What == what {
				detail = e.Detail
				return true
			}
		}
		return false
	})
	return detail
}
