package oscworker

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/fleet/static"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/scheduler"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/aoscdbkit"
)

// asDaemon makes this test binary one of the daemons, so that tests can kill a real process.
const asDaemon = "AOSC_TEST_DAEMON"

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == osc.ChildCommand:
		os.Exit(osc.ChildMain(context.Background(), os.Stdin, os.Stdout))
	case os.Getenv(asDaemon) == "oscworker":
		daemon.Main(Spec())
	case os.Getenv(asDaemon) == "scheduler":
		daemon.Main(scheduler.Spec())
	}
	testkit.Main(m)
}

// fixture is a tier "udb" on a real cluster or several, a repository and a central database. What brain, collector and
// scheduler would do is done by hand, in the tables.
type fixture struct {
	t         *testing.T
	store     *aoscdb.Store
	clusters  []*mysqld.Cluster
	primary   *mysqld.Server // of the first
	repo      *testkit.GitRepo
	inventory string
	pattern   string
	databases []string
	lease     aoscdb.Lease
	logs      map[string]*syncBuffer
	stopFile  string
}

var fixtures atomic.Int64

func newFixture(t *testing.T, tier func(*aoscdb.Tier), clusters ...*mysqld.Cluster) *fixture {
	t.Helper()
	return newFixtureOn(t, aoscdbkit.AOSCDB(t), tier, clusters...)
}

func newFixtureOn(t *testing.T, store *aoscdb.Store, tier func(*aoscdb.Tier), clusters ...*mysqld.Cluster) *fixture {
	t.Helper()
	f := &fixture{
		t: t, store: store, clusters: clusters, primary: clusters[0].Primary, repo: testkit.Repo(t),
		inventory: filepath.Join(t.TempDir(), "inventory.yaml"), pattern: fmt.Sprintf("f%dx", fixtures.Add(1)),
		logs: map[string]*syncBuffer{},
	}
	var yaml strings.Builder
	fmt.Fprintf(&yaml, "tiers:\n  udb:\n    databases: %q\n    clusters:\n", f.pattern+"%")
	for n, c := range clusters {
		fmt.Fprintf(&yaml, "      - name: c%d\n        instances:\n", n)
		for m, s := range c.Servers() {
			fmt.Fprintf(&yaml, "          - {host: %s, port: %d, datacenter: dc%d}\n", s.Addr().Host, s.Addr().Port, m%2)
		}
	}
	if err := os.WriteFile(f.inventory, []byte(yaml.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	row := aoscdb.NewTier("udb")
	row.MaxRunningPerHost = 0 // every instance is on this machine
	if tier != nil {
		tier(&row)
	}
	f.do(f.store.PutTier(t.Context(), row))
	f.lease = aoscdb.Lease{Name: "scheduler", Holder: "test"}
	return f
}

func (f *fixture) do(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// database makes a database with the table on every cluster and returns its name.
func (f *fixture) database(ddl string, rows int) string {
	f.t.Helper()
	name := fmt.Sprintf("%s%d", f.pattern, len(f.databases))
	f.databases = append(f.databases, name)
	for _, c := range f.clusters {
		testkit.Exec(f.t, c.Primary, "CREATE DATABASE "+name)
		f.t.Cleanup(func() {
			if _, err := c.Primary.DB().ExecContext(context.Background(), "DROP DATABASE IF EXISTS "+name); err != nil {
				f.t.Log(err) // a test may have stopped the server
			}
		})
		if ddl != "" {
			testkit.Exec(f.t, c.Primary, strings.Replace(ddl, "TABLE ", "TABLE "+name+".", 1))
		}
		if rows > 0 {
			testkit.Exec(f.t, c.Primary, fmt.Sprintf("INSERT INTO %s.t (id, version, payload) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL "+
				"SELECT i + 1 FROM n WHERE i < %d) SELECT /*+ SET_VAR(cte_max_recursion_depth=10000000) */ i, 0, REPEAT('x', 50) FROM n", name, rows))
		}
	}
	return name
}

// The table of these tests: what testkit's writer writes to, and variants.
const (
	tablePlain  = "CREATE TABLE t (id bigint unsigned NOT NULL, version bigint unsigned NOT NULL, payload varchar(100) NOT NULL, PRIMARY KEY (id)) DEFAULT CHARSET=utf8mb4"
	tableColumn = "CREATE TABLE t (id bigint unsigned NOT NULL, version bigint unsigned NOT NULL, payload varchar(100) NOT NULL, extra int DEFAULT NULL, PRIMARY KEY (id)) DEFAULT CHARSET=utf8mb4"
	// tableCopy needs a copy: a column changes its type.
	tableCopy = "CREATE TABLE t (id bigint unsigned NOT NULL, version bigint unsigned NOT NULL, payload text NOT NULL, PRIMARY KEY (id)) DEFAULT CHARSET=utf8mb4"
)

// columns is tablePlain with so many more columns.
func columns(n int) string {
	more := ""
	for i := range n {
		more += fmt.Sprintf(" c%d int DEFAULT NULL,", i)
	}
	return strings.Replace(tablePlain, " PRIMARY KEY", more+" PRIMARY KEY", 1)
}

// allow commits a definition, permits it and admits it, as a person and the brain do.
func (f *fixture) allow(ddl string) {
	f.t.Helper()
	commit := f.repo.Commit(map[string]string{"schemas/udb/t.sql": ddl + ";\n"}, "t")
	blob := f.repo.Git("rev-parse", "HEAD:schemas/udb/t.sql")
	f.do(f.store.Allow(f.t.Context(), aoscdb.AllowedAlter{Group: "udb", Table: "t", AllowedBy: "test", Priority: 10}))
	f.central("DELETE FROM current_alters")
	f.central("INSERT INTO current_alters (`group`, table_name, status, commit_sha, desired_hash, pinned_at, started_at) "+
		"VALUES ('udb', 't', 'IPR', ?, ?, NOW(6), NOW(6))", commit, blob)
}

func (f *fixture) central(query string, args ...any) {
	f.t.Helper()
	_, err := f.store.DB().ExecContext(f.t.Context(), query, args...)
	f.do(err)
}

// queue gives the alter to an instance, as the scheduler does.
func (f *fixture) queue(s *mysqld.Server) {
	f.t.Helper()
	ctx := f.t.Context()
	epoch, ok, err := f.store.Acquire(ctx, f.lease.Name, f.lease.Holder, time.Minute)
	f.do(err)
	if !ok {
		f.t.Fatal("another scheduler leads")
	}
	f.lease.Epoch = epoch
	alter, err := f.store.CurrentAlter(ctx, "udb", "t")
	f.do(err)
	f.central("DELETE FROM running_alters WHERE host = ? AND port = ?", s.Addr().Host, s.Addr().Port)
	put, err := f.store.PutReady(ctx, f.lease, aoscdb.RunningAlter{Host: s.Addr().Host, Port: s.Addr().Port, Group: "udb", Table: "t", Cluster: "c0"}, alter.DesiredHash)
	f.do(err)
	if !put {
		f.t.Fatal("not queued")
	}
	rows := f.rows(s)
	f.do(rows.Ensure(ctx))
	f.do(rows.DeleteOSC(ctx, s.Addr().Host, s.Addr().Port, "udb", "t")) // also one that a test left RUNNING which failed on this cluster
	f.do(rows.PutWaiting(ctx, aoscdb.OSCRow{Host: s.Addr().Host, Port: s.Addr().Port, Group: "udb", Table: "t", Priority: 10,
		DesiredBlob: alter.DesiredHash, CommitSHA: alter.CommitSHA}))
}

// rows are the status tables of an instance.
func (f *fixture) rows(s *mysqld.Server) *aoscdb.StatusStore {
	f.t.Helper()
	tier, err := f.store.Tier(f.t.Context(), "udb")
	f.do(err)
	if tier.StatusStore == aoscdb.StoreCentral {
		return f.store.CentralStatus()
	}
	return aoscdb.InstanceStatus(s.DB())
}

func (f *fixture) row(s *mysqld.Server) aoscdb.OSCRow {
	f.t.Helper()
	row, err := f.rows(s).OSCRow(f.t.Context(), s.Addr().Host, s.Addr().Port, "udb", "t")
	if err != nil && !errors.Is(err, aoscdb.ErrNotFound) {
		f.t.Fatal(err)
	}
	return row
}

// priv is the operator's UPDATE.
func (f *fixture) priv(s *mysqld.Server, priv string) {
	f.t.Helper()
	changed, err := f.rows(s).SetPriv(f.t.Context(), s.Addr().Host, s.Addr().Port, "udb", "t", priv)
	f.do(err)
	if !changed {
		f.t.Fatalf("osc_priv was not changed to %s: %+v", priv, f.row(s))
	}
}

// await waits until the row satisfies a condition.
func (f *fixture) await(s *mysqld.Server, what string, ok func(aoscdb.OSCRow) bool) aoscdb.OSCRow {
	f.t.Helper()
	var row aoscdb.OSCRow
	defer func() {
		if f.t.Failed() {
			f.t.Logf("the row: %s %s %.2f%% %q %s", row.OSCPriv, row.Status, row.Percentage, row.Error, row.Detail)
		}
	}()
	testkit.Eventually(f.t, patience, what, func() bool {
		row = f.row(s)
		return ok(row)
	})
	return row
}

// patience is for a busy machine.
const patience = testkit.Patience

func (f *fixture) awaitStatus(s *mysqld.Server, status string) aoscdb.OSCRow {
	f.t.Helper()
	return f.await(s, "the row is "+status, func(r aoscdb.OSCRow) bool { return r.Status == status })
}

// mustHave fails the test unless the table has that definition in every database of a server (I4: read from the server).
func (f *fixture) mustHave(s *mysqld.Server, ddl string) {
	f.t.Helper()
	want := f.form(s, ddl)
	for _, database := range f.databases {
		got, exists, err := schema.CurrentForm(f.t.Context(), s.DB(), database, "t")
		f.do(err)
		if !exists || got.Hash != want.Hash {
			f.t.Errorf("%s %s has:\n%s\nwant:\n%s", s.Addr(), database, got.Text, want.Text)
		}
	}
}

// form is what the server makes of a definition, found without the code under test.
func (f *fixture) form(s *mysqld.Server, ddl string) schema.Form {
	f.t.Helper()
	var form schema.Form
	scratch := f.clusters[0].Primary
	f.do(mysql.WithSession(f.t.Context(), scratch.DB(), mysql.Session{NoBinlog: true}, func(ctx context.Context, c *sql.Conn) error {
		name := "formof" + f.pattern
		for _, q := range []string{"DROP DATABASE IF EXISTS " + name, "CREATE DATABASE " + name, "USE " + name, ddl} {
			if _, err := c.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		var err error
		form, _, err = schema.CurrentForm(ctx, scratch.DB(), name, "t")
		_, dropErr := c.ExecContext(ctx, "DROP DATABASE "+name)
		return errors.Join(err, dropErr)
	}))
	return form
}

// leftoverTables are the tables in the fixture's databases besides the one that should be there (I5).
func (f *fixture) leftoverTables(s *mysqld.Server) []string {
	f.t.Helper()
	rows, err := s.DB().QueryContext(f.t.Context(), "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables "+
		"WHERE (table_schema LIKE ? AND table_name <> 't') OR table_schema LIKE 'aosc\\_scratch%'", f.pattern+"%")
	f.do(err)
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		f.do(rows.Scan(&name))
		names = append(names, name)
	}
	return names
}

// noLeftovers waits until the worker has dropped what it drops by and by, on the primary: then nothing is left on any member.
func (f *fixture) noLeftovers() {
	f.t.Helper()
	for _, c := range f.clusters {
		testkit.Eventually(f.t, patience, "I5: nothing is left behind on the primary", func() bool {
			return len(f.leftoverTables(c.Primary)) == 0
		})
		f.do(c.Sync(f.t.Context()))
		for _, s := range c.Servers() {
			if left := f.leftoverTables(s); len(left) > 0 {
				f.t.Errorf("I5: left behind on %s: %v", s.Addr(), left)
			}
		}
		testkit.NoErrantGTIDs(f.t, c)
	}
}

func config() Config {
	return Config{
		Poll: 100 * time.Millisecond, Control: 200 * time.Millisecond, Report: 200 * time.Millisecond, Clean: 2 * time.Second,
		Rest: 500 * time.Millisecond, StopGrace: 20 * time.Second, Timeout: 5 * time.Second, FanOut: 8, ChunkSize: 1000,
	}
}

// worker runs a worker in this process until the test ends or stop is called.
func (f *fixture) worker(name string, change func(*Config), served ...*mysqld.Server) (stop func()) {
	f.t.Helper()
	cfg := config()
	if change != nil {
		change(&cfg)
	}
	inv, err := static.Load(f.inventory)
	f.do(err)
	repo, err := schema.OpenRepo(f.t.Context(), schema.RepoConfig{URL: f.repo.Dir, Branch: "main"})
	f.do(err)
	pool := mysql.NewPool(f.primary.Credentials(), mysql.Options{})
	env := daemon.NewEnv("oscworker", nil, f.logger(name))
	w, err := New(Parts{
		Store: f.store, Repo: repo, Inventory: inv, Pool: pool, Owner: name, Log: env.Log, Metrics: prometheus.NewRegistry(),
		Served: func(ctx context.Context) ([]fleet.Instance, error) {
			tiers, err := inv.Tiers(ctx)
			if err != nil {
				return nil, err
			}
			var out []fleet.Instance
			for _, i := range tiers[0].Instances() {
				for _, s := range served {
					if s.Addr() == i.Addr() {
						out = append(out, i)
					}
				}
			}
			switch {
			case len(served) == 0:
				out = tiers[0].Instances()
			case len(out) < len(served): // as wiring.Served: a misspelt instance would be served by nobody
				return nil, errors.New("an instance to be served is not in the inventory")
			}
			return out, nil
		},
	}, cfg)
	f.do(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, env) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				f.t.Errorf("the worker ended with %v", err)
			}
			if err := pool.Close(); err != nil {
				f.t.Error(err)
			}
		})
	}
	f.t.Cleanup(stop)
	return stop
}

// logger shows a daemon's log with the test, when it fails, and keeps it for awaitLog.
func (f *fixture) logger(name string) *slog.Logger {
	log := &syncBuffer{}
	f.logs[name] = log
	f.t.Cleanup(func() {
		if f.t.Failed() {
			f.t.Logf("log of %s:\n%s", name, log)
		}
	})
	return slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("worker", name)
}

// awaitLog waits until a worker of this process has said something.
func (f *fixture) awaitLog(name, text string) {
	f.t.Helper()
	testkit.Eventually(f.t, patience, name+" says "+text, func() bool { return strings.Contains(f.logs[name].String(), text) })
}

type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// process is a daemon as a real process.
type process struct {
	cmd   *exec.Cmd
	log   string // path
	ended chan struct{}
}

// process starts a daemon of this test binary. faults arms fault points, "" for none.
func (f *fixture) process(name, faults string, flags ...string) *process {
	f.t.Helper()
	log, err := os.Create(filepath.Join(f.t.TempDir(), name+".log"))
	f.do(err)
	cmd := exec.Command(os.Args[0], flags...)
	cmd.Env = append(os.Environ(), asDaemon+"="+name, fault.EnvVar+"="+faults,
		"AOSC_AOSCDB_DSN="+testkit.Server(f.t).DSN(f.store.Database()), "AOSC_SCHEMAS_REPO="+f.repo.Dir,
		"AOSC_INVENTORY="+f.inventory, "AOSC_MYSQL_USER=root")
	cmd.Stdout, cmd.Stderr = log, log
	f.do(cmd.Start())
	p := &process{cmd: cmd, log: log.Name(), ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is the test's to judge
		close(p.ended)
	}()
	f.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-p.ended
		log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && f.t.Failed() {
			f.t.Logf("log of %s %s:\n%s", name, faults, text)
		}
	})
	return p
}

// killed waits until the process has killed itself.
func (p *process) killed(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatal("the fault point was not reached")
	}
	if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("it did not die by SIGKILL: %s", p.cmd.ProcessState)
	}
}

// terminate is SIGTERM, and waits for the end.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, patience, "it has started", func() bool {
		text, err := os.ReadFile(p.log)
		return err == nil && bytes.Contains(text, []byte("msg=started"))
	})
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatal("it did not end on SIGTERM")
	}
	if !p.cmd.ProcessState.Success() {
		t.Errorf("after SIGTERM: %s", p.cmd.ProcessState)
	}
}
