package checksum

import (
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func config() Config {
	return Config{Interval: time.Minute, Retry: 10 * time.Second, FreshInterval: 24 * time.Hour, Parallel: 8}
}

// rested is the state of an instance whose last pass was good and ended ten seconds before noon.
func rested() state {
	return state{tier: "udb", began: noon.Add(-11 * time.Second), ended: noon.Add(-10 * time.Second),
		good: noon.Add(-11 * time.Second), fresh: noon.Add(-time.Hour), commit: "c1"}
}

func TestDue(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*state, *asked)
		head   string
		want   order
	}{
		"rested":           {func(*state, *asked) {}, "c1", order{}},
		"interval is over": {func(s *state, _ *asked) { s.ended = noon.Add(-time.Minute) }, "c1", order{due: true}},
		"a new commit":     {func(*state, *asked) {}, "c2", order{due: true}},
		"new to this process": {
			func(s *state, _ *asked) { s.began, s.ended = time.Time{}, time.Time{} }, "c1", order{due: true}},
		"never seen before": {
			func(s *state, _ *asked) { *s = state{tier: "udb"} }, "c1", order{due: true, fresh: true}},
		"asked for since": {
			func(_ *state, a *asked) { a.any = noon.Add(-time.Second) }, "c1", order{due: true, wanted: true}},
		"asked for while the last pass ran": {
			func(s *state, a *asked) { a.any = s.began.Add(time.Millisecond) }, "c1", order{due: true, wanted: true}},
		"asked for in the microsecond in which it began": {
			func(s *state, a *asked) { a.any = s.good }, "c1", order{due: true, wanted: true}},
		"asked for before the last pass": {
			func(s *state, a *asked) { a.any = s.good.Add(-time.Microsecond) }, "c1", order{}},
		"fresh asked for": {
			func(_ *state, a *asked) { a.any, a.fresh = noon, noon }, "c1", order{due: true, fresh: true, wanted: true}},
		"fresh asked for, and answered by one that was not fresh": {
			func(s *state, a *asked) { a.fresh = s.good.Add(-time.Second); a.any = a.fresh }, "c1", order{due: true, fresh: true, wanted: true}},
		"fresh asked for and answered": {
			func(s *state, a *asked) { a.fresh = s.fresh.Add(-time.Second); a.any = a.fresh }, "c1", order{}},
		"fresh interval is over": {
			func(s *state, _ *asked) { s.fresh = noon.Add(-24 * time.Hour) }, "c1", order{due: true, fresh: true}},
		"running": {
			func(s *state, a *asked) { s.running = true; a.any = noon }, "c2", order{}},
		"failed just now": {
			func(s *state, _ *asked) { s.failed, s.ended = true, noon.Add(-9*time.Second) }, "c2", order{}},
		"failed a while ago": {
			func(s *state, _ *asked) { s.failed = true }, "c1", order{due: true}},
		"failed, asked for before": {
			func(s *state, a *asked) {
				s.failed, s.ended, a.any = true, noon.Add(-2*time.Second), noon.Add(-3*time.Second)
			}, "c1",
			order{wanted: true}},
		"failed, asked for since": {
			func(s *state, a *asked) {
				s.failed, s.ended, a.any = true, noon.Add(-2*time.Second), noon.Add(-time.Second)
			}, "c1",
			order{due: true, wanted: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s, a := rested(), asked{}
			tc.change(&s, &a)
			got := config().due(s, a, tc.head, noon)
			if !got.due && !tc.want.due {
				got.fresh = false // of no consequence
			}
			if got != tc.want {
				t.Errorf("due = %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestAskedOf(t *testing.T) {
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	ptr := func(s int) *time.Time { t := at(s); return &t }
	i := fleet.Instance{Tier: "udb", Host: "db1", Port: 3306}
	for name, tc := range map[string]struct {
		requests map[string]aoscdb.Wakeup
		want     asked
	}{
		"nobody":           {nil, asked{}},
		"its tier":         {map[string]aoscdb.Wakeup{"tier:udb": {RequestedAt: at(1)}}, asked{any: at(1)}},
		"itself":           {map[string]aoscdb.Wakeup{"instance:db1:3306": {RequestedAt: at(1)}}, asked{any: at(1)}},
		"everybody":        {map[string]aoscdb.Wakeup{"": {RequestedAt: at(1)}}, asked{any: at(1)}},
		"others":           {map[string]aoscdb.Wakeup{"tier:vdb": {RequestedAt: at(1)}, "instance:db1:3307": {RequestedAt: at(1)}}, asked{}},
		"the newest of it": {map[string]aoscdb.Wakeup{"tier:udb": {RequestedAt: at(1)}, "instance:db1:3306": {RequestedAt: at(2)}}, asked{any: at(2)}},
		"fresh long ago": {
			map[string]aoscdb.Wakeup{"tier:udb": {RequestedAt: at(9), FreshAt: ptr(1)}, "instance:db1:3306": {RequestedAt: at(5), FreshAt: ptr(5)}},
			asked{any: at(9), fresh: at(5)}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := askedOf(tc.requests, i); got != tc.want {
				t.Errorf("askedOf = %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestPickKeepsPlacesFromTheHung(t *testing.T) {
	host := func(name string, s state, o order) candidate {
		o.due = true
		return candidate{served: Served{Instance: fleet.Instance{Host: name, Port: 3306}}, state: s, order: o}
	}
	at := func(s int) state { return state{ended: noon.Add(time.Duration(s) * time.Second)} }
	bad := func(s int) state { x := at(s); x.failed = true; return x }
	for name, tc := range map[string]struct {
		due              []candidate
		running, failing int
		want             string
	}{
		"wanted first, then the longest waiting": {
			due:  []candidate{host("a", at(3), order{}), host("b", at(1), order{}), host("c", at(9), order{wanted: true})},
			want: "cba"},
		"no more than there are places": {
			due:  []candidate{host("a", at(1), order{}), host("b", at(2), order{}), host("c", at(3), order{})},
			want: "ab", running: 6},
		"failing ones share a quarter": {
			due: []candidate{host("a", bad(1), order{}), host("b", bad(2), order{}), host("c", bad(3), order{wanted: true}), host("d", at(9), order{})},
			// c is wanted, a waited longest, b would be the third.
			want: "cad"},
		"failing ones already have their share": {
			due: []candidate{host("a", bad(1), order{}), host("d", at(9), order{})}, running: 2, failing: 2,
			want: "d"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			for _, c := range config().pick(tc.due, tc.running, tc.failing) {
				got += c.served.Host
			}
			if got != tc.want {
				t.Errorf("picked %q, want %q", got, tc.want)
			}
		})
	}
}
