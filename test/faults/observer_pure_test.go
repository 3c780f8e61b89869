package faults

import (
	"testing"
	"time"
)

// line makes samples of one instance, 100 ms apart: 'a' able, 'o' open, 'c' closed, '?' no answer.
func line(text string, shift time.Duration) (list []sample) {
	start := time.Unix(0, 0).Add(shift)
	for n, r := range text {
		at := start.Add(time.Duration(n) * observeEvery)
		list = append(list, sample{began: at, ended: at.Add(10 * time.Millisecond), open: r == 'a' || r == 'o', able: r == 'a'})
	}
	return list
}

// TestTwoAble: two instances able at one moment are found; a hand-over between samples is not taken for it (I2).
func TestTwoAble(t *testing.T) {
	for _, tc := range []struct {
		one, two string
		shift    time.Duration
		want     bool
	}{
		{"aaaccc", "ccccaa", 50 * time.Millisecond, false},
		{"aaaccc", "cccaaa", 50 * time.Millisecond, false},
		{"aaaccc", "ccaaaa", 50 * time.Millisecond, false}, // between the third and the fourth sample the first one closed
		{"aaaaccc", "ccaaaaa", 50 * time.Millisecond, true},
		{"aaa?ccc", "ccaaaaa", 50 * time.Millisecond, false},
		{"aaaaaaa", "ooooooo", 50 * time.Millisecond, false},
		{"aaaaaaa", "ccccccc", 50 * time.Millisecond, false},
	} {
		got := twoAble(map[int][]sample{1: line(tc.one, 0), 2: line(tc.two, tc.shift)})
		if (len(got) > 0) != tc.want {
			t.Errorf("%s and %s: %v, want %v", tc.one, tc.two, got, tc.want)
		}
	}
}

// TestMisled: how long clients were told of one instance while another took writes (I10).
func TestMisled(t *testing.T) {
	samples := map[int][]sample{1: line("aaaaacccccccccc", 0), 2: line("cccccccaaaaaaaa", 0)}
	var published []publication
	for n := range 15 {
		p := publication{at: time.Unix(0, 0).Add(time.Duration(n)*observeEvery + 20*time.Millisecond), primary: 1}
		if n >= 11 {
			p.primary = 2
		}
		published = append(published, p)
	}
	if got := misled(published, samples); got != 300*time.Millisecond {
		t.Errorf("misled for %s, want 300ms", got)
	}
	if got := misled(published[:7], samples); got != 0 {
		t.Errorf("misled for %s while the right one was published", got)
	}
}
