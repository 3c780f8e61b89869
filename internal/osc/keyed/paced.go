package keyed

import (
	"context"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/wait"
)

// slots bounds how many workers copy at once, to a number that changes.
type slots struct {
	mu   sync.Mutex
	busy int
}

// take takes one of so many slots; false when all are busy.
func (s *slots) take(most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy >= most {
		return false
	}
	s.busy++
	return true
}

func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
}

const slotEvery = 50 * time.Millisecond

// slot waits until this worker may copy a chunk, and how long that one should take. give must be called after it.
func (c *Copy) slot(ctx context.Context) (give func(), chunk time.Duration, err error) {
	for {
		if err := c.gate(ctx); err != nil {
			return nil, 0, err
		}
		workers, chunk := c.req.Workers, ChunkTime
		if c.req.Pace != nil {
			workers, chunk = c.req.Pace()
		}
		if c.slots.take(max(workers, 1)) {
			return c.slots.give, chunk, nil
		}
		if err := wait.For(ctx, slotEvery); err != nil {
			return nil, 0, err
		}
	}
}

// paced is one worker's work: chunk after chunk, each of so many rows and of so long a time, within the pace. step gives the size of the
// next one, and whether there is one.
func (c *Copy) paced(ctx context.Context, step func(size int, should time.Duration) (next int, more bool, err error)) error {
	size := c.sizes.first()
	for more := true; more; {
		give, should, err := c.slot(ctx)
		if err != nil {
			return err
		}
		size, more, err = step(size, should)
		give()
		if err != nil {
			return err
		}
	}
	return nil
}
