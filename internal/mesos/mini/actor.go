package mini

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errStopped answers what is asked of an actor that no longer runs.
var errStopped = errors.New("stopped")

// actor runs functions one after another in one goroutine, which owns some
// state: the master's, or an agent's. Actors only ever post to one another, as
// the processes of a real Mesos send messages, so that none waits for another.
type actor struct {
	mu      sync.Mutex
	queue   []func()
	stopped bool
	wake    chan struct{}
	done    chan struct{}
}

func newActor() *actor {
	a := &actor{wake: make(chan struct{}, 1), done: make(chan struct{})}
	go a.run()
	return a
}

func (a *actor) run() {
	defer close(a.done)
	for range a.wake {
		for {
			f, stop := a.next()
			if stop {
				return
			}
			if f == nil {
				break
			}
			f()
		}
	}
}

func (a *actor) next() (f func(), stop bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return nil, true
	}
	if len(a.queue) == 0 {
		return nil, false
	}
	f, a.queue = a.queue[0], a.queue[1:]
	return f, false
}

// post has f run after all that was posted before. After stop it does nothing.
func (a *actor) post(f func()) {
	a.mu.Lock()
	if !a.stopped {
		a.queue = append(a.queue, f)
	}
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// do posts f and waits until it has run. It must not be called from within an
// actor.
func (a *actor) do(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	a.post(func() { defer close(ran); f() })
	select {
	case <-ran:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-a.done:
		select {
		case <-ran:
			return nil
		default:
			return errStopped
		}
	}
}

// after posts f when d has passed, unless the timer is stopped before. f must
// check that it is still wanted: it may have been posted already.
func (a *actor) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() { a.post(f) })
}

// stop ends the actor after what it is doing now, and waits for that. What is
// still queued is never run.
func (a *actor) stop() {
	a.mu.Lock()
	a.stopped = true
	a.queue = nil
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
	<-a.done
}
