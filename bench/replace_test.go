package bench

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit/site"
	"github.com/aosc/aosc/internal/testkit/writer"
)

const (
	replaceCluster = "r0"
	replaceRate    = 100 // writes a second, while it is measured
	replaceWait    = 10 * time.Minute
)

// replaceSize is what each instance has; the peer has the same buffer pool.
var replaceSize = v1.Resources{CPUs: 1, MemMB: 1024, DiskMB: 20_000}

// BenchmarkReplace: a replica of a lossless cluster of three with 1 GB of data (COTTON_GB) is replaced under a light writer,
// beside a bare CLONE of the same donor into an empty server that runs already: from the CLONE until the server, started
// again by hand, answers. They take turns, COTTON_RUNS times (3). A replacement counts from the order until its operation is
// done and the cluster says that all is well. At the end every member has what the primary has, and all that was acknowledged
// (I1). 1.5 times the bare CLONE is the limit.
func BenchmarkReplace(b *testing.B) {
	s := newReplaceSite(b, fromEnv(b, "COTTON_GB", 1))
	for range b.N {
		var bare, followed, joined, ended, well []time.Duration
		for run := range fromEnv(b, "COTTON_RUNS", 3) {
			p := s.bareClone()
			r := s.replace()
			bare, followed = append(bare, p.answers), append(followed, p.follows)
			joined, ended, well = append(joined, r.joined), append(ended, r.ended), append(well, r.well)
			b.Logf("run %d: bare CLONE %.2f s until the server answers, %.2f s until it follows in step (%s)\n"+
				"replace: in step after %.2f s, done after %.2f s, well after %.2f s (%s)\n%s",
				run+1, p.answers.Seconds(), p.follows.Seconds(), p.stages, r.joined.Seconds(), r.ended.Seconds(), r.well.Seconds(), r.stages, r.steps)
		}
		for name, took := range map[string][]time.Duration{"bare": bare, "bare-follows": followed, "joined": joined, "done": ended, "replace": well} {
			b.ReportMetric(median(took).Seconds(), name+"-s")
			b.ReportMetric(slices.Max(took).Seconds(), name+"-worst-s")
		}
		b.ReportMetric(median(well).Seconds()/median(bare).Seconds(), "replace/bare")
	}
	b.ReportMetric(0, "ns/op")
	s.check()
	s.c.Delete(replaceCluster)
}

// fromEnv is a number of the environment, or what it is without.
func fromEnv(b *testing.B, name string, without int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return without
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s=%q is no number from 1 on", name, text)
	}
	return n
}

// replaceSite is a cluster with data, and a writer.
type replaceSite struct {
	b     *testing.B
	c     *site.Cotton
	keys  cotton.AdminKeys
	id    cotton.Identity
	admin *mysql.Pool
	w     *writer.Writer
}

func newReplaceSite(b *testing.B, gb int) *replaceSite {
	b.Helper()
	s := &replaceSite{b: b, c: site.NewCotton(b, 4, 10)}
	s.c.Start()
	var err error
	s.keys, err = cotton.ReadAdminKeys(filepath.Join(s.c.Dir, "cotton", "admin.key"))
	s.do(err)
	created := s.c.Create(replaceCluster, v1.Create{User: "app", Password: s.c.Password, Nodes: 3, Size: &v1.Size{Resources: replaceSize}})
	s.id = cotton.Identity{Cluster: replaceCluster, Incarnation: created.Incarnation}
	s.admin = mysql.NewPool(s.account(cotton.AdminAccount), mysql.Options{})
	b.Cleanup(func() { s.admin.Close() })
	primary := s.db(*created.Endpoints.Primary)
	b.Logf("loaded %d MB in %.1f s", gb*1024, took(func() { s.load(primary, gb) }).Seconds())
	s.w = writer.New(writer.Options{DB: func() *sql.DB { return primary }, Database: "shop", Table: "orders", Rate: replaceRate})
	s.exec(primary, s.w.CreateTable())
	s.w.Start(b.Context())
	b.Cleanup(s.w.Stop)
	return s
}

func (s *replaceSite) do(err error) {
	s.b.Helper()
	if err != nil {
		s.b.Fatal(err)
	}
}

func (s *replaceSite) account(name string) mysql.Credentials {
	return mysql.Credentials{User: name, Password: s.keys.Current().Password(s.id, name), TLS: "required",
		Authority: func(mysql.Addr) (mysql.Authority, error) {
			pem, err := s.keys.Authorities(s.id)
			return mysql.Authority{PEM: pem}, err
		}}
}

func (s *replaceSite) db(e v1.Endpoint) *sql.DB {
	s.b.Helper()
	db, err := s.admin.DB(mysql.Addr{Host: e.Host, Port: e.Port})
	s.do(err)
	return db
}

func (s *replaceSite) exec(db *sql.DB, statements ...string) {
	s.b.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(s.b.Context(), statement); err != nil {
			s.b.Fatalf("%s: %v", statement, err)
		}
	}
}

// load fills a table with rows of 1 kB that nothing can compress, and waits for the replicas.
func (s *replaceSite) load(primary *sql.DB, gb int) {
	s.b.Helper()
	s.exec(primary, "CREATE DATABASE shop", "CREATE TABLE shop.goods (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, body VARBINARY(1024) NOT NULL)")
	const rows = 1 << 16 // of 1 kB each are a transaction of 64 MB
	for range gb * 16 {
		s.exec(primary, fmt.Sprintf("INSERT /*+ SET_VAR(cte_max_recursion_depth = %d) */ INTO shop.goods (body) "+
			"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT RANDOM_BYTES(1000) FROM n", rows, rows))
	}
	for _, r := range s.cluster().Endpoints.Replicas {
		s.do(mysql.CatchUp(s.b.Context(), s.db(r), primary, replaceWait))
	}
}

func (s *replaceSite) cluster() v1.Cluster {
	s.b.Helper()
	c, err := s.c.API.Cluster(s.b.Context(), replaceCluster)
	s.do(err)
	return c
}

// wellNow returns once nothing is amiss.
func (s *replaceSite) wellNow(ctx context.Context) v1.Cluster {
	s.b.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c := s.cluster()
		missing := client.Missing(c)
		if missing == "" && c.Operation == nil {
			return c
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.b.Fatalf("the cluster is not well: %s", missing)
		}
	}
}

// roles of the replicas of a cluster that is well: cotton takes the data of a new member from the youngest.
func roles(c v1.Cluster) (goes, donor v1.Endpoint) {
	replicas := slices.SortedFunc(slices.Values(c.Endpoints.Replicas), func(a, b v1.Endpoint) int { return a.ID - b.ID })
	return replicas[0], replicas[len(replicas)-1]
}

// cloned is how long a bare clone took.
type cloned struct {
	answers time.Duration // until the server answers again
	follows time.Duration // until it has, beyond that, all that the primary had when it began to follow it
	stages  string
}

// bareClone is what a person would type at a server that is there for it.
func (s *replaceSite) bareClone() cloned {
	s.b.Helper()
	ctx, cancel := context.WithTimeout(s.b.Context(), replaceWait)
	defer cancel()
	c := s.wellNow(ctx)
	_, donor := roles(c)
	admin := s.account(cotton.AdminAccount)
	hash, err := mysql.HashPassword(admin.Password)
	s.do(err)
	server, err := mysqld.Start(ctx, mysqld.Options{
		Config:  map[string]string{"innodb_buffer_pool_size": fmt.Sprintf("%dM", replaceSize.MemMB*3/4), "skip_replica_start": "ON"},
		Account: admin, // as at the donor, whose accounts it gets
		FirstSQL: "SET SESSION sql_log_bin = 0;\n" + fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED WITH caching_sha2_password AS '%s';\n", admin.User, hash) +
			fmt.Sprintf("GRANT ALL ON *.* TO '%s'@'%%';\n", admin.User),
	})
	s.do(err)
	defer func() { s.do(server.Remove()) }()
	s.exec(server.DB(), fmt.Sprintf("SET GLOBAL clone_valid_donor_list = '%s:%d'", donor.Host, donor.Port))
	syscall.Sync() // what was written before is not what is measured

	begun := time.Now()
	repl := s.account(cotton.ReplicationAccount)
	_, err = server.DB().ExecContext(ctx, fmt.Sprintf("CLONE INSTANCE FROM '%s'@'%s':%d IDENTIFIED BY '%s' REQUIRE SSL", repl.User, donor.Host, donor.Port, repl.Password))
	if !mysql.IsConnection(err) && !mysql.IsNumber(err, errRestartFailed) {
		s.b.Fatalf("CLONE ended with %v", err)
	}
	select { // with nobody to start it again, it shuts down
	case <-server.Done():
	case <-ctx.Done():
		s.b.Fatal("the server does not end after its clone")
	}
	s.do(server.Restart(ctx))
	took := cloned{answers: time.Since(begun)}
	s.do(mysql.ForgetSource(ctx, server.DB()))
	s.do(mysql.ChangeSource(ctx, server.DB(), mysql.SourceOptions{
		Addr: mysql.Addr{Host: c.Endpoints.Primary.Host, Port: c.Endpoints.Primary.Port}, User: repl.User, Password: repl.Password, SSL: true,
	}))
	s.do(mysql.StartReplica(ctx, server.DB()))
	s.do(mysql.CatchUp(ctx, server.DB(), s.db(*c.Endpoints.Primary), replaceWait))
	took.follows = time.Since(begun)
	took.stages, _ = s.stages(server.DB())
	return took
}

// errRestartFailed is what CLONE ends with where nobody starts the server again (ER_RESTART_SERVER_FAILED).
const errRestartFailed = 3707

// replaced is how long the replacement of a replica took, since it was ordered.
type replaced struct {
	joined time.Duration // until the new member was in step, by the operation's log
	ended  time.Duration // until the operation was done
	well   time.Duration // until the cluster said that all is well
	steps  string
	stages string
}

func (s *replaceSite) replace() replaced {
	s.b.Helper()
	ctx, cancel := context.WithTimeout(s.b.Context(), replaceWait)
	defer cancel()
	before := s.wellNow(ctx)
	goes, donor := roles(before)
	syscall.Sync()

	begun := time.Now()
	planned, err := s.c.API.Operate(ctx, replaceCluster, "replace", v1.Replace{Member: goes.ID, Asked: v1.Asked{Why: "a benchmark"}})
	s.do(err)
	after := s.wellNow(ctx)
	took := replaced{well: time.Since(begun)}
	op, err := s.c.API.WaitOperation(ctx, replaceCluster, planned.ID, nil)
	s.do(err)
	took.ended = op.Ended.Sub(begun)
	var steps []string
	for _, step := range op.Log {
		if step.Step == string(cotton.OpJoined) {
			took.joined = step.At.Sub(begun)
		}
		steps = append(steps, fmt.Sprintf("%s %.2f s", step.Step, step.At.Sub(begun).Seconds()))
	}
	took.steps = strings.Join(steps, ", ")

	_, newest := roles(after)
	if slices.ContainsFunc(before.Endpoints.Replicas, func(e v1.Endpoint) bool { return e.ID == newest.ID }) {
		s.b.Fatalf("no member is new: %+v", after.Endpoints)
	}
	var source string
	took.stages, source = s.stages(s.db(newest))
	if want := fmt.Sprintf("%s:%d", donor.Host, donor.Port); source != want {
		s.b.Fatalf("the new member was cloned from %q, and the peer from %q: they cannot be compared", source, want)
	}
	return took
}

// stages of a server's last clone, as it tells them, and the donor.
func (s *replaceSite) stages(db *sql.DB) (stages, donor string) {
	s.b.Helper()
	s.do(db.QueryRowContext(s.b.Context(), `SELECT GROUP_CONCAT(LOWER(stage), ' ', ROUND(TIMESTAMPDIFF(MICROSECOND, p.begin_time, p.end_time) / 1e6, 2), ' s' ORDER BY p.begin_time SEPARATOR ', '),
		MAX(source) FROM performance_schema.clone_progress p JOIN performance_schema.clone_status USING (id)`).Scan(&stages, &donor))
	return stages, donor
}

// check stops the writer and holds all members against the primary, and against what was acknowledged (I1).
func (s *replaceSite) check() {
	s.b.Helper()
	ctx, cancel := context.WithTimeout(s.b.Context(), replaceWait)
	defer cancel()
	s.w.Stop()
	e := s.wellNow(ctx).Endpoints
	primary := s.db(*e.Primary)
	const sums = "SELECT COUNT(*), SUM(CRC32(body)), MAX(id) FROM shop.goods"
	var want, got [3]uint64
	s.do(primary.QueryRowContext(ctx, sums).Scan(&want[0], &want[1], &want[2]))
	dbs := []*sql.DB{primary}
	for _, r := range e.Replicas {
		dbs = append(dbs, s.db(r))
		s.do(mysql.CatchUp(ctx, s.db(r), primary, replaceWait))
		s.do(s.db(r).QueryRowContext(ctx, sums).Scan(&got[0], &got[1], &got[2]))
		if got != want {
			s.b.Errorf("shop.goods of member %d has (rows, checksum, last id) %v, the primary's %v", r.ID, got, want)
		}
	}
	reports, err := s.w.CheckAll(ctx, nil, dbs...)
	s.do(err)
	for i, r := range reports {
		s.do(r.Err())
		s.b.Logf("%d: %s", i, r)
	}
	if stats := s.w.Stats(); stats.Unknown+stats.Refused > 0 {
		s.do(errors.New("writes failed while a replica was replaced: " + stats.LastError))
	}
}
