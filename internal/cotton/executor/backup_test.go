package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/backup"
	"github.com/aosc/aosc/internal/cotton/executor/install"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/process"
)

// childEnv tells TestChild what to do.
const childEnv = "COTTON_EXECUTOR_CHILD"

// child is an executor that is to be killed.
type child struct {
	Sandbox string
	Task    cotton.Task
	Order   *cotton.Order // once the server is up
	SQL     []string      // before that
}

// TestChild is no test but the process that others kill.
func TestChild(t *testing.T) {
	text := os.Getenv(childEnv)
	if text == "" {
		t.Skip("for other tests")
	}
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	x := &Executor{cfg: Config{Sandbox: c.Sandbox, Installer: install.Host{}, KillGrace: 10 * time.Second, StartLimit: time.Minute, Log: discard}}
	server, _, err := x.startServer(t.Context(), c.Task)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range c.SQL {
		if _, err := server.DB().ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if c.Order != nil {
		if facts := carryOut(t, x, c.Task, server, *c.Order); facts.Failed+facts.ArchiveFailed != "" {
			t.Errorf("%+v", facts)
		}
	}
	t.Error("the fault point was not reached")
}

// killedAt runs an executor that is killed at a fault point.
func killedAt(t *testing.T, point string, c child) {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+string(text), fault.EnvVar+"="+point+"=kill")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := process.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err = p.WaitFor(ctx)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%s: the executor was not killed: %v\n%s", point, errors.Join(err, p.Kill()), out.String())
	}
}

// carryOut gives an order to an instance whose server runs, and returns what it says afterwards.
func carryOut(t *testing.T, x *Executor, task cotton.Task, server *mysqld.Server, o cotton.Order) cotton.BackupFacts {
	t.Helper()
	i := newInstance(x, o.Task, task)
	i.server = server
	x.instance = i
	b := i.startBackups(t.Context())
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	x.log = discard
	x.order(data)
	b.wg.Wait()
	defer b.stop()
	if facts := b.known(); facts != nil {
		return *facts
	}
	return cotton.BackupFacts{}
}

// source is an instance with a backup of its first rows, and logs of some of the others.
type source struct {
	x      *Executor
	task   cotton.Task
	server *mysqld.Server
	store  backup.Store
	rows   int
}

const backupID = "c-20260102T030405Z"

func newSource(t *testing.T) *source {
	t.Helper()
	x, task := fixture(t)
	s := &source{x: x, task: task}
	root := t.TempDir()
	var err error
	if s.store, err = openStore("dir:" + root); err != nil {
		t.Fatal(err)
	}
	s.start(t)
	s.exec(t, "CREATE DATABASE without_tables", "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "CREATE USER old IDENTIFIED BY 'old'")
	return s
}

// started starts a server, maybe after one that was killed with its executor and that the kernel has not let go of yet.
func started(t *testing.T, x *Executor, task cotton.Task) *mysqld.Server {
	t.Helper()
	for {
		server, _, err := x.startServer(t.Context(), task)
		if err == nil {
			return server
		}
		if !strings.Contains(err.Error(), "is using unix socket file") {
			t.Fatal(err)
		}
	}
}

func (s *source) start(t *testing.T) {
	t.Helper()
	s.server = started(t, s.x, s.task)
	t.Cleanup(func() { s.server.Remove() })
	s.exec(t, "SET GLOBAL read_only = OFF")
}

func (s *source) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := s.server.DB().ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// add adds rows, a transaction each, and returns what was executed then.
func (s *source) add(t *testing.T, n int) mysql.GTIDSet {
	t.Helper()
	for range n {
		s.exec(t, fmt.Sprintf("INSERT INTO d.t VALUES (%d)", s.rows))
		s.rows++
	}
	executed, err := mysql.GTIDExecuted(t.Context(), s.server.DB())
	if err != nil {
		t.Fatal(err)
	}
	return executed
}

func (s *source) order(kind cotton.OrderKind, id string) cotton.Order {
	return cotton.Order{Schema: cotton.OrderSchema, Task: "t", Kind: kind, Epoch: 1, Backup: &cotton.BackupOrder{
		Store: s.store.String(), Origin: "o", ID: id, User: "old", Role: "primary", OrderedAt: time.Now().UTC()}}
}

func (s *source) do(t *testing.T, kind cotton.OrderKind, id string) {
	t.Helper()
	if facts := carryOut(t, s.x, s.task, s.server, s.order(kind, id)); facts.Failed+facts.ArchiveFailed != "" || facts.Copying {
		t.Fatalf("%s: %+v", kind, facts)
	}
}

// seed is a fresh volume of another cluster that is to be restored.
func (s *source) seed(t *testing.T, to string) (*Executor, cotton.Task) {
	t.Helper()
	x, task := fixture(t)
	task.Cluster, task.Member, task.ServerID = "r", 1, 1
	task.Restore = &cotton.Restore{Store: s.store.String(), BackupID: backupID, To: to}
	return x, task
}

func dataDir(t *testing.T, x *Executor) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(filepath.Join(x.cfg.Sandbox, cotton.VolumePath))
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(path, "data")
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// TestRestoreKilled: an executor is killed in each step of a restore. Nothing that looks like a data directory is there
// then; the next one ends up with exactly the rows of the target, closed for writes, following nobody.
func TestRestoreKilled(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.add(t, 10)
	s.do(t, cotton.OrderBackup, backupID)
	s.add(t, 60)
	s.do(t, cotton.OrderArchive, "")
	target := s.add(t, 60)
	want := s.rows
	s.add(t, 20)
	s.do(t, cotton.OrderArchive, "")
	for _, point := range []string{faultRestoreFile, faultRestoreCopied, faultRestoreLogs, faultRestoreDone} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			x, task := s.seed(t, target.String())
			killedAt(t, point, child{Sandbox: x.cfg.Sandbox, Task: task})
			if data := dataDir(t, x); !missing(data) {
				t.Fatalf("%s is there after a kill", data)
			}
			server := started(t, x, task)
			defer func() { server.Remove() }()
			s.restored(t, server, want, target)
			if left := filepath.Join(filepath.Dir(dataDir(t, x)), restoreDir); !missing(left) {
				t.Errorf("%s is left", left)
			}
		})
	}
}

// restored holds a server against what was to be restored.
func (s *source) restored(t *testing.T, server *mysqld.Server, rows int, executed mysql.GTIDSet) {
	t.Helper()
	is, err := mysql.ReadServer(t.Context(), server.DB())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := mysql.ParseGTIDSet(is.GTIDExecuted); err != nil || !got.Equal(executed) || !is.SuperReadOnly || is.ServerID != 1 {
		t.Errorf("executed %s, not %s; %+v", got, executed, is)
	}
	if status, err := mysql.ReadReplicaStatus(t.Context(), server.DB()); err != nil || status != nil {
		t.Errorf("it follows %+v, %v", status, err)
	}
	var n, locked int
	if err := server.DB().QueryRowContext(t.Context(), "SELECT COUNT(*), (SELECT COUNT(*) FROM mysql.user WHERE user = 'old' AND account_locked = 'Y') FROM d.t").Scan(&n, &locked); err != nil || n != rows || locked != 1 {
		t.Errorf("%d rows, not %d; the old user is locked: %d; %v", n, rows, locked, err)
	}
	var there int
	if err := server.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'without_tables'").Scan(&there); err != nil || there != 1 {
		t.Errorf("the empty database: %d, %v", there, err)
	}
	if is.UUID == s.uuid(t) {
		t.Error("it has the server_uuid of the server that was copied")
	}
}

func (s *source) uuid(t *testing.T) string {
	t.Helper()
	is, err := mysql.ReadServer(t.Context(), s.server.DB())
	if err != nil {
		t.Fatal(err)
	}
	return is.UUID
}

// TestBackupKilled: an executor is killed in each step of a backup. Nothing half made is visible, the volume holds nothing
// of it once the next one runs, and a restore from what is made then has everything.
func TestBackupKilled(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.add(t, 5)
	stop := func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.server.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		if err := s.server.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	complete := 0
	for n, point := range []string{faultCopied, faultStored, faultManifest} {
		stop()
		id := backup.NewID("c", time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC))
		o := s.order(cotton.OrderBackup, id)
		killedAt(t, point, child{Sandbox: s.x.cfg.Sandbox, Task: s.task, Order: &o})
		if point == faultManifest {
			complete++
		}
		l, err := s.store.List(t.Context(), "c")
		if err != nil || len(l.Backups) != complete || len(l.Damaged) != 0 {
			t.Errorf("%s: the store has %+v, %v", point, l, err)
		}
		s.start(t)
		carryOut(t, s.x, s.task, s.server, s.order(cotton.OrderLease, "")) // begins, and does nothing
		if left := filepath.Join(s.server.Dir(), copyDir); !missing(left) {
			t.Errorf("%s: %s is left", point, left)
		}
	}
	s.do(t, cotton.OrderBackup, backupID)
	s.add(t, 5)
	stop()
	o := s.order(cotton.OrderArchive, "")
	killedAt(t, faultFlushed, child{s.x.cfg.Sandbox, s.task, &o, []string{"SET GLOBAL read_only = OFF", "INSERT INTO d.t VALUES (-1)"}})
	s.rows++
	s.start(t)
	target := s.add(t, 0)
	s.do(t, cotton.OrderArchive, "")
	x, task := s.seed(t, backup.Latest)
	server, _, err := x.startServer(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { server.Remove() }()
	s.restored(t, server, s.rows, target)
}

// TestRestoreToTime: what was committed until then is there, and nothing that was committed later.
func TestRestoreToTime(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.add(t, 3)
	s.do(t, cotton.OrderBackup, backupID)
	s.add(t, 3)
	s.do(t, cotton.OrderArchive, "")
	target := s.add(t, 3)
	want, at := s.rows, time.Now()
	s.add(t, 3)
	s.do(t, cotton.OrderArchive, "")
	x, task := s.seed(t, at.Format(time.RFC3339Nano))
	server, _, err := x.startServer(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { server.Remove() }()
	s.restored(t, server, want, target)
}

// TestRestoreRefused: what cannot be restored is an error that says why, and leaves no data directory that would pass for a
// restored one; and nothing is ever restored over data.
func TestRestoreRefused(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.add(t, 5)
	s.do(t, cotton.OrderBackup, backupID)
	s.add(t, 5)
	s.do(t, cotton.OrderArchive, "")
	l, err := s.store.List(t.Context(), "c")
	if err != nil || len(l.Logs) == 0 {
		t.Fatalf("%+v, %v", l, err)
	}
	root := strings.TrimPrefix(s.store.String(), "dir:")
	copied := filepath.Join(root, "c", "backups", backupID)
	edit := func(path, from, to string) func() {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), from, to, 1)
		if from == "" {
			changed = string(text[:len(text)-1]) + "~"
		}
		if changed == string(text) {
			t.Fatalf("%s holds no %q", path, from)
		}
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		what, to, says string
		change         func(*cotton.Task) (undo func())
	}{
		{what: "unknown", says: "not in the backup store", change: func(task *cotton.Task) func() { task.Restore.BackupID = "c-20200101T000000Z"; return nil }},
		{what: "no store", says: "is it mounted", change: func(task *cotton.Task) func() { task.Restore.Store = "dir:/nonexistent/backups"; return nil }},
		{what: "changed file", says: "another checksum", change: func(*cotton.Task) func() { return edit(filepath.Join(copied, "data", "ibdata1"), "", "") }},
		{what: "torn manifest", says: "damaged", change: func(*cotton.Task) func() { return edit(filepath.Join(copied, "manifest.json"), "}", "") }},
		{what: "changed log", to: "latest", says: "another checksum", change: func(*cotton.Task) func() { return edit(filepath.Join(root, "c", "logs", l.Logs[0].Name), "", "") }},
		{what: "newer server", says: "does not read data of newer ones", change: func(*cotton.Task) func() {
			return edit(filepath.Join(copied, "manifest.json"), `"version": "`, `"version": "9`)
		}},
		{what: "no such moment", to: "2120-01-01T00:00:00Z", says: "may be missing"},
		{what: "small volume", says: "larger instances", change: func(task *cotton.Task) func() { task.Size.DiskMB = 100; return nil }},
	} {
		t.Run(c.what, func(t *testing.T) {
			x, task := s.seed(t, c.to)
			var undo func()
			if c.change != nil {
				undo = c.change(&task)
			}
			server, _, err := x.startServer(t.Context(), task)
			if err == nil {
				server.Remove()
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), task.Restore.BackupID) {
				t.Errorf("%v, want it to say %q", err, c.says)
			}
			if !missing(dataDir(t, x)) {
				t.Error("there is a data directory")
			}
			if undo != nil {
				undo()
			}
		})
	}
	// Over its own data: an instance that comes back is what it was.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.server.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.server.Remove(); err != nil {
		t.Fatal(err)
	}
	s.task.Restore = &cotton.Restore{Store: s.store.String(), BackupID: backupID}
	s.start(t)
	var n int
	if err := s.server.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM d.t").Scan(&n); err != nil || n != s.rows {
		t.Errorf("%d rows, not %d: %v", n, s.rows, err)
	}
}
