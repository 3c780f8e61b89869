package main

import (
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
)

// TestVerifiedAt: what is DONE is finished after its last check, which is said.
func TestVerifiedAt(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	in := func(d time.Duration) *time.Time { t := now.Add(d); return &t }
	day := 24 * time.Hour
	for _, c := range []struct {
		name  string
		tries int
		next  *time.Time
		left  int
		end   time.Duration
	}{
		{"no check yet", 0, in(day), 3, 3 * day},
		{"one passed", 1, in(time.Hour), 2, day + time.Hour},
		{"the second is under way", 1, nil, 2, day},
		{"the second is overdue", 1, in(-time.Hour), 2, day},
		{"the last", 2, in(time.Hour), 1, time.Hour},
		{"the interval was made shorter", 2, in(30 * day), 1, day},
		{"tries were taken back", 5, in(time.Hour), 1, time.Hour},
	} {
		alter := aoscdb.CurrentAlter{Status: aoscdb.AlterDone, Tries: c.tries, NextCheckAt: c.next}
		left, end := verifiedAt(alter, aoscdb.NewTier("udb"), now)
		if left != c.left || end.Sub(now) != c.end {
			t.Errorf("%s: %d left, in %v; want %d in %v", c.name, left, end.Sub(now), c.left, c.end)
		}
	}
	var out strings.Builder
	printVerified(&out, aoscdb.CurrentAlter{Status: aoscdb.AlterDone, NextCheckAt: in(day)}, aoscdb.NewTier("udb"), now)
	printVerified(&out, aoscdb.CurrentAlter{Status: aoscdb.AlterIPR}, aoscdb.NewTier("udb"), now)
	want := "  finished at about 2026-01-05 03:00:00 UTC, if the 3 checks that are left find nothing " +
		"(verify_tries 3, verify_interval_s 86400 of the tier)\n"
	if out.String() != want {
		t.Errorf("got %q", out.String())
	}
}
