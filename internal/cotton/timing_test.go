package cotton_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
)

// TestTiming: times that do not fit each other are refused, and the error names both.
func TestTiming(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*cotton.Timing)
		want []string // of the error; none = accepted
	}{
		{"default", func(*cotton.Timing) {}, nil},
		{"the shortest lease", func(x *cotton.Timing) { *x = x.WithLease(2 * time.Second) }, nil},
		{"a lease of an hour", func(x *cotton.Timing) { *x = x.WithLease(time.Hour) }, nil},
		{"a lease of a year", func(x *cotton.Timing) { *x = x.WithLease(365 * 24 * time.Hour) }, []string{"Elect"}},
		{"a longer lease, elected as before", func(x *cotton.Timing) { x.Lease = 11 * time.Second }, []string{"Lease", "15.15s", "Elect", "15s"}},
		{"closed too late", func(x *cotton.Timing) { x.Close = 5 * time.Second }, []string{"Close", "15.15s", "Elect", "15s"}},
		{"just in time", func(x *cotton.Timing) { x.Close = 4800 * time.Millisecond }, nil},
		{"the executor has 10 s for what hangs", func(x *cotton.Timing) { x.Hung = 11 * time.Second }, []string{"14.39s", "Quiet", "14s"}},
		{"no time to close", func(x *cotton.Timing) { x.Alone = 2 * time.Second }, []string{"4.75s", "Close", "4s"}},
		{"one order in a lease", func(x *cotton.Timing) { x.Renew = 4 * time.Second }, []string{"Renew", "12s", "Lease", "10s"}},
		{"killed before its replicas give it up", func(x *cotton.Timing) { x.Hung = 8 * time.Second }, []string{"ReplicaTimeout", "8s", "Hung"}},
		{"deaf after one heartbeat", func(x *cotton.Timing) { x.Deaf = 2 * time.Second }, []string{"Heartbeat", "2s", "Deaf"}},
		{"nothing", func(x *cotton.Timing) { *x = cotton.Timing{} }, []string{"Silence", "0s"}},
		{"negative", func(x *cotton.Timing) { x.Kill = -time.Second }, []string{"Kill", "-1s"}},
	} {
		x := cotton.DefaultTiming()
		tc.edit(&x)
		err := x.Validate()
		if (err == nil) != (len(tc.want) == 0) {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		for _, part := range tc.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q lacks %q", tc.name, err, part)
			}
		}
	}
}

// TestTimingFits: whatever is accepted, an executor whose clock is slow has closed its server before a scheduler whose clock is fast
// elects another primary.
func TestTimingFits(t *testing.T) {
	const steps = 200_000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	near := func(d time.Duration) time.Duration {
		return d*time.Duration(r.IntN(400))/200 + time.Duration(r.IntN(3)-1)
	}
	accepted := 0
	for range steps {
		d := cotton.DefaultTiming()
		x := cotton.Timing{
			Silence: near(d.Silence), Deaf: near(2 * d.Deaf), Heartbeat: near(d.Heartbeat / 2), ReplicaTimeout: near(d.ReplicaTimeout / 2),
			Lease: near(d.Lease), Renew: near(d.Renew / 2), Close: near(d.Close), Kill: near(d.Kill / 2), Alone: near(d.Alone / 2),
			Killed: near(d.Killed / 2), Pulse: near(d.Pulse), PulseLimit: near(d.PulseLimit), Hung: near(d.Hung), Elect: near(2 * d.Elect),
			Quiet: near(2 * d.Quiet),
		}
		if x.Validate() != nil {
			continue
		}
		accepted++
		slow := func(d time.Duration) float64 { return float64(d) * 1.005 }
		fast := func(d time.Duration) float64 { return float64(d) * 0.995 }
		if slow(x.Closed()) >= fast(x.Elect) || slow(x.Abandoned()) >= fast(x.Quiet) {
			t.Fatalf("accepted: %+v", x)
		}
	}
	if accepted < steps/1000 {
		t.Errorf("%d of %d were accepted: this tests nothing", accepted, steps)
	}
}
