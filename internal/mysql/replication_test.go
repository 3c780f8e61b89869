package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// patience is how long a test waits for what should take milliseconds.
const patience = testkit.Patience

func status(t *testing.T, db *sql.DB) *mysql.ReplicaStatus {
	t.Helper()
	s, err := mysql.ReadReplicaStatus(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func executed(t *testing.T, db *sql.DB) mysql.GTIDSet {
	t.Helper()
	var text string
	scan(t, db, "SELECT @@GLOBAL.gtid_executed", &text)
	set, err := mysql.ParseGTIDSet(text)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The life of a replica, through the statements of this package only.
func TestReplication(t *testing.T) {
	ctx := t.Context()
	source, replica := testkit.FreshServer(t, nil), testkit.FreshServer(t, nil)
	s, r := source.DB(), replica.DB()
	run(t, s, "CREATE USER repl IDENTIFIED BY 'ge\\'he\"im\\\\'", "GRANT REPLICATION SLAVE ON *.* TO repl")
	options := mysql.SourceOptions{Addr: source.Addr(), User: "repl", Password: `ge'he"im\`, ConnectRetry: 1500 * time.Millisecond,
		RetryCount: 77, HeartbeatPeriod: 500 * time.Millisecond, Delay: time.Hour}
	check(t, mysql.ChangeSource(ctx, r, options))

	st := status(t, r)
	if st == nil || st.Delay != time.Hour {
		t.Fatalf("configured to stay behind: %+v", st)
	}
	options.Delay = 0
	run(t, r, "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 0")
	st = status(t, r)
	if st == nil || st.Delay != 0 || st.Source != source.Addr() || !st.AutoPosition || st.IORunning != "No" || st.SQLRunning != "No" || st.Receiving() {
		t.Fatalf("configured, not started: %+v", st)
	}
	var retry, count int
	var heartbeat float64
	scan(t, r, "SELECT connection_retry_interval, connection_retry_count, heartbeat_interval FROM performance_schema.replication_connection_configuration",
		&retry, &count, &heartbeat)
	if retry != 2 || count != 77 || heartbeat != 0.5 {
		t.Errorf("connect retry %d, retry count %d, heartbeat %v", retry, count, heartbeat)
	}

	check(t, mysql.StartReplica(ctx, r))
	run(t, s, "CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)")
	check(t, mysql.WaitForGTID(ctx, r, executed(t, s), 30*time.Second))
	var rows int
	scan(t, r, "SELECT COUNT(*) FROM d.t", &rows)
	if rows != 1 {
		t.Errorf("%d rows at the replica", rows)
	}
	var sourceUUID string
	scan(t, s, "SELECT @@server_uuid", &sourceUUID)
	st = status(t, r)
	if !st.Receiving() || st.SQLRunning != "Yes" || st.SourceUUID != sourceUUID || st.IOError != "" || st.SQLError != "" ||
		st.SecondsBehind == nil || !strings.Contains(st.Executed, sourceUUID) || !strings.Contains(st.Retrieved, sourceUUID) {
		t.Errorf("running: %+v", st)
	}
	if err := mysql.ChangeSource(ctx, r, options); !mysql.IsNumber(err, mysql.ErrReplicaMustStop) || strings.Contains(err.Error(), "im\\") {
		t.Errorf("changing the source of a running replica: %v", err)
	}

	// The receiver stopped, what the source does next is not waited for for ever.
	check(t, mysql.StopReceiver(ctx, r))
	run(t, s, "INSERT INTO d.t VALUES (2)")
	if st = status(t, r); st.Receiving() || st.SQLRunning != "Yes" {
		t.Errorf("receiver stopped: %+v", st)
	}
	missing := executed(t, s).Subtract(executed(t, r))
	err := mysql.WaitForGTID(ctx, r, executed(t, s), 50*time.Millisecond)
	if !errors.Is(err, mysql.ErrNotApplied) || missing.Empty() || !strings.Contains(err.Error(), missing.String()) {
		t.Errorf("waiting for what cannot come: %v, want it to name %s", err, missing)
	}
	check(t, mysql.StartReplica(ctx, r))
	check(t, mysql.WaitForGTID(ctx, r, executed(t, s), 30*time.Second))

	check(t, mysql.StopReplica(ctx, r))
	if st = status(t, r); st.IORunning != "No" || st.SQLRunning != "No" {
		t.Errorf("stopped: %+v", st)
	}
	check(t, mysql.ResetReplicaAll(ctx, r))
	if st = status(t, r); st != nil {
		t.Errorf("no replica any more, yet %+v", st)
	}
	if err := mysql.StartReplica(ctx, r); !mysql.IsNumber(err, mysql.ErrNotReplica) {
		t.Errorf("starting what is no replica: %v", err)
	}
}

// A replica that cannot connect says why.
func TestReplicaStatusTellsErrors(t *testing.T) {
	ctx := t.Context()
	server := testkit.Server(t)
	db := server.DB()
	t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx)
		if err := errors.Join(mysql.StopReplica(ctx, db), mysql.ResetReplicaAll(ctx, db)); err != nil {
			t.Error(err)
		}
	})
	check(t, mysql.ChangeSource(ctx, db, mysql.SourceOptions{Addr: server.Addr(), User: "nobody", Password: "wrong", ConnectRetry: time.Second}))
	check(t, mysql.StartReplica(ctx, db))
	testkit.Eventually(t, patience, "an error of the receiver", func() bool {
		st := status(t, db)
		return strings.Contains(st.IOError, "error 1045") && strings.Contains(st.IOError, "Access denied") && !st.Receiving()
	})
}

// With several channels the default one is told, wherever the server lists it.
func TestReplicaStatusOfChannels(t *testing.T) {
	ctx := t.Context()
	db := testkit.Server(t).DB()
	t.Cleanup(func() {
		if err := mysql.ResetReplicaAll(context.WithoutCancel(ctx), db); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []struct{ channel, told string }{{"b", "b"}, {"a", "a"}, {"", ""}, {"z", ""}} {
		run(t, db, "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'of-"+c.channel+"' FOR CHANNEL '"+c.channel+"'")
		if st := status(t, db); st == nil || st.Channel != c.told || st.Source.Host != "of-"+c.told {
			t.Errorf("after channel %q: %+v", c.channel, st)
		}
	}
}

func TestReadOnlySwitches(t *testing.T) {
	ctx := t.Context()
	db := testkit.Server(t).DB()
	t.Cleanup(func() {
		if err := mysql.SetReadOnly(context.WithoutCancel(ctx), db, false); err != nil {
			t.Error(err)
		}
	})
	state := func() (readOnly, super bool) {
		s, err := mysql.ReadServer(ctx, db)
		check(t, err)
		return s.ReadOnly, s.SuperReadOnly
	}
	for _, c := range []struct {
		do              func(context.Context, *sql.DB, bool) error
		on              bool
		readOnly, super bool
	}{
		{mysql.SetReadOnly, true, true, false},
		{mysql.SetSuperReadOnly, true, true, true},
		{mysql.SetSuperReadOnly, false, true, false},
		{mysql.SetSuperReadOnly, true, true, true},
		{mysql.SetReadOnly, false, false, false},
	} {
		check(t, c.do(ctx, db, c.on))
		if readOnly, super := state(); readOnly != c.readOnly || super != c.super {
			t.Errorf("read_only %v, super_read_only %v; want %v, %v", readOnly, super, c.readOnly, c.super)
		}
	}
	check(t, mysql.SetSuperReadOnly(ctx, db, true))
	if _, err := db.ExecContext(ctx, "CREATE DATABASE d"); !mysql.IsReadOnly(err) {
		t.Errorf("writing to a read-only server: %v", err)
	}
}

// I1: with semi-synchronous replication a commit is acknowledged only once a replica has it, and a fenced source, whose
// replicas were told to stop receiving, acknowledges nothing at all.
func TestSemiSync(t *testing.T) {
	ctx := t.Context()
	source, replica := testkit.FreshServer(t, nil), testkit.FreshServer(t, nil)
	s, r, v := source.DB(), replica.DB(), source.Version()
	run(t, s, "CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)")
	semiSync := func() mysql.SemiSyncStatus {
		got, err := mysql.ReadSemiSync(ctx, s, v)
		check(t, err)
		return got
	}
	if got := semiSync(); got != (mysql.SemiSyncStatus{}) {
		t.Errorf("before: %+v", got)
	}
	check(t, mysql.SetSemiSyncReplica(ctx, r, v, true))
	check(t, mysql.ChangeSource(ctx, r, mysql.SourceOptions{Addr: source.Addr(), User: "root", ConnectRetry: time.Second}))
	check(t, mysql.StartReplica(ctx, r))
	check(t, mysql.SetSemiSyncSource(ctx, s, v, mysql.SemiSyncSource{Enabled: true}))
	testkit.Eventually(t, patience, "a replica that acknowledges", func() bool {
		got := semiSync()
		return got.Active && got.Clients == 1
	})
	run(t, s, "INSERT INTO d.t VALUES (1)")

	check(t, mysql.StopReceiver(ctx, r))
	acknowledged := make(chan error, 1)
	go func() {
		_, err := s.ExecContext(ctx, "INSERT INTO d.t VALUES (2)")
		acknowledged <- err
	}()
	testkit.Eventually(t, patience, "a commit that waits for an acknowledgement", func() bool { return semiSync().Waiting == 1 })
	select {
	case err := <-acknowledged:
		t.Fatalf("a fenced source acknowledged a commit: %v", err)
	default:
	}
	check(t, mysql.StartReplica(ctx, r))
	if err := <-acknowledged; err != nil {
		t.Errorf("the commit that had waited: %v", err)
	}

	check(t, mysql.StopReceiver(ctx, r))
	check(t, mysql.SetSemiSyncSource(ctx, s, v, mysql.SemiSyncSource{Acks: 1, Timeout: 10 * time.Second}))
	run(t, s, "INSERT INTO d.t VALUES (3)") // disabled: waits for nobody
	var timeout int
	scan(t, s, "SELECT @@GLOBAL.rpl_semi_sync_source_timeout", &timeout)
	if timeout != 10000 {
		t.Errorf("time-out %d ms", timeout)
	}
}

// Servers that were not told to load the plugins get them installed, once.
func TestSemiSyncInstallsPlugins(t *testing.T) {
	ctx := t.Context()
	server := testkit.Server(t)
	db, v := server.DB(), server.Version()
	run(t, db, "UNINSTALL PLUGIN rpl_semi_sync_source", "UNINSTALL PLUGIN rpl_semi_sync_replica")
	for range 2 {
		check(t, mysql.SetSemiSyncSource(ctx, db, v, mysql.SemiSyncSource{}))
		check(t, mysql.SetSemiSyncReplica(ctx, db, v, true))
	}
	var enabled bool
	scan(t, db, "SELECT @@GLOBAL.rpl_semi_sync_replica_enabled", &enabled)
	if !enabled {
		t.Error("the replica's side is not enabled")
	}
	check(t, mysql.SetSemiSyncReplica(ctx, db, v, false))
}
