package executor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/executor/install"
	"github.com/aosc/aosc/internal/loopback"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/process"
	"github.com/aosc/aosc/internal/testkit"
)

// fixture is an executor without Mesos, on a volume of its own.
func fixture(t *testing.T) (*Executor, cotton.Task) {
	t.Helper()
	dir, err := os.MkdirTemp("", "aosc-exec-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	keyfile := filepath.Join(dir, "key")
	if err := os.WriteFile(keyfile, []byte("a key that is long enough"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, cotton.VolumePath)); err != nil {
		t.Fatal(err)
	}
	port, err := loopback.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Release() })
	x := &Executor{cfg: Config{Sandbox: dir, Installer: install.Host{}, KillGrace: 10 * time.Second, StartLimit: time.Minute, Log: discard}}
	return x, cotton.Task{
		Schema: cotton.TaskSchema, Incarnation: "first", Cluster: "c", Member: 2, ServerID: 2, Nodes: 3, Host: "127.0.0.1", Port: port.Number,
		Size: cotton.Size{CPUs: 1, MemMB: 256, DiskMB: 512}, AdminKeyfile: keyfile,
	}
}

// TestStartServer: a new instance is closed for writes, follows nobody, has executed nothing (I7) and lets nobody in but
// the accounts of its cluster; started again it is the same server with its data.
func TestStartServer(t *testing.T) {
	t.Parallel()
	x, task := fixture(t)
	server, _, err := x.startServer(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { server.Remove() }()
	facts, err := mysql.ReadServer(t.Context(), server.DB())
	if err != nil || !facts.SuperReadOnly || facts.GTIDExecuted != "" || facts.ServerID != 2 {
		t.Errorf("%+v, %v", facts, err)
	}
	rows, err := server.DB().QueryContext(t.Context(), "SELECT CONCAT(user, '@', host) FROM mysql.user WHERE account_locked = 'N'")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for rows.Next() {
		var account string
		if err := rows.Scan(&account); err != nil {
			t.Fatal(err)
		}
		open = append(open, account)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(open, " "); len(open) != 2 || !strings.Contains(got, "cotton_admin@%") || !strings.Contains(got, "cotton_repl@%") {
		t.Errorf("accounts that can log in: %s", got)
	}
	repl, err := mysql.Open(server.Addr(), mysql.Credentials{
		User: cotton.ReplicationAccount, Password: cotton.AdminKey("a key that is long enough").Password(task.Identity(), cotton.ReplicationAccount),
	}, mysql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer repl.Close()
	if err := repl.PingContext(t.Context()); !mysql.IsAccessDenied(err) {
		t.Errorf("the replication account without TLS: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(server.Dir(), "first.sql")); len(left) != 0 {
		t.Errorf("the first statements are left behind: %v", left)
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	task.HasData = true
	again, _, err := x.startServer(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Remove()
	if same, err := mysql.ReadServer(t.Context(), again.DB()); err != nil || same.UUID != facts.UUID || !same.SuperReadOnly {
		t.Errorf("started again: %+v, %v", same, err)
	}
}

// TestRefusals: what would start a wrong or an empty server starts none.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		edit func(*cotton.Task)
		want string
	}{
		{func(t *cotton.Task) { t.HasData = true }, "no new one is made in its place"},
		{func(t *cotton.Task) { t.AdminKeyfile += ".none" }, "admin key"},
		{func(t *cotton.Task) { t.Config = map[string]string{"datadir": "/"} }, "refused"},
		{func(t *cotton.Task) { t.Package = "mysql-5.1" }, "archive installer"},
		{func(t *cotton.Task) { t.Config = map[string]string{"no_such_setting": "1"} }, "no_such_setting"},
	} {
		x, task := fixture(t)
		tc.edit(&task)
		server, _, err := x.startServer(t.Context(), task)
		if err == nil {
			server.Remove()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %q", err, tc.want)
		}
	}
}

func TestListen(t *testing.T) {
	for host, want := range map[string]string{
		"127.0.0.1":      "127.0.0.1 127.0.0.1",
		"agent1.example": "127.0.0.1 *",
		"203.0.113.7":    "127.0.0.1 *", // of documentation: never this host's, as one that is translated on the way
		"::1":            "::1 ::1",
	} {
		if local, bind := listen(host); local+" "+bind != want {
			t.Errorf("%s: %s %s, want %s", host, local, bind, want)
		}
	}
}

// TestTakeOver: what still works on the data directory is ended, by force if need be; what only has the pid of a server
// that is long gone is left alone.
func TestTakeOver(t *testing.T) {
	for _, tc := range []struct {
		name, script string
		inside, ends bool
	}{
		{"obeys", "exec sleep 60", true, true},
		{"ignores SIGTERM", "trap '' TERM; echo ready; while :; do sleep 0.01; done", true, true},
		{"somebody else", "exec sleep 60", false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", "-c", tc.script)
			cmd.Dir = t.TempDir()
			if tc.inside {
				cmd.Dir = filepath.Join(dir, "data")
			}
			p, err := process.Start(cmd)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Kill()
			if err := os.WriteFile(filepath.Join(dir, "mysqld.pid"), fmt.Appendln(nil, p.Pid()), 0o644); err != nil {
				t.Fatal(err)
			}
			ended, err := takeOver(t.Context(), dir, 300*time.Millisecond)
			if err != nil || (ended == p.Pid()) != tc.ends {
				t.Errorf("ended %d, %v", ended, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if !tc.ends {
				cancel()
			}
			p.WaitFor(ctx)
			if alive := syscall.Kill(p.Pid(), 0) == nil; alive == tc.ends {
				t.Errorf("alive: %v", alive)
			}
		})
	}
	for _, text := range []string{"", "1", "-1", "x"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "mysqld.pid"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if ended, err := takeOver(t.Context(), dir, time.Second); ended != 0 || err != nil {
			t.Errorf("pid file %q: ended %d, %v", text, ended, err)
		}
	}
}

// TestSidecars: the programs beside mysqld are started again when they end, know their instance and tier, and go with it.
func TestSidecars(t *testing.T) {
	x, task := fixture(t)
	x.cfg.ProgramDir = t.TempDir()
	for _, name := range sidecarPrograms {
		script := "#!/bin/sh\necho $AOSC_INSTANCE $AOSC_TIER >> " + x.cfg.ProgramDir + "/" + name + ".out\n"
		if name == "oscworker" {
			script += "exec sleep 60\n"
		}
		if err := os.WriteFile(filepath.Join(x.cfg.ProgramDir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	task.Sidecars, task.Tier = true, "udb"
	s := x.startSidecars(task)
	want := fmt.Sprintf("%s:%d udb\n", task.Host, task.Port)
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		checksum, _ := os.ReadFile(filepath.Join(x.cfg.ProgramDir, "checksum.out"))
		worker, _ := os.ReadFile(filepath.Join(x.cfg.ProgramDir, "oscworker.out"))
		if strings.HasPrefix(string(checksum), want+want) && string(worker) == want {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.stop()
			t.Fatalf("checksum %q, oscworker %q, want %q, twice and once", checksum, worker, want)
		}
	}
	watch := testkit.StartStopwatch(t, nil)
	s.stop()
	watch.Within(t, 5*time.Second, "the end of the sidecars")
}
