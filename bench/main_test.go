// Package bench measures the pipeline beside what a person would do by hand, on the same servers in the same run. What is
// printed are ratios; docs/benchmarks.md has figures of one machine.
//
//	cd bench && go test -run '^$' -bench . -benchtime 1x ./...
package bench

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/site"
)

// TestMain lets the test binary be an executor, too.
func TestMain(m *testing.M) {
	if os.Getenv(standInEnv) == "" {
		site.Main(m)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := standInMain(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// took measures.
func took(do func()) time.Duration {
	begun := time.Now()
	do()
	return time.Since(begun)
}

// measures of one alter through the pipeline.
type measures struct {
	Total time.Duration // from the operator's INSERT until the instance is altered and said so
	Work  time.Duration // of that, the worker's: from taking the row to DONE
}

// alter commits, allows, and waits until the instance is done.
func alter(s *site.Site, server *mysqld.Server, ddl string) measures {
	s.T.Helper()
	commit := s.Commit("tabla1", ddl)
	s.SQL("DELETE FROM allowed_alters")
	begun := time.Now()
	s.SQL("INSERT INTO allowed_alters VALUES ('udb','tabla1','bench',NULL,10,'default')")
	s.SQL("UPDATE allowed_alters SET allow_unsafe = 1")
	var m measures
	var taken time.Time
	status := func() string {
		if testkit.Ask(s.T, server, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'aosc' AND table_name = 'aosc_osc_ww'") == "0" {
			return ""
		}
		return testkit.Ask(s.T, server, "SELECT COALESCE(MAX(status), '') FROM aosc.aosc_osc_ww WHERE commit_sha = ?", commit)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		switch now := status(); {
		case now == aoscdb.OSCRunning && taken.IsZero():
			taken = time.Now()
		case now == aoscdb.OSCDone:
			m.Total = time.Since(begun)
			if !taken.IsZero() {
				m.Work = time.Since(taken)
			}
			s.Finished("tabla1", commit)
			return m
		case now == aoscdb.OSCFailed:
			s.T.Fatalf("failed: %s", testkit.Ask(s.T, server, "SELECT error FROM aosc.aosc_osc_ww WHERE commit_sha = ?", commit))
		}
		if c := s.Current("tabla1"); c != nil && c.Status == aoscdb.AlterHold && c.HoldBy != aoscdb.HoldBrain {
			s.T.Fatalf("HOLD: %s", c.Reason)
		}
		if time.Since(begun) > 10*time.Minute {
			s.T.Fatalf("not done: %+v", s.Current("tabla1"))
		}
	}
}

// peakMemory is VmHWM of a process in MiB.
func peakMemory(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			kib, err := strconv.ParseFloat(fields[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib / 1024
		}
	}
	b.Fatal("no VmHWM")
	return 0
}

// median of some durations.
func median(list []time.Duration) time.Duration {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}
