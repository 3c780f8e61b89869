package keyed

import (
	"context"
	"errors"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
)

// TestCoverage: the table counts as compared once ranges join from its beginning to its end, whatever the order in which they come.
func TestCoverage(t *testing.T) {
	a, b, c := span{high: "5"}, span{low: "5", high: "9"}, span{low: "9"}
	for _, tc := range []struct {
		name  string
		spans []span
		low   value
		left  bool
	}{
		{"nothing", nil, "", true},
		{"in order", []span{a, b, c}, "", false},
		{"backwards", []span{c, b, a}, "", false},
		{"one range", []span{{}}, "", false},
		{"the beginning is missing", []span{b, c}, "", true},
		{"a gap", []span{a, c}, "5", true},
		{"the end is missing", []span{b, a}, "9", true},
		{"another run's ranges do not join", []span{a, {low: "6", high: "9"}, c}, "5", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			covered := newCoverage()
			for _, s := range tc.spans {
				covered.add(s)
			}
			low, left := covered.rest()
			if left != tc.left || left && low != tc.low {
				t.Errorf("from %q on, left: %v; want %q, %v", low, left, tc.low, tc.left)
			}
		})
	}
}

// TestStrikes: a difference counts only once all is applied that was executed when it was counted before, and not if the key was written.
func TestStrikes(t *testing.T) {
	r := newRecheck()
	r.start()
	r.add([]value{"1", "2"})
	find := func(round, settled int) int {
		taken := r.take(10, round)
		var keys []value
		for k := range taken {
			keys = append(keys, k)
		}
		_, most := r.again(keys, taken, round, settled)
		return most
	}
	for i, want := range []struct{ settled, strikes int }{{0, 0}, {0, 0}, {0, 0}, {1, 1}, {3, 1}, {4, 2}, {4, 2}, {7, 3}, {7, 3}} {
		if got := find(i+1, want.settled); got != want.strikes {
			t.Errorf("round %d: %d strikes, want %d", i+1, got, want.strikes)
		}
	}
	r.add([]value{"1", "2"})
	if got := find(20, 19); got != 0 {
		t.Errorf("after the keys were written: %d strikes, want none", got)
	}

	set := func(text string) mysql.GTIDSet {
		s, err := mysql.ParseGTIDSet(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const source = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	at := settling{pending: 4, moment: set(source + ":1-10")}
	if at.look(set(source + ":1-9")); at.round != 0 {
		t.Error("settled although a transaction is not applied")
	}
	if at.look(set(source + ":1-11")); at.round != 4 || at.pending != 0 {
		t.Errorf("not settled: %+v", at)
	}
}

// TestFaultOfTheCopy: rows of the ghost that are not what the table has are found, whether they came with a chunk or with a change, while
// writers go on and no cut-over is possible.
func TestFaultOfTheCopy(t *testing.T) {
	for name, condition := range map[string]string{
		"of a chunk":  "NEW.id = 7000",
		"of a change": "NEW.id = 7000 AND NEW.n = 77",
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			k.exec(table)
			model := k.fill(4000)
			req := k.request("ADD m int NOT NULL DEFAULT 7")
			copied := make(chan struct{})
			req.Phase = func(phase, _ string) {
				if phase == PhaseVerifying {
					close(copied)
				}
			}
			req.Opportunity = func(context.Context) (string, error) { return "not now", nil }
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c, err := New(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			k.exec("CREATE TRIGGER spoil BEFORE INSERT ON _t_gho FOR EACH ROW SET NEW.v = IF(" + condition + ", 'spoiled', NEW.v)")
			l := k.startLoad(2, model) // which writes to ids below 6000
			ended := make(chan error, 1)
			go func() { ended <- c.Run(ctx) }()
			select {
			case <-copied:
				k.exec("UPDATE t SET n = 77 WHERE id = 7000")
				err = <-ended
			case err = <-ended:
			}
			l.end()
			var differs *verify.Error
			if !errors.As(err, &differs) {
				t.Fatalf("got %v, want a difference", err)
			}
			t.Log(err)
		})
	}
}
