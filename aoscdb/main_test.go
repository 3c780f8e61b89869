package aoscdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// cluster is a primary and a replica that the tests of this package share: the primary is the central server and an
// instance as well.
var cluster *mysqld.Cluster

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var err error
	cluster, err = mysqld.StartCluster(ctx, mysqld.ClusterOptions{Replicas: 1, Server: func(int) mysqld.Options {
		return mysqld.Options{Config: map[string]string{
			"sync_binlog": "0", "innodb_flush_log_at_trx_commit": "2", "innodb_flush_method": "nosync", // quicker; no test here kills a server
			// Settings of somebody else's server, none of which may matter.
			"sql_mode": "ANSI,NO_BACKSLASH_ESCAPES", "character_set_server": "latin1", "default_storage_engine": "MyISAM",
			"loose_explicit_defaults_for_timestamp": "OFF", "loose_default_table_encryption": "OFF",
		}}
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the servers of the tests:", err)
		return 1
	}
	defer func() {
		if err := cluster.Remove(); err != nil {
			fmt.Fprintln(os.Stderr, "remove the servers of the tests:", err)
		}
	}()
	return m.Run()
}

// Names that a careless statement gets wrong: quotes, backticks, spaces, backslashes, a reserved word, letters of
// several bytes.
const (
	nastyTier     = "ti`er 'x' \"y\" \\ 表🐬"
	nastyTable    = "sel`ect 'a' \"b\" \\ é表"
	nastyDatabase = "db`id 'q' \"r\" \\ ß"
)

var databaseNumber atomic.Int64

// dsn names a database of the primary, which need not exist, by a name that needs quoting.
func dsn(database string) string {
	cfg := driver.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.DBName = "tcp", cluster.Primary.Addr().String(), "root", database
	return cfg.FormatDSN()
}

// newDatabase is a name for a central database of this test's own; it is dropped when the test ends.
func newDatabase(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("aosc`db %d", databaseNumber.Add(1))
	t.Cleanup(func() { tell(t, cluster.Primary.DB(), "DROP DATABASE IF EXISTS "+mysql.QuoteIdent(name)) })
	return name
}

func open(t *testing.T, database string) *Store {
	t.Helper()
	s, err := Open(dsn(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// template is the name of a central database that Init made, once for all tests.
var template = sync.OnceValues(func() (string, error) {
	s, err := Open(dsn("aosc`template"))
	if err != nil {
		return "", err
	}
	_, err = s.Init(context.Background())
	return s.Database(), errors.Join(err, s.Close())
})

// newStore is a central database of this test's own, with what Init makes.
func newStore(t *testing.T) *Store {
	t.Helper()
	from, err := template()
	ok(t, err)
	name := newDatabase(t)
	tell(t, cluster.Primary.DB(), "CREATE DATABASE "+mysql.QuoteIdent(name)+" DEFAULT CHARACTER SET utf8mb4")
	testkit.CopyCentral(t, cluster.Primary.DB(), from, name)
	return open(t, name)
}

// newInstance is the status store on the primary as an instance; its database goes when the test ends. Tests that use
// it must not run in parallel.
func newInstance(t *testing.T) *StatusStore {
	t.Helper()
	s := InstanceStatus(cluster.Primary.DB())
	dropInstanceDatabase(t, cluster.Primary)
	t.Cleanup(func() { dropInstanceDatabase(t, cluster.Primary) })
	ok(t, s.Ensure(t.Context()))
	return s
}

func dropInstanceDatabase(t *testing.T, server *mysqld.Server) {
	t.Helper()
	err := mysql.WithSession(context.Background(), server.DB(), mysql.Session{NoBinlog: true}, func(ctx context.Context, conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, "DROP DATABASE IF EXISTS aosc")
		return err
	})
	ok(t, err)
}

func tell(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(context.Background(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func ask[T any](t *testing.T, db *sql.DB, query string, args ...any) T {
	t.Helper()
	var out T
	if err := db.QueryRowContext(t.Context(), query, args...).Scan(&out); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return out
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// eventually polls a condition, for at most ten seconds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within ten seconds: %s", what)
		}
		<-tick.C
	}
}
