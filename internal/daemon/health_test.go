package daemon

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	bad := errors.New("access denied")
	for name, c := range map[string]struct {
		failed, good int
		err, note    string
	}{
		"nothing tried":    {0, 0, "", ""},
		"all good":         {0, 3, "", ""},
		"some fail":        {1, 2, "", "ok, but 1 of 3 checksums fail: a: access denied"},
		"all of them":      {3, 0, "3 of 3 checksums fail: a: access denied", ""},
		"the only one":     {1, 0, "1 of 1 checksums fail: a: access denied", ""},
		"twenty-one of 21": {21, 0, "21 of 21 checksums fail: a: access denied", ""},
	} {
		var tally Tally
		for i := range c.failed {
			tally.Add(string(rune('a'+(i+1)%c.failed)), bad)
		}
		for range c.good {
			tally.Add("z", nil)
		}
		h := tally.Health("checksums fail")
		got := ""
		if h.Err != nil {
			got = h.Err.Error()
		}
		if got != c.err || h.Note != c.note {
			t.Errorf("%s: %+v, want %q, %q", name, h, c.err, c.note)
		}
	}
}

// A pass that hangs does not hide behind the success of the one before it.
func TestLongPass(t *testing.T) {
	env := NewEnv("test", nil, nil)
	env.SetReady(nil)
	env.state.pass(time.Now().Add(-time.Hour))
	if note, err := env.Ready(); err != nil || !strings.Contains(note, "a pass has been under way since") {
		t.Errorf("%q, %v", note, err)
	}
	env.state.pass(time.Time{})
	if note, err := env.Ready(); err != nil || note != "" {
		t.Errorf("%q, %v", note, err)
	}
}

// What Health finds wrong makes /readyz say so, and neither fails the pass nor delays the next.
func TestLoopHealth(t *testing.T) {
	env := NewEnv("test", nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	passes := 0
	err := Loop(ctx, env, LoopOptions{Interval: time.Millisecond,
		Health: func() Health { return Health{Err: errors.New("21 of 21 checksums fail")} }},
		func(context.Context) error {
			if passes++; passes == 20 {
				cancel()
			}
			return nil
		})
	if err != nil || passes != 20 {
		t.Errorf("%d passes, %v", passes, err)
	}
	if _, err := env.Ready(); err == nil || !strings.Contains(err.Error(), "21 of 21") {
		t.Errorf("ready: %v", err)
	}
}
