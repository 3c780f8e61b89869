package testkit_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// TestShared: tests get the same server and databases of their own, also in parallel.
func TestShared(t *testing.T) {
	first := testkit.Server(t)
	if testkit.Server(t) != first {
		t.Error("a second server was started")
	}
	a, b := testkit.Database(t, first), testkit.Database(t, first)
	if a == b {
		t.Errorf("both databases are called %s", a)
	}
	var gone string
	t.Run("inner", func(t *testing.T) {
		gone = testkit.Database(t, testkit.Server(t), "dbid")
		if !strings.HasPrefix(gone, "dbid") {
			t.Errorf("database %s is not called by its prefix", gone)
		}
		testkit.Exec(t, first, "CREATE TABLE "+gone+".t (a int PRIMARY KEY)")
	})
	if n := testkit.Ask(t, first, "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = ?", gone); n != "0" {
		t.Errorf("database %s outlived its test", gone)
	}
}

// TestRepo: commits are seen by others, what is not committed is not.
func TestRepo(t *testing.T) {
	r := testkit.Repo(t)
	first := r.Commit(map[string]string{"schemas/udb/t.sql": "one"}, "first")
	second := r.Commit(map[string]string{"schemas/udb/u.sql": "two"}, "second")
	if first == second || r.Head() != second {
		t.Errorf("commits are %s and %s, head is %s", first, second, r.Head())
	}
	r.Write("schemas/udb/t.sql", "changed")
	if got := r.Git("show", "HEAD:schemas/udb/t.sql"); got != "one" {
		t.Errorf("committed text is %q", got)
	}
	r.Delete("third", "schemas/udb/u.sql")
	if got := r.Git("ls-tree", "-r", "--name-only", "HEAD"); got != "schemas/udb/t.sql" {
		t.Errorf("files at head: %q", got)
	}
}

// TestLeavesNothing: a test process that is killed leaves a directory, which a later one removes; that of a living
// process is kept.
func TestLeavesNothing(t *testing.T) {
	dead := filepath.Join(os.TempDir(), "aosc-test-of-a-dead-process")
	if err := os.MkdirAll(filepath.Join(dead, "1", "data"), 0o750); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	mine := filepath.Dir(testkit.Server(t).Dir())
	for _, dir := range []string{dead, mine} {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Stat(dead); !os.IsNotExist(err) {
		t.Errorf("%s is still there", dead)
	}
	if testkit.Ask(t, testkit.Server(t), "SELECT 1") != "1" {
		t.Error("the shared server is gone")
	}
	if _, err := os.Stat(filepath.Join(mine, ".lock")); err != nil {
		t.Errorf("the directory of a living process was removed: %v", err)
	}
}

// TestErrantNoticed: a transaction written on a replica itself is reported (I7).
func TestErrantNoticed(t *testing.T) {
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{}, nil)
	testkit.NoErrantGTIDs(t, c)
	testkit.Exec(t, c.Replicas[0], "CREATE DATABASE errant")
	errant, err := testkit.ErrantGTIDs(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if errant[c.Replicas[0].Addr()] == "" {
		t.Error("I7: an errant transaction was not noticed")
	}
}

// TestStopwatch: what the machine holds up does not count, what the software takes does.
func TestStopwatch(t *testing.T) {
	srv := testkit.FreshServer(t, nil)
	const pause = 600 * time.Millisecond
	watch := testkit.StartStopwatch(t, srv)
	begun := time.Now()
	if err := srv.Pause(); err != nil { // as a machine does that has other things to do
		t.Fatal(err)
	}
	held := time.AfterFunc(pause, func() {
		if err := srv.Resume(); err != nil {
			t.Error(err)
		}
	})
	defer held.Stop()
	testkit.Ask(t, srv, "SELECT 1")
	stood := time.Since(begun)
	testkit.Ask(t, srv, "SELECT SLEEP(0.5)")
	all := time.Since(begun)
	took := watch.Took()
	if took > all-stood+100*time.Millisecond || stood < pause {
		t.Errorf("%v of %v counted, of which the server was held up for %v", took, all, stood)
	}
	if quiet := testkit.StartStopwatch(t, srv); testkit.Ask(t, srv, "SELECT SLEEP(1)") != "0" || quiet.Took() == 0 {
		t.Error("what the server itself takes does not count")
	}
}
