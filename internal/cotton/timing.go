package cotton

import (
	"fmt"
	"time"
)

// Timing are the times that must fit each other although different programs go by them: the scheduler, executors, servers.
// See docs/decisions/025-leases-count-from-the-question.md.
type Timing struct {
	// Silence is how long a primary must not have answered the scheduler before its replicas are asked whether it is dead.
	Silence time.Duration
	// Deaf is after how long without anything of its source a replica no longer counts as hearing it; Heartbeat is how often an
	// idle source sends something. ReplicaTimeout is after how long a replica itself gives a silent source up (replica_net_timeout).
	Deaf, Heartbeat, ReplicaTimeout time.Duration
	// Lease is how long a primary may stay open that hears neither the scheduler nor a replica: from the moment at which its
	// executor read its clock for the facts that the scheduler answers.
	Lease time.Duration
	// Renew is how often the scheduler answers.
	Renew time.Duration
	// Close is within what time of the lease's end the executor has closed the server or killed it, if no replica has acknowledged
	// since; Kill is the part of it that is kept for SIGKILL.
	Close, Kill time.Duration
	// Alone and Killed are how long a server may take to close by SQL: by itself, and once its clients' sessions are ended.
	Alone, Killed time.Duration
	// Pulse is how often the executor asks the server whether it takes writes, four times as often past the lease; PulseLimit is how
	// long an answer may take.
	Pulse, PulseLimit time.Duration
	// Hung is after how long an executor kills a server whose lease is over, to which a replica acknowledged when it last answered.
	Hung time.Duration
	// Elect is how long after the facts that it answered with the last lease the scheduler takes the server for closed; Quiet is how
	// long the replicas must have been stopped by then.
	Elect, Quiet time.Duration
}

const (
	// looksUnheard is how many looks in a row must find no replica that acknowledges: one that connects anew is missing for a moment.
	looksUnheard = 2
	// drift is by which part of a time two machines' clocks may differ in measuring it.
	drift = 100
	// noticed is how many heartbeats a source sends before it notices that a replica has hung up.
	noticed = 2
)

// DefaultTiming is what all go by unless an operator says otherwise.
func DefaultTiming() Timing {
	return Timing{
		Silence: 2500 * time.Millisecond, Deaf: deaf, Heartbeat: Heartbeat, ReplicaTimeout: 8 * time.Second,
		Lease: 10 * time.Second, Renew: 2 * time.Second,
		Close: 4 * time.Second, Kill: time.Second, Alone: time.Second, Killed: time.Second,
		Pulse: time.Second, PulseLimit: time.Second, Hung: 10 * time.Second,
		Elect: 15 * time.Second, Quiet: 14 * time.Second,
	}
}

// WithLease is the same with another lease: what depends on its length follows.
func (t Timing) WithLease(lease time.Duration) Timing {
	t.Elect += lease - t.Lease + lease/drift - t.Lease/drift
	t.Lease, t.Renew = lease, lease/5
	return t
}

// Looks is how many looks in a row must find nobody who acknowledges.
func (t Timing) Looks() int { return looksUnheard }

// Tick is how often the executor looks whether a lease is over, and asks a server whose lease is.
func (t Timing) Tick() time.Duration { return t.Pulse / 4 }

// Closed is how long after the moment from which its lease counts a server is open at most, if no replica acknowledges.
func (t Timing) Closed() time.Duration { return t.Lease + t.Close }

// Abandoned is how long after its replicas were stopped a server is open at most whose lease is over.
func (t Timing) Abandoned() time.Duration { return noticed*t.Heartbeat + t.Hung + t.Tick() + t.Kill }

// ladder is what an executor needs to close a server in good order: to look, to close it, and to kill it if it does not close.
func (t Timing) ladder() time.Duration {
	return looksUnheard*t.Tick() + t.Tick() + t.Alone + t.Killed + t.Kill
}

// Validate refuses times with which two servers could be open at once, or a server that is well would be closed. The error names
// both values.
func (t Timing) Validate() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"Silence", t.Silence}, {"Deaf", t.Deaf}, {"Heartbeat", t.Heartbeat}, {"ReplicaTimeout", t.ReplicaTimeout}, {"Lease", t.Lease},
		{"Renew", t.Renew}, {"Close", t.Close}, {"Kill", t.Kill}, {"Alone", t.Alone}, {"Killed", t.Killed}, {"Pulse", t.Pulse},
		{"PulseLimit", t.PulseLimit},
		{"Hung", t.Hung}, {"Elect", t.Elect}, {"Quiet", t.Quiet},
	} {
		if d.value <= 0 || d.value > longest {
			return fmt.Errorf("times do not fit: %s is %s, want more than 0 and at most %s", d.name, d.value, longest)
		}
	}
	for _, r := range []struct {
		less, more string
		a, b       time.Duration
		why        string
	}{
		{"Lease + Close, and 1% for the clocks", "Elect", t.Closed() + t.Elect/drift, t.Elect,
			"a primary would be elected while the one before it may be open"},
		{"what an executor takes to give up a server whose replicas were stopped, and 1% for the clocks", "Quiet",
			t.Abandoned() + t.Quiet/drift, t.Quiet, "a primary would be elected while the one before it may be open"},
		{"what it takes to look, to close and to kill", "Close", t.ladder(), t.Close,
			"a server that could be closed in good order would be killed"},
		{"three times Renew", "Lease", 3 * t.Renew, t.Lease, "one order that is lost would end the lease of a primary that is well"},
		{"ReplicaTimeout", "Hung", t.ReplicaTimeout, t.Hung, "a server would be killed to which its replicas still listen"},
		{"two times Heartbeat", "Deaf", 2 * t.Heartbeat, t.Deaf, "a replica would count as deaf because one heartbeat is late"},
	} {
		if r.a >= r.b {
			return fmt.Errorf("times do not fit: %s is %s, which must be less than %s, %s: else %s", r.less, r.a, r.more, r.b, r.why)
		}
	}
	return nil
}

// longest of all times: sums of them do not overflow.
const longest = 365 * 24 * time.Hour

// Endless is a lease that never ends: of a cluster in which nobody could take the primary's place.
const Endless = 100 * longest
