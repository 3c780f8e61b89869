package bench

import (
	"context"
	"database/sql"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/testkit"
)

// observer notes what an application and a replica see while a table is altered.
type observer struct {
	mu      sync.Mutex
	outcome []testkit.WriterOutcome
	lag     series
}

func (o *observer) seen(w testkit.WriterOutcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.outcome = append(o.outcome, w)
}

// between are the durations of the statements that were under way in a time, sorted.
func (o *observer) between(from, to time.Time) series {
	o.mu.Lock()
	defer o.mu.Unlock()
	var s series
	for _, w := range o.outcome {
		if w.Ended.After(from) && w.Began.Before(to) {
			s = append(s, w.Ended.Sub(w.Began))
		}
	}
	slices.Sort(s)
	return s
}

// quantile of a sorted series.
func (s series) quantile(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	return s[min(int(math.Ceil(q*float64(len(s))))-1, len(s)-1)]
}

// follow measures by a heartbeat how far the replica is behind, until ctx ends.
func (o *observer) follow(ctx context.Context, a *arena) error {
	primary, replica := a.c.Primary.DB(), a.c.Replicas[0].DB()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if _, err := primary.ExecContext(ctx, "REPLACE INTO beat.beat VALUES (1, NOW(6))"); err != nil && ctx.Err() == nil {
			return err
		}
		var micros sql.NullInt64
		err := replica.QueryRowContext(ctx, "SELECT TIMESTAMPDIFF(MICROSECOND, MAX(at), NOW(6)) FROM beat.beat").Scan(&micros)
		if err != nil && ctx.Err() == nil {
			return err
		}
		o.mu.Lock()
		o.lag = append(o.lag, time.Duration(micros.Int64)*time.Microsecond)
		o.mu.Unlock()
	}
}

const (
	calm     = 5 * time.Second // of writing before each alter, for comparison
	swapTime = 3 * time.Second // before the end of an alter: the cut-over is in it
)

// BenchmarkEnginesLoaded: the same on a semi-synchronous pair under a writer of AOSC_BENCH_WRITES (1000) statements a second, with the
// replica's lag held under 1.5 s by those who can: the duration, the 99th percentile of the application's statements beside that of the
// seconds before, the longest statement in the last seconds of the alter (in them is the cut-over), and the lag. After each alter both
// members are compared with what was acknowledged (I1).
func BenchmarkEnginesLoaded(b *testing.B) {
	rows, runs, rate := setting(b, "AOSC_BENCH_ROWS", 2_000_000), setting(b, "AOSC_BENCH_RUNS", 3), setting(b, "AOSC_BENCH_WRITES", 1000)
	a := newArena(b, 2, "--oscworker-max-lag=1500ms")
	a.In(a.c.Primary, "mysql", "CREATE DATABASE beat", "CREATE TABLE beat.beat (id int PRIMARY KEY, at timestamp(6) NOT NULL)")
	for range b.N {
		type result struct{ took, before, p99, stall, lag series }
		all := map[string]*result{}
		for range runs {
			for _, c := range chosen() {
				if all[c.name] == nil {
					all[c.name] = &result{}
				}
				a.fresh(0)
				o := &observer{}
				w := testkit.NewWriter(b, a.c.Primary, testkit.WriterOptions{Database: "dbid1", Table: "tabla1", Workers: 8, Rate: float64(rate),
					Seen: o.seen})
				a.Do(w.Seed(b.Context(), rows))
				a.In(a.c.Primary, "dbid1", "ANALYZE TABLE tabla1")
				a.Do(a.c.Sync(b.Context()))
				ctx, cancel := context.WithCancel(b.Context())
				var lag sync.WaitGroup
				var following error
				w.Start(b.Context())
				time.Sleep(calm) // what is measured is these seconds
				began := time.Now()
				lag.Go(func() { following = o.follow(ctx, a) })
				took := c.alter(a)
				ended := time.Now()
				time.Sleep(time.Second) // a statement that was held up must end to be seen
				cancel()
				lag.Wait()
				a.Do(following)
				a.mustHave(0)
				w.Stop()
				r := testkit.CheckWriter(b, w, a.c)
				before, during, last := o.between(began.Add(-calm), began), o.between(began, ended), o.between(ended.Add(-swapTime), ended)
				slices.Sort(o.lag)
				res := all[c.name]
				res.took, res.before, res.p99 = append(res.took, took), append(res.before, before.quantile(0.99)), append(res.p99,
					during.quantile(0.99))
				res.stall, res.lag = append(res.stall, last.quantile(1)), append(res.lag, o.lag.quantile(1))
				a.say("loaded, %d rows: %s %v; p99 %v (before %v); longest at the end %v; lag at most %v, p99 %v; %v", rows, c.name,
					took.Round(time.Millisecond),
					during.quantile(0.99), before.quantile(0.99), last.quantile(1), o.lag.quantile(1), o.lag.quantile(0.99), r)
			}
		}
		a.say("| loaded | rows | contender | time | /native | /gh-ost | p99 before | p99 during | longest at the cut-over | lag |")
		for _, c := range chosen() {
			r := all[c.name]
			var native, ghost series
			if all["native"] != nil {
				native = all["native"].took
			}
			if all["gh-ost"] != nil {
				ghost = all["gh-ost"].took
			}
			a.say("| loaded | %d | %s | %v | %s | %s | %v | %v | %v | %v |", rows, c.name, r.took, r.took.ratio(native), r.took.ratio(ghost),
				r.before, r.p99,
				r.stall, r.lag)
			b.ReportMetric(median(r.took).Seconds(), "loaded-"+c.name+"-s")
			b.ReportMetric(median(r.stall).Seconds()*1000, "loaded-"+c.name+"-stall-ms")
			b.ReportMetric(median(r.p99).Seconds()*1000, "loaded-"+c.name+"-p99-ms")
		}
		a.say("peak memory of the worker: %.0f MiB", peakMemory(b, a.daemons["oscworker"].Pid()))
	}
	b.ReportMetric(0, "ns/op")
}
