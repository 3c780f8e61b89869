package mysql

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestFanOut(t *testing.T) {
	var running, most atomic.Int32
	items := []int{3, 1, 4, 1, 5, 9, 2, 6}
	results := FanOut(t.Context(), items, 3, time.Minute, func(ctx context.Context, n int) (int, error) {
		if now := running.Add(1); now > most.Load() {
			most.Store(now)
		}
		defer running.Add(-1)
		if n == 9 {
			return 0, errors.New("nine")
		}
		return n * n, nil
	})
	for i, r := range results {
		switch {
		case r.Item != items[i]:
			t.Errorf("result %d is of item %d, want %d", i, r.Item, items[i])
		case r.Item == 9 && (r.Err == nil || r.Err.Error() != "nine"):
			t.Errorf("9 gave %v", r.Err)
		case r.Item != 9 && (r.Err != nil || r.Value != r.Item*r.Item):
			t.Errorf("%d gave %d, %v", r.Item, r.Value, r.Err)
		}
	}
	if most.Load() > 3 {
		t.Errorf("%d ran at once, want at most 3", most.Load())
	}
	if got := FanOut(t.Context(), nil, 0, 0, func(context.Context, int) (int, error) { return 0, nil }); len(got) != 0 {
		t.Errorf("no items gave %v", got)
	}
}

// Limit 0 is all at once: each waits for all the others.
func TestFanOutUnlimited(t *testing.T) {
	const n = 20
	var arrived atomic.Int32
	all := make(chan struct{})
	for _, r := range FanOut(t.Context(), make([]int, n), 0, 10*time.Second, func(ctx context.Context, _ int) (int, error) {
		if arrived.Add(1) == n {
			close(all)
		}
		select {
		case <-all:
			return 0, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

func TestFanOutCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int32
	results := FanOut(ctx, []int{1, 2, 3}, 1, time.Minute, func(ctx context.Context, n int) (int, error) {
		calls.Add(1)
		cancel()
		return n, nil
	})
	if calls.Load() != 1 || results[0].Err != nil || !errors.Is(results[2].Err, context.Canceled) {
		t.Errorf("%d calls after the context ended, results %v", calls.Load(), results)
	}
}

// I11: one server that hangs costs its own deadline, is reported as unknown, and holds nobody else; also a function
// that does not listen to its context.
func TestFanOutHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 200 * time.Millisecond
		release := make(chan struct{})
		ended := make(chan struct{})
		start := time.Now()
		results := FanOut(t.Context(), []string{"obeys", "deaf", "well"}, 0, timeout, func(ctx context.Context, what string) (string, error) {
			switch what {
			case "obeys":
				<-ctx.Done()
				return "", ctx.Err()
			case "deaf":
				defer close(ended)
				<-release
				return "late", nil
			}
			return "fine", nil
		})
		if took := time.Since(start); took != timeout+fanOutGrace {
			t.Errorf("held for %v", took)
		}
		if r := results[0]; !errors.Is(r.Err, context.DeadlineExceeded) || !strings.Contains(r.Err.Error(), "no answer within 200ms") {
			t.Errorf("one that obeys its deadline: %v", r.Err)
		}
		if r := results[1]; !errors.Is(r.Err, ErrAbandoned) || r.Value != "" {
			t.Errorf("one that does not: %q, %v", r.Value, r.Err)
		}
		if r := results[2]; r.Err != nil || r.Value != "fine" {
			t.Errorf("one that is well: %q, %v", r.Value, r.Err)
		}
		close(release)
		<-ended
		if results[1].Value != "" {
			t.Error("an abandoned function wrote its result after all")
		}
	})
}

// silent listens, accepts nothing and says nothing, as a stopped mysqld does: the kernel makes the connection.
func silent(t *testing.T) Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return Addr{"127.0.0.1", l.Addr().(*net.TCPAddr).Port}
}

// The driver bounds only the dial by itself; the handshake must be bounded too, without any deadline of the caller.
func TestConnectToSilentServer(t *testing.T) {
	addr := silent(t)
	db, err := Open(addr, Credentials{User: "root"}, Options{ConnectTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	start := time.Now()
	err = db.PingContext(context.Background())
	var connect *ConnectError
	if took := time.Since(start); took > DefaultConnectTimeout || !errors.As(err, &connect) || !IsConnection(err) {
		t.Errorf("after %v: %v", took, err)
	}
	if !strings.Contains(err.Error(), addr.String()) || !strings.Contains(err.Error(), "no answer within 200ms") {
		t.Errorf("the error does not say who did not answer for how long: %v", err)
	}
}

func TestFanOutOverSilentServer(t *testing.T) {
	const timeout = 200 * time.Millisecond
	pool := NewPool(Credentials{User: "root"}, Options{}) // connecting may take 5 s: FanOut's deadline must cut it short
	defer pool.Close()
	start := time.Now()
	results := FanOut(t.Context(), []Addr{silent(t), silent(t)}, 1, timeout, func(ctx context.Context, a Addr) (*sql.DB, error) {
		db, err := pool.DB(a)
		if err != nil {
			return nil, err
		}
		return db, db.PingContext(ctx)
	})
	if took := time.Since(start); took > DefaultConnectTimeout { // without the deadline: twice that
		t.Errorf("two silent servers, one after the other, took %v", took)
	}
	for _, r := range results {
		if !IsConnection(r.Err) || errors.Is(r.Err, ErrAbandoned) {
			t.Errorf("%s: %v", r.Item, r.Err)
		}
	}
}

func TestPool(t *testing.T) {
	pool := NewPool(Credentials{User: "u"}, Options{})
	one, err := pool.DB(Addr{"127.0.0.1", 1})
	if err != nil {
		t.Fatal(err)
	}
	again, err := pool.DB(Addr{"127.0.0.1", 1})
	other, err2 := pool.DB(Addr{"127.0.0.1", 2})
	if err != nil || err2 != nil || one != again || one == other {
		t.Error("want one *sql.DB per server")
	}
	if pool.Credentials().User != "u" {
		t.Error("the pool forgot its account")
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	if _, err := pool.DB(Addr{"127.0.0.1", 1}); !errors.Is(err, ErrPoolClosed) {
		t.Errorf("a closed pool gave %v", err)
	}
}
