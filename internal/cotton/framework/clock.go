package framework

import (
	"sync"
	"time"

	"github.com/aosc/aosc/internal/cotton"
)

// clock gives the times that are stored in records and held against them: cooldowns, deadlines, how long a member has been down. It is read
// from the machine's clock once, and goes on by the monotonic one, so that a step of the machine's clock changes no decision. A scheduler
// whose clock lies behind what another one has stored goes on from there: otherwise that failover would be "in an hour", and its
// cooldown as long.
type clock struct {
	elapsed func() time.Duration // since it began, by the monotonic clock
	mu      sync.Mutex
	from    time.Time // what it said when it began; without a monotonic reading
}

func newClock() *clock {
	began := time.Now()
	return clockOf(time.Now, func() time.Duration { return time.Since(began) })
}

// clockOf is a clock on a machine's clock that somebody may set, and on one that nobody sets.
func clockOf(wall func() time.Time, elapsed func() time.Duration) *clock {
	return &clock{elapsed: elapsed, from: wall().Round(0).UTC().Add(-elapsed())}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.from.Add(c.elapsed())
}

// notBefore has the clock go on from a time that was stored, if that lies ahead; it tells by how much it did.
func (c *clock) notBefore(stored time.Time) time.Duration {
	ahead := stored.Sub(c.now())
	if ahead <= 0 {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from = c.from.Add(ahead)
	return ahead
}

// newest is the latest time at which something is stored to have happened.
func newest(records []cotton.Record) (last time.Time) {
	for _, r := range records {
		if at := r.LastStored(); at.After(last) {
			last = at
		}
	}
	return last
}
