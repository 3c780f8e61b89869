// Package testkit is what tests share: real MySQL servers and clusters, real git repositories, a real ZooKeeper, a
// load that knows what was acknowledged to it. Nothing in it is a stand-in.
//
// A package that uses servers hands its TestMain to Main:
//
//	func TestMain(m *testing.M) { testkit.Main(m) }
//
// Server and Cluster are then started once for the package and shared by its tests, which keep apart by databases of
// their own (Database). Tests that kill, pause or reconfigure take FreshServer and FreshCluster.
package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
)

// startLimit bounds the start of a server or cluster, a new template of MySQL included, on a busy machine.
const startLimit = 5 * time.Minute

// Patience is how long a test waits for what must become true, on a machine that is busy with other things. It is no promise of the
// software: what that promises in time is measured, see Stopwatch.
const Patience = 10 * time.Minute

// relaxed leaves flushing to the operating system. What was acknowledged still survives the SIGKILL of a mysqld, only
// not a crash of the machine, which no test makes. The log buffer is as large as tests need: the default of 64M is touched at
// each start.
var relaxed = map[string]string{
	"innodb_flush_log_at_trx_commit": "2", "sync_binlog": "0", "innodb_flush_method": "nosync", "innodb_log_buffer_size": "4M",
}

// pool is what the tests of one package share. It exists while Main runs.
type pool struct {
	dir    string // everything of this process lies below it
	number atomic.Int64

	mu       sync.Mutex
	clusters map[int]*sharedCluster // by number of members
	lent     map[int]int            // how many of them were ever lent, by number of members
	idle     map[int][]*mysqld.Cluster
	more     []*mysqld.Cluster // started to be lent
}

type sharedCluster struct {
	once    sync.Once
	cluster *mysqld.Cluster
	err     error
}

var shared *pool

// Main runs the tests of a package, then removes the servers they shared, does what the package has to do after its
// tests, and exits.
func Main(m *testing.M, after ...func() error) {
	code, err := run(m)
	for _, f := range after {
		err = errors.Join(err, f())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testkit:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	sweep()
	dir, err := os.MkdirTemp("", "aosc-test-")
	if err != nil {
		return 1, err
	}
	lock, err := os.Create(filepath.Join(dir, lockName))
	if err != nil {
		return 1, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return 1, err
	}
	shared = &pool{dir: dir, clusters: map[int]*sharedCluster{}, lent: map[int]int{}, idle: map[int][]*mysqld.Cluster{}}
	code = m.Run()
	return code, errors.Join(shared.remove(), os.RemoveAll(dir))
}

const lockName = ".lock"

// sweep removes what test processes left behind that were killed: their directories are locked as long as they live.
// Very young ones may not have got to their lock yet.
func sweep() {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), "aosc-test-*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			os.RemoveAll(dir)
		}
		lock.Close()
	}
}

func (p *pool) remove() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, s := range p.clusters {
		if s.cluster != nil {
			errs = append(errs, s.cluster.Remove())
		}
	}
	for _, c := range p.more {
		errs = append(errs, c.Remove())
	}
	return errors.Join(errs...)
}

// newDir is a path for a server of this process.
func (p *pool) newDir() string {
	return filepath.Join(p.dir, fmt.Sprintf("%d", p.number.Add(1)))
}

func thePool(t testing.TB) *pool {
	t.Helper()
	if shared == nil {
		t.Fatal("this package needs: func TestMain(m *testing.M) { testkit.Main(m) }")
	}
	return shared
}

// Server is a server that the tests of the package share. It has GTIDs and a binary log, and no replicas.
func Server(t testing.TB) *mysqld.Server {
	t.Helper()
	return Cluster(t, 1).Primary
}

// Cluster is a cluster of n members, one of them the primary, that the tests of the package share; one for each n. The
// replicas are read_only and semi-synchronous.
func Cluster(t testing.TB, n int) *mysqld.Cluster {
	t.Helper()
	p := thePool(t)
	p.mu.Lock()
	s := p.clusters[n]
	if s == nil {
		s = &sharedCluster{}
		p.clusters[n] = s
	}
	p.mu.Unlock()
	s.once.Do(func() { s.cluster, s.err = p.startCluster(n, mysqld.ReplicaOptions{SemiSync: true}, nil) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.cluster
}

// Lend is a cluster as of Cluster that this test has for itself until it ends, for tests that run in parallel: there are as many as run
// at once. The first is that of Cluster, which only tests that are not parallel may use beside.
func Lend(t testing.TB, n int) *mysqld.Cluster {
	t.Helper()
	p := thePool(t)
	c := p.borrow(t, n)
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.idle[n] = append(p.idle[n], c)
	})
	return c
}

func (p *pool) borrow(t testing.TB, n int) *mysqld.Cluster {
	t.Helper()
	p.mu.Lock()
	if last := len(p.idle[n]) - 1; last >= 0 {
		c := p.idle[n][last]
		p.idle[n] = p.idle[n][:last]
		p.mu.Unlock()
		return c
	}
	p.lent[n]++
	first := p.lent[n] == 1
	p.mu.Unlock()
	if first {
		return Cluster(t, n)
	}
	c, err := p.startCluster(n, mysqld.ReplicaOptions{SemiSync: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.more = append(p.more, c)
	return c
}

func (p *pool) startCluster(n int, replica mysqld.ReplicaOptions, config map[string]string) (*mysqld.Cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return mysqld.StartCluster(ctx, mysqld.ClusterOptions{
		Replicas: n - 1,
		Replica:  replica,
		Server:   func(int) mysqld.Options { return p.options(config) },
	})
}

func (p *pool) options(config map[string]string) mysqld.Options {
	o := mysqld.Options{Dir: p.newDir(), Config: map[string]string{}}
	for _, settings := range []map[string]string{relaxed, config} {
		for key, value := range settings {
			o.Config[key] = value
		}
	}
	return o
}

// FreshServer is a server of this test alone, with lines of my.cnf over the usual ones; nil for none. It is removed
// with the test, and its log is shown if the test failed.
func FreshServer(t testing.TB, config map[string]string) *mysqld.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	s, err := mysqld.Start(ctx, thePool(t).options(config))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeFresh(t, s) })
	return s
}

// FreshCluster is a cluster of n members of this test alone, see FreshServer.
func FreshCluster(t testing.TB, n int, replica mysqld.ReplicaOptions, config map[string]string) *mysqld.Cluster {
	t.Helper()
	c, err := thePool(t).startCluster(n, replica, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range c.Servers() {
			removeFresh(t, s)
		}
	})
	return c
}

func removeFresh(t testing.TB, s *mysqld.Server) {
	if t.Failed() {
		t.Logf("log of MySQL at %s:\n%s", s.Addr(), s.ErrorLog())
	}
	if err := errors.Join(s.Remove(), os.RemoveAll(s.Dir())); err != nil {
		t.Error(err)
	}
}

var databases atomic.Int64

// Database creates a database of this test alone on a server and drops it with the test. Its name is "tk" and a number,
// or another prefix and the number.
func Database(t testing.TB, s *mysqld.Server, prefix ...string) string {
	t.Helper()
	name := fmt.Sprintf("%s%d", strings.Join(append(prefix, "tk")[:1], ""), databases.Add(1))
	Exec(t, s, "CREATE DATABASE "+mysql.QuoteIdent(name))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t.Context() has ended
		defer cancel()
		if _, err := s.DB().ExecContext(ctx, "DROP DATABASE IF EXISTS "+mysql.QuoteIdent(name)); err != nil {
			t.Errorf("drop database %s: %v", name, err)
		}
	})
	return name
}

// Exec runs statements on a server, one after the other.
func Exec(t testing.TB, s *mysqld.Server, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := s.DB().ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %s: %v", s.Addr(), statement, err)
		}
	}
}

// Ask is the first column of the first row of a query.
func Ask(t testing.TB, s *mysqld.Server, query string, args ...any) string {
	t.Helper()
	var answer string
	if err := s.DB().QueryRowContext(t.Context(), query, args...).Scan(&answer); err != nil {
		t.Fatalf("%s: %s: %v", s.Addr(), query, err)
	}
	return answer
}

// Eventually waits until a condition holds, asking every 20 ms, and fails the test if it does not within a limit. what
// says what was waited for.
func Eventually(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// ErrantGTIDs are the transactions replicas have executed and the primary has not (I7), see mysqld.Cluster.
func ErrantGTIDs(ctx context.Context, c *mysqld.Cluster) (map[mysql.Addr]string, error) {
	return c.ErrantGTIDs(ctx)
}

// NoErrantGTIDs fails the test if some replica has a transaction of its own (I7).
func NoErrantGTIDs(t testing.TB, c *mysqld.Cluster) {
	t.Helper()
	errant, err := ErrantGTIDs(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(errant) > 0 {
		t.Errorf("I7: errant transactions: %v", errant)
	}
}
