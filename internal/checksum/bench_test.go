package checksum_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/status"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/aoscdbkit"
)

// tablesPerDatabase is how many tables each database of a benchmark has.
const tablesPerDatabase = 50

// BenchmarkPasses is the checksum of 5,000 tables on one instance, beside one connection that runs SHOW CREATE TABLE for
// each of them: cold (no status rows, no canonical forms: the first instance of all), new (no status rows: any other
// instance), warm, changed (after one table was altered) and fresh (reading everything).
//
//	go test ./internal/checksum -run '^$' -bench Passes -benchtime 3x
func BenchmarkPasses(b *testing.B) {
	f := newBench(b, 100)
	// Both sides find the server as it is after a while, with the table definitions it can keep.
	f.showCreate()
	var plain, cold, known, warm, changed, fresh time.Duration
	for b.Loop() {
		plain += f.showCreate()
		f.forgetForms()
		f.forgetRows()
		cold += f.pass(status.Options{}, 5000)
		f.forgetRows()
		known += f.pass(status.Options{}, 5000)
		warm += f.pass(status.Options{}, 0)
		testkit.Exec(b, f.server, "ALTER TABLE "+f.databases[7]+".t07 ADD COLUMN x int, ALGORITHM=INSTANT")
		changed += f.pass(status.Options{}, 1)
		testkit.Exec(b, f.server, "ALTER TABLE "+f.databases[7]+".t07 DROP COLUMN x, ALGORITHM=INPLACE")
		fresh += f.pass(status.Options{Fresh: true}, 5000)
	}
	b.ReportMetric(0, "ns/op")
	for _, m := range []struct {
		name string
		took time.Duration
	}{{"showcreate", plain}, {"cold", cold}, {"new", known}, {"warm", warm}, {"changed", changed}, {"fresh", fresh}} {
		b.ReportMetric(m.took.Seconds()/float64(b.N), m.name+"-s")
		b.ReportMetric(m.took.Seconds()/plain.Seconds(), m.name+"/showcreate")
	}
}

// BenchmarkMemory is the resident memory of the checksum daemon that serves 20,000 tables, cold and warm.
func BenchmarkMemory(b *testing.B) {
	f := newBench(b, 400)
	dir := b.TempDir()
	daemon := filepath.Join(dir, "checksum")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", daemon, "../../cmd/checksum").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	inventory := filepath.Join(dir, "inventory.yaml")
	text := fmt.Sprintf("tiers:\n  udb:\n    databases: %q\n    clusters:\n      - name: udb-1\n        instances:\n          - {host: %s, port: %d}\n",
		f.tier.Databases, f.inst.Host, f.inst.Port)
	if err := os.WriteFile(inventory, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for _, kind := range []string{"cold", "warm"} {
			cmd := exec.CommandContext(b.Context(), daemon, "--once", "--aoscdb-dsn="+f.server.DSN(f.store.Database()), "--schemas-repo="+f.git.Dir,
				"--inventory="+inventory, "--mysql-user=root")
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
			b.ReportMetric(float64(usage.Maxrss)/1024, kind+"-MiB")
			b.ReportMetric(cmd.ProcessState.UserTime().Seconds(), kind+"-cpu-s")
		}
	}
}

// bench is an instance with many tables, all as desired.
type bench struct {
	b         *testing.B
	server    *mysqld.Server
	store     *aoscdb.Store
	git       *testkit.GitRepo
	snap      *schema.Snapshot
	refresher *status.Refresher
	inst      fleet.Instance
	tier      fleet.Tier
	databases []string
}

func newBench(b *testing.B, databases int) *bench {
	b.Helper()
	f := &bench{b: b, server: testkit.Server(b), store: aoscdbkit.AOSCDB(b), git: testkit.Repo(b)}
	files := map[string]string{}
	var ddl []string
	for i := range tablesPerDatabase {
		text := fmt.Sprintf("CREATE TABLE t%02d (\n  id bigint unsigned NOT NULL AUTO_INCREMENT,\n  user_id int NOT NULL,\n"+
			"  name varchar(%d) NOT NULL DEFAULT '',\n  state enum('new','done','failed') NOT NULL,\n  price decimal(10,2) DEFAULT NULL,\n"+
			"  payload json DEFAULT NULL,\n  created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,\n  PRIMARY KEY (id),\n"+
			"  UNIQUE KEY by_name (name),\n  KEY by_user (user_id,state)\n) COMMENT='table %d'", i, 20+i, i)
		files[fmt.Sprintf("schemas/udb/t%02d.sql", i)] = text
		ddl = append(ddl, text)
	}
	f.git.Commit(files, "all tables")
	repo, err := schema.OpenRepo(b.Context(), schema.RepoConfig{URL: f.git.Dir})
	if err != nil {
		b.Fatal(err)
	}
	if f.snap, err = repo.Snapshot(b.Context(), f.git.Head()); err != nil {
		b.Fatal(err)
	}
	prefix := testkit.Database(b, f.server, "bench") + "x"
	for range databases {
		db := testkit.Database(b, f.server, prefix)
		f.databases = append(f.databases, db)
		err := mysql.WithSession(b.Context(), f.server.DB(), mysql.Session{DB: db, NoBinlog: true}, func(ctx context.Context, conn *sql.Conn) error {
			for _, s := range append([]string{"SET timestamp = UNIX_TIMESTAMP() - 3600"}, ddl...) {
				if _, err := conn.ExecContext(ctx, s); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	pool := mysql.NewPool(f.server.Credentials(), mysql.Options{})
	b.Cleanup(func() { pool.Close() })
	f.refresher = &status.Refresher{Pool: pool, Store: f.store, Materialiser: &schema.Materialiser{Cache: f.store.FormCache()}}
	f.inst = fleet.Instance{Tier: "udb", Cluster: "udb-1", Host: f.server.Addr().Host, Port: f.server.Addr().Port}
	f.tier = fleet.Tier{Name: "udb", Databases: prefix + "%", Clusters: []fleet.Cluster{{Tier: "udb", Name: "udb-1", Instances: []fleet.Instance{f.inst}}}}
	return f
}

// showCreate is what a checksum without any thought would do.
func (f *bench) showCreate() time.Duration {
	f.b.Helper()
	begin := time.Now()
	err := mysql.WithSession(f.b.Context(), f.server.DB(), mysql.Session{}, func(ctx context.Context, conn *sql.Conn) error {
		for _, db := range f.databases {
			for i := range tablesPerDatabase {
				var name, text string
				if err := conn.QueryRowContext(ctx, fmt.Sprintf("SHOW CREATE TABLE %s.t%02d", db, i)).Scan(&name, &text); err != nil {
					return err
				}
				if !strings.HasPrefix(text, "CREATE TABLE") {
					return fmt.Errorf("unexpected %s", text)
				}
			}
		}
		return nil
	})
	if err != nil {
		f.b.Fatal(err)
	}
	return time.Since(begin)
}

func (f *bench) forgetRows() {
	f.b.Helper()
	testkit.Exec(f.b, f.server, "DROP DATABASE IF EXISTS aosc")
}

func (f *bench) forgetForms() {
	f.b.Helper()
	if _, err := f.store.DB().ExecContext(f.b.Context(), "DELETE FROM canonical_forms"); err != nil {
		f.b.Fatal(err)
	}
	f.refresher.Materialiser = &schema.Materialiser{Cache: f.store.FormCache()}
}

// pass times a pass, which must read as many tables.
func (f *bench) pass(o status.Options, read int) time.Duration {
	f.b.Helper()
	begin := time.Now()
	sum, err := f.refresher.Refresh(f.b.Context(), f.inst, f.tier, f.snap, o)
	took := time.Since(begin)
	if err != nil {
		f.b.Fatal(err)
	}
	if sum.Read != read || sum.Tables != len(f.databases)*tablesPerDatabase {
		f.b.Fatalf("read %d tables of %d, want %d", sum.Read, sum.Tables, read)
	}
	return took
}
