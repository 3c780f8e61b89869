package framework

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/store"
)

// cluster is one cluster and what is known of it.
type cluster struct {
	name    string
	created time.Time
	wake    chan struct{} // buffered: the loop looks at once
	over    chan struct{} // closed when the loop has ended
	stop    context.CancelFunc

	// changing is held through a change of the record, its write to the store among it: changes come one after another.
	changing sync.Mutex

	mu        sync.Mutex
	record    cotton.Record // as stored
	seen      map[int]cotton.Seen
	facts     map[int]reported
	down      map[int]string       // mysqld does not run, says the executor: why
	killed    map[string]time.Time // when KILL was last sent, by task
	problems  []string
	diagnoses []cotton.Diagnosis
	errant    map[int]string
	waits     string // what the operation under way waits for
	endpoints Endpoints
	// backupProblems are those of its backups, which another loop looks after.
	backupProblems []string
}

func newCluster(r cotton.Record) *cluster {
	return &cluster{
		name: r.Spec.Name, created: r.Spec.CreatedAt, record: r, wake: make(chan struct{}, 1), over: make(chan struct{}),
		seen: map[int]cotton.Seen{}, facts: map[int]reported{}, down: map[int]string{}, killed: map[string]time.Time{},
	}
}

// snapshot is the record as stored; it is the caller's.
func (c *cluster) snapshot() cotton.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.record.Clone()
}

// seenNow is how all members were last seen.
func (c *cluster) seenNow() []cotton.Seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.seen))
}

// diagnosed keeps what a look found out, for people.
func (c *cluster) diagnosed(decision cotton.Decision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.diagnoses, c.errant, c.waits = decision.Diagnoses, decision.Errant, decision.Waits
}

// reported is what a member's executor said last, and when it came.
type reported struct {
	cotton.Facts
	came time.Time
}

// factsOf is what a member's executor said last.
func (c *cluster) factsOf(member int) (reported, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	facts, ok := c.facts[member]
	return facts, ok
}

// killDue tells whether it is time for a task's next KILL, and takes it for sent.
func (c *cluster) killDue(task string, now time.Time, every time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, sent := c.killed[task]; sent && now.Sub(last) < every {
		return false
	}
	c.killed[task] = now
	return true
}

// poke has the loop look at once.
func (c *cluster) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// errUnchanged is returned by an edit that finds nothing to do.
var errUnchanged = errors.New("nothing to change")

// change edits a cluster's record and stores it; only then is it the record (I9). An edit that returns an error, also
// errUnchanged, changes nothing.
func (f *Framework) change(ctx context.Context, c *cluster, edit func(*cotton.Record) error) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	r := c.snapshot()
	if err := edit(&r); err != nil {
		return err
	}
	stored, err := f.cfg.Store.Put(ctx, r)
	if err != nil {
		return f.storeFailed(c.name, err)
	}
	c.mu.Lock()
	c.record = stored
	c.mu.Unlock()
	return nil
}

// storeFailed is a write that the store did not take. One that shows another scheduler at work, or an earlier write of
// ours of which we were not told that it was done, ends the process: the next one reads all anew.
func (f *Framework) storeFailed(name string, err error) error {
	err = fmt.Errorf("store cluster %s: %w", name, err)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotLeader) {
		f.fail(err)
	}
	return err
}

// changeMember edits one member; errUnchanged when it is gone.
func (f *Framework) changeMember(ctx context.Context, c *cluster, id int, edit func(*cotton.Member) error) error {
	return f.change(ctx, c, func(r *cotton.Record) error {
		m, ok := r.Member(id)
		if !ok {
			return errUnchanged
		}
		return edit(m)
	})
}

// dead tells whether a task in this state is over, or never was. What cannot be reached is not over, and neither is TASK_UNKNOWN: the
// master does not know the agent, and the task may run there (I11).
func dead(state string) bool {
	switch mesos.TaskState(mesos.TaskState_value[state]) {
	case mesos.TASK_FINISHED, mesos.TASK_FAILED, mesos.TASK_KILLED, mesos.TASK_ERROR, mesos.TASK_LOST, mesos.TASK_DROPPED,
		mesos.TASK_GONE, mesos.TASK_GONE_BY_OPERATOR:
		return state != ""
	}
	return false
}

// gone tells whether the machine, and the data with it, is gone for good: an operator said so.
func gone(state string) bool { return state == mesos.TASK_GONE_BY_OPERATOR.String() }

// mayLive tells whether a task of the member may exist.
func mayLive(m cotton.Member) bool { return m.TaskID != "" && !dead(m.TaskState) }

// Waits between launches of a member whose task keeps failing.
const (
	firstRetry = time.Second
	maxRetry   = 2 * time.Minute
)

// retryAfter is how long a member waits after that many failures in a row.
func retryAfter(failures int) time.Duration {
	if failures <= 0 {
		return 0
	}
	return min(firstRetry<<min(failures-1, 10), maxRetry)
}
