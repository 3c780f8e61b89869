package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

// simWorld is a fleet, its tables and what really goes on in it. One process acts at a time, and gives way before each
// thing it does to the world (turn), so every order of steps is possible and every run can be repeated by its seed.
type simWorld struct {
	rng   *rand.Rand
	now   time.Time
	procs []*simProc
	trace []string

	// The central tables.
	centralDown bool
	lease       aoscdb.Lease
	leaseEnds   time.Time
	tiers       map[string]aoscdb.Tier
	alters      map[AlterKey]*aoscdb.CurrentAlter
	targets     map[AlterKey]map[mysql.Addr]bool
	running     map[mysql.Addr]*aoscdb.RunningAlter
	retries     map[simRow]aoscdb.Retry
	passes      map[mysql.Addr]aoscdb.Pass

	// The instances.
	inventory []fleet.Tier
	fleet     Fleet
	primary   map[ClusterKey]mysql.Addr
	cut       map[mysql.Addr]bool     // the schedulers cannot reach it
	lock      map[mysql.Addr]*simProc // GET_LOCK
	osc       map[simRow]*aoscdb.OSCRow
	seenOK    map[simRow]bool // what the last checksum saw
	isOK      map[simRow]bool // the truth

	// The truth about who alters what: what I3 is about.
	altering map[mysql.Addr]simAlter
	failures map[simRow]int // runs that failed since the last success or HOLD
	broken   string         // the first rule that was broken
	begun    int
	backOffs int
}

type simRow struct {
	addr mysql.Addr
	key  AlterKey
}

type simAlter struct {
	by  *simProc
	key AlterKey
}

var (
	errSimDead = errors.New("the process is dead")
	errSimDown = errors.New("no answer")
)

// simProc is one process: it runs only between a grant and its next turn.
type simProc struct {
	w     *simWorld
	name  string
	grant chan struct{}
	yield chan bool // true: it wants another turn, false: it has ended
	dead  bool
	stop  int // turns it is stopped for, as by SIGSTOP
}

// start runs body as a process; restart is what takes its place when it ends.
func (w *simWorld) start(name string, body func(p *simProc)) *simProc {
	p := &simProc{w: w, name: name, grant: make(chan struct{}), yield: make(chan bool)}
	w.procs = append(w.procs, p)
	go func() {
		<-p.grant
		body(p)
		p.yield <- false
	}()
	return p
}

// turn waits until the process may do one thing. An error means that it has been killed.
func (p *simProc) turn() error {
	if p.dead {
		return errSimDead
	}
	p.yield <- true
	<-p.grant
	if p.dead {
		return errSimDead
	}
	return nil
}

// step lets one process go on to its next turn; false when it has ended.
func (w *simWorld) step(p *simProc) bool {
	p.grant <- struct{}{}
	return <-p.yield
}

func (w *simWorld) log(format string, args ...any) {
	w.trace = append(w.trace, w.now.Format("04:05.000 ")+fmt.Sprintf(format, args...))
}

func (w *simWorld) chance(percent int) bool { return w.rng.IntN(100) < percent }

func newSimWorld(seed uint64, ordering string) *simWorld {
	w := &simWorld{
		rng: rand.New(rand.NewPCG(seed, 1)), now: now,
		tiers: map[string]aoscdb.Tier{}, alters: map[AlterKey]*aoscdb.CurrentAlter{},
		targets: map[AlterKey]map[mysql.Addr]bool{}, running: map[mysql.Addr]*aoscdb.RunningAlter{},
		passes: map[mysql.Addr]aoscdb.Pass{}, primary: map[ClusterKey]mysql.Addr{}, cut: map[mysql.Addr]bool{},
		lock: map[mysql.Addr]*simProc{}, osc: map[simRow]*aoscdb.OSCRow{}, seenOK: map[simRow]bool{}, isOK: map[simRow]bool{},
		altering: map[mysql.Addr]simAlter{}, retries: map[simRow]aoscdb.Retry{}, failures: map[simRow]int{},
	}
	tier := aoscdb.NewTier("udb")
	tier.MaxRunning, tier.MaxRunningPerHost, tier.MaxRunningPerDatacenter = 1+w.rng.IntN(3), w.rng.IntN(3), w.rng.IntN(3)
	tier.Ordering = ordering
	w.tiers["udb"] = tier
	// Four clusters of three over three hosts in two datacenters: each host runs one instance of every cluster.
	t := fleet.Tier{Name: "udb"}
	for c := range 4 {
		cluster := fleet.Cluster{Tier: "udb", Name: fmt.Sprintf("c%d", c)}
		for h := range 3 {
			cluster.Instances = append(cluster.Instances, fleet.Instance{
				Tier: "udb", Cluster: cluster.Name, Host: fmt.Sprintf("h%d", h), Port: 3306 + c, Datacenter: fmt.Sprintf("dc%d", h%2),
			})
		}
		w.primary[ClusterKey{"udb", cluster.Name}] = cluster.Instances[c%3].Addr()
		t.Clusters = append(t.Clusters, cluster)
	}
	w.inventory = []fleet.Tier{t}
	w.fleet = NewFleet(w.inventory)
	for i, k := range []AlterKey{tabla1, tabla2} {
		begun := w.now
		w.alters[k] = &aoscdb.CurrentAlter{
			Group: k.Group, Table: k.Table, Status: aoscdb.AlterIPR, Priority: 10 * i, DesiredHash: "b", CommitSHA: "c",
			StartedAt: &begun, PinnedAt: &begun,
		}
		w.targets[k] = map[mysql.Addr]bool{}
	}
	return w
}

func (w *simWorld) clusterOf(a mysql.Addr) ClusterKey {
	i := w.fleet.Instances[a]
	return ClusterKey{i.Tier, i.Cluster}
}

// begin is where the truth is checked: a worker starts to alter (I3, I6).
func (w *simWorld) begin(p *simProc, row simRow) {
	w.altering[row.addr] = simAlter{p, row.key}
	w.begun++
	w.log("%s BEGINS %s on %s", p.name, row.key.Table, row.addr)
	tier := w.tiers["udb"]
	hosts, dcs, clusters := map[string]int{}, map[string]int{}, map[ClusterKey]int{}
	for a := range w.altering {
		i := w.fleet.Instances[a]
		hosts[i.Host]++
		dcs[i.Datacenter]++
		clusters[w.clusterOf(a)]++
	}
	over := func(what string, n, limit int) {
		if limit > 0 && n > limit && w.broken == "" {
			w.broken = fmt.Sprintf("I3: %d alters at once %s, limit %d", n, what, limit)
		}
	}
	over("in the tier", len(w.altering), tier.MaxRunning)
	for h, n := range hosts {
		over("on host "+h, n, tier.MaxRunningPerHost)
	}
	for dc, n := range dcs {
		over("in datacenter "+dc, n, tier.MaxRunningPerDatacenter)
	}
	for c, n := range clusters {
		over("in cluster "+c.Cluster, n, 1)
	}
	i := w.fleet.Instances[row.addr]
	if tier.Ordering == aoscdb.OrderingRolling && w.primary[w.clusterOf(i.Addr())] == row.addr {
		for _, other := range w.fleet.Clusters[w.clusterOf(row.addr)].Instances {
			if other.Addr() != row.addr && !w.isOK[simRow{other.Addr(), row.key}] && w.broken == "" {
				w.broken = fmt.Sprintf("the primary %s was altered before replica %s", row.addr, other)
			}
		}
	}
}

// --- the central tables, as Central ---

type simCentral struct{ p *simProc }

// write is AsLeader.
func (c simCentral) write(l aoscdb.Lease, fn func(w *simWorld)) error {
	if err := c.p.turn(); err != nil {
		return err
	}
	w := c.p.w
	switch {
	case w.centralDown:
		return errSimDown
	case w.lease != l || !w.now.Before(w.leaseEnds):
		return aoscdb.ErrLeaseLost
	}
	fn(w)
	return nil
}

// same is asSeen.
func (w *simWorld) same(seen aoscdb.RunningAlter) *aoscdb.RunningAlter {
	r := w.running[addrOf(seen)]
	if r == nil || alterOf(*r) != alterOf(seen) || r.OSCStatus != seen.OSCStatus || !timeOf(r.StartedAt).Equal(timeOf(seen.StartedAt)) {
		return nil
	}
	return r
}

func (c simCentral) SchedulerTables(context.Context) (aoscdb.SchedulerTables, error) {
	if err := c.p.turn(); err != nil {
		return aoscdb.SchedulerTables{}, err
	}
	w := c.p.w
	if w.centralDown {
		return aoscdb.SchedulerTables{}, errSimDown
	}
	t := aoscdb.SchedulerTables{Now: w.now}
	for _, x := range w.tiers {
		t.Tiers = append(t.Tiers, x)
	}
	for _, x := range w.alters {
		t.Alters = append(t.Alters, *x)
	}
	for _, x := range w.running {
		t.Running = append(t.Running, *x)
	}
	for k, hosts := range w.targets {
		for a := range hosts {
			t.Targets = append(t.Targets, aoscdb.Target{Group: k.Group, Table: k.Table, Host: a.Host, Port: a.Port, Bytes: uint64(a.Port)})
		}
	}
	for _, x := range w.retries {
		t.Retries = append(t.Retries, x)
	}
	for _, x := range w.passes {
		t.Passes = append(t.Passes, x)
	}
	return t, nil
}

func (c simCentral) PutReady(_ context.Context, l aoscdb.Lease, r aoscdb.RunningAlter, blob string) (put bool, err error) {
	err = c.write(l, func(w *simWorld) {
		alter := w.alters[alterOf(r)]
		if w.running[addrOf(r)] != nil || alter.Status != aoscdb.AlterIPR || alter.DesiredHash != blob {
			return
		}
		r.QueuedAt, r.LastUpdated, r.Epoch = w.now, w.now, l.Epoch
		w.running[addrOf(r)] = &r
		put = true
		w.log("%s READY %s on %s", c.p.name, r.Table, addrOf(r))
	})
	return put, err
}

func (c simCentral) StillRunning(_ context.Context, l aoscdb.Lease, seen aoscdb.RunningAlter) (still bool, err error) {
	err = c.write(l, func(w *simWorld) { still = w.same(seen) != nil })
	return still, err
}

func (c simCentral) FollowRunning(_ context.Context, l aoscdb.Lease, rows []aoscdb.RunningAlter) error {
	return c.write(l, func(w *simWorld) {
		for _, seen := range rows {
			if r := w.same(seen); r != nil {
				r.Percentage, r.LastUpdated = seen.Percentage, w.now
			}
		}
	})
}

func (c simCentral) FinishRunning(_ context.Context, l aoscdb.Lease, seen aoscdb.RunningAlter) (changed bool, err error) {
	err = c.write(l, func(w *simWorld) {
		if r := w.same(seen); r != nil {
			r.OSCStatus, changed = aoscdb.RunDone, true
		}
	})
	return changed, err
}

func (c simCentral) RequeueRunning(_ context.Context, l aoscdb.Lease, seen aoscdb.RunningAlter) (changed bool, err error) {
	err = c.write(l, func(w *simWorld) {
		if r := w.same(seen); r != nil {
			w.requeue(r)
			changed = true
			w.log("%s REQUEUE %s on %s", c.p.name, r.Table, addrOf(*r))
		}
	})
	return changed, err
}

func (w *simWorld) requeue(r *aoscdb.RunningAlter) {
	r.OSCStatus, r.StartedAt, r.QueuedAt, r.LastUpdated = aoscdb.RunReady, nil, w.now, w.now
}

func (c simCentral) EndRunning(_ context.Context, l aoscdb.Lease, seen aoscdb.RunningAlter, e aoscdb.RunEnd) (ended bool, err error) {
	err = c.write(l, func(w *simWorld) {
		if w.same(seen) == nil {
			return
		}
		delete(w.running, addrOf(seen))
		ended = true
		w.log("%s END %s %s on %s (%s)", c.p.name, e.What, seen.Table, addrOf(seen), e.Detail)
		if e.Done {
			delete(w.targets[alterOf(seen)], addrOf(seen))
			delete(w.retries, simRow{addrOf(seen), alterOf(seen)})
		}
	})
	return ended, err
}

func (c simCentral) BackOff(_ context.Context, l aoscdb.Lease, seen aoscdb.RunningAlter, next aoscdb.Retry, detail string) (ended bool,
	err error) {
	err = c.write(l, func(w *simWorld) {
		if w.same(seen) == nil {
			return
		}
		delete(w.running, addrOf(seen))
		next.Host, next.Port, next.Group, next.Table = seen.Host, seen.Port, seen.Group, seen.Table
		w.retries[simRow{addrOf(seen), alterOf(seen)}] = next
		ended = true
		w.backOffs++
		w.log("%s BACK-OFF %s on %s (%s)", c.p.name, seen.Table, addrOf(seen), detail)
	})
	return ended, err
}

func (c simCentral) ForgetRetries(_ context.Context, l aoscdb.Lease, seen []aoscdb.Retry) error {
	return c.write(l, func(w *simWorld) {
		for _, r := range seen {
			at := simRow{mysql.Addr{Host: r.Host, Port: r.Port}, AlterKey{r.Group, r.Table}}
			if now, ok := w.retries[at]; ok && now.Tries == r.Tries {
				delete(w.retries, at)
			}
		}
	})
}

func (c simCentral) ForgetRunning(_ context.Context, l aoscdb.Lease, r aoscdb.RunningAlter, _ string) error {
	return c.write(l, func(w *simWorld) { delete(w.running, addrOf(r)) })
}

func (c simCentral) HoldByWorker(_ context.Context, l aoscdb.Lease, r aoscdb.RunningAlter, reason string) error {
	return c.write(l, func(w *simWorld) {
		w.hold(alterOf(r))
		w.log("%s HOLD %s (%s)", c.p.name, r.Table, reason)
	})
}

func (c simCentral) Wake(context.Context, string, string, bool) error { return c.p.turn() }

func (c simCentral) Event(context.Context, aoscdb.Event) error { return c.p.turn() }

func (simCentral) RecordObstacles(context.Context, aoscdb.Lease, string, []aoscdb.Obstacle) error {
	return nil
}

// hold is by whoever it is: what has failed is forgotten.
func (w *simWorld) hold(k AlterKey) {
	w.alters[k].Status = aoscdb.AlterHold
	for _, a := range w.sortedAddrs() {
		delete(w.failures, simRow{a, k})
	}
}

// Tiers makes the world an Inventory.
func (c simCentral) Tiers(context.Context) ([]fleet.Tier, error) { return c.p.w.inventory, nil }

// --- the instances, as Servers ---

type simServers struct{ p *simProc }

func (s simServers) WorkQueue(_ aoscdb.Tier, a mysql.Addr) (WorkQueue, error) {
	return simQueue{s.p, a}, nil
}

func (s simServers) Busy(_ context.Context, a mysql.Addr) (bool, error) {
	if err := (simQueue{s.p, a}).reach(); err != nil {
		return false, err
	}
	return s.p.w.lock[a] != nil, nil
}

func (s simServers) Observe(_ context.Context, c fleet.Cluster) fleet.ClusterView {
	view := fleet.ClusterView{Cluster: c}
	primary := s.p.w.primary[ClusterKey{c.Tier, c.Name}]
	for n, i := range c.Instances {
		if (simQueue{s.p, i.Addr()}).reach() != nil {
			view.Members = append(view.Members, fleet.Observed{Instance: i, Role: fleet.RoleUnknown, Err: errSimDown})
			continue
		}
		o := fleet.Observed{Instance: i, Role: fleet.RolePrimary}
		o.Server.UUID, o.Server.GTIDExecuted = fmt.Sprintf("aaaaaaaa-0000-0000-0000-00000000000%d", n), uuidA+":1-100"
		if i.Addr() != primary {
			o.Role = fleet.RoleReplica
			at := 0
			for m, j := range c.Instances {
				if j.Addr() == primary {
					at = m
				}
			}
			o.Replica = &mysql.ReplicaStatus{SourceUUID: fmt.Sprintf("aaaaaaaa-0000-0000-0000-00000000000%d", at), IORunning: "Yes", SQLRunning: "Yes"}
		}
		view.Members = append(view.Members, o)
	}
	return view
}

type simQueue struct {
	p *simProc
	a mysql.Addr
}

func (q simQueue) reach() error {
	if err := q.p.turn(); err != nil {
		return err
	}
	if q.p.w.cut[q.a] {
		return errSimDown
	}
	return nil
}

func (q simQueue) OSCRow(_ context.Context, _ string, _ int, group, table string) (aoscdb.OSCRow, error) {
	if err := q.reach(); err != nil {
		return aoscdb.OSCRow{}, err
	}
	row := q.p.w.osc[simRow{q.a, AlterKey{group, table}}]
	if row == nil {
		return aoscdb.OSCRow{}, aoscdb.ErrNotFound
	}
	copied := *row
	copied.ReadAt = q.p.w.now
	return copied, nil
}

func (q simQueue) PutWaiting(_ context.Context, r aoscdb.OSCRow) error {
	if err := q.reach(); err != nil {
		return err
	}
	at := simRow{q.a, AlterKey{r.Group, r.Table}}
	if old := q.p.w.osc[at]; old != nil && old.Status == aoscdb.OSCRunning {
		return aoscdb.ErrRunning
	}
	r.Status, r.OSCPriv, r.LastUpdate = aoscdb.OSCWaiting, aoscdb.PrivOK, q.p.w.now
	q.p.w.osc[at] = &r
	q.p.w.log("%s WAITING %s on %s", q.p.name, r.Table, q.a)
	return nil
}

func (q simQueue) Withdraw(_ context.Context, _ string, _ int, group, table string) (bool, error) {
	if err := q.reach(); err != nil {
		return false, err
	}
	at := simRow{q.a, AlterKey{group, table}}
	if row := q.p.w.osc[at]; row == nil || row.Status == aoscdb.OSCRunning {
		return false, nil
	}
	delete(q.p.w.osc, at)
	return true, nil
}

func (q simQueue) Abandon(_ context.Context, seen aoscdb.OSCRow) (bool, error) {
	if err := q.reach(); err != nil {
		return false, err
	}
	at := simRow{q.a, AlterKey{seen.Group, seen.Table}}
	if row := q.p.w.osc[at]; row == nil || row.Status != aoscdb.OSCRunning || row.Owner != seen.Owner || row.Try != seen.Try {
		return false, nil
	}
	delete(q.p.w.osc, at)
	return true, nil
}

// sortedAddrs makes choices among instances repeatable.
func (w *simWorld) sortedAddrs() []mysql.Addr {
	var out []mysql.Addr
	for _, i := range w.inventory[0].Instances() {
		out = append(out, i.Addr())
	}
	return out
}
