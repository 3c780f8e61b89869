package framework

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/discovery"
	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
)

// loopGap is the least time between two looks at a cluster: after a step it is looked at again without waiting for the
// tick, since the next step may be possible at once.
const loopGap = 50 * time.Millisecond

// driver is the loop of one cluster: what it keeps between two looks.
type driver struct {
	f *Framework
	c *cluster
	// since is when the loop began: a server that never answered has been silent for so long, as far as is known.
	since time.Time

	mu      sync.Mutex // the background steps use it, too
	dbs     map[serverKey]*sql.DB
	busy    map[int]string
	backoff map[cotton.Action]backoff
	running sync.WaitGroup // background steps
	memos   map[int]*memo
	donor   map[int]int // of each member that is being cloned
	leases  map[int]*granted
	ordered map[int]time.Time // when the last fence was sent
	ended   map[int]uint64    // under which epoch a member was closed for its successor and its clients' sessions had ended
	epoch   uint64            // of the steps in backoff
	// rotation is of the loop's goroutine alone.
	rotation rotation
	upkeep   upkeep
	foreign  foreign
	// eventsKnown is when it was last stored which events run; of the upkeep alone.
	eventsKnown time.Time
	// draining is since when the elected member's applier has executed nothing.
	draining draining

	published   bool
	publication Endpoints
}

type draining struct {
	member   int
	epoch    uint64
	executed string
	since    time.Time
}

// backoff of a step that was tried.
type backoff struct {
	tries int
	last  time.Time
	until time.Time
}

const (
	// maxStepWait bounds the pause before a step is tried again.
	maxStepWait = 10 * time.Second
	// backoffForgets is how long after a try another one of the same step is the first again.
	backoffForgets = 30 * time.Second
)

// loop owns the cluster's servers until ctx ends.
func (f *Framework) loop(ctx context.Context, c *cluster) {
	d := &driver{
		f: f, c: c, since: f.clock.now(), busy: map[int]string{}, backoff: map[cotton.Action]backoff{}, memos: map[int]*memo{},
		donor: map[int]int{}, leases: map[int]*granted{}, ordered: map[int]time.Time{}, ended: map[int]uint64{},
		dbs: map[serverKey]*sql.DB{},
	}
	defer d.closeAll()
	defer d.running.Wait()
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.wake:
		}
		tick.Reset(d.round(ctx))
	}
}

// round looks once and does what is needed. It returns when to look again: soon when something was done, since the next
// step may be possible at once, or when the primary has just stopped to answer.
func (d *driver) round(ctx context.Context) time.Duration {
	r := d.c.snapshot()
	if r.State == cotton.StateDeleting {
		d.c.keep(nil, []string{"is being deleted"})
		d.publish(ctx, r, cotton.Decision{})
		return d.f.cfg.Tick
	}
	seen := d.gather(ctx, r)
	d.inspect(ctx, r, seen)
	decision := cotton.Decide(r, seen, cotton.Limits{
		Now: d.f.clock.now(), CloneMB: d.f.cfg.CloneMB, Silence: d.f.cfg.Timing.Silence, Quiet: d.f.cfg.Timing.Quiet, Cooldown: d.f.cfg.Cooldown,
		ReplaceAfter: d.f.cfg.ReplaceAfter, Draining: d.f.drainingHosts(),
	})
	d.c.keep(seen, slices.Concat(placementProblems(r), sizeProblems(r), unreachableProblems(r, d.f.cfg.ReplaceAfter),
		withheldProblems(r, d.f.Withheld(), d.f.cfg.ReplaceAfter), unproven(r), d.rotation.problems, decision.Problems,
		d.keepUp(ctx, r, decision)))
	d.c.diagnosed(decision)
	d.forgetOldSteps(r)
	if t := decision.Transition; t != nil && t.Kind != cotton.Finish {
		d.transit(ctx, r, *t) // stored before anything is done, and what to do is decided anew
		return loopGap / 5
	}
	// A loss is made known before anything else is done.
	d.publish(ctx, r, decision)
	if t := decision.Transition; t != nil && d.published {
		d.transit(ctx, r, *t)
	}
	d.renewLease(ctx, r)
	if len(decision.Actions) == 0 {
		d.keepSecrets(ctx, r, seen, decision)
	}
	switch done := d.act(ctx, r, decision.Actions); {
	case done, r.Change != nil && d.f.clock.now().Sub(r.Change.Began) < hurry:
		return loopGap
	case slices.ContainsFunc(seen, func(s cotton.Seen) bool { return s.Member == r.Primary && s.Err != nil && s.Silent < hurry }):
		return min(doubtGap, d.f.cfg.Tick)
	case slices.ContainsFunc(seen, func(s cotton.Seen) bool { return joins(r, s) }):
		return min(joinGap, d.f.cfg.Tick)
	}
	return d.f.cfg.Tick
}

// doubtGap is the pause between two looks while the primary does not answer: it is asked twice in a time in which one
// that is dead is to be found out.
const doubtGap = 200 * time.Millisecond

// joinGap is the pause while a new member catches up: nothing tells when it has.
const joinGap = 200 * time.Millisecond

func joins(r cotton.Record, s cotton.Seen) bool {
	m, ok := r.Member(s.Member)
	return ok && m.Joining && s.Err == nil && s.Replica != nil
}

// hurry is how long a change of primary is looked at without waiting for the tick.
const hurry = 15 * time.Second

// forgetOldSteps lets a new epoch begin without the pauses of the one before.
func (d *driver) forgetOldSteps(r cotton.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.epoch != r.Epoch {
		d.epoch = r.Epoch
		clear(d.backoff)
	}
}

// sizeProblems tells in time of a record that comes near what a store takes: nothing of a change that cannot be stored is done, so there
// would be no failover any more.
func sizeProblems(r cotton.Record) []string {
	size := len(r.Base) + len(r.FoundedSet)
	if r.Change != nil {
		size += len(r.Change.Target)
	}
	if size <= store.MaxRecord/2 {
		return nil
	}
	return []string{fmt.Sprintf("gtid_executed has so many gaps that its sets take %d bytes of the cluster's record, which may have %d: "+
		"no change is stored past that, and no failover done. Find out what leaves gaps (a client that sets gtid_next), and create the "+
		"cluster anew from a backup",
		size, store.MaxRecord)}
}

func placementProblems(r cotton.Record) []string {
	var problems []string
	for _, m := range r.Members {
		if waiting(m) {
			problems = append(problems, fmt.Sprintf("%s waits for an offer; see why", r.MemberName(m.ID)))
		}
	}
	return problems
}

func (c *cluster) keep(seen []cotton.Seen, problems []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = problems
	for _, s := range seen {
		c.seen[s.Member] = s
	}
}

// act takes the steps, those of different members at once. It returns when all have ended, but for clones.
func (d *driver) act(ctx context.Context, r cotton.Record, actions []cotton.Action) bool {
	now := time.Now()
	actions = slices.DeleteFunc(slices.Clone(actions), func(a cotton.Action) bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return now.Before(d.backoff[a].until)
	})
	var perMember [][]cotton.Action
	for _, a := range actions {
		at := slices.IndexFunc(perMember, func(l []cotton.Action) bool { return l[0].Member == a.Member })
		if at < 0 {
			perMember = append(perMember, []cotton.Action{a})
			continue
		}
		perMember[at] = append(perMember[at], a)
	}
	done := false
	for _, result := range mysql.FanOut(ctx, perMember, 0, 0, func(ctx context.Context, list []cotton.Action) (bool, error) {
		any := false
		for _, a := range list {
			if !d.step(ctx, r, a) {
				break // the next ones build on it
			}
			any = true
		}
		return any, nil
	}) {
		done = done || result.Value
	}
	return done
}

// step takes one step and keeps its outcome.
func (d *driver) step(ctx context.Context, r cotton.Record, a cotton.Action) bool {
	if a.Kind == cotton.ActClone {
		d.cloneInBackground(ctx, r, a)
		return false
	}
	stepCtx, cancel := context.WithTimeout(ctx, d.f.cfg.ActTimeout)
	defer cancel()
	return d.note(r, a, d.take(stepCtx, r, a))
}

// note keeps how a step went; true when it was done.
func (d *driver) note(r cotton.Record, a cotton.Action, err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	log := d.f.cfg.Log.With("cluster", r.Spec.Name, "member", a.Member, "epoch", r.Epoch)
	if errors.Is(err, errUnchanged) {
		return false
	}
	// A step that is needed again at once did not help, even if the server took it: START REPLICA is one.
	now := time.Now()
	b := d.backoff[a]
	if now.Sub(b.last) > backoffForgets {
		b.tries = 0
	}
	wait := min(time.Second<<min(b.tries, 8), maxStepWait)
	d.backoff[a] = backoff{b.tries + 1, now, now.Add(wait)}
	if err == nil {
		d.f.metrics.actions.WithLabelValues(string(a.Kind), "ok").Inc()
		log.Info("step done", "step", a.Kind)
		return true
	}
	d.f.metrics.actions.WithLabelValues(string(a.Kind), "error").Inc()
	log.Warn("step failed", "step", a.Kind, "error", err, "again_in", wait)
	return false
}

// publish makes known what clients should use, when it differs from what they know (I10).
func (d *driver) publish(ctx context.Context, r cotton.Record, decision cotton.Decision) {
	var e Endpoints
	if m, ok := r.Member(decision.Primary); ok {
		e.Primary = &discovery.Endpoint{ID: m.ID, Host: m.Host, Port: m.Port}
	}
	for _, id := range decision.Replicas {
		if m, ok := r.Member(id); ok {
			e.Replicas = append(e.Replicas, discovery.Endpoint{ID: m.ID, Host: m.Host, Port: m.Port})
		}
	}
	if decision.Leave || d.published && e.equal(d.publication) {
		return
	}
	fault.Point(faultPublish)
	ctx, cancel := context.WithTimeout(ctx, d.f.cfg.ActTimeout)
	defer cancel()
	if err := d.f.cfg.Publisher.Publish(ctx, r.Spec.Name, e.Primary, e.Replicas); err != nil {
		d.f.cfg.Log.Error("clients are not told of a change, it will be tried again", "cluster", r.Spec.Name, "error", err)
		d.published = false
		return
	}
	d.published, d.publication = true, e
	d.c.mu.Lock()
	d.c.endpoints = e
	d.c.mu.Unlock()
	d.f.cfg.Log.Info("published", "cluster", r.Spec.Name, "primary", decision.Primary, "replicas", decision.Replicas)
	d.founded(ctx, r, e)
}

// founded turns a cluster that is made known for the first time into a running one.
func (d *driver) founded(ctx context.Context, r cotton.Record, e Endpoints) {
	if e.Primary == nil || r.State != cotton.StateCreating {
		return
	}
	err := d.f.change(ctx, d.c, func(r *cotton.Record) error {
		if r.State != cotton.StateCreating {
			return errUnchanged
		}
		r.State = cotton.StateRunning
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		d.published = false // tried again with the next look
	}
}

func (e Endpoints) equal(o Endpoints) bool {
	if (e.Primary == nil) != (o.Primary == nil) || e.Primary != nil && *e.Primary != *o.Primary {
		return false
	}
	return slices.Equal(e.Replicas, o.Replicas)
}
