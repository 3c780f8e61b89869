package pace

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var full = Full{Workers: 4, Chunk: 100 * time.Millisecond}

func ref[T any](v T) *T { return &v }

// run decides about samples a quarter of a second apart, each load of Threads_running in percent of its limit.
func run(p Pace, percents ...float64) (paces []Pace) {
	at := time.Unix(1000, 0)
	if !p.sampled.IsZero() {
		at = p.sampled
	}
	for _, percent := range percents {
		at = at.Add(250 * time.Millisecond)
		p = Decide(p, Sample{At: at, Threads: ref(percent)}, Limits{Threads: 100}, full)
		paces = append(paces, p)
	}
	return paces
}

func times(n int, percent float64) (out []float64) {
	for range n {
		out = append(out, percent)
	}
	return out
}

func TestDecide(t *testing.T) {
	last := func(p []Pace) Pace { return p[len(p)-1] }
	for _, c := range []struct {
		name    string
		samples []float64
		rest    bool
		workers int
		chunk   time.Duration
		says    string // "" = nothing
	}{
		{"an idle server", times(8, 3), false, 4, 100 * time.Millisecond, ""},
		{"past the limit", times(1, 120), true, 2, 50 * time.Millisecond, "Threads_running is 120 (limit 100)"},
		{"past it for long", times(40, 120), true, 2, 50 * time.Millisecond, "Threads_running is 120"},
		{"back between the limit and 80 %", append(times(4, 120), times(40, 90)...), true, 2, 50 * time.Millisecond, "below 80 %"},
		{"back below 80 %: on at half the pace", append(times(4, 120), times(12, 75)...), false, 2, 50 * time.Millisecond,
			"2 of 4 workers, chunks of 50ms"},
		{"free again: faster step by step", append(times(4, 120), times(60, 10)...), false, 4, 100 * time.Millisecond, ""},
		{"near the limit: slower step by step", times(9, 95), false, 1, 100 * time.Millisecond, "Threads_running is 95"},
		{"near it for long: smaller chunks, too", times(40, 95), false, 1, 25 * time.Millisecond, "1 of 4 workers, chunks of 25ms"},
		{"one spike in a calm second is averaged away", append(times(8, 3), 150, 3, 3), false, 4, 100 * time.Millisecond, ""},
	} {
		got := last(run(full.Start(), c.samples...))
		if got.Rest != c.rest || got.Workers != c.workers || got.Chunk != c.chunk || (got.Reason == "") != (c.says == "") ||
			!strings.Contains(got.Reason, c.says) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestNoFlapping: a load that stands still, wherever it does, changes the pace in one direction only.
func TestNoFlapping(t *testing.T) {
	for percent := 1.0; percent < 150; percent++ {
		rests, ups, downs := 0, 0, 0
		was := full.Start()
		for _, p := range run(was, times(200, percent)...) {
			if p.Rest != was.Rest {
				rests++
			}
			if p.Workers > was.Workers || p.Chunk > was.Chunk {
				ups++
			}
			if p.Workers < was.Workers || p.Chunk < was.Chunk {
				downs++
			}
			was = p
		}
		if rests > 1 || ups > 0 && downs > 0 {
			t.Errorf("at %.0f %%: %d rests begun or ended, %d times faster, %d times slower", percent, rests, ups, downs)
		}
	}
}

// TestCopyThatMakesTheLoad: where the load is the copy's own, it settles below the limit instead of going to and fro between rest and full.
func TestCopyThatMakesTheLoad(t *testing.T) {
	p, at, rests := full.Start(), time.Unix(1000, 0), 0
	for i := range 400 {
		threads := 30.0
		if !p.Rest {
			threads += 20 * float64(p.Workers) // with four workers 110
		}
		at = at.Add(250 * time.Millisecond)
		was := p
		p = Decide(p, Sample{At: at, Threads: &threads}, Limits{Threads: 100}, full)
		if i > 40 && p.Rest && !was.Rest {
			rests++
		}
	}
	if rests > 0 || p.Rest || p.Workers < 2 {
		t.Errorf("%d rests after the first ten seconds, %+v", rests, p)
	}
}

func TestEverySign(t *testing.T) {
	at := time.Unix(1000, 0)
	limits := Limits{Lag: 500 * time.Millisecond, Threads: 50, Commit: 20 * time.Millisecond, History: 1000, RedoPct: 75}
	for _, c := range []struct {
		name   string
		sample Sample
		says   string // "" = it does not rest
	}{
		{"nothing seen", Sample{}, ""},
		{"all well", Sample{Replicas: []Replica{{"db2:3306", 100 * time.Millisecond, nil}}, Threads: ref(5.0), Commit: ref(time.Millisecond),
			History: ref(uint64(9)), RedoPct: ref(12.0)}, ""},
		{"lag below a second", Sample{Replicas: []Replica{{"db2:3306", 0, nil}, {"db3:3306", 600 * time.Millisecond, nil}}},
			"replica db3:3306 lags by 0.6s (limit 500ms)"},
		{"a replica that does not answer", Sample{Replicas: []Replica{{"db2:3306", 0, errors.New("refused")}}}, "db2:3306 does not say"},
		{"threads", Sample{Threads: ref(60.0)}, "Threads_running is 60 (limit 50)"},
		{"commits", Sample{Commit: ref(30 * time.Millisecond)}, "a commit takes 30ms (limit 20ms)"},
		{"history", Sample{History: ref(uint64(1001))}, "the history list has 1001 entries (limit 1000)"},
		{"redo", Sample{RedoPct: ref(80.0)}, "the checkpoint age is 80 % of the redo log (limit 75 %)"},
		{"the primary does not answer", Sample{Silent: errors.New("time-out")}, "the primary does not say"},
	} {
		c.sample.At = at
		got := Decide(full.Start(), c.sample, limits, full)
		if got.Rest != (c.says != "") || !strings.Contains(got.Reason, c.says) {
			t.Errorf("%s: %+v", c.name, got)
		}
		if c.sample.Silent != nil {
			continue
		}
		// A limit that is taken away while the copy rests lets it go on.
		c.sample.At = at.Add(250 * time.Millisecond)
		if got = Decide(got, c.sample, Limits{}, full); got.Rest {
			t.Errorf("%s, without limits: %+v", c.name, got)
		}
	}
	// Nobody commits any more: nothing rests for how long commits took.
	slow := Decide(full.Start(), Sample{At: at, Commit: ref(time.Second)}, limits, full)
	if now := Decide(slow, Sample{At: at.Add(250 * time.Millisecond)}, limits, full); !slow.Rest || now.Rest {
		t.Errorf("rests %v, then %v", slow.Rest, now.Rest)
	}
}

func TestCommitTime(t *testing.T) {
	ms := time.Millisecond
	before := map[string]waits{"redo": {100, 500 * ms}, "binlog": {50, 100 * ms}, "semisync": {7, 70 * ms}}
	for _, c := range []struct {
		name string
		now  map[string]waits
		want *time.Duration
	}{
		{"no commit", before, nil},
		{"ten", map[string]waits{"redo": {110, 520 * ms}, "binlog": {60, 130 * ms}, "semisync": {17, 110 * ms}}, ref(2*ms + 3*ms + 4*ms)},
		{"a server that was restarted", map[string]waits{"redo": {3, ms}}, nil},
	} {
		got := commitTime(before, c.now)
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
