package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func contains(err error, part string) bool { return err != nil && strings.Contains(err.Error(), part) }

// begins runs Loop for a while on an exact clock and returns when each pass began.
func begins(t *testing.T, env *Env, o LoopOptions, length time.Duration, pass func(n int) error) []time.Duration {
	t.Helper()
	var at []time.Duration
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		start := time.Now()
		err := Loop(ctx, env, o, func(context.Context) error {
			at = append(at, time.Since(start))
			return pass(len(at))
		})
		if err != nil {
			t.Error(err)
		}
	})
	return at
}

func same(t *testing.T, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("passes began at %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("passes began at %v, want %v", got, want)
		}
	}
}

func TestLoopInterval(t *testing.T) {
	got := begins(t, NewEnv("test", nil, nil), LoopOptions{Interval: time.Minute}, 150*time.Second, func(int) error {
		time.Sleep(5 * time.Second)
		return nil
	})
	same(t, got, 0, 65*time.Second, 130*time.Second)
}

func TestLoopWakes(t *testing.T) {
	asked := 0
	o := LoopOptions{Interval: time.Minute, Poll: time.Second, Wake: func(context.Context) (bool, error) {
		asked++
		return asked == 4, nil // asked at 0, 1, 2 and 3 s
	}}
	got := begins(t, NewEnv("test", nil, nil), o, 70*time.Second, func(int) error { return nil })
	same(t, got, 0, 3*time.Second, 63*time.Second)
}

// A request that is already there when a pass ends leads to the next pass, but not before MinGap.
func TestLoopMinGap(t *testing.T) {
	o := LoopOptions{Interval: time.Minute, MinGap: 2 * time.Second,
		Wake: func(context.Context) (bool, error) { return true, nil }}
	got := begins(t, NewEnv("test", nil, nil), o, 6*time.Second, func(n int) error {
		if n == 2 {
			time.Sleep(3 * time.Second)
		}
		return nil
	})
	same(t, got, 0, 2*time.Second, 5*time.Second)
}

func TestLoopWakeFails(t *testing.T) {
	var log bytes.Buffer
	env := NewEnv("test", nil, slog.New(slog.NewTextHandler(&log, nil)))
	o := LoopOptions{Interval: 10 * time.Second, Poll: time.Second,
		Wake: func(context.Context) (bool, error) { return true, errors.New("connection refused") }}
	same(t, begins(t, env, o, 15*time.Second, func(int) error { return nil }), 0, 10*time.Second)
	if n := strings.Count(log.String(), "connection refused"); n != 1 {
		t.Errorf("the same trouble was logged %d times, want once:\n%s", n, &log)
	}
}

// A database that is away for a minute ends no daemon: passes fail, are tried again ever more slowly but at least every
// 10 s, and the log has one line for it.
func TestLoopSurvivesAnOutage(t *testing.T) {
	var log bytes.Buffer
	env := NewEnv("test", nil, slog.New(slog.NewTextHandler(&log, nil)))
	start := time.Time{}
	got := begins(t, env, LoopOptions{Interval: 30 * time.Second}, 2*time.Minute, func(n int) error {
		if n == 1 {
			start = time.Now()
		}
		if time.Since(start) < time.Minute {
			return errors.New("dial tcp: connection refused")
		}
		return nil
	})
	same(t, got, 0, 500*time.Millisecond, 1500*time.Millisecond, 3500*time.Millisecond, 7500*time.Millisecond,
		15500*time.Millisecond, 25500*time.Millisecond, 35500*time.Millisecond, 45500*time.Millisecond, 55500*time.Millisecond,
		65500*time.Millisecond, 95500*time.Millisecond)
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d error lines, want one:\n%s", n, &log)
	}
	if !strings.Contains(log.String(), "passes succeed again") {
		t.Errorf("the end of the outage is not in the log:\n%s", &log)
	}
	metrics := get(t, env, "/metrics", http.StatusOK)
	for _, want := range []string{`aosc_pass_total{result="error"} 10`, `aosc_pass_total{result="ok"} 2`, "aosc_pass_seconds_count 12"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s:\n%s", want, metrics)
		}
	}
}

func TestLoopOnce(t *testing.T) {
	env := NewEnv("test", nil, nil)
	env.Once = true
	passes := 0
	broken := errors.New("tier udb: no answer")
	for _, want := range []error{nil, broken} {
		err := Loop(t.Context(), env, LoopOptions{Interval: time.Hour}, func(context.Context) error { passes++; return want })
		if !errors.Is(err, want) || passes == 0 {
			t.Errorf("got %v after %d passes, want %v", err, passes, want)
		}
	}
	if passes != 2 {
		t.Errorf("%d passes for two runs with --once", passes)
	}
}

func TestReadiness(t *testing.T) {
	env := NewEnv("test", nil, nil)
	var seen []string
	begins(t, env, LoopOptions{Interval: time.Second}, 2*time.Second, func(n int) error {
		note, err := env.state.get()
		if err != nil {
			note = err.Error()
		}
		seen = append(seen, note)
		if n == 2 {
			return errors.New("aoscdb is away")
		}
		return nil
	})
	want := []string{"starting: no pass has finished yet", "", "aoscdb is away"}
	if strings.Join(seen, "|") != strings.Join(want, "|") {
		t.Errorf("readiness before the passes was %q, want %q", seen, want)
	}

	env.SetReady(errors.New("aoscdb is away"))
	if body := get(t, env, "/readyz", http.StatusServiceUnavailable); body != "aoscdb is away\n" {
		t.Errorf("/readyz says %q", body)
	}
	env.SetReady(nil)
	get(t, env, "/readyz", http.StatusOK)
	get(t, env, "/healthz", http.StatusOK)
	get(t, NewEnv("test", nil, nil), "/readyz", http.StatusServiceUnavailable)
}

func get(t *testing.T, env *Env, path string, status int) string {
	t.Helper()
	w := httptest.NewRecorder()
	env.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if w.Code != status {
		t.Errorf("%s: status %d, want %d: %s", path, w.Code, status, body)
	}
	return string(body)
}
