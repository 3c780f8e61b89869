package e2e

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/site"
)

// row is what an operator sees of an instance's work with SELECT *, and the invisible detail.
type row struct {
	Priv, Status string
	Percentage   float64
	Detail       string
}

// row reads aosc_osc_ww of an instance by SQL; the zero row when there is none.
func (s *place) row(server *mysqld.Server) row {
	s.T.Helper()
	var r row
	err := server.DB().QueryRowContext(s.T.Context(), "SELECT osc_priv, status, percentage, COALESCE(detail, '') FROM aosc.aosc_osc_ww "+
		"WHERE table_name = 'tabla1'").Scan(&r.Priv, &r.Status, &r.Percentage, &r.Detail)
	if err != nil && !absent(err) {
		s.T.Fatal(err)
	}
	return r
}

// absent: there is no such row, or not even the tables yet.
func absent(err error) bool {
	return errors.Is(err, sql.ErrNoRows) || mysql.IsNoSuchTable(err) || mysql.IsNoSuchDatabase(err)
}

func (r row) in(state string) bool {
	return strings.Contains(r.Detail, fmt.Sprintf(`"state": %q`, state))
}

// priv is the operator's UPDATE, on the instance, unlogged.
func (s *place) priv(server *mysqld.Server, priv string) {
	s.T.Helper()
	s.In(server, "aosc", "SET sql_log_bin=0", fmt.Sprintf("UPDATE aosc.aosc_osc_ww SET osc_priv='%s' WHERE table_name='tabla1'", priv))
}

// obeyed waits until an UPDATE of osc_priv has its effect, which must be within two seconds; of OK within three, for gh-ost
// looks once a second whether it may go on, and wants to have heard its own heartbeat first.
func (s *place) obeyed(server *mysqld.Server, priv string, effect func(row) bool) row {
	s.T.Helper()
	before, watch := s.row(server), testkit.StartStopwatch(s.T, server)
	s.priv(server, priv)
	var r row
	if !site.Until(s.T, site.Patience, func() bool { r = s.row(server); return effect(r) }) {
		s.T.Fatalf("osc_priv=%s was not obeyed: %+v", priv, r)
	}
	s.T.Logf("osc_priv=%-5s at %5.2f %%: %s at %5.2f %%", priv, before.Percentage, r.Status, r.Percentage)
	limit := 2 * time.Second
	if priv == string(aoscdb.PrivOK) {
		limit = 3 * time.Second
	}
	watch.Within(s.T, limit, "osc_priv="+priv)
	return r
}

// An operator with nothing but a mysql client: the six-value INSERT of the original, the view of the targets, and osc_priv
// while rows are being copied. STOP leaves nothing behind (I5).
func TestOperatorByHand(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	s := newPlace(t, nil, c)
	s.Fill(site.Plain, 60000)
	s.Commit("tabla1", site.Plain)
	s.slowly()
	commit := s.Commit("tabla1", site.Copied)
	s.Allow("tabla1")
	view := func() string {
		if s.Ask("SELECT COUNT(*) FROM information_schema.views WHERE table_schema = DATABASE() AND table_name = 'alter_udb_tabla1'") == "0" {
			return ""
		}
		return s.Ask("SELECT GROUP_CONCAT(CONCAT(host, ':', port) ORDER BY port) FROM (SELECT * FROM alter_udb_tabla1) v")
	}
	s.Eventually(site.Patience, "the view shows both instances", func() bool { return strings.Count(view(), ":") == 2 })
	for _, server := range c.Servers() {
		if !strings.Contains(view(), server.Addr().String()) {
			t.Errorf("SELECT * FROM alter_udb_tabla1 shows %q, without %s", view(), server.Addr())
		}
	}

	primary := c.Primary
	copying := func(from float64) func() bool {
		return func() bool { r := s.row(primary); return r.in("copying") && r.Percentage > from }
	}
	s.Eventually(site.Patience, "rows are being copied", copying(5))
	watch := testkit.StartStopwatch(t, primary)
	s.obeyed(primary, "PAUSE", func(r row) bool { return r.in("paused") })
	// What counts is not what the row says, but that no row is copied any more after two seconds.
	rows, since := "", time.Now()
	s.Eventually(site.Patience, "nothing is copied for three seconds", func() bool {
		if now := testkit.Ask(t, primary, "SELECT COUNT(*) FROM dbid1._tabla1_gho"); now != rows {
			rows, since = now, time.Now()
		}
		return time.Since(since) > 3*time.Second
	})
	watch.Within(t, 5*time.Second, "PAUSE, and three seconds without a row,")
	if now := s.row(primary); !now.in("paused") || now.Percentage == 0 {
		t.Errorf("five seconds after PAUSE: %+v", now)
	}
	resumed := s.obeyed(primary, "OK", func(r row) bool { return r.in("copying") })
	s.Eventually(site.Patience, "it goes on", copying(resumed.Percentage+5))

	s.obeyed(primary, "STOP", func(r row) bool { return r.Status == aoscdb.OSCWaiting && r.Priv == "STOP" })
	if others := s.Others(primary, []string{"tabla1"}); len(others) > 0 {
		t.Errorf("I5: STOP left %v", others)
	}
	s.MustHave("tabla1", site.Plain)
	s.Clean("tabla1")
	if cur := s.Current("tabla1"); cur == nil || cur.Status != aoscdb.AlterIPR {
		t.Errorf("after STOP on one instance the alter is %+v, want IPR", cur)
	}

	s.obeyed(primary, "OK", func(r row) bool { return r.Status == aoscdb.OSCRunning })
	s.Finished("tabla1", commit)
	s.MustHave("tabla1", site.Copied)
	s.Clean("tabla1")
	if v := view(); v != "" {
		t.Errorf("the view of a finished alter shows %q", v)
	}
}

// A row of the ghost table that somebody changes by hand before the cut-over: the copy is given up, the table is
// untouched (I5), and the alter is on HOLD with the reason.
func TestGhostRowChanged(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	s := newPlace(t, nil, c)
	// keyed compares a row once it is copied, and does not see what others write to the copy later.
	s.SQL("UPDATE tiers SET copy_engine = 'ghost'")
	s.Fill(site.Plain, 60000)
	s.slowly()
	sum := func() string {
		return testkit.Ask(t, c.Primary, "SELECT CONCAT(COUNT(*), ' ', SUM(CRC32(CONCAT_WS('#', id, version, payload)))) FROM dbid1.tabla1")
	}
	before := sum()
	s.Commit("tabla1", site.Copied)
	s.Allow("tabla1")
	s.Eventually(site.Patience, "rows are being copied", func() bool { r := s.row(c.Primary); return r.in("copying") && r.Percentage > 5 })
	s.obeyed(c.Primary, "PAUSE", func(r row) bool { return r.in("paused") })
	s.In(c.Primary, "dbid1", "UPDATE `_tabla1_gho` SET payload = 'not what was written' WHERE id = 7")
	s.priv(c.Primary, "OK")
	s.Held("tabla1", aoscdb.HoldWorker, c.Primary.Addr().String(), "tabla1")
	s.MustHave("tabla1", site.Plain)
	if after := sum(); after != before {
		t.Errorf("I5: the table has %s, before %s", after, before)
	}
	s.Clean("tabla1")

	// The operator lifts it, as docs/operations.md says.
	commit := s.Repo.Head()
	s.SQL("UPDATE current_alters SET status='IPR' WHERE table_name='tabla1'")
	s.Finished("tabla1", commit)
	s.MustHave("tabla1", site.Copied)
	if after := sum(); after != before {
		t.Errorf("I1: the table has %s, before %s", after, before)
	}
	s.Clean("tabla1")
}

// Nothing is altered without a row in allowed_alters, and nothing that loses data without allow_unsafe (I6).
func TestNothingWithoutPermission(t *testing.T) {
	t.Parallel()
	s := newPlace(t, nil, testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil))
	s.Fill(site.Plain, 10)
	s.Fill(site.Plain, 500)
	s.Daemons()
	commit := s.Commit("tabla1", site.Copied)
	s.Eventually(site.Patience, "every instance is known to differ", func() bool {
		return s.Ask("SELECT COUNT(*) FROM checksum_passes WHERE commit_sha = ? AND not_ok = 2", commit) == "2"
	})
	seen := time.Now()
	s.Eventually(site.Patience, "every daemon had its intervals", func() bool {
		if n := s.Ask("SELECT (SELECT COUNT(*) FROM current_alters) + (SELECT COUNT(*) FROM running_alters)"); n != "0" {
			t.Fatal("I6: an alter without permission")
		}
		return time.Since(seen) > 4*time.Second
	})
	s.MustHave("tabla1", site.Plain)
	s.Allow("tabla1")
	s.Finished("tabla1", commit)
	s.MustHave("tabla1", site.Copied)

	lossy := strings.Replace(site.Copied, "payload text NOT NULL, ", "", 1)
	commit = s.Commit("tabla1", lossy)
	s.Allow("tabla1")
	s.Held("tabla1", aoscdb.HoldBrain, "lose data", "payload", "allow_unsafe")
	held := time.Now()
	s.Eventually(site.Patience, "every daemon had its intervals", func() bool {
		if cur := s.Current("tabla1"); cur == nil || cur.Status != aoscdb.AlterHold {
			t.Fatalf("I6: not on HOLD: %+v", cur)
		}
		return time.Since(held) > 4*time.Second
	})
	s.MustHave("tabla1", site.Copied)
	s.SQL("UPDATE allowed_alters SET allow_unsafe=1 WHERE table_name='tabla1'")
	s.Eventually(site.Patience, "the hold is lifted", func() bool {
		cur := s.Current("tabla1")
		return cur == nil || cur.Status != aoscdb.AlterHold
	})
	s.Finished("tabla1", commit)
	s.MustHave("tabla1", lossy)
	s.Clean("tabla1")
}

// What is DONE is checked again verify_tries times, verify_interval_s apart; an instance that is altered back meanwhile
// sends the alter back to work (I4).
func TestVerify(t *testing.T) {
	t.Parallel()
	const interval, tries = 2, 3
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	s := newPlace(t, func(t *aoscdb.Tier) { t.VerifyIntervalS, t.VerifyTries = interval, tries }, c)
	s.Fill(site.Plain, 10)
	s.Fill(site.Plain, 10)
	s.Daemons()
	commit := s.Commit("tabla1", site.Column)
	s.Allow("tabla1")
	s.Eventually(site.Patience, "it is DONE and checked once", func() bool {
		cur := s.Current("tabla1")
		return cur != nil && cur.Status == aoscdb.AlterDone && cur.Tries >= 1
	})
	s.In(c.Primary, "dbid2", "ALTER TABLE tabla1 DROP COLUMN extra")
	s.Eventually(site.Patience, "it is found and sent back", func() bool {
		return s.Ask("SELECT COUNT(*) FROM events WHERE what = 'check failed'") == "1"
	})
	f := s.Finished("tabla1", commit)
	if f.Tries != tries {
		t.Errorf("finished after %d checks, want %d", f.Tries, tries)
	}
	s.MustHave("tabla1", site.Column)
	// Since it was DONE for the second time, all checks have passed anew, each an interval after the one before.
	since := s.Ask("SELECT TIMESTAMPDIFF(MICROSECOND, (SELECT MAX(at) FROM events WHERE what = 'done' AND host = ''), " +
		"(SELECT MAX(at) FROM events WHERE what = 'finished'))")
	t.Logf("%s µs from the second DONE to the end", since)
	if len(since) < len("6000000") {
		t.Errorf("I4: finished %s µs after the last DONE, before %d checks of %d s", since, tries, interval)
	}
}
