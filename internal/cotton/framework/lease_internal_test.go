package framework

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/cotton"
)

// leaseDriver is the loop of a cluster of two whose scheduler has just taken over, at a clock that the test sets.
func leaseDriver(policy cotton.Policy) (d *driver, r cotton.Record, elapsed *time.Duration) {
	elapsed = new(time.Duration)
	r = cotton.Record{Spec: cotton.Spec{Name: "c0", Policy: policy, Nodes: 2}, State: cotton.StateRunning, Primary: 1, Epoch: 7}
	for id := 1; id <= 2; id++ {
		task := fmt.Sprintf("c0-%d-1", id)
		r.Members = append(r.Members, cotton.Member{ID: id, Phase: cotton.PhaseRunning, TaskID: task, TaskState: "TASK_RUNNING"})
	}
	f := &Framework{cfg: Config{Timing: cotton.DefaultTiming()}, clock: clockOf(time.Now, func() time.Duration { return *elapsed })}
	d = &driver{f: f, c: newCluster(r), since: f.clock.now(), leases: map[int]*granted{}, memos: map[int]*memo{}}
	return d, r, elapsed
}

// says is what the primary's executor tells, of which a part may be left out.
func (d *driver) says(facts cotton.Facts) {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	d.c.learn(1, facts)
}

// TestLeaseOrders: an order answers the last facts of the present task; a scheduler that has heard none asks for them, and answers as soon
// as they are there.
func TestLeaseOrders(t *testing.T) {
	d, r, elapsed := leaseDriver(cotton.PolicyAvailable)
	m := r.Members[0]
	lease := d.f.cfg.Timing.Lease
	wants := func(what string, due bool, want cotton.Order) {
		t.Helper()
		o, is := d.leaseDue(r, m)
		if is != due || is && (o.Reading != want.Reading || o.Lease != want.Lease || o.Epoch != 7 || o.Kind != cotton.OrderLease) {
			t.Errorf("%s: %+v, due %t, want %+v, due %t", what, o, is, want, due)
		}
	}
	wants("a scheduler that has just taken over", true, cotton.Order{Lease: lease, Reading: cotton.Unread})
	wants("right after it", false, cotton.Order{})
	d.says(cotton.Facts{Task: "c0-1-0", Clock: 9000, Epoch: 7})
	wants("facts of a task before", false, cotton.Order{})
	d.says(cotton.Facts{Task: m.TaskID, Clock: 5000, Epoch: 7, LeaseMillis: 10000})
	wants("facts have come", true, cotton.Order{Lease: lease, Reading: 5000})
	wants("right after it", false, cotton.Order{})
	d.says(cotton.Facts{Task: m.TaskID, Clock: 4000, Epoch: 7})
	*elapsed += d.f.cfg.Timing.Renew
	wants("a repeated status", true, cotton.Order{Lease: lease, Reading: 5000})
	*elapsed += d.f.cfg.Timing.Renew
	m.TaskID = "c0-1-2"
	wants("launched anew", true, cotton.Order{Lease: lease, Reading: cotton.Unread})
	d.says(cotton.Facts{Task: m.TaskID, Epoch: 7})
	wants("an executor of an earlier release", true, cotton.Order{Lease: lease})
	wants("right after it", false, cotton.Order{})

	// With one node nobody could take its place: a lease that an executor has of other times ends never.
	r.Spec.Policy = cotton.PolicySingle
	*elapsed += d.f.cfg.Timing.Renew
	wants("an earlier release, single", true, cotton.Order{Lease: cotton.Endless})
	m.TaskID = "c0-1-3"
	d.says(cotton.Facts{Task: m.TaskID, Clock: 1, Epoch: 7})
	wants("no lease, single", false, cotton.Order{})
	d.says(cotton.Facts{Task: m.TaskID, Clock: 2, Epoch: 7, LeaseMillis: 10000})
	wants("a lease, single", true, cotton.Order{Lease: cotton.Endless, Reading: 2})
	d.says(cotton.Facts{Task: m.TaskID, Clock: 3, Epoch: 7, LeaseMillis: cotton.Endless.Milliseconds()})
	*elapsed += d.f.cfg.Timing.Renew
	wants("an endless one, single", false, cotton.Order{})
}

// TestLeaseRunsOut: from when on a scheduler takes a primary for closed. What counts is when the facts came that it answered last, by
// a clock that nobody sets: that the machines' clocks were set by an hour, the scheduler's or the executor's, changes nothing.
func TestLeaseRunsOut(t *testing.T) {
	const never = -1
	for _, step := range []time.Duration{0, time.Hour, -time.Hour} {
		for _, tc := range []struct {
			name  string
			facts cotton.Facts
			want  time.Duration // from the moment at which the facts came; they come after 3 s, and are answered 2 s later
		}{
			{"facts", cotton.Facts{Clock: 5000, Epoch: 7, LeaseMillis: 10000}, 15 * time.Second},
			{"a longer lease, of the scheduler before", cotton.Facts{Clock: 5000, Epoch: 7, LeaseMillis: 20000}, 25*time.Second + time.Second/10},
			{"an earlier release: from the order", cotton.Facts{Epoch: 7}, 17 * time.Second},
			{"no order has arrived", cotton.Facts{Clock: 5000}, never},
			{"it goes by no lease", cotton.Facts{Clock: 5000, Epoch: 7}, never},
		} {
			d, r, elapsed := leaseDriver(cotton.PolicyAvailable)
			began := d.f.clock.now()
			tc.facts.Task, tc.facts.At = r.Members[0].TaskID, time.Now().Add(step)
			*elapsed = 3 * time.Second
			d.says(tc.facts)
			came := d.c.facts[1]
			*elapsed = 5 * time.Second
			came.came = came.came.Add(-2 * time.Second) // the test takes no 2 s
			d.c.facts[1] = came
			if _, due := d.leaseDue(r, r.Members[0]); !due {
				t.Fatalf("%s: no order", tc.name)
			}
			d.mu.Lock()
			_, leased := d.promised(r.Members[0])
			d.mu.Unlock()
			got := leased.Sub(began) - 3*time.Second
			if tc.want == never != leased.IsZero() || tc.want != never && (got < tc.want-time.Second || got > tc.want+time.Second/10) {
				t.Errorf("%s, a clock set by %s: taken for closed %s after the facts, want %s", tc.name, step, got, tc.want)
			}
		}
	}
	// A scheduler that has just taken over knows nothing of what the one before granted.
	d, r, elapsed := leaseDriver(cotton.PolicyAvailable)
	*elapsed = time.Second
	d.says(cotton.Facts{Task: r.Members[0].TaskID, Clock: 5000, Epoch: 7, LeaseMillis: 10000})
	if _, leased := d.promised(r.Members[0]); leased.Sub(d.since) != 15*time.Second {
		t.Errorf("after a takeover: %s", leased.Sub(d.since))
	}
	// One that was opened has a lease from then on.
	*elapsed = time.Minute
	d.opened(r.Members[0])
	if _, leased := d.promised(r.Members[0]); leased.Sub(d.since) != 75*time.Second {
		t.Errorf("once it was opened: %s", leased.Sub(d.since))
	}
}

// TestClockSet: a clock goes on as time does whatever becomes of the machine's clock meanwhile; one that is behind what is stored goes on
// from there.
func TestClockSet(t *testing.T) {
	wall, elapsed := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC), 5*time.Second
	c := clockOf(func() time.Time { return wall }, func() time.Duration { return elapsed })
	noon := wall
	for _, step := range []time.Duration{time.Hour, -2 * time.Hour, 0} {
		wall = wall.Add(step)
		elapsed += time.Second
		if got, want := c.now().Sub(noon), elapsed-5*time.Second; got != want {
			t.Errorf("after %s the clock is at %s", want, got)
		}
	}
	next := clockOf(func() time.Time { return wall }, func() time.Duration { return elapsed })
	if next.now().Sub(noon) != -time.Hour {
		t.Errorf("the next one begins at %s", next.now().Sub(noon))
	}
	if ahead := next.notBefore(noon.Add(time.Minute)); ahead != time.Hour+time.Minute || next.now().Sub(noon) != time.Minute {
		t.Errorf("it goes on %s ahead, from %s", ahead, next.now().Sub(noon))
	}
	elapsed += time.Second
	if next.now().Sub(noon) != time.Minute+time.Second {
		t.Errorf("a second later it is at %s", next.now().Sub(noon))
	}
}

// TestFactsRepeated: a status that Mesos repeats does not take the place of later facts.
func TestFactsRepeated(t *testing.T) {
	d, r, _ := leaseDriver(cotton.PolicyAvailable)
	task := r.Members[0].TaskID
	data, err := json.Marshal(cotton.Facts{Task: task, Clock: 10, Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	status := mesos.TaskStatus{TaskID: mesos.TaskID{Value: task}, State: mesos.TASK_RUNNING.Enum(), Data: data}
	d.c.note(1, status)
	d.says(cotton.Facts{Task: task, Clock: 20, Epoch: 7})
	d.c.note(1, status)
	if facts, _ := d.c.factsOf(1); facts.Epoch != 7 {
		t.Errorf("facts: %+v", facts.Facts)
	}
}
