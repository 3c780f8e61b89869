package scheduler

import (
	"context"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

// gather reads everything Decide needs: the tables, then the instances with a row, then the roles in the clusters that
// could be next. An instance that does not answer within timeout is left out (I11).
func gather(ctx context.Context, central Central, servers Servers, inv fleet.Inventory, asked map[ClusterKey]time.Time,
	fanout int, timeout time.Duration) (Snapshot, error) {
	tables, err := central.SchedulerTables(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	// The inventory is read after the tables: an instance with a row was listed when it got it, so if it is not now, it
	// was taken out. Where the inventory cannot be read nothing is concluded.
	tiers, err := inv.Tiers(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	s := index(tables, tiers)
	var rows []aoscdb.RunningAlter
	for _, r := range s.Running {
		if _, listed := s.Fleet.Instances[addrOf(r)]; listed && r.OSCStatus != aoscdb.RunDone {
			rows = append(rows, r)
		}
	}
	for _, r := range mysql.FanOut(ctx, rows, fanout, timeout, func(ctx context.Context, r aoscdb.RunningAlter) (Look, error) {
		return look(ctx, servers, s.Tiers[r.Group], r)
	}) {
		if r.Err == nil {
			s.Looks[addrOf(r.Item)] = r.Value
		} else {
			s.Silent[addrOf(r.Item)] = r.Err
		}
	}
	for _, r := range mysql.FanOut(ctx, Observe(s, asked), fanout, 0, func(ctx context.Context, k ClusterKey) (fleet.ClusterView, error) {
		return servers.Observe(ctx, s.Fleet.Clusters[k]), nil
	}) {
		if r.Err == nil {
			s.Views[r.Item] = r.Value
			asked[r.Item] = s.Now
		}
	}
	return s, ctx.Err()
}
