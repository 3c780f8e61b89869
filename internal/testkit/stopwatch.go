package testkit

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
)

// Stopwatch measures how long something takes, less the time for which the machine held everybody up. A promise such as
// "STOP is obeyed within two seconds" is one of the software: on a machine whose processors and disk are taken by others it
// can only be held against what the machine had to give.
//
// The hold-ups are measured, not guessed: beside what is timed, one goroutine does again and again the steps that any of
// our work consists of (wait for a timer, ask the server, flush a few bytes to disk). What these take beyond what they took at
// their quickest is time that a chain of such steps lost as well. On a machine at rest that is nothing.
type Stopwatch struct {
	began time.Time
	stop  context.CancelFunc
	done  sync.WaitGroup
	late  time.Duration
}

const (
	probeEvery = 10 * time.Millisecond
	// probeUsual is what one round of the probe may take without being a hold-up.
	probeUsual = 30 * time.Millisecond
)

// StartStopwatch starts one; srv is a server on the machine, that of the test, nil where what is timed asks none.
func StartStopwatch(t testing.TB, srv *mysqld.Server) *Stopwatch {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "probe"))
	if err != nil {
		t.Fatal(err)
	}
	var db *sql.DB
	if srv != nil {
		if db, err = mysql.Open(srv.Addr(), srv.Credentials(), mysql.Options{MaxOpen: 1}); err != nil { // nobody of the test's keeps it waiting
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	w := &Stopwatch{began: time.Now(), stop: stop}
	w.done.Go(func() {
		defer file.Close()
		if db != nil {
			defer db.Close()
		}
		w.probe(ctx, db, file)
	})
	t.Cleanup(func() { w.Took() })
	return w
}

// probe works until ctx ends and adds up the hold-ups.
func (w *Stopwatch) probe(ctx context.Context, db *sql.DB, file *os.File) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		began := time.Now()
		timer.Reset(probeEvery)
		<-timer.C
		// What either says is of no interest, only how long it takes to say it.
		if db != nil {
			_, _ = db.ExecContext(context.WithoutCancel(ctx), "DO 1")
		}
		_, _ = file.WriteAt([]byte("probe"), 0)
		_ = file.Sync()
		w.late += max(time.Since(began)-probeUsual, 0)
	}
}

// Took is the time since the start less the hold-ups. Further calls give no meaningful time.
func (w *Stopwatch) Took() time.Duration {
	took := time.Since(w.began)
	w.stop()
	w.done.Wait()
	return max(took-w.late, 0)
}

// Within fails the test if what was timed took longer than a limit, and logs how long it took.
func (w *Stopwatch) Within(t testing.TB, limit time.Duration, what string) {
	t.Helper()
	all := time.Since(w.began)
	took := w.Took()
	t.Logf("%s took %v, %v of them hold-ups of the machine", what, all.Round(10*time.Millisecond), w.late.Round(10*time.Millisecond))
	if took > limit {
		t.Errorf("%s took %v, want it within %v", what, took.Round(10*time.Millisecond), limit)
	}
}
