package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

// Fault points of the scheduler.
var (
	faultReady   = fault.Register("scheduler.ready.written", "running_alters has the row READY, the instance knows nothing of it")
	faultWaiting = fault.Register("scheduler.waiting.written", "the instance has the row WAITING")
	faultFailed  = fault.Register("scheduler.backoff.before", "the instance says FAILED, running_alters still RUNNING")
	faultBackOff = fault.Register("scheduler.backoff.written", "retries has the next try, running_alters has no row any more")
	faultDone    = fault.Register("scheduler.done.before", "running_alters says DONE, row and target are still there")
)

// actor carries out one decision.
type actor struct {
	central Central
	servers Servers
	lease   aoscdb.Lease
	snap    Snapshot
	timeout time.Duration // of what is asked of one instance
	fanout  int
	log     *slog.Logger
	warn    func(context.Context, Action) error // told of every Warn
}

// outcome is what became of the actions for one instance.
type outcome struct {
	again bool // something changed that lets the next pass do more
	rest  bool // the instance could not be reached for a start: leave it alone for a while
}

// carryOut does all actions, those of one instance in their order, different instances at once. The errors are those
// of the central tables: an instance that fails is rested and reported, and keeps nobody waiting.
func (a *actor) carryOut(ctx context.Context, actions []Action) (map[mysql.Addr]outcome, error) {
	var order []mysql.Addr
	byAddr := map[mysql.Addr][]Action{}
	for _, act := range actions {
		if _, seen := byAddr[act.Addr]; !seen {
			order = append(order, act.Addr)
		}
		byAddr[act.Addr] = append(byAddr[act.Addr], act)
	}
	if err := a.followAll(ctx, actions); err != nil {
		return nil, err
	}
	if err := a.forgetTries(ctx, actions); err != nil {
		return nil, err
	}
	results := mysql.FanOut(ctx, order, a.fanout, 0, func(ctx context.Context, at mysql.Addr) (outcome, error) {
		var all outcome
		for _, act := range byAddr[at] {
			o, err := a.do(ctx, act)
			all.again, all.rest = all.again || o.again, all.rest || o.rest
			if err != nil {
				return all, fmt.Errorf("%s %s/%s on %s: %w", act.Kind, act.Alter.Group, act.Alter.Table, at, err)
			}
		}
		return all, nil
	})
	out := map[mysql.Addr]outcome{}
	var errs []error
	for _, r := range results {
		out[r.Item] = r.Value
		errs = append(errs, r.Err)
	}
	return out, errors.Join(errs...)
}

// followAll writes the progress of all running alters in one transaction: it comes every second.
func (a *actor) followAll(ctx context.Context, actions []Action) error {
	var rows []aoscdb.RunningAlter
	for _, act := range actions {
		if act.Kind == Follow {
			rows = append(rows, followed(act.Row, act.Work))
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return a.central.FollowRunning(ctx, a.lease, rows)
}

// forgetTries deletes all counts that say nothing any more, in one transaction.
func (a *actor) forgetTries(ctx context.Context, actions []Action) error {
	var rows []aoscdb.Retry
	for _, act := range actions {
		if act.Kind == ForgetTries {
			rows = append(rows, act.Next)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return a.central.ForgetRetries(ctx, a.lease, rows)
}

// followed is a row with what its worker says now.
func followed(r aoscdb.RunningAlter, w *aoscdb.OSCRow) aoscdb.RunningAlter {
	s := standOf(w)
	r.Percentage, r.State, r.Note = w.Percentage, s.State, s.Why
	r.RowsCopied, r.RowsTotal, r.RowsPerS, r.ETAS, r.LagS = s.RowsCopied, s.RowsTotal, s.RowsPerS, s.ETA.Seconds(), nil
	if s.Lag != nil {
		lag := s.Lag.Seconds()
		r.LagS = &lag
	}
	return r
}

func (a *actor) do(ctx context.Context, act Action) (outcome, error) {
	switch act.Kind {
	case Start:
		return a.start(ctx, act)
	case Queue:
		return a.queue(ctx, act)
	case Complete:
		return a.complete(ctx, act)
	case Retry:
		return a.retry(ctx, act)
	case BackOff:
		return a.backOff(ctx, act)
	case Demote:
		changed, err := a.central.RequeueRunning(ctx, a.lease, act.Row)
		return outcome{again: changed}, err
	case Withdraw:
		return a.withdraw(ctx, act)
	case Drop:
		ended, err := a.central.EndRunning(ctx, a.lease, act.Row, aoscdb.RunEnd{What: "failed", Detail: act.Reason})
		return outcome{again: ended}, err
	case Abandon:
		return a.abandon(ctx, act), nil
	case Forget:
		return outcome{again: true}, a.central.ForgetRunning(ctx, a.lease, act.Row, act.Reason)
	case Hold:
		return outcome{}, a.central.HoldByWorker(ctx, a.lease, act.Row, act.Reason)
	case Warn:
		return outcome{}, a.warn(ctx, act)
	case Recheck:
		return outcome{}, a.central.Wake(ctx, aoscdb.DaemonChecksum, aoscdb.ScopeInstance(act.Addr.String()), false)
	case Recollect:
		return outcome{}, a.central.Wake(ctx, aoscdb.DaemonCollector, "", false)
	}
	return outcome{}, nil // Follow and ForgetTries, done for all at once
}

// start writes running_alters first: what the instance knows of is always counted in the limits.
func (a *actor) start(ctx context.Context, act Action) (outcome, error) {
	i := act.Instance
	row := aoscdb.RunningAlter{
		Host: i.Host, Port: i.Port, Group: act.Alter.Group, Table: act.Alter.Table, OSCStatus: aoscdb.RunReady,
		Cluster: i.Cluster, Datacenter: i.Datacenter, Bytes: act.Bytes,
	}
	put, err := a.central.PutReady(ctx, a.lease, row, a.snap.Alters[act.Alter].DesiredHash)
	if err != nil || !put {
		return outcome{again: err == nil}, err
	}
	fault.Point(faultReady)
	return a.putWaiting(ctx, row, a.snap.tries(act.Alter, act.Addr))
}

// queue repairs or renews the WAITING row, unless a worker has claimed the alter since it was looked at: then what it
// left is not the end of an earlier run but of this one.
func (a *actor) queue(ctx context.Context, act Action) (outcome, error) {
	still, err := a.central.StillRunning(ctx, a.lease, act.Row)
	if err != nil || !still {
		return outcome{again: err == nil}, err
	}
	return a.putWaiting(ctx, act.Row, a.tries(act))
}

// tries is how many runs of this version of the table the instance has seen. What a worker took and gave back may count more than
// what failed: those that died.
func (a *actor) tries(act Action) int {
	failed := a.snap.tries(act.Alter, act.Addr)
	if w := act.Work; w != nil && w.Status == aoscdb.OSCWaiting && w.DesiredBlob == a.snap.Alters[act.Alter].DesiredHash {
		return max(failed, w.Try)
	}
	return failed
}

// putWaiting writes the row on the instance. Where that fails, the READY row goes again at once: it must not hold a
// place in the limits for an instance that cannot be told. If the instance did get the row, no worker can claim it.
func (a *actor) putWaiting(ctx context.Context, row aoscdb.RunningAlter, tries int) (outcome, error) {
	alter := a.snap.Alters[alterOf(row)]
	err := a.onInstance(ctx, row, func(ctx context.Context, q WorkQueue) error {
		return q.PutWaiting(ctx, aoscdb.OSCRow{
			Host: row.Host, Port: row.Port, Group: row.Group, Table: row.Table, Try: tries, Priority: alter.Priority,
			DesiredBlob: alter.DesiredHash, CommitSHA: alter.CommitSHA,
		})
	})
	if err == nil {
		fault.Point(faultWaiting)
		a.log.Info("queued", "tier", row.Group, "table", row.Table, "instance", addrOf(row).String(), "bytes", row.Bytes)
		return outcome{}, nil
	}
	if errors.Is(err, aoscdb.ErrRunning) {
		return outcome{again: true}, nil // a worker has it; the next look tells
	}
	a.log.Warn("not started, the instance could not be told", "tier", row.Group, "table", row.Table,
		"instance", addrOf(row).String(), "error", err)
	_, endErr := a.central.EndRunning(ctx, a.lease, row, aoscdb.RunEnd{What: "withdrawn", Detail: "not started: " + err.Error()})
	return outcome{rest: true}, endErr
}

func (a *actor) complete(ctx context.Context, act Action) (outcome, error) {
	row := act.Row
	if row.OSCStatus != aoscdb.RunDone {
		finished, err := a.central.FinishRunning(ctx, a.lease, row)
		if err != nil || !finished {
			return outcome{again: err == nil}, err
		}
		row.OSCStatus = aoscdb.RunDone
		fault.Point(faultDone)
	}
	ended, err := a.central.EndRunning(ctx, a.lease, row, aoscdb.RunEnd{
		What: "done", Detail: duration(a.snap.Now, row), Done: true, Recheck: a.clusterOf(row),
	})
	if err == nil && ended {
		a.log.Info("done", "tier", row.Group, "table", row.Table, "instance", addrOf(row).String())
	}
	return outcome{again: ended}, err
}

func duration(now time.Time, r aoscdb.RunningAlter) string {
	if r.StartedAt == nil {
		return ""
	}
	return "in " + now.Sub(*r.StartedAt).Round(time.Second).String()
}

// clusterOf are the instances whose tables an alter on one of them changes.
func (a *actor) clusterOf(r aoscdb.RunningAlter) []mysql.Addr {
	addrs := []mysql.Addr{addrOf(r)}
	inst := a.snap.Fleet.Instances[addrOf(r)]
	for _, i := range a.snap.Fleet.Clusters[ClusterKey{inst.Tier, inst.Cluster}].Instances {
		if i.Addr() != addrOf(r) {
			addrs = append(addrs, i.Addr())
		}
	}
	return addrs
}

// retry makes the row READY first. After a crash in between, the next pass finds READY beside an ended run, and queues.
func (a *actor) retry(ctx context.Context, act Action) (outcome, error) {
	requeued, err := a.central.RequeueRunning(ctx, a.lease, act.Row)
	if err != nil || !requeued {
		return outcome{again: err == nil}, err
	}
	row := act.Row
	row.OSCStatus, row.StartedAt = aoscdb.RunReady, nil
	return a.putWaiting(ctx, row, a.tries(act))
}

// backOff is one step in aoscdb: a crash before it finds the failure again, a crash after it finds the next try. The instance's
// row stays FAILED, with the operator's osc_priv, until then.
func (a *actor) backOff(ctx context.Context, act Action) (outcome, error) {
	fault.Point(faultFailed)
	ended, err := a.central.BackOff(ctx, a.lease, act.Row, act.Next, act.Reason)
	if err != nil || !ended {
		return outcome{again: err == nil}, err
	}
	fault.Point(faultBackOff)
	a.log.Warn("a try failed", "tier", act.Alter.Group, "table", act.Alter.Table, "instance", act.Addr.String(), "next", act.Reason)
	return outcome{again: true}, nil
}

// withdraw deletes the central row first, which is what counts. The instance's row is tidied up where it can be; where
// not, its worker removes it.
func (a *actor) withdraw(ctx context.Context, act Action) (outcome, error) {
	ended, err := a.central.EndRunning(ctx, a.lease, act.Row, aoscdb.RunEnd{What: "withdrawn", Detail: act.Reason})
	if err != nil || !ended {
		return outcome{again: err == nil}, err
	}
	a.log.Info("withdrawn", "tier", act.Alter.Group, "table", act.Alter.Table, "instance", act.Addr.String(), "reason", act.Reason)
	err = a.onInstance(ctx, act.Row, func(ctx context.Context, q WorkQueue) error {
		_, err := q.Withdraw(ctx, act.Addr.Host, act.Addr.Port, act.Alter.Group, act.Alter.Table)
		return err
	})
	if err != nil && !aoscdb.Missing(err) {
		a.log.Warn("its row in aosc_osc_ww stays for the worker to remove", "tier", act.Alter.Group, "table", act.Alter.Table,
			"instance", act.Addr.String(), "error", err)
	}
	return outcome{again: true, rest: act.Rest}, nil
}

// abandon leaves the central row for the next pass, which finds that the instance shows none and nobody holds it.
func (a *actor) abandon(ctx context.Context, act Action) outcome {
	var gone bool
	err := a.onInstance(ctx, act.Row, func(ctx context.Context, q WorkQueue) (err error) {
		gone, err = q.Abandon(ctx, *act.Work)
		return err
	})
	log := a.log.With("tier", act.Alter.Group, "table", act.Alter.Table, "instance", act.Addr.String(), "reason", act.Reason)
	switch {
	case err != nil:
		log.Warn("the row of a dead worker could not be removed, will be tried again", "error", err)
	case gone:
		log.Warn("the row of a dead worker was removed")
	}
	return outcome{again: gone}
}

// onInstance bounds what is asked of one instance, so that a hung one keeps nobody waiting for long.
func (a *actor) onInstance(ctx context.Context, r aoscdb.RunningAlter, fn func(context.Context, WorkQueue) error) error {
	queue, err := a.servers.WorkQueue(a.snap.Tiers[r.Group], addrOf(r))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return fn(ctx, queue)
}

// index turns rows into the maps of a Snapshot.
func index(t aoscdb.SchedulerTables, tiers []fleet.Tier) Snapshot {
	s := Snapshot{
		Now: t.Now, Targets: t.Targets, Running: t.Running, Fleet: NewFleet(tiers),
		Tiers:   make(map[string]aoscdb.Tier, len(t.Tiers)),
		Alters:  make(map[AlterKey]aoscdb.CurrentAlter, len(t.Alters)),
		Retries: make(map[TryKey]aoscdb.Retry, len(t.Retries)),
		Passes:  make(map[PassKey]aoscdb.Pass, len(t.Passes)),
		Looks:   map[mysql.Addr]Look{},
		Silent:  map[mysql.Addr]error{},
		Views:   map[ClusterKey]fleet.ClusterView{},
	}
	for _, tier := range t.Tiers {
		s.Tiers[tier.Group] = tier
	}
	for _, alter := range t.Alters {
		s.Alters[AlterKey{alter.Group, alter.Table}] = alter
	}
	for _, r := range t.Retries {
		s.Retries[TryKey{AlterKey{r.Group, r.Table}, mysql.Addr{Host: r.Host, Port: r.Port}}] = r
	}
	for _, p := range t.Passes {
		s.Passes[PassKey{mysql.Addr{Host: p.Host, Port: p.Port}, p.Group}] = p
	}
	return s
}
