package keyed

import (
	"context"
	"hash/fnv"
	"sync"
)

// maxQueued bounds the keys of one worker: past it the stream waits.
const maxQueued = 20_000

// queue holds the keys that one worker applies, in the order in which they came. A key that waits already is not taken twice: what
// will be read for it is newer than both changes. One that is being applied is: it may have been read before.
type queue struct {
	mu      sync.Mutex
	order   []value
	waiting map[value][]tracked
	changed chan struct{}
}

func newQueue() *queue { return &queue{waiting: map[value][]tracked{}, changed: make(chan struct{})} }

// signal wakes whoever waits. The caller holds the mutex.
func (q *queue) signal() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// put adds keys; when the queue is full it waits until there is room.
func (q *queue) put(ctx context.Context, keys []tracked) error {
	for {
		q.mu.Lock()
		if len(q.order) < maxQueued {
			for _, k := range keys {
				if _, ok := q.waiting[k.key]; !ok {
					q.order = append(q.order, k.key)
				}
				q.waiting[k.key] = append(q.waiting[k.key], k)
			}
			q.signal()
			q.mu.Unlock()
			return nil
		}
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// await waits until there is something to take.
func (q *queue) await(ctx context.Context) error {
	for {
		q.mu.Lock()
		n, changed := len(q.order), q.changed
		q.mu.Unlock()
		if n > 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// take is the next batch, with all changes that it settles; none when nothing waits.
func (q *queue) take(most int) (keys []value, settles []tracked) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.order), most)
	keys = append([]value(nil), q.order[:n]...)
	q.order = append([]value(nil), q.order[n:]...)
	for _, k := range keys {
		settles = append(settles, q.waiting[k]...)
		delete(q.waiting, k)
	}
	q.signal()
	return keys, settles
}

// size is how many keys wait.
func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.order)
}

// worker is which of n workers has a key: always the same one, so that what is read for a key later is written later.
func worker(v value, n int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(v))
	return int(h.Sum32() % uint32(n))
}
