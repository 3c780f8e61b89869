package aoscdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// both runs a test over the status tables of an instance and over the central ones: the rules are the same.
func both(t *testing.T, test func(*testing.T, *StatusStore)) {
	t.Helper()
	t.Run("instance", func(t *testing.T) { test(t, newInstance(t)) })
	t.Run("central", func(t *testing.T) { test(t, newStore(t).CentralStatus()) })
}

func gtidExecuted(t *testing.T, server *mysqld.Server) string {
	t.Helper()
	return ask[string](t, server.DB(), "SELECT @@GLOBAL.gtid_executed")
}

// TestNoErrantTransactions: I7. Nothing the status store does on an instance is logged, on a replica least of all.
func TestNoErrantTransactions(t *testing.T) {
	ctx := t.Context()
	for _, server := range cluster.Servers() {
		ok(t, cluster.Sync(ctx))
		before := gtidExecuted(t, server)
		s := InstanceStatus(server.DB())
		row := OSCRow{Host: "h", Port: 1, Group: "g", Table: "t"}
		key := LocalKey{Database: "d", Table: "t"}
		for _, err := range []error{
			s.Ensure(ctx),
			s.PutLocal(ctx, []LocalStatus{{Host: "h", Port: 1, Database: "d", Table: "t", Status: LocalNA, HashDesired: "x"}}),
			s.DeleteLocal(ctx, "h", 1, []LocalKey{key}),
			s.PutWaiting(ctx, row),
		} {
			ok(t, err)
		}
		row = must(s.OSCRow(ctx, "h", 1, "g", "t"))(t)
		if taken := must(s.Take(ctx, row, "me"))(t); !taken {
			t.Error("not taken")
		}
		ok(t, s.Report(ctx, row, "me", 50, `{"d":1}`))
		must(s.SetPriv(ctx, "h", 1, "g", "t", PrivPause))(t)
		ok(t, s.Finish(ctx, row, "me", End{Status: OSCDone}))
		must(s.Withdraw(ctx, "h", 1, "g", "t"))(t)
		must(s.DropForeign(ctx, "x", 2))(t)
		if after := gtidExecuted(t, server); after != before {
			t.Errorf("%s had executed %q, now %q", server.Addr(), before, after)
		}
		dropInstanceDatabase(t, server)
	}
	// What one primary holds stays there.
	newInstance(t)
	ok(t, cluster.Sync(ctx))
	if n := ask[int](t, cluster.Replicas[0].DB(), "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'aosc'"); n != 0 {
		t.Error("database aosc was replicated")
	}
	// The session that wrote unlogged is gone: nobody inherits it.
	before := gtidExecuted(t, cluster.Primary)
	tell(t, cluster.Primary.DB(), "CREATE DATABASE logged")
	tell(t, cluster.Primary.DB(), "DROP DATABASE logged")
	if gtidExecuted(t, cluster.Primary) == before {
		t.Error("an ordinary session of the pool writes unlogged")
	}
}

func TestEnsureAtOnceAndAgain(t *testing.T) {
	s := newInstance(t)
	dropInstanceDatabase(t, cluster.Primary)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := s.Ensure(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ok(t, s.Ensure(t.Context()))
	if n := ask[int](t, cluster.Primary.DB(), "SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = 'aosc'"); n != 4 {
		t.Errorf("%d guards, want UPDATE and DELETE of two tables", n)
	}
	if complete := must(s.complete(t.Context()))(t); !complete {
		t.Error("Ensure has more to do after Ensure")
	}
	ok(t, s.PutWaiting(t.Context(), OSCRow{Host: "h", Port: 1, Group: "g", Table: "t"}))
	unlogged(t, "ALTER TABLE aosc.aosc_osc_ww DROP COLUMN owner")
	if err := s.Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), "no column owner") {
		t.Errorf("a table without a column of ours: %v", err)
	}
}

// TestGuardOfAnAccountThatIsGone: a trigger runs as its maker; without it the first write takes the guards over.
func TestGuardOfAnAccountThatIsGone(t *testing.T) {
	s := newInstance(t)
	ok(t, s.PutWaiting(t.Context(), OSCRow{Host: "h", Port: 1, Group: "g", Table: "t"}))
	unlogged(t, "DROP TRIGGER aosc.aosc_guard_osc_ww_update",
		"CREATE DEFINER = 'gone'@'nowhere' TRIGGER aosc.aosc_guard_osc_ww_update BEFORE UPDATE ON aosc.aosc_osc_ww FOR EACH ROW SET NEW.priority = 1")
	if changed := must(s.SetPriv(t.Context(), "h", 1, "g", "t", PrivStop))(t); !changed {
		t.Error("osc_priv was not set")
	}
	_, err := cluster.Primary.DB().ExecContext(t.Context(), "UPDATE aosc.aosc_osc_ww SET osc_priv='PAUSE'")
	if err == nil || !strings.Contains(err.Error(), "SET sql_log_bin=0") {
		t.Errorf("the guard taken over does not guard: %v", err)
	}
}

// unlogged runs statements on the primary with sql_log_bin=0, as an operator may.
func unlogged(t *testing.T, statements ...string) {
	t.Helper()
	ok(t, mysql.WithSession(t.Context(), cluster.Primary.DB(), mysql.Session{NoBinlog: true}, func(ctx context.Context, conn *sql.Conn) error {
		for _, statement := range statements {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		return nil
	}))
}

// TestGuard: a logged UPDATE or DELETE by hand, which would stop the replicas (they have no such row), is refused with
// the way out.
func TestGuard(t *testing.T) {
	s := newInstance(t)
	replica := cluster.Replicas[0]
	ok(t, InstanceStatus(replica.DB()).Ensure(t.Context()))
	defer dropInstanceDatabase(t, replica)
	ok(t, s.PutWaiting(t.Context(), OSCRow{Host: "h", Port: 1, Group: "g", Table: "t"}))
	ok(t, s.PutLocal(t.Context(), []LocalStatus{{Host: "h", Port: 1, Database: "d", Table: "t", Status: LocalOK}}))
	for _, statement := range []string{
		"UPDATE aosc.aosc_osc_ww SET osc_priv='PAUSE'", "DELETE FROM aosc.aosc_osc_ww",
		"UPDATE aosc.aosc_local_status SET status='NA'", "DELETE FROM aosc.aosc_local_status",
	} {
		_, err := cluster.Primary.DB().ExecContext(t.Context(), statement)
		if err == nil || !strings.Contains(err.Error(), "SET sql_log_bin=0") {
			t.Errorf("%s: %v, want it refused naming sql_log_bin", statement, err)
		}
	}
	unlogged(t, "UPDATE aosc.aosc_osc_ww SET osc_priv='PAUSE'")
	if row := must(s.OSCRow(t.Context(), "h", 1, "g", "t"))(t); row.OSCPriv != PrivPause {
		t.Errorf("an operator's unlogged UPDATE left %s", row.OSCPriv)
	}
	ok(t, cluster.Sync(t.Context()))
}

func TestReadOnlyInstance(t *testing.T) {
	replica := cluster.Replicas[0]
	s := InstanceStatus(replica.DB())
	ok(t, s.Ensure(t.Context())) // tables that exist change nothing
	tell(t, replica.DB(), "SET GLOBAL super_read_only = ON")
	defer func() {
		tell(t, replica.DB(), "SET GLOBAL super_read_only = OFF")
		dropInstanceDatabase(t, replica)
	}()
	for what, err := range map[string]error{
		"Ensure":     s.Ensure(t.Context()),
		"PutWaiting": s.PutWaiting(t.Context(), OSCRow{Host: "h", Port: 1, Group: "g", Table: "t"}),
	} {
		if !errors.Is(err, ErrReadOnlyInstance) || !strings.Contains(err.Error(), "status_store='central'") {
			t.Errorf("%s on a super_read_only instance: %v", what, err)
		}
	}
	if rows := must(s.OSCRows(t.Context(), "h", 1))(t); len(rows) != 0 {
		t.Error("the refused row is there")
	}
}

func TestNotAllowedToWriteUnlogged(t *testing.T) {
	newInstance(t)
	unlogged(t, "CREATE USER poor@'127.0.0.1'", "GRANT ALL ON aosc.* TO poor@'127.0.0.1'")
	defer unlogged(t, "DROP USER poor@'127.0.0.1'")
	db := must(mysql.Open(cluster.Primary.Addr(), mysql.Credentials{User: "poor"}, mysql.Options{}))(t)
	defer db.Close()
	err := InstanceStatus(db).PutWaiting(t.Context(), OSCRow{Host: "h", Port: 1, Group: "g", Table: "t"})
	if !mysql.IsAccessDenied(err) || !strings.Contains(err.Error(), "SESSION_VARIABLES_ADMIN") {
		t.Errorf("%v, want the missing privilege named", err)
	}
}

// TestPrivilegesOfTheManual: the account that docs/operations.md asks for is enough, for the guards as well: a logged change is refused,
// and the server trusts makers of triggers no more than before.
func TestPrivilegesOfTheManual(t *testing.T) {
	newInstance(t)
	dropInstanceDatabase(t, cluster.Primary)
	unlogged(t, testkit.SQLOfManual(t, "../docs/operations.md", "Privileges", "secret")[1]...)
	defer unlogged(t, "DROP USER aosc, aosc_write, aosc_scratch, aosc_checksum")
	db := must(mysql.Open(cluster.Primary.Addr(), mysql.Credentials{User: "aosc", Password: "secret"}, mysql.Options{}))(t)
	defer db.Close()
	s := InstanceStatus(db)
	// Several daemons do it at once, and an account without any privilege holds a lock of that name.
	ok(t, mysql.WithSession(t.Context(), cluster.Primary.DB(), mysql.Session{}, func(ctx context.Context, conn *sql.Conn) error {
		if _, err := conn.ExecContext(ctx, "DO GET_LOCK('aosc.ensure', 0)"); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, testkit.Patience)
		defer cancel()
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				if err := s.Ensure(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		_, err := conn.ExecContext(ctx, "DO RELEASE_LOCK('aosc.ensure')")
		return err
	}))
	if complete := must(s.complete(t.Context()))(t); !complete {
		t.Error("something is missing")
	}
	ok(t, s.PutWaiting(t.Context(), OSCRow{Host: "h", Port: 1, Group: "g", Table: "t"}))
	if changed := must(s.SetPriv(t.Context(), "h", 1, "g", "t", PrivStop))(t); !changed {
		t.Error("osc_priv was not set")
	}
	if _, err := db.ExecContext(t.Context(), "UPDATE aosc.aosc_osc_ww SET osc_priv='PAUSE'"); err == nil ||
		!strings.Contains(err.Error(), "SET sql_log_bin=0") {
		t.Errorf("a logged change is not refused: %v", err)
	}
	if trusts := ask[int](t, db, "SELECT @@GLOBAL.log_bin_trust_function_creators"); trusts != 0 {
		t.Error("log_bin_trust_function_creators is still on")
	}
}

func TestDropForeign(t *testing.T) {
	s := newInstance(t)
	ctx := t.Context()
	for _, host := range []string{"donor", "own"} {
		for _, port := range []int{3306, 3307} {
			ok(t, s.PutWaiting(ctx, OSCRow{Host: host, Port: port, Group: "g", Table: "t"}))
			ok(t, s.PutLocal(ctx, []LocalStatus{{Host: host, Port: port, Database: "d", Table: "t", Status: LocalOK}}))
		}
	}
	if n := must(s.DropForeign(ctx, "own", 3306))(t); n != 6 {
		t.Errorf("removed %d rows, want 6", n)
	}
	if n := must(s.DropForeign(ctx, "own", 3306))(t); n != 0 {
		t.Errorf("removed %d rows the second time", n)
	}
	if rows := must(s.OSCRows(ctx, "own", 3306))(t); len(rows) != 1 {
		t.Errorf("its own rows: %+v", rows)
	}
	if _, err := newStore(t).CentralStatus().DropForeign(ctx, "own", 3306); err == nil {
		t.Error("the central tables, which hold everybody's rows, were cleared")
	}
}

// foundRows is the same store through a driver that counts found rows in place of changed ones: who wins must not
// depend on it.
func foundRows(t *testing.T, s *StatusStore) *StatusStore {
	t.Helper()
	cfg := must(driver.ParseDSN(dsn("")))(t)
	cfg.ClientFoundRows = true
	db := must(mysql.OpenDSN(cfg.FormatDSN()))(t)
	db.SetMaxOpenConns(32)
	t.Cleanup(func() { db.Close() })
	return &StatusStore{db: db, database: s.database, instance: s.instance}
}
