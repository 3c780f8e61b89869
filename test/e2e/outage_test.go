package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/site"
)

// outage is a way in which an instance becomes unreachable, and how it comes back.
type outage struct {
	name        string
	server      *mysqld.Server
	strike, end func()
}

// I11: an instance that is down, hung or refuses the account is unknown. No alter is DONE while it is, however long
// everything else has been altered; when it is back, the alter finishes.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	// Of three, so that the primary is trusted without one of its replicas (docs/decisions/004).
	c := testkit.FreshCluster(t, 3, mysqld.ReplicaOptions{}, nil)
	s := newPlace(t, nil, c)
	password := filepath.Join(s.Dir, "password")
	s.Do(os.WriteFile(password, []byte("right\n"), 0o600))
	testkit.Exec(t, c.Primary, "CREATE USER aosc@'127.0.0.1' IDENTIFIED BY 'right'", "GRANT ALL ON *.* TO aosc@'127.0.0.1'")
	s.Account = []string{"AOSC_MYSQL_USER=aosc", "AOSC_MYSQL_PASSWORD_FILE=" + password, "AOSC_CONNECT_TIMEOUT=2s"}
	s.Fill(site.Plain, 50)
	daemons := s.Daemons()
	replica := c.Replicas[0]
	for n, o := range []outage{
		{"replica down", replica, func() { s.Do(replica.Kill()) }, func() { s.Do(replica.Restart(t.Context())) }},
		{"replica hung", replica, func() { s.Do(replica.Pause()) }, func() { s.Do(replica.Resume()) }},
		{"wrong password", replica, func() { s.password(replica, "wrong") }, func() { s.password(replica, "right") }},
		{"primary down", c.Primary, func() { s.Do(c.Primary.Kill()) }, func() { s.Do(c.Primary.Restart(t.Context())) }},
	} {
		began := time.Now()
		ddl := site.Plain
		for i := range n + 1 {
			ddl = strings.Replace(ddl, "PRIMARY", fmt.Sprintf("extra%d int DEFAULT NULL, PRIMARY", i), 1)
		}
		o.strike()
		commit := s.Commit("tabla1", ddl)
		s.Allow("tabla1")
		s.unfinished(o, commit)
		o.end()
		s.recovered(commit)
		s.MustHave("tabla1", ddl)
		s.Clean("tabla1")
		t.Logf("%s: %v", o.name, time.Since(began).Round(100*time.Millisecond))
	}
	s.Alive(daemons)
}

// password changes the account's password on one instance alone, and ends its sessions.
func (s *place) password(server *mysqld.Server, password string) {
	s.T.Helper()
	s.In(server, "mysql", "SET sql_log_bin=0", "ALTER USER aosc@'127.0.0.1' IDENTIFIED BY '"+password+"'")
	var ids []string
	rows, err := server.DB().QueryContext(s.T.Context(), "SELECT id FROM performance_schema.processlist WHERE user = 'aosc'")
	s.Do(err)
	defer rows.Close()
	for rows.Next() {
		var id string
		s.Do(rows.Scan(&id))
		ids = append(ids, id)
	}
	s.Do(rows.Err())
	for _, id := range ids {
		// It may have ended meanwhile.
		_, _ = server.DB().ExecContext(s.T.Context(), "KILL "+id)
	}
}

// unfinished makes sure that an alter goes as far as it can without the instance, and no further.
func (s *place) unfinished(o outage, commit string) {
	s.T.Helper()
	var cur *aoscdb.CurrentAlter
	check := func() {
		cur = s.Current("tabla1")
		if n := s.Ask("SELECT COUNT(*) FROM finished_alters WHERE commit_sha = ?", commit); n != "0" {
			s.T.Fatalf("I11: %s, and the alter is finished", o.name)
		}
		if cur != nil && cur.Status == aoscdb.AlterDone {
			s.T.Fatalf("I11: %s, and the alter is DONE: %+v", o.name, *cur)
		}
	}
	s.Eventually(site.Patience, o.name+": the unknown instance is all that keeps the alter", func() bool {
		check()
		waits := cur != nil && cur.Status == aoscdb.AlterHold && strings.Contains(cur.Reason, "Waiting for")
		return waits || cur != nil && cur.Targets == 0 && cur.Unknowns == 1
	})
	s.T.Logf("%s: %s %s, %d targets, %d unknown", o.name, cur.Status, cur.Reason, cur.Targets, cur.Unknowns)
	since := time.Now()
	s.Eventually(site.Patience, "time passes", func() bool {
		check()
		return time.Since(since) > 3*time.Second
	})
}

// recovered waits for the end of an alter that may be on the brain's HOLD until it has looked again.
func (s *place) recovered(commit string) {
	s.T.Helper()
	s.Eventually(site.Patience, "the hold is lifted", func() bool {
		cur := s.Current("tabla1")
		return cur == nil || cur.Status != aoscdb.AlterHold
	})
	s.Finished("tabla1", commit)
}

// aoscdb is away in the middle of a copy: no daemon ends, the copy goes on, and when aoscdb is back the alter finishes (I1,
// I5, I8).
func TestAoscdbDown(t *testing.T) {
	t.Parallel()
	outage := 6 * time.Second
	if full {
		outage = time.Minute
	}
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	central := testkit.FreshServer(t, nil)
	s := &place{site.NewOn(t, central, "aoscdb", nil, c)}
	loaded := s.Fill(site.Plain, 0)
	s.Fill(site.Plain, 200)
	w := s.Writer(c, loaded, 60000, 100)
	daemons := s.slowly()
	commit := s.Commit("tabla1", site.Copied)
	s.Allow("tabla1")
	s.Eventually(site.Patience, "rows are being copied", func() bool { r := s.row(c.Primary); return r.in("copying") && r.Percentage > 5 })
	s.Do(central.Stop(t.Context()))
	before, since := s.row(c.Primary), time.Now()
	s.Eventually(site.Patience, "the copy goes on without aoscdb", func() bool {
		r := s.row(c.Primary)
		return r.Percentage > before.Percentage+5 || !r.in("copying")
	})
	s.Eventually(2*site.Patience, "the outage is over", func() bool { return time.Since(since) > outage })
	s.Alive(daemons)
	s.Do(central.Restart(t.Context()))
	s.Finished("tabla1", commit)
	s.Alive(daemons)
	s.MustHave("tabla1", site.Copied)
	s.Lossless(c, w)
	s.Clean("tabla1")
	s.Terminate(daemons)
}
