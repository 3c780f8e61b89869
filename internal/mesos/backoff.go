package mesos

import (
	"math/rand/v2"
	"time"
)

// backoff is the wait before the next attempt: doubled with each, with jitter, so that the clients of a master that went
// down do not come back all at once.
type backoff struct {
	least, most time.Duration
	current     time.Duration
}

// next is between half and all of a wait that doubles from least to most.
func (b *backoff) next() time.Duration {
	b.current = min(max(2*b.current, b.least), b.most)
	half := b.current / 2
	return half + rand.N(b.current-half+1)
}

func (b *backoff) reset() { b.current = 0 }
