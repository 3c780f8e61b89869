package framework_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/backup"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// withBackups gives the site a backup store.
func (s *site) withBackups() string {
	s.t.Helper()
	dir := filepath.Join(s.Dir, "backups")
	if err := os.Mkdir(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.Backups = "dir:" + dir
	return dir
}

func (s *site) addr(f *framework.Framework, cluster string, member int) mysql.Addr {
	s.t.Helper()
	v, err := f.Cluster(s.t.Context(), cluster)
	if err != nil {
		s.t.Fatal(err)
	}
	if member == 0 {
		member = v.Record.Primary
	}
	m, ok := v.Record.Member(member)
	if !ok {
		s.t.Fatalf("cluster %s has no member %d", cluster, member)
	}
	return mysql.Addr{Host: m.Host, Port: m.Port}
}

func (s *site) admin(cluster string, a mysql.Addr) *sql.DB {
	s.t.Helper()
	return s.administrator(cluster, a)
}

func must(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func ask(t testing.TB, db *sql.DB, query string) string {
	t.Helper()
	var answer sql.NullString
	if err := db.QueryRowContext(t.Context(), query).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return strings.ReplaceAll(answer.String, "\n", "")
}

// write keeps writing until the returned function is called: rows are added, changed and deleted, by several sessions.
func write(t testing.TB, db *sql.DB) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ctx.Err() == nil; i++ {
				id := 3*i + w
				for _, statement := range []string{
					fmt.Sprintf("INSERT INTO d.t (id, v, s) VALUES (%d, 0, REPEAT('x', %d))", id, id%200),
					fmt.Sprintf("UPDATE d.t SET v = v + 1 WHERE id %% 7 = %d ORDER BY id DESC LIMIT 3", w),
					fmt.Sprintf("DELETE FROM d.t WHERE id = %d", id-60),
				} {
					if _, err := db.ExecContext(ctx, statement); err != nil && ctx.Err() == nil && !mysql.IsNumber(err, mysql.ErrLockDeadlock) {
						t.Errorf("%s: %v", statement, err)
						return
					}
				}
			}
		}()
	}
	return sync.OnceFunc(func() { cancel(); wg.Wait() })
}

func gtids(t testing.TB, text string) mysql.GTIDSet {
	t.Helper()
	set, err := mysql.ParseGTIDSet(text)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// recoverable waits until a cluster has n backups and the newest of them, with its logs, leads to a set.
func (s *site) recoverable(f *framework.Framework, cluster string, n int, to mysql.GTIDSet) framework.Recoverable {
	s.t.Helper()
	var list []framework.Recoverable
	testkit.Eventually(s.t, 2*patience, fmt.Sprintf("%s has %d backups or more, and %s is archived", cluster, n, to), func() bool {
		var err error
		var problems []string
		if list, problems, err = f.Backups(s.t.Context(), cluster); err != nil || len(problems) != 0 {
			s.t.Fatalf("%v %v", problems, err)
		}
		// An executor that is killed before it has said that a copy is done makes another one.
		return len(list) >= n && gtids(s.t, list[len(list)-1].ToGTIDs).Contains(to)
	})
	return list[len(list)-1]
}

const checksum = "SELECT CONCAT(COUNT(*), '/', COALESCE(BIT_XOR(CRC32(CONCAT_WS('#', id, v, s))), 0)) FROM d.t"

// stoppedAt is a replica of a primary that was stopped right after a set of transactions.
func (s *site) stoppedAt(cluster string, primary mysql.Addr, target mysql.GTIDSet) *sql.DB {
	s.t.Helper()
	r := testkit.FreshServer(s.t, map[string]string{"partial_revokes": "ON"})
	// Grants are logged with who granted them.
	must(s.t, r.DB(), "CREATE USER '"+cotton.AdminAccount+"'@'%'", "GRANT ALL ON *.* TO '"+cotton.AdminAccount+"'@'%' WITH GRANT OPTION", "RESET BINARY LOGS AND GTIDS")
	if err := mysql.ChangeSource(s.t.Context(), r.DB(), mysql.SourceOptions{
		Addr: primary, SSL: true, User: cotton.ReplicationAccount, Password: s.password(cluster, cotton.ReplicationAccount),
	}); err != nil {
		s.t.Fatal(err)
	}
	must(s.t, r.DB(), "START REPLICA UNTIL SQL_AFTER_GTIDS = '"+target.String()+"'")
	testkit.Eventually(s.t, patience, "the replica stops at the target", func() bool {
		status, err := mysql.ReadReplicaStatus(s.t.Context(), r.DB())
		return err == nil && status != nil && status.SQLRunning == "No" && gtids(s.t, status.Executed).Contains(target)
	})
	if got := gtids(s.t, ask(s.t, r.DB(), "SELECT @@gtid_executed")); !got.Equal(target) {
		s.t.Fatalf("the replica has %s, not %s", got, target)
	}
	return r.DB()
}

// TestRestoreToGTID: while a cluster is written to, it is backed up from its replica and its binary logs are archived. A
// cluster restored to a moment in the middle has what a replica stopped there has, on all its members, and the accounts
// of the new cluster; the old one goes on.
func TestRestoreToGTID(t *testing.T) {
	t.Parallel()
	s := newSite(t, "executor", 3)
	s.withBackups()
	f, _ := s.scheduler()
	c0 := spec("c0", 2)
	c0.Backup = &cotton.BackupPolicy{Every: time.Hour, Keep: 2, BinlogInterval: time.Second}
	if _, err := f.Create(t.Context(), c0); err != nil {
		t.Fatal(err)
	}
	v := s.await(f, "c0", "the cluster is complete", complete(2))
	primary := s.addr(f, "c0", 0)
	app := s.open("c0", "app", "secret of c0", primary)
	must(t, app, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY, v INT NOT NULL, s VARCHAR(200) NOT NULL)")
	stop := write(t, app)
	defer stop()

	b := s.recoverable(f, "c0", 1, mysql.GTIDSet{})
	if b.Role != "replica" || b.Member == v.Record.Primary || b.Cluster != "c0" || b.Size == 0 {
		t.Errorf("the copy: %+v", b.Manifest)
	}
	executed := func() mysql.GTIDSet { return gtids(t, ask(t, app, "SELECT @@gtid_executed")) }
	copied := gtids(t, b.GTIDsTo)
	for len(executed().Subtract(copied).String()) == 0 || number(executed()) < number(copied)+200 { // it is written to all the time
		time.Sleep(10 * time.Millisecond)
	}
	target := executed()
	s.recoverable(f, "c0", 1, executed())

	r0 := spec("r0", 2)
	r0.BackupID, r0.RestoreTo = b.ID, target.String()
	if _, err := f.Create(t.Context(), r0); err != nil {
		t.Fatal(err)
	}
	reference := ask(t, s.stoppedAt("c0", primary, target), checksum)
	v = s.awaitFor(2*patience, f, "r0", "the restored cluster is complete", complete(2))
	if v.Record.Primary != 1 {
		t.Errorf("the primary is member %d, not the seed", v.Record.Primary)
	}
	own := ask(t, s.admin("r0", s.addr(f, "r0", 0)), "SELECT @@server_uuid")
	for _, m := range v.Record.Members {
		db := s.admin("r0", mysql.Addr{Host: m.Host, Port: m.Port})
		if got := ask(t, db, checksum); got != reference {
			t.Errorf("member %d has %s, a replica stopped at the target %s", m.ID, got, reference)
		}
		if more := gtids(t, ask(t, db, "SELECT @@gtid_executed")).Without(own); !more.Equal(target) {
			t.Errorf("member %d has executed %s, not %s", m.ID, more, target)
		}
	}
	s.accounts(f)
	t.Logf("restored %d of %d transactions: %s", number(target), number(executed()), reference)
	stop()
	if p := s.await(f, "c0", "the backed up cluster is well", complete(2)).Problems; len(p) != 0 {
		t.Error(p)
	}
	s.latest(f, b, app)
}

// number is how many transactions a set of one source has.
func number(set mysql.GTIDSet) (n int) {
	_, span, _ := strings.Cut(set.String(), ":1-")
	_, _ = fmt.Sscan(span, &n)
	return n
}

// accounts: the restored cluster lets in those of its own create call, and nobody with the passwords of the old one.
func (s *site) accounts(f *framework.Framework) {
	s.t.Helper()
	a := s.addr(f, "r0", 0)
	must(s.t, s.open("r0", "app", "secret of r0", a), "INSERT INTO d.t VALUES (-1, 1, 'new')")
	for user, password := range map[string]string{"app": "secret of c0", cotton.AdminAccount: s.password("c0", cotton.AdminAccount),
		cotton.ReplicationAccount: s.password("c0", cotton.ReplicationAccount)} {
		if _, err := s.open("r0", user, password, a).ExecContext(s.t.Context(), "DO 1"); !mysql.IsAccessDenied(err) {
			s.t.Errorf("%s of the old cluster gets in: %v", user, err)
		}
	}
}

// latest: all that was archived is restored, by another name of the user, into one node; and what cannot be is refused.
func (s *site) latest(f *framework.Framework, b framework.Recoverable, app *sql.DB) {
	s.t.Helper()
	end := gtids(s.t, ask(s.t, app, "SELECT @@gtid_executed"))
	s.recoverable(f, "c0", 1, end)
	r1 := spec("r1", 1)
	r1.User, r1.BackupID, r1.RestoreTo = "other", b.ID, backup.Latest
	if _, err := f.Create(s.t.Context(), r1); err != nil {
		s.t.Fatal(err)
	}
	for to, says := range map[string]string{
		"":                     "Unknown backup",
		"nonsense":             "no moment",
		"2020-01-01T00:00:00Z": "older backup",
		"2120-01-01T00:00:00Z": "may be missing",
		strings.Split(end.String(), ":")[0] + ":1":       "older backup",
		strings.Split(end.String(), ":")[0] + ":9999999": "archive ends before it",
	} {
		bad := spec("bad", 1)
		bad.BackupID, bad.RestoreTo = b.ID, to
		if to == "" {
			bad.BackupID = "c0-20200101T000000Z"
		}
		if _, err := f.Create(s.t.Context(), bad); err == nil || !contains(err.Error(), says) {
			s.t.Errorf("restore to %q: %v", to, err)
		}
	}
	s.awaitFor(2*patience, f, "r1", "the restored cluster is complete", complete(1))
	a := s.addr(f, "r1", 0)
	if got, want := ask(s.t, s.open("r1", "other", "secret of r1", a), checksum), ask(s.t, app, checksum); got != want {
		s.t.Errorf("latest: %s, want %s", got, want)
	}
	if _, err := s.open("r1", "app", "secret of c0", a).ExecContext(s.t.Context(), "DO 1"); err == nil {
		s.t.Error("the user of the old cluster gets in")
	}
}

func (s *site) awaitFor(limit time.Duration, f *framework.Framework, name, what string, ok func(framework.View) bool) framework.View {
	s.t.Helper()
	var v framework.View
	testkit.Eventually(s.t, limit, what, func() bool {
		var err error
		v, err = f.Cluster(s.t.Context(), name)
		return err == nil && ok(v)
	})
	return v
}

// TestRestoreAcrossFailover: the member that archives is lost, and later the primary; another member goes on each time. What
// the newest logs lead to is all that was acknowledged, before and after (I1). A restore that fails says why, is no cluster
// that takes writes, and is done once the reason is gone.
func TestRestoreAcrossFailover(t *testing.T) {
	long(t)
	s := newSite(t, "executor", 4)
	root := s.withBackups()
	f, _ := s.scheduler()
	c0 := spec("c0", 3)
	c0.Backup = &cotton.BackupPolicy{Every: time.Hour, Keep: 2, BinlogInterval: time.Second}
	if _, err := f.Create(t.Context(), c0); err != nil {
		t.Fatal(err)
	}
	v := s.awaitFor(2*patience, f, "c0", "the cluster is complete", complete(3))
	app := s.open("c0", "app", "secret of c0", s.addr(f, "c0", 0))
	must(t, app, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY, v INT NOT NULL, s VARCHAR(200) NOT NULL)", "INSERT INTO d.t VALUES (1, 1, 'before')")
	first := s.recoverable(f, "c0", 1, gtids(t, ask(t, app, "SELECT @@gtid_executed")))

	archiver, _ := v.Record.Member(first.Member)
	s.endExecutor(archiver.TaskID)
	must(t, app, "INSERT INTO d.t VALUES (2, 2, 'its replica is lost')")
	s.recoverable(f, "c0", 1, gtids(t, ask(t, app, "SELECT @@gtid_executed")))
	s.awaitFor(2*patience, f, "c0", "the replica is back", complete(3))

	was := v.Record.Primary
	primary, _ := v.Record.Member(was)
	s.endExecutor(primary.TaskID)
	s.awaitFor(2*patience, f, "c0", "another is the primary, and all are well", func(v framework.View) bool { return v.Record.Primary != was && complete(3)(v) })
	app = s.open("c0", "app", "secret of c0", s.addr(f, "c0", 0))
	must(t, app, "INSERT INTO d.t VALUES (3, 3, 'after the failover')")
	b := s.recoverable(f, "c0", 1, gtids(t, ask(t, app, "SELECT @@gtid_executed")))
	want := ask(t, app, checksum)

	damaged := filepath.Join(root, "c0", "backups", b.ID, "data", "ibdata1")
	text, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(damaged, 1<<20); err != nil {
		t.Fatal(err)
	}
	r0 := spec("r0", 1)
	r0.BackupID, r0.RestoreTo = b.ID, backup.Latest
	if _, err := f.Create(t.Context(), r0); err != nil {
		t.Fatal(err)
	}
	v = s.await(f, "r0", "the reason is shown", func(v framework.View) bool {
		return contains(strings.Join(v.Problems, ";"), "ibdata1 has 1048576 bytes")
	})
	if v.Endpoints.Primary != nil || v.Record.State != cotton.StateCreating || v.Record.Founded || v.Record.Primary != 0 {
		t.Errorf("a cluster that was not restored: %+v", v)
	}
	if err := os.WriteFile(damaged, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.awaitFor(3*patience, f, "r0", "it is restored all the same", complete(1))
	if got := ask(t, s.open("r0", "app", "secret of r0", s.addr(f, "r0", 0)), checksum); got != want {
		t.Errorf("restored %s, want %s", got, want)
	}
}
