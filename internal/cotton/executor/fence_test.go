package executor

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/cotton"
	client "github.com/aosc/aosc/internal/mesos"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

const patience = testkit.Patience

// recorder is an agent that only keeps what it is told.
type recorder struct {
	mu       sync.Mutex
	statuses []mesos.TaskStatus
	facts    cotton.Facts
}

func (r *recorder) Run(context.Context, client.ExecutorHandler) error { return nil }
func (r *recorder) Flush(context.Context) error                       { return nil }

func (r *recorder) Update(s mesos.TaskStatus) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statuses = append(r.statuses, s)
	return nil
}

func (r *recorder) Message(_ context.Context, data []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.facts = cotton.Facts{} // zero fields are left out of the text
	return json.Unmarshal(data, &r.facts)
}

func (r *recorder) last() cotton.Facts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.facts
}

// messages are those of all statuses so far.
func (r *recorder) messages() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, s := range r.statuses {
		fmt.Fprintf(&b, "%s %s\n", s.GetState(), s.GetMessage())
	}
	return b.String()
}

// guarded is an instance with its server, as after a LAUNCH.
type guarded struct {
	t     *testing.T
	x     *Executor
	i     *instance
	heard *recorder
	end   func()
	why   string // once it has ended
}

func startGuarded(t *testing.T, edit ...func(*guarded)) *guarded {
	t.Helper()
	x, task := fixture(t)
	return runGuarded(t, x, task, edit...)
}

// runGuarded is startGuarded on a volume; edit is called before anything runs.
func runGuarded(t *testing.T, x *Executor, task cotton.Task, edit ...func(*guarded)) *guarded {
	t.Helper()
	heard := &recorder{}
	x.client, x.log, x.ctx = heard, x.cfg.Log, t.Context()
	x.cfg.FactsInterval, x.cfg.Timing = time.Second, cotton.DefaultTiming()
	x.cfg.Timing.Pulse, x.cfg.Timing.PulseLimit = 200*time.Millisecond, 2*time.Second
	// A server that closes is not killed because the machine is busy.
	x.cfg.Timing.Close, x.cfg.Timing.Killed = patience, patience/2
	g := &guarded{t: t, x: x, i: newInstance(x, "c-2-1", task), heard: heard}
	for _, e := range edit {
		e(g)
	}
	x.instance = g.i
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, g.why = g.i.run(context.Background())
	}()
	var once sync.Once
	g.end = func() { once.Do(func() { x.stopInstance(10 * time.Second); <-done }) }
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("statuses:\n%s\nfacts: %+v", heard.messages(), heard.last())
		}
		g.end()
	})
	testkit.Eventually(t, patience, "mysqld answers", func() bool { return strings.Contains(heard.messages(), "RUNNING mysqld answers") })
	return g
}

func (g *guarded) order(epoch uint64, kind cotton.OrderKind, lease time.Duration) {
	g.t.Helper()
	data, err := json.Marshal(cotton.Order{Schema: cotton.OrderSchema, Task: g.i.id, Epoch: epoch, Kind: kind, Lease: lease})
	if err != nil {
		g.t.Fatal(err)
	}
	g.x.order(data)
}

// open opens the server for writes, as the scheduler does, with a table.
func (g *guarded) open() {
	g.t.Helper()
	for _, statement := range []string{"SET GLOBAL read_only = OFF", "CREATE DATABASE IF NOT EXISTS d",
		"CREATE TABLE IF NOT EXISTS d.t (a INT PRIMARY KEY)", "CREATE USER IF NOT EXISTS app IDENTIFIED BY 'app'", "GRANT ALL ON *.* TO app",
		"REVOKE SUPER, CONNECTION_ADMIN ON *.* FROM app"} {
		if _, err := g.i.server.DB().ExecContext(g.t.Context(), statement); err != nil {
			g.t.Fatalf("%s: %v", statement, err)
		}
	}
}

// app is a session of a client.
func (g *guarded) app() *sql.Conn {
	g.t.Helper()
	db, err := mysql.Open(g.i.server.Addr(), mysql.Credentials{User: "app", Password: "app", TLS: "skip-verify"}, mysql.Options{})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	return conn
}

func (g *guarded) isOpen() bool {
	e, err := mysql.ReadExposure(g.t.Context(), g.i.server.DB())
	return err == nil && e.Open()
}

func (g *guarded) awaitClosed() {
	g.t.Helper()
	testkit.Eventually(g.t, patience, "the server answers, closed", func() bool {
		e, err := mysql.ReadExposure(g.t.Context(), g.i.server.DB())
		return err == nil && e.SuperReadOnly
	})
}

func (g *guarded) awaitFenced(epoch uint64) cotton.Facts {
	g.t.Helper()
	testkit.Eventually(g.t, patience, "the fence is reported", func() bool { return g.heard.last().FencedEpoch == epoch })
	return g.heard.last()
}

// TestFence: whatever a primary is doing, a fence closes it, by force where need be; it is reported only then, it is no
// crash, and what the server acknowledged is there afterwards.
func TestFence(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		before func(*testing.T, *guarded)
		killed bool
	}{
		{"idle", func(*testing.T, *guarded) {}, false},
		{"frozen", func(t *testing.T, g *guarded) {
			if err := g.i.server.Pause(); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"a client holds locks", func(t *testing.T, g *guarded) {
			if _, err := g.app().ExecContext(t.Context(), "LOCK TABLES d.t WRITE"); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"sessions wait for an acknowledgement", func(t *testing.T, g *guarded) {
			if err := mysql.SetSemiSyncSource(t.Context(), g.i.server.DB(), g.i.server.Version(), mysql.SemiSyncSource{Enabled: true}); err != nil {
				t.Fatal(err)
			}
			conn := g.app()
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				defer close(done)
				if _, err := conn.ExecContext(ctx, "INSERT INTO d.t VALUES (2)"); err == nil {
					t.Error("a commit was acknowledged that no replica has (I1)")
				}
			}()
			t.Cleanup(func() { cancel(); <-done })
			testkit.Eventually(t, patience, "the commit waits", func() bool {
				e, err := mysql.ReadExposure(t.Context(), g.i.server.DB())
				return err == nil && e.Waiting == 1
			})
		}, true},
		{"dead already", func(t *testing.T, g *guarded) {
			over := g.i.server.Done()
			if err := syscall.Kill(g.i.server.Pid(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			<-over
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := startGuarded(t, func(g *guarded) {
				if !tc.killed {
					g.i.guard.limits.killed = patience // however busy the machine is
				}
			})
			g.open()
			if _, err := g.app().ExecContext(t.Context(), "INSERT INTO d.t VALUES (1)"); err != nil {
				t.Fatal(err)
			}
			tc.before(t, g)
			restarts := g.heard.last().Restarts
			g.order(7, cotton.OrderFence, 0)
			facts := g.awaitFenced(7)
			if got := strings.Contains(g.heard.messages(), "mysqld was killed (fenced under epoch 7)"); got != tc.killed {
				t.Errorf("killed: %v, want %v", got, tc.killed)
			}
			g.awaitClosed()
			if facts.Epoch != 7 || tc.killed && (facts.Restarts != restarts || g.i.inARow != 0) {
				t.Errorf("%+v: a fence is no crash", facts)
			}
			var rows int
			if err := g.i.server.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM d.t WHERE a = 1").Scan(&rows); err != nil || rows != 1 {
				t.Errorf("%d rows, %v: what was acknowledged is lost (I1)", rows, err)
			}
		})
	}
}

// TestOldOrders: an order of an older epoch is not obeyed, also by the next executor on the volume; nor is one for another
// task, or a newer schema.
func TestOldOrders(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	g.order(9, cotton.OrderFence, 0)
	g.awaitFenced(9)
	g.open()
	g.order(8, cotton.OrderFence, 0)
	g.x.order([]byte(`{"schema": 99, "task": "c-2-1", "epoch": 10, "kind": "fence"}`))
	g.x.order([]byte(`{"schema": 1, "task": "c-2-2", "epoch": 10, "kind": "fence"}`))
	g.x.order([]byte(`{"schema": 1, "task": "c-2-1", "epoch": 10, "kind": "dance"}`))
	if err := g.i.guard.order(cotton.Order{Kind: cotton.OrderFence, Epoch: 8}, time.Now()); err == nil || g.i.guard.ordered() != 0 {
		t.Errorf("an old order is accepted: %v", err)
	}
	g.end()
	task := g.i.task
	task.HasData = true
	again := runGuarded(t, g.x, task)
	again.order(8, cotton.OrderLease, time.Millisecond)
	if m, err := readMemory(again.i.server.Dir()); err != nil || m != (memory{Epoch: 9, Fenced: 9}) {
		t.Errorf("remembered: %+v, %v", m, err)
	}
	testkit.Eventually(t, patience, "the next executor says what was fenced", func() bool { return again.heard.last().FencedEpoch == 9 })
	if again.i.guard.lease.length != 0 {
		t.Error("an old lease was accepted")
	}
}

// TestLeaseUnheard: an open server closes itself once its lease is over and nobody acknowledges; without ever a lease it
// is left alone; opened again it stays open while its lease runs.
func TestLeaseUnheard(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	g.open()
	seen := g.heard.last().At
	testkit.Eventually(t, patience, "some looks have passed", func() bool { return g.heard.last().At.Sub(seen) > 2*time.Second })
	if !g.isOpen() {
		t.Fatal("a server without a lease was closed")
	}
	g.order(3, cotton.OrderLease, time.Second)
	testkit.Eventually(t, patience, "the epoch is told", func() bool { return g.heard.last().Epoch == 3 })
	g.awaitClosed()
	if f := g.heard.last(); f.FencedEpoch != 0 {
		t.Errorf("%+v: it was not fenced", f)
	}
	testkit.Eventually(t, patience, "it says why", func() bool { return strings.Contains(g.heard.last().ClosedWhy, "lease") })
	g.order(3, cotton.OrderLease, time.Hour)
	g.open()
	seen = g.heard.last().At
	testkit.Eventually(t, patience, "some looks have passed", func() bool { return g.heard.last().At.Sub(seen) > 2*time.Second })
	if !g.isOpen() {
		t.Error("a server with a lease was closed")
	}
}

// acknowledged is a guarded server that is open, and a replica that acknowledges to it.
func acknowledged(t *testing.T, set mysql.SemiSyncSource) (*guarded, *mysqld.Server) {
	t.Helper()
	g := startGuarded(t)
	g.open()
	db := g.i.server.DB()
	if err := mysql.SetSemiSyncSource(t.Context(), db, g.i.server.Version(), set); err != nil {
		t.Fatal(err)
	}
	replica, err := mysqld.Start(t.Context(), mysqld.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { replica.Remove() })
	password := cotton.AdminKey("a key that is long enough").Password(g.i.task.Identity(), cotton.ReplicationAccount)
	for _, do := range []func() error{
		func() error { return mysql.SetSemiSyncReplica(t.Context(), replica.DB(), replica.Version(), true) },
		func() error {
			return mysql.ChangeSource(t.Context(), replica.DB(), mysql.SourceOptions{Addr: g.i.server.Addr(), SSL: true,
				User: cotton.ReplicationAccount, Password: password, ConnectRetry: time.Second})
		},
		func() error { return mysql.StartReplica(t.Context(), replica.DB()) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, patience, "the replica acknowledges", func() bool {
		e, err := mysql.ReadExposure(t.Context(), db)
		return err == nil && e.Acknowledged()
	})
	return g, replica
}

// TestLeaseAcknowledged: the scheduler is away for ever, a replica acknowledges: writes go on. When the replica goes, too,
// and commits wait for it, the server is killed rather than closed: nothing that waits is let through.
func TestLeaseAcknowledged(t *testing.T) {
	t.Parallel()
	g, replica := acknowledged(t, mysql.SemiSyncSource{Enabled: true})
	g.order(3, cotton.OrderLease, 100*time.Millisecond)
	app := g.app()
	for n, begun := 0, time.Now(); time.Since(begun) < 2*time.Second; n++ {
		if _, err := app.ExecContext(t.Context(), "INSERT INTO d.t VALUES (?)", n); err != nil {
			t.Fatalf("a write failed while a replica acknowledges: %v", err)
		}
	}
	if err := replica.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := app.ExecContext(t.Context(), "INSERT INTO d.t VALUES (1000000)"); err == nil {
		t.Error("a commit was acknowledged that no replica has (I1)")
	}
	g.awaitClosed()
	if !strings.Contains(g.heard.messages(), "mysqld was killed (the scheduler's lease ended") {
		t.Error("it was not killed")
	}
}

// TestLeaseFallenBack: a primary whose policy falls back is not kept open by a replica that is connected and acknowledges nothing, as one
// whose packets vanish. Its scheduler takes it for closed by then (I2).
func TestLeaseFallenBack(t *testing.T) {
	t.Parallel()
	g, replica := acknowledged(t, mysql.SemiSyncSource{Enabled: true, Acks: 1, Timeout: time.Second})
	g.order(3, cotton.OrderLease, 2*time.Second)
	app := g.app()
	if err := replica.Pause(); err != nil { // its connection stays
		t.Fatal(err)
	}
	begun := time.Now()
	testkit.Eventually(t, patience, "it is closed", func() bool {
		_, err := app.ExecContext(t.Context(), "INSERT INTO d.t VALUES (?)", time.Since(begun).Microseconds())
		return err != nil
	})
	g.awaitClosed()
	t.Logf("closed %s after the replica stopped acknowledging, with a lease of 2 s", time.Since(begun).Round(time.Millisecond))
}

// TestSilence: a mysqld that hangs is reported within moments, and again while it does; facts go on.
func TestSilence(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	testkit.Eventually(t, patience, "it answers", func() bool { return g.heard.last().Answers })
	if err := g.i.server.Pause(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, "the silence is reported", func() bool {
		f := g.heard.last()
		return f.Up && !f.Answers && f.SilentMillis > 1000
	})
	if err := g.i.server.Resume(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, "it answers again", func() bool { f := g.heard.last(); return f.Answers && f.SilentMillis == 0 })
	// Open, hung and without a lease: it is killed before it wakes up.
	g.open()
	testkit.Eventually(t, patience, "it is seen open", func() bool { g.i.guard.mu.Lock(); defer g.i.guard.mu.Unlock(); return g.i.guard.pulse.openBefore })
	g.order(3, cotton.OrderLease, 100*time.Millisecond)
	if err := g.i.server.Pause(); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
	g.awaitClosed()
}

// TestCrash: that mysqld ended is the first thing that is reported, and the first start after it comes at once.
func TestCrash(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	if err := syscall.Kill(g.i.server.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, "it answers again", func() bool { return strings.Contains(g.heard.messages(), "mysqld answers again") })
	if all := g.heard.messages(); !strings.Contains(all, "mysqld ended (signal: killed), starting it again in 0s\nTASK_RUNNING mysqld answers again") {
		t.Errorf("statuses:\n%s", all)
	}
	var down cotton.Facts
	g.heard.mu.Lock()
	for _, s := range g.heard.statuses {
		if strings.HasPrefix(s.GetMessage(), "mysqld ended") {
			if err := json.Unmarshal(s.Data, &down); err != nil || *s.Healthy {
				t.Errorf("healthy %v, %v", *s.Healthy, err)
			}
		}
	}
	g.heard.mu.Unlock()
	if down.Up || down.Answers || down.Restarts != 1 {
		t.Errorf("facts of a server that ended: %+v", down)
	}
	var waits []time.Duration
	for n := range 8 {
		waits = append(waits, crashWait(n+1))
	}
	if got := fmt.Sprint(waits); got != "[0s 1s 2s 4s 8s 16s 30s 30s]" {
		t.Errorf("pauses: %s", got)
	}
	if left, _ := filepath.Glob(filepath.Join(g.i.server.Dir(), memoryFile+".new")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestJudge: when a lease closes a server, and when it kills it.
func TestJudge(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) lease { return lease{length: time.Second, until: now.Add(-d)} }
	over, running := ago(time.Second), ago(-time.Second)
	last := func(d time.Duration, p pulse) pulse { // the last answer was so long ago
		p.at = now.Add(-d)
		return p
	}
	open := mysql.Exposure{}
	closed := mysql.Exposure{ReadOnly: true, SuperReadOnly: true}
	for _, tc := range []struct {
		name string
		l    lease
		p    pulse
		want verdict
	}{
		{"never granted", lease{}, pulse{at: now, answers: true, exposure: open, unheard: 9}, leave},
		{"lease runs", running, pulse{at: now, answers: true, exposure: open, unheard: 9}, leave},
		{"over, acknowledged", over, pulse{at: now, answers: true, exposure: open}, leave},
		{"over, unheard once", over, pulse{at: now, answers: true, exposure: open, unheard: 1}, leave},
		{"over, unheard", over, pulse{at: now, answers: true, exposure: open, unheard: 2}, closeIt},
		{"over, closed", over, pulse{at: now, answers: true, exposure: closed, unheard: 2}, leave},
		{"over, silent for a moment", over, pulse{at: now.Add(-500 * time.Millisecond), exposure: open, unheard: 2}, leave},
		{"over, silent since before", over, pulse{at: now.Add(-3 * time.Second), exposure: open}, killIt},
		{"long over, acknowledged until 3 s ago", ago(time.Minute), last(3*time.Second, pulse{heard: now.Add(-3 * time.Second), exposure: open}),
			leave},
		{"long over, hangs", ago(time.Hour), pulse{at: now.Add(-10 * time.Second), heard: now.Add(-10 * time.Second), exposure: open}, killIt},
		{"over for 2.7 s, unheard once, hangs since", ago(2700 * time.Millisecond),
			last(2600*time.Millisecond, pulse{exposure: open, unheard: 1}), leave},
		{"over for 2.8 s, unheard once, hangs since", ago(2800 * time.Millisecond),
			last(2700*time.Millisecond, pulse{exposure: open, unheard: 1}), killIt},
		{"over for 2.8 s, answers, unheard once", ago(2800 * time.Millisecond), last(0, pulse{answers: true, exposure: open, unheard: 1}),
			killIt},
		{"over for 2.8 s, acknowledged", ago(2800 * time.Millisecond), pulse{at: now, heard: now, answers: true, exposure: open}, leave},
		{"long over, acknowledged 9 s ago, then unheard, hangs", ago(time.Hour),
			pulse{at: now.Add(-8 * time.Second), heard: now.Add(-9 * time.Second), exposure: open, unheard: 1}, leave},
		{"long over, acknowledged 10 s ago, then unheard, hangs", ago(time.Hour),
			pulse{at: now.Add(-8 * time.Second), heard: now.Add(-10 * time.Second), exposure: open, unheard: 1}, killIt},
		{"over, hangs", over, pulse{at: now.Add(-time.Minute), exposure: open}, killIt},
		{"over, hangs closed", over, pulse{at: now.Add(-time.Minute), exposure: closed}, leave},
		{"lease runs, hangs", running, pulse{at: now.Add(-time.Minute), exposure: open}, leave},
	} {
		if got := tc.l.judge(tc.p, now, cotton.DefaultTiming()); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}
