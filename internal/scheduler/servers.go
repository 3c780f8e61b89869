package scheduler

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

// mysqlServers is Servers over real ones.
type mysqlServers struct {
	store   *aoscdb.Store
	pool    *mysql.Pool
	timeout time.Duration // until a member of a cluster counts as unknown
}

func (m mysqlServers) WorkQueue(tier aoscdb.Tier, a mysql.Addr) (WorkQueue, error) {
	if tier.StatusStore == aoscdb.StoreCentral {
		return m.store.CentralStatus(), nil
	}
	db, err := m.pool.DB(a)
	if err != nil {
		return nil, err
	}
	return ensuring{aoscdb.InstanceStatus(db)}, nil
}

func (m mysqlServers) Busy(ctx context.Context, a mysql.Addr) (bool, error) {
	db, err := m.pool.DB(a)
	if err != nil {
		return false, err
	}
	name, err := m.store.WorkerLock(ctx, a)
	if err != nil {
		return false, err
	}
	var holder sql.NullInt64
	if err := db.QueryRowContext(ctx, "SELECT IS_USED_LOCK(?)", name).Scan(&holder); err != nil {
		return false, fmt.Errorf("ask %s who holds it: %w", a, err)
	}
	return holder.Valid, nil
}

func (m mysqlServers) Observe(ctx context.Context, c fleet.Cluster) fleet.ClusterView {
	return fleet.Observe(ctx, m.pool, c, m.timeout)
}

// ensuring makes the tables of an instance that was never checked, or lost them.
type ensuring struct{ *aoscdb.StatusStore }

func (e ensuring) PutWaiting(ctx context.Context, r aoscdb.OSCRow) error {
	err := e.StatusStore.PutWaiting(ctx, r)
	if !aoscdb.Missing(err) {
		return err
	}
	if err := e.Ensure(ctx); err != nil {
		return err
	}
	return e.StatusStore.PutWaiting(ctx, r)
}
