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
	key, err := cotton.ReadAdminKey(l.s.Keyfile)
	if err != nil {
		l.s.t.Fatal(err)
	}
	for _, m := range v.Record.Members {
		db := l.s.open("c0", cotton.AdminAccount, key.Password(cotton.AdminAccount, "c0"), mysql.Addr{Host: m.Host, Port: m.Port})
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

// full tells whether tests go through all points, as in make faults.
func full() bool { return os.Getenv("AOSC_E2E") == "full" }

// takenBack is passed only by a change that does not succeed.
const takenBack = "cotton.change.takenback"

// changing are the places of a change of primary at which its scheduler is killed: a few, or all (make faults).
func changing() map[cotton.ChangeKind][]string {
	if !full() {
		return map[cotton.ChangeKind][]string{
			cotton.Failover:   {"cotton.failover.elected", "cotton.promote.stored"},
			cotton.Switchover: {"cotton.switchover.demoted"},
		}
	}
	return map[cotton.ChangeKind][]string{
		cotton.Failover: {
			"cotton.failover.stored", "cotton.failover.freeze@2", "cotton.failover.elected", "cotton.promote.stored", "cotton.promote.reset",
			"cotton.open.before", "cotton.change.finished",
		},
		cotton.Switchover: {
			"cotton.switchover.stored", "cotton.switchover.demoted", "cotton.promote.stored", "cotton.promote.reset", "cotton.open.before",
			"cotton.change.finished", takenBack,
		},
	}
}

// TestKilledWhileChanging: wherever a scheduler is killed in a failover or a switchover, the next one finishes it or takes
// it back: one primary, everybody else follows it, and no acknowledged write is lost (I1, I2, I7, I8, I10).
func TestKilledWhileChanging(t *testing.T) {
	s := newSite(t, "executor", 3)
	f, stop := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 3)); err != nil {
		t.Fatal(err)
	}
	v := s.await(f, "c0", "the cluster is complete", complete(3))
	l := s.load()
	l.writes(20)
	stop()
	var table strings.Builder
	for kind, points := range changing() {
		for _, point := range points {
			name, pass, _ := strings.Cut(point, "@")
			armed := name + "=kill"
			if pass != "" {
				armed += "@" + pass
			}
			begun := time.Now()
			release := func() {}
			if point == takenBack {
				release = s.holdReplicas(v)
			}
			p := s.process(armed, func(set *settings) {
				if kind == cotton.Switchover {
					set.Switchover, set.Within = "c0", 4*time.Second
				}
			})
			if kind == cotton.Failover {
				if err := syscall.Kill(s.mysqldOf(member(v, v.Record.Primary).TaskID), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			killed(t, p)
			release()
			f, stop = s.scheduler()
			v = s.await(f, "c0", "the cluster is complete after a scheduler killed at "+point, func(v framework.View) bool {
				return v.Record.Change == nil && complete(3)(v)
			})
			l.writes(20)
			s.healthy(v, 3)
			last := v.Record.History[len(v.Record.History)-1]
			outcome := "finished"
			if last.Taken {
				outcome = "taken back"
			}
			if last.Taken != (v.Record.Primary == last.From) || point == takenBack && !last.Taken {
				t.Errorf("%s killed at %s: %s, and %d is the primary, which was %d", kind, point, outcome, v.Record.Primary, last.From)
			}
			fmt.Fprintf(&table, "| %s | `%s` | %s | %.1f s |\n", kind, point, outcome, time.Since(begun).Seconds())
			stop()
		}
	}
	t.Logf("\n| change | killed at | the next one | all well after |\n|---|---|---|---|\n%s", &table)
	l.settle(v)
}

// holdReplicas keeps them from applying anything until release.
func (s *site) holdReplicas(v framework.View) (release func()) {
	s.t.Helper()
	key, err := cotton.ReadAdminKey(s.Keyfile)
	if err != nil {
		s.t.Fatal(err)
	}
	var held []*sql.Conn
	for _, e := range v.Endpoints.Replicas {
		conn, err := s.open("c0", cotton.AdminAccount, key.Password(cotton.AdminAccount, "c0"), mysql.Addr{Host: e.Host, Port: e.Port}).Conn(s.t.Context())
		if err == nil {
			_, err = conn.ExecContext(s.t.Context(), "FLUSH TABLES WITH READ LOCK")
		}
		if err != nil {
			s.t.Fatal(err)
		}
		held = append(held, conn)
	}
	return func() {
		for _, conn := range held {
			if _, err := conn.ExecContext(s.t.Context(), "UNLOCK TABLES"); err != nil {
				s.t.Fatal(err)
			}
			conn.Close()
		}
	}
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
