package scheduler

import (
	"context"
	"fmt"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

// Central is the central tables as the scheduler uses them: *aoscdb.Store. Every write is fenced by the lease, and
// changes a row of running_alters only while that is as it was read (I8).
type Central interface {
	SchedulerTables(ctx context.Context) (aoscdb.SchedulerTables, error)
	PutReady(ctx context.Context, l aoscdb.Lease, r aoscdb.RunningAlter, blob string) (bool, error)
	StillRunning(ctx context.Context, l aoscdb.Lease, seen aoscdb.RunningAlter) (bool, error)
	FollowRunning(ctx context.Context, l aoscdb.Lease, rows []aoscdb.RunningAlter) error
	FinishRunning(ctx context.Context, l aoscdb.Lease, seen aoscdb.RunningAlter) (bool, error)
	RequeueRunning(ctx context.Context, l aoscdb.Lease, seen aoscdb.RunningAlter) (bool, error)
	EndRunning(ctx context.Context, l aoscdb.Lease, seen aoscdb.RunningAlter, e aoscdb.RunEnd) (bool, error)
	BackOff(ctx context.Context, l aoscdb.Lease, seen aoscdb.RunningAlter, next aoscdb.Retry, detail string) (bool, error)
	ForgetRetries(ctx context.Context, l aoscdb.Lease, seen []aoscdb.Retry) error
	ForgetRunning(ctx context.Context, l aoscdb.Lease, r aoscdb.RunningAlter, detail string) error
	HoldByWorker(ctx context.Context, l aoscdb.Lease, r aoscdb.RunningAlter, reason string) error
	Wake(ctx context.Context, daemon, scope string, fresh bool) error
	Event(ctx context.Context, e aoscdb.Event) error
	RecordObstacles(ctx context.Context, l aoscdb.Lease, foundBy string, found []aoscdb.Obstacle) error
}

// WorkQueue is aosc_osc_ww of one instance: *aoscdb.StatusStore. No lease protects it, so every write must be harmless when
// a scheduler that was stopped for an hour makes it now: nothing touches a row that is RUNNING, and a row WAITING that
// running_alters does not know of is begun by no worker.
type WorkQueue interface {
	OSCRow(ctx context.Context, host string, port int, group, table string) (aoscdb.OSCRow, error)
	PutWaiting(ctx context.Context, r aoscdb.OSCRow) error
	Withdraw(ctx context.Context, host string, port int, group, table string) (bool, error)
	Abandon(ctx context.Context, seen aoscdb.OSCRow) (bool, error)
}

// Servers is what the scheduler asks of instances.
type Servers interface {
	// WorkQueue gives access to aosc_osc_ww of an instance, where the tier keeps it.
	WorkQueue(tier aoscdb.Tier, a mysql.Addr) (WorkQueue, error)
	// Busy tells whether a worker holds the lock of the instance.
	Busy(ctx context.Context, a mysql.Addr) (bool, error)
	// Observe reads the roles in a cluster.
	Observe(ctx context.Context, c fleet.Cluster) fleet.ClusterView
}

// look asks an instance how its alter stands. An error means that nothing is known of it.
func look(ctx context.Context, servers Servers, tier aoscdb.Tier, r aoscdb.RunningAlter) (Look, error) {
	q, err := servers.WorkQueue(tier, addrOf(r))
	if err != nil {
		return Look{}, err
	}
	row, err := q.OSCRow(ctx, r.Host, r.Port, r.Group, r.Table)
	if err != nil && !aoscdb.Missing(err) {
		return Look{}, fmt.Errorf("look at %s/%s on %s: %w", r.Group, r.Table, addrOf(r), err)
	}
	l := Look{}
	if err == nil {
		l.Row = &row
	}
	if l.Busy, err = servers.Busy(ctx, addrOf(r)); err != nil {
		return Look{}, fmt.Errorf("look for the worker of %s: %w", addrOf(r), err)
	}
	return l, nil
}
