package framework_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// follower is a server outside of the cluster that receives from an instance, and acknowledges.
func follower(t testing.TB, source mysql.Addr, user, password string) *sql.DB {
	t.Helper()
	server := testkit.FreshServer(t, map[string]string{"rpl_semi_sync_replica_enabled": "ON"})
	ctx, db := t.Context(), server.DB()
	if err := mysql.ChangeSource(ctx, db, mysql.SourceOptions{Addr: source, SSL: true, User: user, Password: password,
		ConnectRetry: time.Second, RetryCount: 1000}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, "START REPLICA IO_THREAD"); err != nil {
		t.Fatal(err)
	}
	return db
}

// outsider makes an account that may replicate and has a server outside use it.
func (s *site) outsider(admin *sql.DB, source mysql.Addr) *sql.DB {
	s.t.Helper()
	for _, statement := range []string{"CREATE USER outside IDENTIFIED BY 'o'", "GRANT REPLICATION SLAVE ON *.* TO outside"} {
		if _, err := admin.ExecContext(s.t.Context(), statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
	return follower(s.t, source, "outside", "o")
}

// TestOutsideAcknowledger: a server outside of the cluster that acknowledges takes no member's place: commits wait for the members, and
// nothing that was acknowledged is lost with the primary.
func TestOutsideAcknowledger(t *testing.T) {
	long(t)
	s := newSite(t, "executor", 3)
	f, stop := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 3)); err != nil {
		t.Fatal(err)
	}
	v := s.await(f, "c0", "the cluster is complete", complete(3))
	old := v.Record.Primary
	at := func(id int) mysql.Addr { m := member(v, id); return mysql.Addr{Host: m.Host, Port: m.Port} }
	admin, app := s.administrator("c0", at(old)), s.open("c0", "app", "secret of c0", at(old))
	for _, statement := range []string{"CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)"} {
		if _, err := app.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	outside := s.outsider(admin, at(old))
	begun := time.Now()
	acks := func() (n int) {
		_ = admin.QueryRowContext(t.Context(), "SELECT @@rpl_semi_sync_source_wait_for_replica_count").Scan(&n)
		return n
	}
	v = s.await(f, "c0", "the server outside is found out, and shown", func(v framework.View) bool {
		return len(v.Problems) == 1 && contains(v.Problems[0], "1 sessions from outside the cluster acknowledge") &&
			contains(v.Problems[0], "outside from 127.0.0.1")
	})
	testkit.Eventually(t, patience, "commits wait for one acknowledgement more", func() bool { return acks() == 2 })
	t.Logf("an acknowledgement more is wanted %s after a server outside began to receive", time.Since(begun).Round(time.Millisecond))
	if _, err := app.ExecContext(t.Context(), "INSERT INTO d.t VALUES (0)"); err != nil {
		t.Errorf("with both replicas writes go on: %v", err)
	}

	// Nobody starts what is stopped now; the server outside goes on to acknowledge.
	stop()
	for _, m := range v.Record.Members {
		if m.ID == old {
			continue
		}
		if _, err := s.administrator("c0", at(m.ID)).ExecContext(t.Context(), "STOP REPLICA IO_THREAD"); err != nil {
			t.Fatal(err)
		}
	}
	const rows = 10
	var mu sync.Mutex
	var acknowledged []int
	var wg sync.WaitGroup
	for n := 1; n <= rows; n++ {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if _, err := app.ExecContext(ctx, fmt.Sprintf("INSERT INTO d.t VALUES (%d)", n)); err == nil {
				mu.Lock()
				defer mu.Unlock()
				acknowledged = append(acknowledged, n)
			}
		})
	}
	wg.Wait()
	// Two connections at least had an insert that reached the server outside.
	testkit.Eventually(t, patience, "the server outside has received some", func() bool {
		var got, theirs string
		if admin.QueryRowContext(t.Context(), "SELECT @@gtid_executed").Scan(&theirs) != nil {
			return false
		}
		err := outside.QueryRowContext(t.Context(), "SELECT received_transaction_set FROM "+
			"performance_schema.replication_connection_status").Scan(&got)
		received, _ := mysql.ParseGTIDSet(got)
		executed, _ := mysql.ParseGTIDSet(theirs)
		return err == nil && received.Contains(executed)
	})
	s.endExecutor(member(v, old).TaskID)
	f, _ = s.scheduler()
	v = s.await(f, "c0", "another primary", func(v framework.View) bool {
		return v.Record.Primary != old && v.Endpoints.Primary != nil && v.Endpoints.Primary.ID == v.Record.Primary
	})
	lost := 0
	for _, n := range acknowledged {
		var found int
		if err := s.administrator("c0", at(v.Record.Primary)).QueryRowContext(t.Context(), "SELECT COUNT(*) FROM d.t WHERE a = ?",
			n).Scan(&found); err != nil || found != 1 {
			lost++
		}
	}
	t.Logf("%d of %d rows acknowledged, %d of these lost", len(acknowledged), rows, lost)
	if lost > 0 {
		t.Errorf("%d of %d acknowledged rows are lost", lost, len(acknowledged))
	}
	s.await(f, "c0", "the former primary follows", complete(3))
}
