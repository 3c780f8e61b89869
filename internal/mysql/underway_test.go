package mysql_test

import (
	"errors"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// TestWaitForUnderWay: a commit that is in the binary log and in no gtid_executed is under way until it is, and so is what a session has
// set gtid_next for; what begins afterwards is not waited for.
func TestWaitForUnderWay(t *testing.T) {
	ctx := t.Context()
	server := testkit.FreshServer(t, nil)
	db := server.DB()
	run(t, db, "CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)")
	check(t, mysql.WaitForUnderWay(ctx, db, time.Second))
	executed := func() mysql.GTIDSet {
		set, err := mysql.GTIDExecuted(ctx, db)
		check(t, err)
		return set
	}
	before := executed()

	check(t, mysql.SetSemiSyncSource(ctx, db, server.Version(), mysql.SemiSyncSource{Enabled: true}))
	done := make(chan error, 1)
	go func() {
		_, err := db.ExecContext(ctx, "INSERT INTO d.t VALUES (1)")
		done <- err
	}()
	testkit.Eventually(t, patience, "the commit waits", func() bool {
		s, err := mysql.ReadSemiSync(ctx, db, server.Version())
		return err == nil && s.Waiting == 1
	})
	if err := mysql.WaitForUnderWay(ctx, db, 50*time.Millisecond); !errors.Is(err, mysql.ErrUnderWay) {
		t.Errorf("a commit waits for an acknowledgement: %v", err)
	}
	if !executed().Equal(before) {
		t.Error("it is in gtid_executed: the wait shows nothing")
	}
	waited := make(chan error, 1)
	go func() { waited <- mysql.WaitForUnderWay(ctx, db, patience) }()
	run(t, db, "SET GLOBAL rpl_semi_sync_source_enabled = OFF") // releases it
	check(t, <-waited)
	if executed().Equal(before) {
		t.Error("it was not waited for: gtid_executed is as it was")
	}
	check(t, <-done)

	conn, err := db.Conn(ctx)
	check(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(ctx, "SET gtid_next = 'aaaaaaaa-0000-4000-8000-000000000001:1'")
	check(t, err)
	if err := mysql.WaitForUnderWay(ctx, db, 50*time.Millisecond); !errors.Is(err, mysql.ErrUnderWay) {
		t.Errorf("a session has set gtid_next: %v", err)
	}
	_, err = conn.ExecContext(ctx, "ROLLBACK")
	check(t, err)
	check(t, mysql.WaitForUnderWay(ctx, db, patience))
}

// TestTimeoutOfBefore: a commit that began to wait under a short time-out takes the server back to asynchronous replication after that
// time, whatever the time-out is by then, and what follows waits for nobody: that the time-out is set says nothing.
func TestTimeoutOfBefore(t *testing.T) {
	ctx := t.Context()
	server := testkit.FreshServer(t, nil)
	db, v := server.DB(), server.Version()
	run(t, db, "CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)")
	check(t, mysql.SetSemiSyncSource(ctx, db, v, mysql.SemiSyncSource{Enabled: true, Timeout: 3 * time.Second}))
	done := make(chan error, 1)
	go func() {
		_, err := db.ExecContext(ctx, "INSERT INTO d.t VALUES (1)")
		done <- err
	}()
	testkit.Eventually(t, patience, "the commit waits", func() bool {
		s, err := mysql.ReadSemiSync(ctx, db, v)
		return err == nil && s.Waiting == 1
	})
	check(t, mysql.SetSemiSyncSource(ctx, db, v, mysql.SemiSyncSource{Enabled: true}))
	check(t, <-done)
	run(t, db, "INSERT INTO d.t VALUES (2)")
	if s, err := mysql.ReadSemiSync(ctx, db, v); err != nil || s.Active {
		t.Errorf("%+v, %v: it waits for acknowledgements, and two commits had none", s, err)
	}
	if e, err := mysql.ReadExposure(ctx, db); err != nil || !e.SemiSync || e.Waits {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestHeardByASetClock: how long ago a source was heard is not told by times that lie ahead, as those do that were taken before a clock was
// set back; a clock that was set forward is right again with the next heartbeat.
func TestHeardByASetClock(t *testing.T) {
	ctx := t.Context()
	source, replica := testkit.FreshServer(t, nil), testkit.FreshServer(t, nil)
	check(t, mysql.ChangeSource(ctx, replica.DB(), mysql.SourceOptions{Addr: source.Addr(), User: "root", ConnectRetry: time.Second,
		HeartbeatPeriod: 500 * time.Millisecond}))
	check(t, mysql.StartReplica(ctx, replica.DB()))
	db, err := mysql.Open(replica.Addr(), replica.Credentials(), mysql.Options{})
	check(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1) // all in one session, whose clock is set
	heard := func() *time.Duration {
		ago, err := mysql.ReadHeard(ctx, db)
		check(t, err)
		return ago
	}
	run(t, source.DB(), "CREATE DATABASE d")
	testkit.Eventually(t, patience, "the source is heard", func() bool { ago := heard(); return ago != nil && *ago < time.Minute })
	run(t, db, "SET timestamp = UNIX_TIMESTAMP() - 3600")
	if ago := heard(); ago != nil {
		t.Errorf("the clock was set back by an hour: the source was heard %s ago", ago)
	}
	run(t, db, "SET timestamp = UNIX_TIMESTAMP(SYSDATE()) + 3600")
	if ago := heard(); ago == nil || *ago < 59*time.Minute {
		t.Errorf("the clock was set forward by an hour: %v", ago)
	}
}
