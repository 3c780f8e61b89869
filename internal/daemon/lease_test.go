package daemon

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/aoscdbkit"
)

const leaseTTL = 2 * time.Second

// leaderProcess is a process that leads through a real aoscdb. It writes one event whenever a line comes on stdin while
// it leads, and once more, in spite of being told not to, when its ctx ends: then only the fence is left. What
// happens it says on stdout.
func leaderProcess() {
	store, err := aoscdb.Open(os.Getenv("DAEMON_TEST_DSN"))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	lines := make(chan string)
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			lines <- in.Text()
		}
		os.Exit(0) // the test has gone
	}()
	env := NewEnv("leader", nil, nil)
	err = Lead(context.Background(), env, store, "brain", leaseTTL, func(ctx context.Context, l Lease) error {
		fmt.Println("leading", l.Epoch)
		act := func() {
			err := store.AsLeader(context.WithoutCancel(ctx), aoscdb.Lease(l), func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, "INSERT INTO events (actor, what, detail) VALUES (?, 'acted', ?)", os.Getenv("DAEMON_TEST_NAME"), l.Epoch)
				return err
			})
			switch {
			case errors.Is(err, aoscdb.ErrLeaseLost):
				fmt.Println("fenced")
			case err != nil:
				fmt.Println("error", err)
			default:
				fmt.Println("acted", l.Epoch)
			}
		}
		for {
			select {
			case <-ctx.Done():
				act()
				fmt.Println("told to stop")
				return nil
			case <-lines:
				act()
			}
		}
	})
	fmt.Println("error", err)
	os.Exit(1)
}

type leaderChild struct {
	cmd   *exec.Cmd
	stdin io.Writer
	lines chan string
}

func startLeader(t *testing.T, dsn, name string) *leaderChild {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DAEMON_TEST=leader", "DAEMON_TEST_DSN="+dsn, "DAEMON_TEST_NAME="+name)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &leaderChild{cmd: cmd, stdin: stdin, lines: make(chan string, 100)}
	go func() {
		defer close(c.lines)
		for in := bufio.NewScanner(stdout); in.Scan(); {
			c.lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return c
}

// says waits until the process says something that begins so, and returns it.
func (c *leaderChild) says(t *testing.T, what string) string {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case line, ok := <-c.lines:
			if !ok || strings.HasPrefix(line, "error") {
				t.Fatalf("it ended, or failed, before saying %q: %s", what, line)
			}
			if strings.HasPrefix(line, what) {
				return line
			}
		case <-limit:
			t.Fatalf("it does not say %q", what)
		}
	}
}

func (c *leaderChild) act(t *testing.T) {
	t.Helper()
	if _, err := fmt.Fprintln(c.stdin, "act"); err != nil {
		t.Fatal(err)
	}
}

func (c *leaderChild) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// I8: two of the same never both act. A leader that was stopped past its ttl, while another took over, finds its
// write refused when it goes on, even if it writes before it notices; then it stands by, and leads again later.
func TestI8StoppedLeaderDoesNotAct(t *testing.T) {
	store := aoscdbkit.AOSCDB(t)
	dsn := testkit.Server(t).DSN(store.Database())
	a := startLeader(t, dsn, "a")
	a.says(t, "leading 1")
	a.act(t)
	a.says(t, "acted 1")
	b := startLeader(t, dsn, "b")

	a.signal(t, syscall.SIGSTOP)
	b.says(t, "leading 2")
	b.act(t)
	b.says(t, "acted 2")
	a.signal(t, syscall.SIGCONT)
	a.says(t, "fenced")
	a.says(t, "told to stop")
	b.act(t)
	b.says(t, "acted 2")

	b.signal(t, syscall.SIGKILL)
	a.says(t, "leading 3")
	a.act(t)
	a.says(t, "acted 3")

	events, err := store.History(t.Context(), "", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events { // the newest first
		got = append(got, e.Actor+e.Detail)
	}
	if want := "a3 b2 b2 a1"; strings.Join(got, " ") != want {
		t.Errorf("who acted, the last one first: %s, want %s", strings.Join(got, " "), want)
	}
}

// A database that goes away ends no daemon: its leader stops in time, waits, and leads again with a new epoch.
func TestLeaderSurvivesItsDatabase(t *testing.T) {
	server := testkit.FreshServer(t, nil)
	store, err := aoscdb.Open(server.DSN("aoscdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var epoch atomic.Uint64
	var passes atomic.Int64
	env := NewEnv("test", nil, nil)
	ended := make(chan error, 1)
	go func() {
		ended <- Lead(ctx, env, store, "brain", leaseTTL, func(ctx context.Context, l Lease) error {
			epoch.Store(l.Epoch)
			defer epoch.Store(0)
			return Loop(ctx, env, LoopOptions{Interval: 50 * time.Millisecond}, func(ctx context.Context) error {
				err := store.AsLeader(ctx, aoscdb.Lease(l), func(context.Context, *sql.Tx) error { return nil })
				if err == nil {
					passes.Add(1)
				}
				return err
			})
		})
	}()
	leads := func(want uint64) func() bool {
		return func() bool { return epoch.Load() == want }
	}
	passing := func() func() bool {
		n := passes.Load()
		return func() bool { return passes.Load() > n }
	}
	testkit.Eventually(t, testkit.Patience, "it leads", leads(1))
	testkit.Eventually(t, testkit.Patience, "it passes", passing())

	// Hung: connections stay open and nothing answers.
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, leaseTTL, "the leader of a hung database stops within its ttl", leads(0))
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, testkit.Patience, "it leads again", leads(2))
	testkit.Eventually(t, testkit.Patience, "it passes again", passing())

	// Gone.
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, leaseTTL, "the leader without a database stops within its ttl", leads(0))
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, testkit.Patience, "it leads again", leads(3))
	testkit.Eventually(t, testkit.Patience, "it passes again", passing())
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if row, _, err := store.LeaseHolder(t.Context(), "brain"); err != nil || row != env.Holder {
		t.Errorf("lease of %q, %v; want %q", row, err, env.Holder)
	}
}
