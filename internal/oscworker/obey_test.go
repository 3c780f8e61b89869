package oscworker

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

// I14: whatever takes permission away reaches the copy under way within two seconds, nothing is begun on the next database,
// and the history tells what was altered and what was not. What may come back (enabled, limits) pauses, and goes on.
func TestPermissionWithdrawnInMidCopy(t *testing.T) {
	cluster := testkit.Cluster(t, 2)
	stops := []struct {
		name     string
		withdraw func(f *fixture)
		says     string
	}{
		{"revoked", func(f *fixture) { f.central("DELETE FROM allowed_alters") }, "allowed_alters has no row"},
		{"HOLD by hand", func(f *fixture) { f.central("UPDATE current_alters SET status = 'HOLD'") }, "HOLD"},
		{"HOLD by the brain", func(f *fixture) {
			f.central("UPDATE current_alters SET status = 'HOLD', hold_by = 'brain', reason = 'the new commit is refused'")
		}, "the new commit is refused"},
		{"another commit", func(f *fixture) { f.central("UPDATE current_alters SET desired_hash = REPEAT('0', 40)") }, "superseded"},
		{"not among the custom servers", func(f *fixture) {
			f.central("UPDATE allowed_alters SET server_list = 'custom'")
		}, "custom_servers"},
		{"its tier is gone", func(f *fixture) { f.central("DELETE FROM tiers") }, "tiers has no row"},
	}
	if os.Getenv("AOSC_E2E") != "full" {
		stops = stops[:1] // the others differ in what permit.Judge says, which its table tests
	}
	for _, c := range stops {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows = 0 }, cluster)
			f.midCopy()
			watch := testkit.StartStopwatch(t, f.primary)
			began := time.Now()
			c.withdraw(f)
			f.awaitIdle()
			took := time.Since(began)
			watch.Within(t, 2*time.Second, c.name)
			altered := f.altered()
			history := f.history("stopped")
			t.Logf("%-30s nothing moves after %.1f s; altered %d of 10; the history: %s", c.name, took.Seconds(), len(altered), history)
			if len(altered) == 10 || len(altered) == 0 {
				t.Errorf("%d of 10 databases are altered, want those that were altered before", len(altered))
			}
			for _, name := range altered {
				if !strings.Contains(history, name) {
					t.Errorf("the history does not name %s, which is altered", name)
				}
			}
			if !strings.Contains(history, c.says) || !strings.Contains(history, fmt.Sprintf("altered %d of 10", len(altered))) {
				t.Errorf("the history: %q, want the reason %q and what was altered", history, c.says)
			}
			f.noLeftovers()
		})
	}
}

// What may come back pauses in place, says by what, and goes on when it does.
func TestPausedByTheTier(t *testing.T) {
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows = 0 }, testkit.Cluster(t, 2))
	f.midCopy()
	for _, c := range []struct{ name, take, give, says string }{
		{"enabled=0", "UPDATE tiers SET enabled = 0", "UPDATE tiers SET enabled = 1", "not enabled"},
		{"max_running=0", "UPDATE tiers SET max_running = 0", "UPDATE tiers SET max_running = 1", "max_running"},
	} {
		watch, began := testkit.StartStopwatch(t, f.primary), time.Now()
		f.central(c.take)
		f.awaitState(osc.StatePaused, c.says)
		watch.Within(t, 2*time.Second, c.name)
		took, done := time.Since(began), len(f.altered())
		time.Sleep(1500 * time.Millisecond) // what is shown to stand still is time itself
		t.Logf("%-30s paused after %.1f s; altered %d of 10", c.name, took.Seconds(), len(f.altered()))
		if now := len(f.altered()); now != done {
			t.Errorf("%s: %d databases were altered while it was paused", c.name, now-done)
		}
		f.central(c.give)
		f.awaitState(osc.StateCopying, "")
	}
}

// The operator's way without aoscdb, and where status_store='central': a file on the worker's machine.
func TestStopFile(t *testing.T) {
	f := newFixture(t, func(t *aoscdb.Tier) { t.DirectMaxRows, t.StatusStore = 0, aoscdb.StoreCentral }, testkit.Cluster(t, 2))
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

// midCopy brings a fixture to the middle of a copy: of ten databases the first is altered, another is being copied.
func (f *fixture) midCopy() {
	f.t.Helper()
	f.stopFile = f.t.TempDir() + "/stop"
	for range 10 {
		f.database(tablePlain, 6000)
	}
	f.allow(tableCopy)
	f.queue(f.primary)
	f.worker("w1", func(c *Config) {
		c.ChunkSize = 10
		c.Poll = 5 * time.Second
		c.Rest = time.Hour
		c.StopFile = f.stopFile
	})
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
