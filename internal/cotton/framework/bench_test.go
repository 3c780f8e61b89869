package framework_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/mysql"
)

// runs of each fault: 10, or COTTON_RUNS.
func runs(b *testing.B) int {
	text := os.Getenv("COTTON_RUNS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("COTTON_RUNS=%q is no number of runs", text)
	}
	return n
}

// BenchmarkFailover measures, on a lossless cluster of three real servers under 500 writes a second, the time from a fault
// of the primary, or from the order to hand it over, to the first write that its successor acknowledges. Every run is
// printed. It ends by holding every member against what was acknowledged (I1).
func BenchmarkFailover(b *testing.B) {
	for _, fault := range []struct {
		name string
		hit  func(s *site, f *framework.Framework, pid int)
		heal func(s *site, pid int)
	}{
		{"kill -9", func(s *site, _ *framework.Framework, pid int) { s.signal(pid, syscall.SIGKILL) }, nil},
		{"SIGSTOP", func(s *site, _ *framework.Framework, pid int) { s.signal(pid, syscall.SIGSTOP) },
			func(s *site, pid int) { _ = syscall.Kill(pid, syscall.SIGCONT) }}, // it may have been killed meanwhile
		{"switchover", func(s *site, f *framework.Framework, _ int) {
			if _, err := f.Switchover(s.t.Context(), "c0", framework.SwitchoverOptions{Why: "a benchmark"}); err != nil {
				s.t.Fatal(err)
			}
		}, nil},
	} {
		b.Run(fault.name, func(b *testing.B) {
			s := newSite(b, "executor", 3)
			s.settings.Tick = time.Second // as it is by default
			f, _ := s.scheduler()
			if _, err := f.Create(b.Context(), spec("c0", 3)); err != nil {
				b.Fatal(err)
			}
			v := s.await(f, "c0", "the cluster is complete", complete(3))
			l := s.loadOf(500)
			var took []time.Duration
			var hits []time.Time
			for range runs(b) {
				l.writes(500)
				v = s.await(f, "c0", "all is well", func(v framework.View) bool { return v.Record.Change == nil && complete(3)(v) })
				old := v.Record.Primary
				pid := s.mysqldOf(member(v, old).TaskID)
				begun := time.Now()
				fault.hit(s, f, pid)
				s.firstWrite(old)
				took = append(took, time.Since(begun))
				hits = append(hits, begun)
				if fault.heal != nil {
					fault.heal(s, pid)
				}
			}
			v = s.await(f, "c0", "all is well", func(v framework.View) bool { return v.Record.Change == nil && complete(3)(v) })
			l.settle(v)
			for n, c := range v.Record.History { // as many as are kept: the last ones
				at := n + len(hits) - len(v.Record.History)
				b.Logf("decided after %d ms; %s; first write %d ms after the fault", c.Began.Sub(hits[at]).Milliseconds(), describe(c), took[at].Milliseconds())
			}
			report(b, took)
		})
	}
}

func (s *site) signal(pid int, sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		s.t.Fatal(err)
	}
}

// firstWrite returns when somebody else than the old primary has acknowledged a write of this function.
func (s *site) firstWrite(old int) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		e, ok := (bulletin{s.Dir + "/published"}).read("c0")
		if !ok || e.Primary == nil || e.Primary.ID == old {
			time.Sleep(time.Millisecond) // a client that asks where the primary is
			continue
		}
		if s.write(mysql.Addr{Host: e.Primary.Host, Port: e.Primary.Port}) == nil {
			return
		}
	}
	s.t.Fatal("no write was acknowledged within a minute")
}

func (s *site) write(a mysql.Addr) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
	defer cancel()
	db, err := mysql.Open(a, mysql.Credentials{User: "app", Password: "secret of c0", TLS: "skip-verify"}, mysql.Options{})
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS d.probe (id BIGINT AUTO_INCREMENT PRIMARY KEY)")
	if err == nil {
		_, err = db.ExecContext(ctx, "INSERT INTO d.probe VALUES ()")
	}
	return err
}

func report(b *testing.B, took []time.Duration) {
	var all []string
	for _, d := range took {
		all = append(all, fmt.Sprintf("%.2f", d.Seconds()))
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds(), "median-s")
	b.ReportMetric(took[len(took)-1].Seconds(), "worst-s")
	b.ReportMetric(0, "ns/op")
	b.Logf("%d runs, seconds each: %s", len(took), strings.Join(all, " "))
}

// describe is a change of primary in a line: each step and when it was taken.
func describe(c cotton.Change) string {
	text := fmt.Sprintf("%s %d -> %d:", c.Kind, c.From, c.To)
	for _, step := range c.Log {
		text += fmt.Sprintf(" %s %d ms", step.Step, step.At.Sub(c.Began).Milliseconds())
	}
	return text
}
