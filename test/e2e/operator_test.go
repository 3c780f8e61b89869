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
)

// row is what an operator sees of an instance's work with SELECT *, and the invisible detail.
type row struct {
	Priv, Status string
	Percentage   float64
	Detail       string
}

// row reads aosc_osc_ww of an instance by SQL; the zero row when there is none.
func (s *site) row(server *mysqld.Server) row {
	s.t.Helper()
	var r row
	err := server.DB().QueryRowContext(s.t.Context(), "SELECT osc_priv, status, percentage, COALESCE(detail, '') FROM aosc.aosc_osc_ww "+
		"WHERE table_name = 'tabla1'").Scan(&r.Priv, &r.Status, &r.Percentage, &r.Detail)
	if err != nil && !absent(err) {
		s.t.Fatal(err)
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
func (s *site) priv(server *mysqld.Server, priv string) {
	s.t.Helper()
	s.in(server, "aosc", "SET sql_log_bin=0", fmt.Sprintf("UPDATE aosc.aosc_osc_ww SET osc_priv='%s' WHERE table_name='tabla1'", priv))
}

// obeyed waits until an UPDATE of osc_priv has its effect, which must be within two seconds.
func (s *site) obeyed(server *mysqld.Server, priv string, effect func(row) bool) row {
	s.t.Helper()
	said, before := time.Now(), s.row(server)
	s.priv(server, priv)
	var r row
	ok := until(s.t, patience, func() bool { r = s.row(server); return effect(r) })
	took := time.Since(said)
	s.t.Logf("osc_priv=%-5s at %5.2f %%: %s at %5.2f %%, obeyed within %v", priv, before.Percentage, r.Status, r.Percentage, took.Round(10*time.Millisecond))
	if !ok || took > 2*time.Second {
		s.t.Errorf("osc_priv=%s was not obeyed within 2s (%v): %+v", priv, took, r)
	}
	return r
}

// An operator with nothing but a mysql client: the six-value INSERT of the original, the view of the targets, and osc_priv
// while rows are being copied. STOP leaves nothing behind (I5).
func TestOperatorByHand(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	s := newSite(t, nil, c)
	s.fill(plain, 60000)
	s.commit("tabla1", plain)
	// Small chunks make it slow enough to talk to.
	for _, name := range daemonNames {
		s.daemon(name, "", map[string][]string{"oscworker": {"--oscworker-chunk-size=20"}}[name]...)
	}
	commit := s.commit("tabla1", copied)
	s.allow("tabla1")
	view := func() string {
		if s.ask("SELECT COUNT(*) FROM information_schema.views WHERE table_schema = DATABASE() AND table_name = 'alter_udb_tabla1'") == "0" {
			return ""
		}
		return s.ask("SELECT GROUP_CONCAT(CONCAT(host, ':', port) ORDER BY port) FROM (SELECT * FROM alter_udb_tabla1) v")
	}
	s.eventually(patience, "the view shows both instances", func() bool { return strings.Count(view(), ":") == 2 })
	for _, server := range c.Servers() {
		if !strings.Contains(view(), server.Addr().String()) {
			t.Errorf("SELECT * FROM alter_udb_tabla1 shows %q, without %s", view(), server.Addr())
		}
	}

	primary := c.Primary
	copying := func(from float64) func() bool {
		return func() bool { r := s.row(primary); return r.in("copying") && r.Percentage > from }
	}
	s.eventually(patience, "rows are being copied", copying(5))
	said := time.Now()
	s.obeyed(primary, "PAUSE", func(r row) bool { return r.in("paused") })
	// What counts is not what the row says, but that no row is copied any more after two seconds.
	later := func(after time.Duration) string {
		s.eventually(patience, "time passes", func() bool { return time.Since(said) > after })
		return testkit.Ask(t, primary, "SELECT COUNT(*) FROM dbid1._tabla1_gho")
	}
	if two, five := later(2*time.Second), later(5*time.Second); two != five {
		t.Errorf("two seconds after PAUSE %s rows were copied, three seconds later %s", two, five)
	}
	if now := s.row(primary); !now.in("paused") || now.Percentage == 0 {
		t.Errorf("five seconds after PAUSE: %+v", now)
	}
	resumed := s.obeyed(primary, "OK", func(r row) bool { return r.in("copying") })
	s.eventually(patience, "it goes on", copying(resumed.Percentage+5))

	s.obeyed(primary, "STOP", func(r row) bool { return r.Status == aoscdb.OSCWaiting && r.Priv == "STOP" })
	if others := s.others(primary, []string{"tabla1"}); len(others) > 0 {
		t.Errorf("I5: STOP left %v", others)
	}
	s.mustHave("tabla1", plain)
	s.clean("tabla1")
	if cur := s.current("tabla1"); cur == nil || cur.Status != aoscdb.AlterIPR {
		t.Errorf("after STOP on one instance the alter is %+v, want IPR", cur)
	}

	s.obeyed(primary, "OK", func(r row) bool { return r.Status == aoscdb.OSCRunning })
	s.finished("tabla1", commit)
	s.mustHave("tabla1", copied)
	s.clean("tabla1")
	if v := view(); v != "" {
		t.Errorf("the view of a finished alter shows %q", v)
	}
}

// A row of the ghost table that somebody changes by hand before the cut-over: the copy is given up, the table is
// untouched (I5), and the alter is on HOLD with the reason.
func TestGhostRowChanged(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	s := newSite(t, nil, c)
	s.fill(plain, 20000)
	for _, name := range daemonNames {
		s.daemon(name, "", map[string][]string{"oscworker": {"--oscworker-chunk-size=20"}}[name]...)
	}
	sum := func() string {
		return testkit.Ask(t, c.Primary, "SELECT CONCAT(COUNT(*), ' ', SUM(CRC32(CONCAT_WS('#', id, version, payload)))) FROM dbid1.tabla1")
	}
	before := sum()
	s.commit("tabla1", copied)
	s.allow("tabla1")
	s.eventually(patience, "rows are being copied", func() bool { r := s.row(c.Primary); return r.in("copying") && r.Percentage > 5 })
	s.obeyed(c.Primary, "PAUSE", func(r row) bool { return r.in("paused") })
	s.in(c.Primary, "dbid1", "UPDATE `_tabla1_gho` SET payload = 'not what was written' WHERE id = 7")
	s.priv(c.Primary, "OK")
	s.held("tabla1", aoscdb.HoldWorker, c.Primary.Addr().String(), "tabla1")
	s.mustHave("tabla1", plain)
	if after := sum(); after != before {
		t.Errorf("I5: the table has %s, before %s", after, before)
	}
	s.clean("tabla1")

	// The operator lifts it, as docs/operations.md says.
	commit := s.repo.Head()
	s.sql("UPDATE current_alters SET status='IPR' WHERE table_name='tabla1'")
	s.finished("tabla1", commit)
	s.mustHave("tabla1", copied)
	if after := sum(); after != before {
		t.Errorf("I1: the table has %s, before %s", after, before)
	}
	s.clean("tabla1")
}

// Nothing is altered without a row in allowed_alters, and nothing that loses data without allow_unsafe (I6).
func TestNothingWithoutPermission(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil))
	s.fill(plain, 10)
	s.fill(plain, 500)
	s.daemons()
	commit := s.commit("tabla1", copied)
	s.eventually(patience, "every instance is known to differ", func() bool {
		return s.ask("SELECT COUNT(*) FROM checksum_passes WHERE commit_sha = ? AND not_ok = 2", commit) == "2"
	})
	seen := time.Now()
	s.eventually(patience, "every daemon had its intervals", func() bool {
		if n := s.ask("SELECT (SELECT COUNT(*) FROM current_alters) + (SELECT COUNT(*) FROM running_alters)"); n != "0" {
			t.Fatal("I6: an alter without permission")
		}
		return time.Since(seen) > 4*time.Second
	})
	s.mustHave("tabla1", plain)
	s.allow("tabla1")
	s.finished("tabla1", commit)
	s.mustHave("tabla1", copied)

	lossy := strings.Replace(copied, "payload text NOT NULL, ", "", 1)
	commit = s.commit("tabla1", lossy)
	s.allow("tabla1")
	s.held("tabla1", aoscdb.HoldBrain, "lose data", "payload", "allow_unsafe")
	held := time.Now()
	s.eventually(patience, "every daemon had its intervals", func() bool {
		if cur := s.current("tabla1"); cur == nil || cur.Status != aoscdb.AlterHold {
			t.Fatalf("I6: not on HOLD: %+v", cur)
		}
		return time.Since(held) > 4*time.Second
	})
	s.mustHave("tabla1", copied)
	s.sql("UPDATE allowed_alters SET allow_unsafe=1 WHERE table_name='tabla1'")
	s.eventually(patience, "the hold is lifted", func() bool {
		cur := s.current("tabla1")
		return cur == nil || cur.Status != aoscdb.AlterHold
	})
	s.finished("tabla1", commit)
	s.mustHave("tabla1", lossy)
	s.clean("tabla1")
}

// What is DONE is checked again verify_tries times, verify_interval_s apart; an instance that is altered back meanwhile
// sends the alter back to work (I4).
func TestVerify(t *testing.T) {
	t.Parallel()
	const interval, tries = 2, 3
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	s := newSite(t, func(t *aoscdb.Tier) { t.VerifyIntervalS, t.VerifyTries = interval, tries }, c)
	s.fill(plain, 10)
	s.fill(plain, 10)
	s.daemons()
	commit := s.commit("tabla1", column)
	s.allow("tabla1")
	s.eventually(patience, "it is DONE and checked once", func() bool {
		cur := s.current("tabla1")
		return cur != nil && cur.Status == aoscdb.AlterDone && cur.Tries >= 1
	})
	s.in(c.Primary, "dbid2", "ALTER TABLE tabla1 DROP COLUMN extra")
	s.eventually(patience, "it is found and sent back", func() bool {
		return s.ask("SELECT COUNT(*) FROM events WHERE what = 'check failed'") == "1"
	})
	f := s.finished("tabla1", commit)
	if f.Tries != tries {
		t.Errorf("finished after %d checks, want %d", f.Tries, tries)
	}
	s.mustHave("tabla1", column)
	// Since it was DONE for the second time, all checks have passed anew, each an interval after the one before.
	since := s.ask("SELECT TIMESTAMPDIFF(MICROSECOND, (SELECT MAX(at) FROM events WHERE what = 'done' AND host = ''), " +
		"(SELECT MAX(at) FROM events WHERE what = 'finished'))")
	t.Logf("%s µs from the second DONE to the end", since)
	if len(since) < len("6000000") {
		t.Errorf("I4: finished %s µs after the last DONE, before %d checks of %d s", since, tries, interval)
	}
}
