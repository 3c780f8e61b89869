// Package framework is the part of cotton that acts: it talks to Mesos, keeps the store, and drives every cluster by a
// goroutine of its own, gather -> decide (pure, in package cotton) -> act by SQL.
package framework

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/executor/mycnf"
	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/fault"
	client "github.com/aosc/aosc/internal/mesos"
)

// Errors of requests.
var (
	// ErrExists: a cluster of that name exists, maybe one that is being deleted.
	ErrExists = errors.New("cluster already exists")
	// ErrUnknown: there is no cluster of that name.
	ErrUnknown = errors.New("cluster not found")
	// ErrNotReady: this process does not lead, has not read the store yet, or is not known to Mesos yet. Trying again
	// later, or at the leader, helps.
	ErrNotReady = errors.New("the scheduler is not ready")
)

// Framework is cotton's scheduler. Its methods may be called from many goroutines.
type Framework struct {
	cfg       Config
	metrics   *metrics
	scheduler *client.Scheduler
	operator  *client.Operator
	maker     maker
	fail      context.CancelCauseFunc // ends Run

	creating sync.Mutex  // one creation after another
	storing  sync.Mutex  // one change of the framework's own record after another
	anew     atomic.Bool // a member began to want an offer: declined ones are of interest again
	drained  atomic.Bool // a task ended since its agent is drained: which agents are withheld is of interest
	loops    sync.WaitGroup
	loopCtx  context.Context

	// working is held through one event of Mesos, or one round of chores; what follows is guarded by it.
	working     sync.Mutex
	hosts       map[string]string    // by hostname: the same where it means something here, else empty
	orphansSeen map[string]time.Time // by resource id
	heard       heard
	offering    offering
	reconciling reconciling

	mu         sync.Mutex // guards what follows
	clusters   map[string]*cluster
	strays     map[string]*killing // by task id
	refusals   map[string]map[string]cotton.Refusal
	orphans    []cotton.Orphan
	windows    windows // of maintenance
	withheld   []cotton.Withheld
	offersSeen int
	health     Health
	clock      *clock          // of all stored times
	own        store.Framework // the framework's record, as stored
}

// killing is a task that is to end.
type killing struct {
	agent string
	last  time.Time
}

// New checks the configuration. Nothing is read or sent before Run.
func New(cfg Config) (*Framework, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Framework{
		cfg: cfg, metrics: newMetrics(cfg.Metrics), maker: maker{role: cfg.Role, principal: cfg.Principal},
		hosts: map[string]string{}, orphansSeen: map[string]time.Time{},
		clusters: map[string]*cluster{}, strays: map[string]*killing{}, refusals: map[string]map[string]cotton.Refusal{},
		windows: windows{}, clock: newClock(),
		health: Health{Problem: "waiting to become the leader"},
	}, nil
}

// Run leads, subscribes and works until ctx ends (nil), or until going on would be wrong: the leader lock is lost, the
// master removed the framework, the store is not ours to read.
func (f *Framework) Run(ctx context.Context) (err error) {
	outer := ctx
	ctx, f.fail = context.WithCancelCause(ctx)
	defer f.fail(nil)
	lost, release, err := f.cfg.Store.Lead(ctx, f.cfg.Holder)
	if err != nil {
		if outer.Err() != nil {
			return nil
		}
		return fmt.Errorf("become the leader: %w", err)
	}
	defer release()
	watch := make(chan struct{})
	defer func() { <-watch }()
	defer f.fail(nil)
	go func() {
		defer close(watch)
		select {
		case <-lost:
			f.fail(store.ErrNotLeader)
		case <-ctx.Done():
		}
	}()
	f.setHealth(func(h *Health) { h.Leading, h.Problem = true, "reading the store" })
	defer f.setHealth(func(h *Health) { *h = Health{Problem: "stopped"} })
	if err := f.load(ctx); err != nil {
		return err
	}
	err = f.work(ctx)
	if outer.Err() != nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// load reads all that is stored, or nothing is done: a half-known state would make strays and orphans of what is needed.
func (f *Framework) load(ctx context.Context) error {
	stored, err := f.cfg.Store.Framework(ctx)
	if err != nil {
		return fmt.Errorf("read the framework's record: %w", err)
	}
	if stored.Role != "" && stored.Role != f.cfg.Role {
		return fmt.Errorf("the store belongs to role %q, and this scheduler was started for %q: its reservations could not be used; "+
			"start it with the stored role", stored.Role, f.cfg.Role)
	}
	records, err := f.cfg.Store.Clusters(ctx)
	if err != nil {
		return fmt.Errorf("read the clusters: %w", err)
	}
	for i := range records {
		if records[i], err = f.incarnate(ctx, records[i]); err != nil {
			return err
		}
	}
	if ahead := f.clock.notBefore(newest(records)); ahead > 0 {
		f.cfg.Log.Warn("stored times lie ahead of this machine's clock: it goes on from there; see to the clocks of the schedulers' machines", "by", ahead)
	}
	f.maker.frameworkID = stored.ID
	f.mu.Lock()
	f.own = stored
	for _, r := range records {
		if len(r.Dropped) > 0 {
			f.cfg.Log.Warn("a later release has stored what this one does not know: it is forgotten with the next change of the record",
				"cluster", r.Spec.Name, "fields", r.Dropped)
		}
		f.clusters[r.Spec.Name] = newCluster(r)
	}
	f.mu.Unlock()
	f.scheduler, err = client.NewScheduler(client.SchedulerConfig{
		Master: f.cfg.Master, Framework: f.cfg.info(stored.ID), Secret: f.cfg.Secret, Log: f.cfg.Log,
	})
	if err != nil {
		return err
	}
	f.operator = client.NewOperator(client.OperatorConfig{
		Master: f.cfg.Master, Credentials: client.Credentials{Principal: f.cfg.Principal, Secret: f.cfg.Secret},
	})
	return nil
}

// work runs the clusters' loops, the chores and the subscription until one of them must not go on.
func (f *Framework) work(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer f.operator.Close()
	defer f.loops.Wait()
	defer cancel()
	f.mu.Lock()
	f.loopCtx = ctx
	f.mu.Unlock()
	for _, c := range f.list() {
		f.startLoop(c)
	}
	f.loops.Add(1)
	go func() {
		defer f.loops.Done()
		f.chores(ctx)
	}()
	f.loops.Add(1)
	go func() {
		defer f.loops.Done()
		f.keepBackups(ctx)
	}()
	f.loops.Add(1)
	go func() {
		defer f.loops.Done()
		f.followKeys(ctx)
	}()
	f.setHealth(func(h *Health) { h.Problem = "not subscribed to Mesos yet" })
	err := f.scheduler.Run(ctx, f)
	if errors.Is(err, client.ErrRemoved) {
		return fmt.Errorf("%w: its tasks are gone and its id %s can never be used again; the volumes are still reserved for role %q. "+
			"To begin anew, start with an empty store", err, f.maker.frameworkID, f.cfg.Role)
	}
	return err
}

func (f *Framework) startLoop(c *cluster) {
	f.mu.Lock()
	ctx, cancel := context.WithCancel(f.loopCtx)
	f.mu.Unlock()
	c.stop = cancel
	f.loops.Add(1)
	go func() {
		defer f.loops.Done()
		defer close(c.over)
		f.loop(ctx, c)
	}()
}

func (f *Framework) setHealth(edit func(*Health)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(&f.health)
}

// get is nil when there is no cluster of that name.
func (f *Framework) get(name string) *cluster {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clusters[name]
}

// list has the oldest cluster first: it is served first.
func (f *Framework) list() []*cluster {
	f.mu.Lock()
	all := make([]*cluster, 0, len(f.clusters))
	for _, c := range f.clusters {
		all = append(all, c)
	}
	f.mu.Unlock()
	slices.SortFunc(all, func(a, b *cluster) int {
		if d := a.created.Compare(b.created); d != 0 {
			return d
		}
		return strings.Compare(a.name, b.name)
	})
	return all
}

// ready tells whether requests are taken, and why not.
func (f *Framework) ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.health.Ready {
		return fmt.Errorf("%w: %s", ErrNotReady, f.health.Problem)
	}
	return nil
}

// Create stores a cluster and starts to launch it; it returns as soon as the cluster is stored. Errors: a
// *cotton.InvalidError, ErrExists, ErrNotReady. Spec.Policy may be empty (the default for that many nodes).
func (f *Framework) Create(ctx context.Context, spec cotton.Spec) (cotton.Record, error) {
	if err := f.ready(); err != nil {
		return cotton.Record{}, err
	}
	if spec.Policy == "" {
		spec.Policy = cotton.DefaultPolicy(spec.Nodes)
	}
	if err := spec.Validate(); err != nil {
		return cotton.Record{}, err
	}
	if err := mycnf.Check(spec.Config); err != nil {
		return cotton.Record{}, &cotton.InvalidError{Field: "config", Problem: err.Error()}
	}
	if err := f.checkRestore(ctx, spec); err != nil {
		return cotton.Record{}, err
	}
	spec.CreatedAt = f.clock.now()
	f.creating.Lock()
	defer f.creating.Unlock()
	if f.get(spec.Name) != nil {
		return cotton.Record{}, fmt.Errorf("%w: %s", ErrExists, spec.Name)
	}
	r := cotton.Record{Schema: cotton.SchemaVersion, Spec: spec, State: cotton.StateCreating, NextID: spec.Nodes + 1, Incarnation: newIncarnation()}
	for id := 1; id <= spec.Nodes; id++ {
		r.Members = append(r.Members, cotton.Member{ID: id, Phase: cotton.PhasePending, Relieved: true})
	}
	stored, err := f.cfg.Store.Put(ctx, r)
	if err != nil {
		return cotton.Record{}, f.storeFailed(spec.Name, err)
	}
	c := newCluster(stored)
	f.mu.Lock()
	f.clusters[spec.Name] = c
	f.mu.Unlock()
	f.anew.Store(true)
	f.startLoop(c)
	f.cfg.Log.Info("cluster created", "cluster", spec.Name, "nodes", spec.Nodes, "policy", spec.Policy)
	return stored, nil
}

// Delete marks a cluster as being deleted and returns; instances, volumes and reservations go in the background, also
// through restarts. Deleting one that is being deleted is no error. Errors: ErrUnknown, ErrNotReady.
func (f *Framework) Delete(ctx context.Context, name string) error {
	if err := f.ready(); err != nil {
		return err
	}
	c := f.get(name)
	if c == nil {
		return fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	err := f.change(ctx, c, func(r *cotton.Record) error {
		if r.State == cotton.StateDeleting {
			return errUnchanged
		}
		r.State = cotton.StateDeleting
		for i := range r.Members {
			r.Members[i].Phase = cotton.PhaseRemoving
		}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	if err != nil {
		return err
	}
	fault.Point(faultDelete)
	f.cfg.Log.Info("deleting cluster", "cluster", name)
	c.poke()
	return nil
}
