package framework_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/discovery"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/writer"
)

// load writes to the published primary, wherever it is, and can be held against every member afterwards.
type load struct {
	s  *site
	w  *writer.Writer
	mu sync.Mutex
	at mysql.Addr
	db *sql.DB
}

func (s *site) load() *load { return s.loadOf(300) }

// loadOf is a load of so many operations a second.
func (s *site) loadOf(rate float64) *load {
	s.t.Helper()
	l := &load{s: s}
	db := l.primary()
	l.w = writer.New(writer.Options{DB: l.primary, Database: "d", Table: "w", Rate: rate, Timeout: 2 * time.Second})
	for _, statement := range []string{"CREATE DATABASE IF NOT EXISTS d", "DROP TABLE IF EXISTS d.w", l.w.CreateTable()} {
		if _, err := db.ExecContext(s.t.Context(), statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
	l.w.Start(s.t.Context())
	s.t.Cleanup(l.w.Stop)
	return l
}

// primary is asked before each operation: it follows what is published.
func (l *load) primary() *sql.DB {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := (bulletin{l.s.Dir + "/published"}).read("c0"); ok && e.Primary != nil {
		if at := (mysql.Addr{Host: e.Primary.Host, Port: e.Primary.Port}); l.db == nil || at != l.at {
			l.at, l.db = at, l.s.open("c0", "app", "secret of c0", at)
		}
	}
	return l.db
}

// writes waits until so many more operations were acknowledged.
func (l *load) writes(n uint64) {
	l.s.t.Helper()
	from := l.w.Stats().Acknowledged()
	testkit.Eventually(l.s.t, patience, "writes are acknowledged", func() bool { return l.w.Stats().Acknowledged() >= from+n })
}

// settle stops the writer and holds every member against its ledger (I1).
func (l *load) settle(v framework.View) {
	l.s.t.Helper()
	l.w.Stop()
	stats := l.w.Stats()
	l.s.t.Logf("%d operations acknowledged, %d refused, %d unknown, longest gap %s", stats.Acknowledged(), stats.Refused, stats.Unknown,
		stats.LongestGap.Round(time.Millisecond))
	for _, m := range v.Record.Members {
		db := l.s.administrator("c0", mysql.Addr{Host: m.Host, Port: m.Port})
		problem := errors.New("not read")
		for deadline := time.Now().Add(patience); problem != nil && time.Now().Before(deadline); {
			report, err := l.w.Check(l.s.t.Context(), db)
			problem = errors.Join(err, report.Err())
		}
		if problem != nil {
			l.s.t.Errorf("on %s of primary %d: not every acknowledged operation is found, or something else (I1): %v", v.Record.MemberName(m.ID), v.Record.Primary, problem)
		}
	}
}

// mysqldOf is the process of a member's server.
func (s *site) mysqldOf(task string) int {
	s.t.Helper()
	found, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range found {
		env, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(env, []byte("\x00MESOS_SANDBOX="+s.Dir+"/")) || !bytes.Contains(env, []byte("\x00MESOS_EXECUTOR_ID="+task+"\x00")) {
			continue
		}
		if args, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline")); err != nil || !bytes.Contains(args, []byte("--defaults-file")) {
			continue // its executor, or a helper
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			s.t.Fatal(err)
		}
		return pid
	}
	s.t.Fatalf("no mysqld of %s runs", task)
	return 0
}

func member(v framework.View, id int) cotton.Member {
	m, _ := v.Record.Member(id)
	return *m
}

// disturbance is what a scheduler deals with when it is killed, and at which points.
type disturbance struct {
	name    string
	points  []string
	before  func(*site)                 // done while no scheduler runs
	order   func(*settings)             // given to the scheduler that is killed
	provoke func(*site, framework.View) // done while it runs
	delay   time.Duration               // of what replicas apply
}

// disturbances of a cluster at which its scheduler is killed at a few points.
var disturbances = []disturbance{
	{name: "failover", points: []string{"cotton.failover.elected", "cotton.promote.stored"}, provoke: (*site).killPrimary},
	{name: "switchover", points: []string{"cotton.switchover.demoted"}, order: switchOver},
}

// allDisturbances are those of make faults, each for a cluster of its own: an executor gives up a server that was killed
// five times within minutes.
var allDisturbances = []disturbance{
	{name: "failover", points: []string{
		"cotton.failover.stored", "cotton.failover.freeze@2", "cotton.failover.elected", "cotton.promote.stored", "cotton.promote.reset",
		"cotton.open.before",
	}, provoke: (*site).killPrimary},
	{name: "failover, opened", points: []string{
		"cotton.open.after", "cotton.publish.before@2", "cotton.publish.before@3", "cotton.change.finished", "cotton.follow.before",
	}, provoke: (*site).killPrimary},
	{name: "failover, replicas behind", points: []string{"cotton.failover.drained"}, provoke: (*site).killPrimary, delay: time.Second},
	{name: "failover, primary frozen", points: []string{"cotton.failover.fenced"}, provoke: (*site).freezePrimary},
	{name: "switchover", points: []string{
		"cotton.switchover.stored", "cotton.switchover.demoted", "cotton.promote.stored", "cotton.promote.reset", "cotton.open.before",
		"cotton.open.after", "cotton.change.finished", "cotton.follow.before",
	}, order: switchOver},
	{name: "switchover, replicas behind", points: []string{"cotton.switchover.caughtup"}, order: switchOver, delay: time.Second},
	{name: "switchover, late", points: []string{"cotton.change.takenback"}, before: (*site).lateSwitchover},
	{name: "clone", points: []string{
		"cotton.relieve.stored", "cotton.clone.before", "cotton.clone.copied", "cotton.clone.restarted", "cotton.follow.before",
	}, provoke: (*site).makeErrant},
}

func switchOver(set *settings) { set.Switchover = "c0" }

func (s *site) killPrimary(v framework.View)   { s.signalPrimary(v, syscall.SIGKILL) }
func (s *site) freezePrimary(v framework.View) { s.signalPrimary(v, syscall.SIGSTOP) }

func (s *site) signalPrimary(v framework.View, sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(s.mysqldOf(member(v, v.Record.Primary).TaskID), sig); err != nil {
		s.t.Fatal(err)
	}
}

// makeErrant gives a replica a transaction of its own: it is relieved and cloned (I7).
func (s *site) makeErrant(v framework.View) {
	s.t.Helper()
	s.onReplica(v.Endpoints.Replicas[0], "SET GLOBAL super_read_only = OFF", "CREATE DATABASE errant", "SET GLOBAL super_read_only = ON")
}

// delayReplicas has replicas apply what they receive so much later; the one that is promoted forgets it.
func (s *site) delayReplicas(v framework.View, d time.Duration) {
	s.t.Helper()
	for _, e := range v.Endpoints.Replicas {
		s.onReplica(e, "STOP REPLICA SQL_THREAD", fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = %d", int(d.Seconds())), "START REPLICA SQL_THREAD")
	}
}

// onReplica runs statements as an administrator.
func (s *site) onReplica(e discovery.Endpoint, statements ...string) {
	s.t.Helper()
	db := s.administrator("c0", mysql.Addr{Host: e.Host, Port: e.Port})
	for _, statement := range statements {
		if _, err := db.ExecContext(s.t.Context(), statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
}

// lateSwitchover leaves one behind whose primary is closed and whose time is over: it is taken back.
func (s *site) lateSwitchover() {
	s.t.Helper()
	const within = 3 * time.Second
	killed(s.t, s.process("cotton.switchover.demoted=kill", func(set *settings) { set.Switchover, set.Within = "c0", within }))
	stored := time.Now()
	testkit.Eventually(s.t, patience, "the time for the switchover is over", func() bool { return time.Since(stored) > within })
}

// TestKilledWhileChanging: wherever a scheduler is killed in a failover, a switchover or a clone, the next one finishes it or takes
// it back: one primary, everybody else follows it, and no acknowledged write is lost (I1, I2, I7, I8, I10).
func TestKilledWhileChanging(t *testing.T) {
	t.Parallel()
	if os.Getenv("AOSC_E2E") != "full" {
		killedWhile(t, disturbances...)
		return
	}
	for _, d := range allDisturbances {
		t.Run(d.name, func(t *testing.T) { killedWhile(t, d) })
	}
}

func killedWhile(t *testing.T, disturbances ...disturbance) {
	t.Helper()
	s := newSite(t, "executor", 3)
	f, stop := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 3)); err != nil {
		t.Fatal(err)
	}
	v := s.await(f, "c0", "the cluster is complete", complete(3))
	l := s.loadOf(50) // what is cloned catches up soon, on a busy machine, too
	l.writes(20)
	stop()
	table := "\n| what | scheduler killed at | outcome | well after |\n|---|---|---|---|\n"
	defer func() { t.Log(table) }()
	for _, d := range disturbances {
		for _, point := range d.points {
			name, pass, _ := strings.Cut(point, "@")
			armed := name + "=kill"
			if pass != "" {
				armed += "@" + pass
			}
			if d.before != nil {
				d.before(s)
			}
			if d.delay != 0 {
				s.delayReplicas(v, d.delay)
			}
			changes := v.Record.Epoch
			p := s.process(armed, d.order)
			if d.provoke != nil {
				d.provoke(s, v)
			}
			killed(t, p)
			begun := time.Now()
			f, stop = s.scheduler()
			testkit.Eventually(t, 4*patience, "the cluster is complete after a scheduler killed at "+point, func() bool {
				var err error
				v, err = f.Cluster(t.Context(), "c0")
				return err == nil && v.Record.Change == nil && complete(3)(v)
			})
			well := time.Since(begun)
			l.writes(20)
			s.healthy(v, 3)
			outcome := "cloned"
			if last := len(v.Record.History) - 1; v.Record.Epoch != changes {
				if outcome = "finished"; v.Record.History[last].Taken {
					outcome = "taken back"
				}
			}
			if (outcome == "cloned") != (d.name == "clone") || name == "cotton.change.takenback" && outcome != "taken back" {
				t.Errorf("%s, killed at %s: %s", d.name, point, outcome)
			}
			table += fmt.Sprintf("| %s | %s | %s | %.1f s |\n", d.name, point, outcome, well.Seconds())
			stop()
			if d.delay != 0 {
				s.delayReplicas(v, 0)
			}
		}
	}
	l.settle(v)
}

// failover: a primary that is killed under load is replaced by a replica that has all that was acknowledged (I1); the one
// killed comes back as a replica; nobody was ever open beside another (I2), clients are told of the new one (I10).
func (s *site) failover(f *framework.Framework, _ mysql.Addr) {
	s.t.Helper()
	l := s.load()
	l.writes(100)
	v := s.await(f, "c0", "all is well", complete(3))
	old := v.Record.Primary
	if err := syscall.Kill(s.mysqldOf(member(v, old).TaskID), syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	v = s.await(f, "c0", "another primary is published", func(v framework.View) bool {
		return v.Record.Primary != old && v.Endpoints.Primary != nil && v.Endpoints.Primary.ID == v.Record.Primary
	})
	l.writes(100)
	v = s.await(f, "c0", "the one that was killed follows", complete(3))
	l.settle(v)
	s.healthy(v, 3)
	if n := len(v.Record.History); n != 1 || v.Record.History[0].Kind != cotton.Failover || v.Record.History[0].Taken || v.Record.Change != nil {
		s.t.Fatalf("history: %+v, change %+v", v.Record.History, v.Record.Change)
	}
	for _, step := range v.Record.History[0].Log {
		s.t.Logf("%6d ms  %s: %s", step.At.Sub(v.Record.History[0].Began).Milliseconds(), step.Step, step.Note)
	}
}

// switchover: a primary that is handed over loses nothing, and follows its successor.
func (s *site) switchover(f *framework.Framework) {
	s.t.Helper()
	l := s.load()
	l.writes(50)
	v := s.await(f, "c0", "all is well", complete(3))
	old := v.Record.Primary
	if _, err := f.Switchover(s.t.Context(), "c0", framework.SwitchoverOptions{To: old}); err == nil {
		s.t.Error("a switchover to the primary is not refused")
	}
	if _, err := f.Switchover(s.t.Context(), "c0", framework.SwitchoverOptions{DryRun: true}); err != nil {
		s.t.Error(err)
	}
	t, err := f.Switchover(s.t.Context(), "c0", framework.SwitchoverOptions{Why: "a test"})
	if err != nil {
		s.t.Fatal(err)
	}
	v = s.await(f, "c0", "the primary was handed over", func(v framework.View) bool {
		return v.Record.Primary == t.To && v.Record.Change == nil && complete(3)(v)
	})
	l.writes(50)
	l.settle(v)
	s.healthy(v, 3)
	last := v.Record.History[len(v.Record.History)-1]
	for _, step := range last.Log {
		s.t.Logf("%6d ms  %s: %s", step.At.Sub(last.Began).Milliseconds(), step.Step, step.Note)
	}
}
