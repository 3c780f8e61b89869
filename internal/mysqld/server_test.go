package mysqld_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysqld"
)

func start(t *testing.T, o mysqld.Options) *mysqld.Server {
	t.Helper()
	s, err := mysqld.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func ask(t *testing.T, s *mysqld.Server, query string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var answer string
	if err := s.DB().QueryRowContext(ctx, query).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}

func tell(t *testing.T, s *mysqld.Server, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := s.DB().ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// TestLifecycle: a server stopped, killed, paused and restarted keeps its address, its identity and what was
// committed, and its directory is gone in the end.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	s, err := mysqld.Start(t.Context(), mysqld.Options{Config: map[string]string{"max-connections": "77"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Remove()
	if got := ask(t, s, "SELECT @@gtid_executed"); got != "" {
		t.Errorf("a new server has executed transactions already: %s", got)
	}
	if got := ask(t, s, "SELECT @@max_connections"); got != "77" {
		t.Errorf("max_connections is %s: Config did not override", got)
	}
	if got := ask(t, s, "SELECT CONCAT_WS(' ', @@gtid_mode, @@binlog_row_image, @@log_bin, @@bind_address, @@performance_schema)"); got != "ON FULL 1 127.0.0.1 1" {
		t.Errorf("default settings are %q", got)
	}
	uuid := ask(t, s, "SELECT @@server_uuid")
	tell(t, s, "CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)")

	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("a killed server ended with %v", err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	tell(t, s, "INSERT INTO d.t VALUES (2)")
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Errorf("a stopped server ended with %v", err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, s, "SELECT GROUP_CONCAT(a ORDER BY a) FROM d.t"); got != "1,2" {
		t.Errorf("rows after a crash and a stop: %s", got)
	}
	if got := ask(t, s, "SELECT @@server_uuid"); got != uuid {
		t.Errorf("server_uuid changed from %s to %s", uuid, got)
	}

	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.DB().PingContext(ctx); err == nil {
		if _, err := s.DB().ExecContext(ctx, "DO 1"); err == nil {
			t.Error("a paused server answers")
		}
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, s, "SELECT 1"); got != "1" {
		t.Errorf("after Resume: %s", got)
	}

	// A paused server can be stopped, and a stop that takes too long kills.
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stop a paused server: %v", err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(over); err == nil {
		t.Error("a stop out of time reports success")
	}
	pid := s.Pid()
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d is still there: %v", pid, err)
	}
	if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", s.Dir(), err)
	}
}

// TestTwoServers: copies of one template are different servers, and what listens on a port already is not taken for the
// server just started.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	a, b := start(t, mysqld.Options{}), start(t, mysqld.Options{})
	for _, variable := range []string{"server_uuid", "server_id", "port", "datadir"} {
		if x, y := ask(t, a, "SELECT @@"+variable), ask(t, b, "SELECT @@"+variable); x == y {
			t.Errorf("both servers have %s %s", variable, x)
		}
	}
	_, err := mysqld.Start(t.Context(), mysqld.Options{Port: b.Addr().Port})
	if err == nil || !strings.Contains(err.Error(), "Address already in use") {
		t.Errorf("want an error of the address being in use, got %v", err)
	}
	if got := ask(t, b, "SELECT 1"); got != "1" {
		t.Error("the server that was there is gone")
	}
}

// TestStartFails: the error of a server that cannot start says why, in the server's own words, and leaves nothing.
func TestStartFails(t *testing.T) {
	t.Parallel()
	_, err := mysqld.Start(t.Context(), mysqld.Options{Config: map[string]string{"no_such_setting": "1"}})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Fatalf("want an error that names the setting, got %v", err)
	}
}

// TestOwnDirectory: a directory given by the caller is kept, used again as it is, and may be long and odd; settings
// that are fixed at birth are honoured.
func TestOwnDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("a long name ", 8))
	o := mysqld.Options{Dir: dir, Config: map[string]string{"lower_case_table_names": "1"}}
	first := start(t, o)
	if got := ask(t, first, "SELECT @@lower_case_table_names"); got != "1" {
		t.Errorf("lower_case_table_names is %s", got)
	}
	tell(t, first, "CREATE DATABASE Kept")
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := first.Remove(); err != nil {
		t.Fatal(err)
	}
	second := start(t, o)
	if got := ask(t, second, "SHOW DATABASES LIKE 'kept'"); got != "kept" {
		t.Errorf("the database is gone: %s", got)
	}
}

// TestParentDies: when the process that started a server is killed, the server goes, too.
func TestParentDies(t *testing.T) {
	if os.Getenv("AOSC_TEST_PARENT") != "" {
		parent()
		return
	}
	server := orphan(t)
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(server, 0) == nil && !zombie(server) {
		select {
		case <-tick.C:
		case <-deadline.C:
			syscall.Kill(server, syscall.SIGKILL)
			t.Fatalf("mysqld %d outlived the process that started it", server)
		}
	}
}
