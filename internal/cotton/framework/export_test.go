package framework

import "time"

// SetClock has a framework that does not run yet go by another machine's clock, which may be set meanwhile.
func SetClock(f *Framework, wall func() time.Time) {
	began := time.Now()
	f.clock = clockOf(wall, func() time.Duration { return time.Since(began) })
}

// CloneFrom is for tests.
var CloneFrom = cloneFrom
