package mysql

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// fanOutGrace is how long FanOut waits past an item's deadline for its function to notice that the context is over.
// Closing a socket is quick; only a call that takes no context needs more.
const fanOutGrace = 500 * time.Millisecond

// ErrAbandoned marks the result of a function that did not return although its time was over. It still runs, its
// result will be dropped.
var ErrAbandoned = errors.New("still hanging after its deadline, abandoned")

// Result is what FanOut learnt of one item.
type Result[T, R any] struct {
	Item  T
	Value R // zero when Err is set, unless fn returned both
	Err   error
}

// FanOut calls fn once per item, at most limit at a time (0 = all at once), each with its own deadline of timeout
// (0 = none but ctx's), counted from when that item starts. Results come in the order of items. Items not yet started
// when ctx ends get its error.
//
// One hung server must not hold the others: FanOut returns when all functions have ended, and those that ignore their
// context are given up half a second after it ended (ErrAbandoned). So a call takes at most
// ceil(len(items)/limit) * (timeout + 500ms).
func FanOut[T, R any](ctx context.Context, items []T, limit int, timeout time.Duration,
	fn func(context.Context, T) (R, error)) []Result[T, R] {
	results := make([]Result[T, R], len(items))
	if limit <= 0 || limit > len(items) {
		limit = len(items)
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range limit {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(items) {
					return
				}
				results[i] = fanOutOne(ctx, items[i], timeout, fn)
			}
		})
	}
	workers.Wait()
	return results
}

func fanOutOne[T, R any](ctx context.Context, item T, timeout time.Duration,
	fn func(context.Context, T) (R, error)) Result[T, R] {
	if err := ctx.Err(); err != nil {
		return Result[T, R]{Item: item, Err: err}
	}
	itemCtx, cancel := ctx, context.CancelFunc(func() {})
	if timeout > 0 {
		itemCtx, cancel = context.WithTimeout(ctx, timeout)
	}
	defer cancel()
	done := make(chan Result[T, R], 1)
	go func() {
		value, err := fn(itemCtx, item)
		done <- Result[T, R]{Item: item, Value: value, Err: err}
	}()
	select {
	case r := <-done:
		return r.explain(ctx, itemCtx, timeout)
	case <-itemCtx.Done():
	}
	grace := time.NewTimer(fanOutGrace)
	defer grace.Stop()
	select {
	case r := <-done:
		return r.explain(ctx, itemCtx, timeout)
	case <-grace.C:
		return Result[T, R]{Item: item, Err: fmt.Errorf("%w: %w", ErrAbandoned, itemCtx.Err())}
	}
}

// explain turns the bare "context deadline exceeded" of an item that ran out of its own time into what happened.
func (r Result[T, R]) explain(ctx, itemCtx context.Context, timeout time.Duration) Result[T, R] {
	if r.Err != nil && ctx.Err() == nil && itemCtx.Err() != nil && errors.Is(r.Err, context.DeadlineExceeded) {
		r.Err = fmt.Errorf("no answer within %v: %w", timeout, r.Err)
	}
	return r
}
