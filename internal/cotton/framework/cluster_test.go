package framework_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/discovery"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

func complete(nodes int) func(framework.View) bool {
	return func(v framework.View) bool {
		return v.Record.State == cotton.StateRunning && v.Endpoints.Primary != nil && len(v.Endpoints.Replicas) == nodes-1 && len(v.Problems) == 0
	}
}

func (s *site) open(name, user, password string, a mysql.Addr) *sql.DB {
	s.t.Helper()
	db, err := mysql.Open(a, mysql.Credentials{User: user, Password: password, TLS: "required", Authority: s.authority(name)}, mysql.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { db.Close() })
	return db
}

// TestCluster: a cluster of real servers is created, writable where it says so (I10) and nowhere else (I2), replicating,
// lossless, without an errant transaction (I7); and its scheduler, restarted, touches nothing.
func TestCluster(t *testing.T) {
	s := newSite(t, "executor", 3)
	f, stop := s.scheduler()
	begun := time.Now()
	if _, err := f.Create(t.Context(), spec("c0", 3)); err != nil {
		t.Fatal(err)
	}
	v := s.await(f, "c0", "the cluster is complete", complete(3))
	t.Logf("3 nodes, writable and replicating, after %s", time.Since(begun).Round(time.Millisecond))

	published, _ := bulletin{s.Dir + "/published"}.read("c0")
	addr := mysql.Addr{Host: published.Primary.Host, Port: published.Primary.Port}
	app := s.open("c0", "app", "secret of c0", addr)
	for _, statement := range []string{"CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)"} {
		if _, err := app.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	for _, r := range published.Replicas {
		db := s.open("c0", "app", "secret of c0", mysql.Addr{Host: r.Host, Port: r.Port})
		testkit.Eventually(t, patience, "the row is at the replica", func() bool {
			var n int
			return db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM d.t").Scan(&n) == nil && n == 1
		})
		if _, err := db.ExecContext(t.Context(), "INSERT INTO d.t VALUES (2)"); !mysql.IsReadOnly(err) {
			t.Errorf("a replica takes writes (I2): %v", err)
		}
	}
	s.privileges(app)
	s.healthy(v, 3)

	before := s.tasks()
	stop()
	again, _ := s.scheduler()
	s.await(again, "c0", "the cluster is complete for the next scheduler", complete(3))
	if after := s.tasks(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("a restart changed tasks: %v, then %v (I8)", before, after)
	}
	s.failover(again, addr)
	s.switchover(again)
}

// privileges: the cluster's user is none that could break what cotton promises.
func (s *site) privileges(app *sql.DB) {
	s.t.Helper()
	for _, statement := range []string{
		"SET GLOBAL read_only = ON", "SET GLOBAL rpl_semi_sync_source_enabled = OFF", "SHUTDOWN", "RESET BINARY LOGS AND GTIDS",
		"ALTER USER 'cotton_admin'@'%' IDENTIFIED BY 'x'", "DROP USER 'cotton_repl'@'%'", "UPDATE mysql.user SET super_priv = 'Y'",
		"GRANT ALL ON *.* TO 'app'@'%'", "CREATE USER 'cotton_admin'@'127.0.0.1'", "FLUSH STATUS", "SHOW REPLICAS",
		"SELECT user_password FROM mysql.slave_master_info", "DROP DATABASE sys", "SET gtid_next = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:1'",
	} {
		if _, err := app.ExecContext(s.t.Context(), statement); err == nil {
			s.t.Errorf("the cluster's user may: %s", statement)
		}
	}
}

// healthy looks at every server as an administrator.
func (s *site) healthy(v framework.View, nodes int) {
	s.t.Helper()
	writable := 0
	for _, m := range v.Record.Members {
		db := s.administrator("c0", mysql.Addr{Host: m.Host, Port: m.Port})
		server, err := mysql.ReadServer(s.t.Context(), db)
		if err != nil {
			s.t.Fatal(err)
		}
		if !server.SuperReadOnly {
			writable++
		}
		status, err := mysql.ReadReplicaStatus(s.t.Context(), db)
		if err != nil {
			s.t.Fatal(err)
		}
		if m.ID == v.Record.Primary {
			// Where commits go on without a replica after a while, it takes effect again only once the replica has caught up.
			testkit.Eventually(s.t, patience, "semi-synchronous replication is in effect", func() bool {
				semi, err := mysql.ReadSemiSync(s.t.Context(), db, server.Version)
				return err == nil && semi.Active && semi.Clients == nodes-1
			})
			continue
		}
		if status == nil || !status.Receiving() || !status.AutoPosition {
			s.t.Errorf("member %d does not follow: %+v", m.ID, status)
		}
		executed, err := mysql.ParseGTIDSet(server.GTIDExecuted)
		for _, uuid := range v.Record.Lineage {
			executed = executed.Without(uuid)
		}
		if err != nil || !executed.Empty() {
			s.t.Errorf("member %d has transactions that are not the primary's (I7): %s %v", m.ID, executed, err)
		}
	}
	if writable != 1 {
		s.t.Errorf("%d members are writable (I2)", writable)
	}
}

// TestClone: a member whose primary has purged what it lacks is cloned from it, by an executor that starts mysqld again
// as CLONE asks for, and follows; also when the scheduler that began it is killed in between.
func TestClone(t *testing.T) {
	t.Parallel()
	s := newSite(t, "executor", 2)
	f, stop := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 2)); err != nil {
		t.Fatal(err)
	}
	v := s.await(f, "c0", "the cluster is complete", complete(2))
	stop() // so that nobody helps the replica meanwhile
	admin := func(e discovery.Endpoint) *sql.DB {
		return s.administrator("c0", mysql.Addr{Host: e.Host, Port: e.Port})
	}
	primary, replica := admin(*v.Endpoints.Primary), admin(v.Endpoints.Replicas[0])
	for _, on := range []struct {
		db         *sql.DB
		statements []string
	}{
		{replica, []string{"STOP REPLICA", "RESET REPLICA ALL"}},
		{primary, []string{"CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)", "FLUSH BINARY LOGS",
			"SET GLOBAL binlog_expire_logs_seconds = 1", "DO SLEEP(1.1)", "PURGE BINARY LOGS BEFORE NOW()"}},
	} {
		for _, statement := range on.statements {
			if _, err := on.db.ExecContext(t.Context(), statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
	killed(t, s.process("cotton.clone.copied=kill", nil))
	f, _ = s.scheduler()
	testkit.Eventually(t, patience, "the replica has the row", func() bool {
		var n int
		return replica.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM d.t").Scan(&n) == nil && n == 1
	})
	v = s.await(f, "c0", "the cluster is complete again", complete(2))
	cloned(t, replica)
	s.healthy(v, 2)
}

func cloned(t *testing.T, db *sql.DB) {
	t.Helper()
	state := ""
	if err := db.QueryRowContext(t.Context(), "SELECT state FROM performance_schema.clone_status").Scan(&state); err != nil || state != "Completed" {
		t.Errorf("it was not cloned: %q, %v", state, err)
	}
}

// TestLargeIsCloned: a new member of a cluster with much data in few transactions is cloned, although it could receive all.
func TestLargeIsCloned(t *testing.T) {
	long(t)
	s := newSite(t, "executor", 3)
	s.settings.CloneMB = 8
	f, _ := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 2)); err != nil {
		t.Fatal(err)
	}
	v := s.await(f, "c0", "the cluster is complete", complete(2))
	app := s.open("c0", "app", "secret of c0", mysql.Addr{Host: v.Endpoints.Primary.Host, Port: v.Endpoints.Primary.Port})
	for _, statement := range []string{"CREATE DATABASE d", "CREATE TABLE d.t (a INT AUTO_INCREMENT PRIMARY KEY, b LONGTEXT)",
		"INSERT INTO d.t (b) VALUES (REPEAT('x', 10000000))"} {
		if _, err := app.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	v = s.perform(f, cotton.Request{Kind: cotton.OpReplace, Member: v.Endpoints.Replicas[0].ID}, 2)
	e := v.Endpoints.Replicas[0]
	cloned(t, s.administrator("c0", mysql.Addr{Host: e.Host, Port: e.Port}))
	s.healthy(v, 2)
}
