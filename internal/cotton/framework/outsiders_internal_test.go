package framework

import (
	"errors"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// TestForeign: what was seen from outside counts for a while after it is gone, at that primary, and no look that failed ends that.
func TestForeign(t *testing.T) {
	var f foreign
	begin := time.Unix(1e9, 0)
	for i, c := range []struct {
		after   time.Duration
		primary int
		seen    int
		fails   bool
		want    int
	}{
		{0, 1, 0, false, 0}, {time.Second, 1, 2, false, 2}, {2 * time.Second, 1, 1, false, 2}, {3 * time.Second, 1, 0, false, 2},
		{time.Hour, 1, 0, true, 2}, {time.Second + cotton.OutsideFor, 1, 1, false, 2}, {2*time.Second + cotton.OutsideFor, 1, 1, false, 1},
		{3*time.Second + cotton.OutsideFor, 1, 0, false, 1}, {3*time.Second + 2*cotton.OutsideFor, 1, 0, false, 0}, {time.Hour, 1, 3, false, 3},
		{time.Hour, 2, 0, false, 0},
	} {
		s := cotton.Seen{Member: c.primary, Outsiders: make([]mysql.Acknowledger, c.seen)}
		if c.fails {
			s.Err = errors.New("no answer")
		}
		if f.look(&s, begin.Add(c.after)); s.Foreign != c.want {
			t.Errorf("look %d: %d, want %d", i, s.Foreign, c.want)
		}
	}
}
