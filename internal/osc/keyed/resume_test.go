package keyed

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/wait"
)

// victimEnv makes the test binary a process that makes one copy, and is killed on the way.
const victimEnv = "AOSC_KEYED_VICTIM"

type orders struct {
	Addr     string
	Database string
	Clauses  string
	Workers  int
	MaxChunk int
	Pace     time.Duration // rest before each chunk
}

func TestMain(m *testing.M) {
	if text := os.Getenv(victimEnv); text != "" {
		os.Exit(victimMain(text))
	}
	testkit.Main(m)
}

func victimMain(text string) int {
	err := func() error {
		var o orders
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			return err
		}
		addr, err := mysql.ParseAddr(o.Addr)
		if err != nil {
			return err
		}
		db, err := mysql.Open(addr, mysql.Credentials{User: "root"}, mysql.Options{MaxOpen: 40})
		if err != nil {
			return err
		}
		req := requestOf(db, addr, o)
		req.Phase = func(phase, detail string) { fmt.Println(phase, detail) }
		c, err := Continue(context.Background(), req)
		if err != nil {
			return err
		}
		return c.Run(context.Background())
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Continue goes on with a copy, or begins it when nothing usable is there.
func Continue(ctx context.Context, req Request) (*Copy, error) {
	saved, err := Find(ctx, req.DB, req.Database, req.Progress)
	if err != nil {
		return nil, err
	}
	reason := "nothing is noted"
	if saved != nil {
		if reason, err = saved.Judge(ctx, req); err != nil {
			return nil, err
		}
	}
	if req.Resume = reason == ""; !req.Resume {
		for _, t := range []string{req.Ghost, req.Progress} {
			if _, err := req.DB.ExecContext(ctx, "DROP TABLE IF EXISTS "+mysql.QuoteIdents(req.Database, t)); err != nil {
				return nil, err
			}
		}
	}
	return New(ctx, req)
}

// victim runs a copy in a process of its own until it is killed: by a fault point, or here once half says so. killed is false when it was
// through before.
func (k *kit) victim(o orders, arm string, half func() bool) (output string, killed bool) {
	k.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		k.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+string(text), fault.EnvVar+"="+arm)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		k.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = cmd.Wait()
	}()
	if half != nil {
		testkit.Eventually(k, patience, "it is time to kill it", func() bool {
			select {
			case <-ended:
				return true
			default:
				return half()
			}
		})
		_ = cmd.Process.Kill() // it may have ended
	}
	<-ended
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out.String(), false
	case !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL:
		k.Fatalf("not killed: %v\n%s", err, out.String())
	}
	return out.String(), true
}

// die is victim for a copy that must not get through.
func (k *kit) die(o orders, arm string, half func() bool) {
	k.Helper()
	if out, killed := k.victim(o, arm, half); !killed {
		k.Fatalf("it was through before it could be killed:\n%s", out)
	}
}

// copyOn is copy, from where an earlier run was.
func (k *kit) copyOn(req Request) error {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), patience)
	defer cancel()
	c, err := Continue(ctx, req)
	if err != nil {
		return err
	}
	if err := c.Run(ctx); err != nil {
		return err
	}
	s := c.Status()
	k.Logf("%d rows taken over, %d copied", s.Resumed, s.Copied-s.Resumed)
	return nil
}

// noted is how many rows the progress table says are copied.
func (k *kit) noted() uint64 {
	k.Helper()
	s, err := Find(k.Context(), k.db, k.database, "_t_ghc")
	if err != nil {
		k.Fatal(err)
	}
	if s == nil || s.broken != "" {
		return 0
	}
	return s.Copied()
}

func (k *kit) orders(clauses string, pace time.Duration) orders {
	return orders{Addr: k.addr.String(), Database: k.database, Clauses: clauses, Workers: 3, MaxChunk: 500, Pace: pace}
}

// goOn finishes what a killed process left, and gives what it did.
func (k *kit) goOn(o orders) Status {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), patience)
	defer cancel()
	req := requestOf(k.db, k.addr, o)
	req.Phase = k.request("").Phase
	req.Logger = k.request("").Logger
	k.endSessions()
	c, err := Continue(ctx, req)
	if err != nil {
		k.Fatal(err)
	}
	if err := c.Run(ctx); err != nil {
		k.Fatal(err)
	}
	return c.Status()
}

// endSessions ends what the server still runs for a process that was killed.
func (k *kit) endSessions() {
	k.Helper()
	testkit.Eventually(k, patience, "the sessions of the killed process are gone", func() bool {
		ids := k.rows("SELECT id FROM performance_schema.processlist WHERE id <> CONNECTION_ID() AND LOCATE('/* aosc keyed */', info) > 0 AND LOCATE('`" +
			k.database + "`', info) > 0")
		for _, id := range ids {
			_, _ = k.db.ExecContext(k.Context(), "KILL "+strings.Trim(id, `"`)) // gone meanwhile
		}
		return len(ids) == 0
	})
}

// TestResumeKilled: a worker is killed (-9) half way, under writers; the next one copies what is missing, and no more than a chunk per
// worker again.
func TestResumeKilled(t *testing.T) {
	k := newKit(t)
	k.exec(table)
	const rows = 20_000
	model := k.fill(rows)
	l := k.startPaced(3, 10*time.Millisecond, model)
	o := k.orders("MODIFY v text NOT NULL, DROP KEY v, ADD m int NOT NULL DEFAULT 7", 5*time.Millisecond)
	began := time.Now()
	k.die(o, "", func() bool { return k.noted() > rows/2 })
	first := time.Since(began)
	k.endSessions()
	noted := k.noted()
	inGhost := k.count("_t_gho")
	began = time.Now()
	s := k.goOn(o)
	model = l.end()
	k.check(model)
	t.Logf("killed after %v with %d rows noted, %d in the copy; gone on in %v: %d taken over, %d copied", first.Round(time.Millisecond), noted,
		inGhost, time.Since(began).Round(time.Millisecond), s.Resumed, s.Copied-s.Resumed)
	if s.Resumed != noted {
		t.Errorf("%d rows were noted, %d taken over", noted, s.Resumed)
	}
	// All that is in the table was copied once, but for what writers added and took away.
	if again := int(s.Copied) - len(model); again > 3*500+3000 {
		t.Errorf("%d rows copied for a table of %d", s.Copied, len(model))
	}
}

func (k *kit) count(table string) (n int) {
	k.Helper()
	if err := k.db.QueryRowContext(k.Context(), "SELECT COUNT(*) FROM "+mysql.QuoteIdents(k.database, table)).Scan(&n); err != nil {
		k.Fatal(err)
	}
	return n
}

// TestResumeAnywhere: killed at each named point of the engine, then gone on, under writers (I1, I8).
func TestResumeAnywhere(t *testing.T) {
	for _, point := range []string{"osc.keyed.chunk.before=kill@7", "osc.keyed.chunk.after=kill@9", "osc.keyed.progress=kill",
		"osc.keyed.verified=kill",
		"osc.keyed.locked=kill", "osc.keyed.rename.before=kill"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			k.exec(table)
			rows, pace := 6000, 20*time.Millisecond
			if strings.HasPrefix(point, "osc.keyed.progress") { // which comes after a second: chunks before it, and more to copy after it
				rows, pace = 12_000, 300*time.Millisecond
			}
			l := k.startPaced(2, 20*time.Millisecond, k.fill(rows))
			o := k.orders("MODIFY v varchar(300) NOT NULL, ADD m int NOT NULL DEFAULT 7", pace)
			k.die(o, point, nil)

			k.endSessions()
			o.Pace = 20 * time.Millisecond
			noted := k.noted()
			k.die(o, "osc.keyed.resumed=kill", nil)
			s := k.goOn(o)
			k.check(l.end())
			t.Logf("%d rows noted, %d taken over, %d copied", noted, s.Resumed, s.Copied-s.Resumed)
			if s.Resumed != noted || noted == 0 {
				t.Errorf("%d rows were noted, %d taken over", noted, s.Resumed)
			}
		})
	}
}

// TestResumeRefused: progress of another copy, or under other settings, is not believed.
func TestResumeRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*kit, *Request)
		says   string
	}{
		"nothing changed":  {func(*kit, *Request) {}, ""},
		"another table":    {func(_ *kit, r *Request) { r.From = "other" }, "no longer what was copied"},
		"another end":      {func(_ *kit, r *Request) { r.To = "other" }, "to become something else"},
		"another change":   {func(_ *kit, r *Request) { r.Clauses += ", ADD q int" }, "to become something else"},
		"another loss":     {func(_ *kit, r *Request) { r.Lossy = map[string]bool{"v": true} }, "other losses"},
		"the copy altered": {func(k *kit, _ *Request) { k.exec("ALTER TABLE _t_gho ADD zzz int") }, "was altered"},
		"the copy gone":    {func(k *kit, _ *Request) { k.exec("DROP TABLE _t_gho") }, "gone"},
		"another format": {func(k *kit, _ *Request) {
			k.exec("UPDATE _t_ghc SET value = JSON_SET(value, '$.format', 99) WHERE id = 1")
		}, "format 99"},
		"garbage": {func(k *kit, _ *Request) { k.exec("UPDATE _t_ghc SET value = 'x' WHERE id = 1") }, "cannot be read"},
		"lost transactions": {func(k *kit, _ *Request) {
			k.exec("UPDATE _t_ghc SET value = JSON_SET(value, '$.executed', CONCAT(value->>'$.executed', " +
				"',00000000-0000-0000-0000-000000000001:1-5')) WHERE id = 1")
		}, "lost with a former primary"},
		"another time zone": {func(k *kit, _ *Request) {
			k.exec("UPDATE _t_ghc SET value = REPLACE(value, 'time_zone=', 'time_zone=Mars/') WHERE id = 1")
		}, "time_zone=Mars/"},
		"a chunk is missing": {func(k *kit, _ *Request) { k.exec("DELETE FROM _t_ghc WHERE id = 1") }, "nothing was copied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			k.exec(table)
			k.fill(3000)
			o := k.orders("MODIFY v varchar(300) NOT NULL", 20*time.Millisecond)
			k.die(o, "osc.keyed.chunk.after=kill@3", nil)
			req := requestOf(k.db, k.addr, o)
			c.change(k, &req)
			saved, err := Find(t.Context(), k.db, k.database, req.Progress)
			if err != nil || saved == nil {
				t.Fatalf("found %v, %v", saved, err)
			}
			reason, err := saved.Judge(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if c.says == "" && reason != "" || !strings.Contains(reason, c.says) {
				t.Errorf("%q, want %q", reason, c.says)
			}
		})
	}
}

// TestTakenOver: a run of which another has taken the copy over can commit nothing any more.
func TestTakenOver(t *testing.T) {
	k := newKit(t)
	k.exec(table)
	model := k.fill(20_000)
	o := k.orders("MODIFY v varchar(300) NOT NULL", 20*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	first, err := Continue(ctx, requestOf(k.db, k.addr, o))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- first.Run(ctx) }()
	testkit.Eventually(t, patience, "something is copied", func() bool { return k.noted() > 2000 })
	second, err := Continue(ctx, requestOf(k.db, k.addr, o))
	if err != nil {
		t.Fatal(err)
	}
	// Nor does it commit what it does last about rows that stand in each other's way.
	err = withSession(ctx, k.db, func(ctx context.Context, conn *sql.Conn) error { return first.mover.duplicate(ctx, conn, []value{"1"}) })
	if !errors.Is(err, ErrTaken) {
		t.Errorf("the first run, whose copy was taken over, has written: %v", err)
	}
	if err := second.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrTaken) {
		t.Errorf("the first run ended with %v", err)
	}
	if second.Status().Resumed < 2000 {
		t.Errorf("%+v", second.Status())
	}
	k.check(model)
}

func TestGaps(t *testing.T) {
	c := func(id int, low, high value) done { return done{id, span{low, high}, 1} }
	for _, x := range []struct {
		from   mark
		chunks []done
		want   []gap
		at     mark
		bad    bool
	}{
		{from: mark{}, at: mark{}},
		{from: mark{}, chunks: []done{c(1, "", "10"), c(2, "10", "20")}, at: mark{2, "20", false}},
		{from: mark{}, chunks: []done{c(2, "10", "20")}, want: []gap{{1, span{"", "10"}}}, at: mark{2, "20", false}},
		{from: mark{3, "30", false}, chunks: []done{c(7, "70", ""), c(5, "40", "50")}, want: []gap{{4, span{"30", "40"}}, {6, span{"50", "70"}}},
			at: mark{7, "", true}},
		{from: mark{3, "30", false}, chunks: []done{c(6, "55", "60")}, want: []gap{{4, span{"30", "55"}}}, at: mark{6, "60", false}},
		{from: mark{3, "", true}, at: mark{3, "", true}},
		{from: mark{3, "30", false}, chunks: []done{c(4, "35", "40")}, bad: true},
		{from: mark{3, "30", false}, chunks: []done{c(3, "20", "30")}, bad: true},
		{from: mark{3, "", true}, chunks: []done{c(4, "", "40")}, bad: true},
	} {
		got, err := gaps(x.from, x.chunks)
		if (err != nil) != x.bad || !x.bad && (!slices.Equal(got, x.want) || reached(x.from, x.chunks) != x.at) {
			t.Errorf("%v %v: %v, %v; %v", x.from, x.chunks, got, err, reached(x.from, x.chunks))
		}
	}
}

// paced rests before each chunk.
func paced(pace time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		if pace == 0 {
			return nil
		}
		return wait.For(ctx, pace)
	}
}
