package oscworker

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/operate"
	"github.com/aosc/aosc/internal/testkit"
)

// allowTable is allow for one table of several, which must be there already; it makes the primary a target.
func (f *fixture) allowTable(table, ddl string) {
	f.t.Helper()
	ddl = strings.Replace(ddl, "TABLE t ", "TABLE "+table+" ", 1)
	file := "schemas/udb/" + table + ".sql"
	commit := f.repo.Commit(map[string]string{file: ddl + ";\n"}, table)
	f.do(f.store.Allow(f.t.Context(), aoscdb.AllowedAlter{Group: "udb", Table: table, AllowedBy: "test", Priority: 10}))
	f.central("REPLACE INTO current_alters (`group`, table_name, status, commit_sha, desired_hash, pinned_at, started_at) "+
		"VALUES ('udb', ?, 'IPR', ?, ?, NOW(6), NOW(6))", table, commit, f.repo.Git("rev-parse", "HEAD:"+file))
	f.central("REPLACE INTO alter_targets (`group`, table_name, host, port, cluster, role) VALUES ('udb', ?, ?, ?, 'c0', 'primary')",
		table, f.primary.Addr().Host, f.primary.Addr().Port)
}

// hold keeps a transaction open that has read the table of a database: no ALTER gets its lock until release.
func (f *fixture) hold(database string) (release func()) {
	f.t.Helper()
	tx, err := f.primary.DB().BeginTx(f.t.Context(), nil)
	f.do(err)
	var n int
	f.do(tx.QueryRow("SELECT COUNT(*) FROM " + database + ".t").Scan(&n))
	released := false
	release = func() {
		if !released {
			released = true
			if err := tx.Rollback(); err != nil {
				f.t.Error(err)
			}
		}
	}
	f.t.Cleanup(release)
	return release
}

// impatient makes each try at a table that is locked fail after a second.
func impatient(c *Config) { c.LockWaitTimeout, c.LockRetries = time.Second, 1 }

func (f *fixture) retry() (aoscdb.Retry, bool) {
	f.t.Helper()
	rows, err := f.store.Retries(f.t.Context())
	f.do(err)
	for _, r := range rows {
		if r.Table == "t" {
			return r, true
		}
	}
	return aoscdb.Retry{}, false
}

func (f *fixture) awaitBackOff() aoscdb.Retry {
	f.t.Helper()
	var r aoscdb.Retry
	testkit.Eventually(f.t, patience, "the alter waits between two tries, and holds nothing", func() (waits bool) {
		r, waits = f.retry()
		var running int
		f.do(f.store.DB().QueryRow("SELECT COUNT(*) FROM running_alters WHERE table_name = 't'").Scan(&running))
		return waits && running == 0
	})
	return r
}

// An alter that waits between two tries holds nothing: five other tables of its instance are altered meanwhile, one after the
// other as max_running says. What it waits for, and until when, is said by the tables.
func TestFiveTablesPassOneThatBacksOff(t *testing.T) {
	f := newFixture(t, nil, testkit.Cluster(t, 1))
	database := f.database(tablePlain, 10)
	release := f.hold(database)
	f.allowTable("t", tableColumn)
	f.worker("w1", impatient)
	f.scheduler("", "--scheduler-retry-backoff=10m", "--scheduler-retry-backoff-max=1h")
	testkit.Eventually(t, patience, "its first try has failed", func() bool { return strings.Contains(f.logs["w1"].String(), "end=failed") })
	begun := time.Now()
	for n := range 5 {
		table := fmt.Sprintf("u%d", n)
		testkit.Exec(t, f.primary, strings.Replace(tablePlain, "TABLE t ", "TABLE "+database+"."+table+" ", 1))
		f.allowTable(table, tableColumn)
	}
	testkit.Eventually(t, patience, "the five others are altered", func() bool { return f.left("alter_targets") == "1" })
	t.Logf("five tables altered in %v beside one that waits for ten minutes", time.Since(begun).Round(100*time.Millisecond))

	r := f.awaitBackOff()
	says := fmt.Sprintf("try 2 of 5 at %s UTC, after: %s", r.NextAt.UTC().Format(time.DateTime), r.Error)
	if r.Tries != 1 || !strings.Contains(r.Error, "lock") || r.NextAt.Sub(r.FailedAt) < 9*time.Minute {
		t.Errorf("retries: %+v", r)
	}
	testkit.Eventually(t, patience, "the reason is said", func() bool {
		var code, reason string
		err := f.store.DB().QueryRow("SELECT code, reason FROM obstacles WHERE table_name = 't'").Scan(&code, &reason)
		return err == nil && code == "backoff" && reason == says
	})
	if h := f.history(aoscdb.EventBackOff); h != says {
		t.Errorf("the history: %q, want %q", h, says)
	}

	release()
	desk := &operate.Desk{Store: f.store, Pool: mysql.NewPool(f.primary.Credentials(), mysql.Options{}), FanOut: 1, Timeout: patience}
	done, err := desk.Resume(t.Context(), operate.Selection{Group: "udb", Table: "t", By: "test"})
	f.do(err)
	f.do(desk.Pool.Close())
	if len(done.Anew) != 1 || done.Anew[0] != f.primary.Addr() {
		t.Errorf("resume says %+v", done)
	}
	f.awaitFinished()
	f.mustHave(f.primary, tableColumn)
	if _, still := f.retry(); still {
		t.Error("what is done keeps its row in retries")
	}
}

// I8: a scheduler killed between any two writes of a try that fails and the next one neither loses the count of tries nor lets
// one run twice.
func TestSchedulerKilledBetweenTries(t *testing.T) {
	f := newFixture(t, nil, testkit.Cluster(t, 1))
	database := f.database(tablePlain, 10)
	f.worker("w1", impatient)
	faults := []string{"scheduler.backoff.written=kill", "scheduler.ready.written=kill@2", "scheduler.backoff.before=kill",
		"scheduler.waiting.written=kill@2", "scheduler.backoff.written=kill@2"}
	if os.Getenv("AOSC_E2E") != "full" {
		faults = faults[:3]
	}
	for n, fault := range faults {
		t.Run(fault, func(t *testing.T) {
			f.t = t
			f.central("DELETE FROM events")
			release := f.hold(database)
			desired := columns(n + 1)
			f.allowTable("t", desired)
			flags := []string{"--scheduler-retry-backoff=100ms", "--scheduler-retry-backoff-max=1s", "--scheduler-max-tries=1000"}
			f.scheduler(fault, flags...).killed(t)
			release()
			next := f.scheduler("", flags...)
			f.awaitFinished()
			f.mustHave(f.primary, desired)
			count := func(what string) (n int) {
				f.do(f.store.DB().QueryRow("SELECT COUNT(*) FROM events WHERE what = ? AND actor NOT LIKE 'oscworker%' OR what = ? AND what = "+
					"'started'",
					what, what).Scan(&n))
				return n
			}
			row := f.row(f.primary)
			started, failed, done := count("started"), count(aoscdb.EventBackOff), count("done")
			t.Logf("%d tries begun, %d failed", started, failed)
			if row.Status != aoscdb.OSCDone || row.Try != started || failed != started-1 || done != 1 {
				t.Errorf("%s as try %d; the history has %d begun, %d failed, %d done", row.Status, row.Try, started, failed, done)
			}
			if started < 2 {
				t.Error("it did not fail once: this proves nothing")
			}
			next.terminate(t)
		})
	}
}

// What an operator does to an alter that waits between two tries means what it means at any other time: whatever lets it go on
// lets it begin at once, and STOP on the instance keeps it from beginning.
func TestOperatorBetweenTries(t *testing.T) {
	f := newFixture(t, nil, testkit.Cluster(t, 1))
	database := f.database(tablePlain, 10)
	f.worker("w1", impatient)
	f.scheduler("", "--scheduler-retry-backoff=20m", "--scheduler-retry-backoff-max=1h")
	forgotten := func() {
		testkit.Eventually(f.t, patience, "what failed is forgotten", func() bool { _, still := f.retry(); return !still })
	}
	cases := []struct {
		name string
		act  func(next string)
	}{
		{"STOP, and OK", func(string) {
			f.priv(f.primary, aoscdb.PrivStop)
			f.central("UPDATE retries SET next_at = NOW(6)")
			f.await(f.primary, "it is queued, and the operator's STOP is still there", func(r aoscdb.OSCRow) bool {
				return r.Status == aoscdb.OSCWaiting && r.OSCPriv == aoscdb.PrivStop && r.Try == 1
			})
			f.priv(f.primary, aoscdb.PrivOK)
		}},
		{"HOLD and resume by hand", func(string) {
			f.central("UPDATE current_alters SET status = 'HOLD'")
			forgotten()
			f.central("UPDATE current_alters SET status = 'IPR'")
		}},
		{"HOLD and resume", func(string) {
			f.do(f.store.OperatorHold(f.t.Context(), "udb", "t", "lunch", aoscdb.HoldStop))
			f.do(f.store.OperatorResume(f.t.Context(), "udb", "t"))
		}},
		{"the tier off and on", func(string) {
			f.central("UPDATE tiers SET enabled = 0")
			forgotten()
			f.central("UPDATE tiers SET enabled = 1")
		}},
		{"a new commit", func(next string) { f.allowTable("t", next) }},
		{"next_at by hand", func(string) { f.central("UPDATE retries SET next_at = NOW(6)") }},
	}
	if os.Getenv("AOSC_E2E") != "full" {
		cases = cases[:2] // the others differ in what Decide says, which its table tests
	}
	for n, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f.t = t
			release := f.hold(database)
			desired, next := columns(2*n+1), columns(2*n+2)
			f.allowTable("t", desired)
			f.awaitBackOff()
			release()
			if c.name == "a new commit" {
				desired = next
			}
			c.act(next)
			f.awaitFinished()
			f.mustHave(f.primary, desired)
		})
	}
}
