package checksum

import (
	"slices"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
)

// state is what the daemon remembers of one instance. Times are by aoscdb's clock.
type state struct {
	tier    string
	began   time.Time // begin of the last attempt, zero = none by this process
	ended   time.Time // end of it
	running bool
	failed  bool
	good    time.Time // begin of the last good pass, zero = never
	fresh   time.Time // begin of the last good pass without cached hashes, zero = never
	commit  string    // what the last good pass compared with
	said    string    // the trouble that was last logged, "" = none
}

// asked is when somebody last asked for a pass over an instance, zero = never.
type asked struct {
	any   time.Time
	fresh time.Time // without cached hashes
}

// askedOf merges the requests that concern an instance. A request is answered by any pass that began after it, so the
// newest speaks for all.
func askedOf(requests map[string]aoscdb.Wakeup, i fleet.Instance) asked {
	var a asked
	for _, scope := range []string{"", aoscdb.ScopeTier(i.Tier), aoscdb.ScopeInstance(i.String())} {
		w, ok := requests[scope]
		if !ok {
			continue
		}
		if w.RequestedAt.After(a.any) {
			a.any = w.RequestedAt
		}
		if w.FreshAt != nil && w.FreshAt.After(a.fresh) {
			a.fresh = *w.FreshAt
		}
	}
	return a
}

// order is why an instance is due.
type order struct {
	due   bool
	fresh bool // read every table
	// wanted: somebody waits for it, so it goes first, and its end is reported even when nothing has changed.
	wanted bool
}

// due decides whether an instance is due. now is aoscdb's clock, head the newest commit.
func (c Config) due(s state, a asked, head string, now time.Time) order {
	if s.running {
		return order{}
	}
	askedFresh := !a.fresh.IsZero() && !a.fresh.Before(s.fresh)
	lapsed := s.fresh.IsZero() || now.Sub(s.fresh) >= c.FreshInterval
	o := order{
		fresh: askedFresh || lapsed,
		// A pass that began in the very microsecond of a request may have missed its cause.
		wanted: askedFresh || !a.any.IsZero() && !a.any.Before(s.good),
	}
	switch rest := now.Sub(s.ended); {
	case s.began.IsZero():
		o.due = true
	case s.failed:
		// A request from after the failure is from somebody who knows of it, and may have mended it.
		o.due = rest >= c.Retry || o.wanted && rest >= time.Second && !a.any.Before(s.ended)
	default:
		o.due = o.wanted || lapsed || head != s.commit || rest >= c.Interval
	}
	return o
}

// pick chooses what to start now: free is how many more instances may be at work. Those somebody waits for go first,
// then those that waited longest. Instances that failed last time share a quarter of all places: a rack of hung machines,
// each of which holds a place until it is given up, must not keep the others waiting.
func (c Config) pick(due []candidate, running, failing int) []candidate {
	slices.SortStableFunc(due, func(a, b candidate) int {
		if a.order.wanted != b.order.wanted {
			if a.order.wanted {
				return -1
			}
			return 1
		}
		return a.state.ended.Compare(b.state.ended)
	})
	var out []candidate
	for _, d := range due {
		if running >= c.Parallel {
			break
		}
		if d.state.failed {
			if failing >= max(1, c.Parallel/4) {
				continue
			}
			failing++
		}
		running++
		out = append(out, d)
	}
	return out
}

// candidate is an instance that is due, as of a moment.
type candidate struct {
	served Served
	state  state
	order  order
	at     time.Time // aoscdb's clock, before the requests were read
}
