package oscworker

import (
	"context"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
)

// leftovers is osc.Leftovers over aoscdb. A copy that is at work must survive aoscdb being away for a while, so calls wait
// until it is back, or their context ends.
type leftovers struct {
	rows  *aoscdb.Leftovers
	retry time.Duration
}

func (l leftovers) Record(ctx context.Context, rows []osc.Leftover) error {
	out := make([]aoscdb.Leftover, len(rows))
	for i, r := range rows {
		out[i] = aoscdb.Leftover{
			Group: r.Tier, Cluster: r.Cluster, Host: r.Addr.Host, Port: r.Addr.Port, Database: r.Database, Table: r.Table,
			Leftover: r.Name, Kind: r.Kind, State: r.State, Token: r.Token,
		}
		if !r.KeepUntil.IsZero() {
			until := r.KeepUntil
			out[i].KeepUntil = &until
		}
	}
	return l.patiently(ctx, func() error { return l.rows.Record(ctx, out) })
}

func (l leftovers) List(ctx context.Context, cluster string) (out []osc.Leftover, err error) {
	err = l.patiently(ctx, func() error {
		rows, err := l.rows.ByCluster(ctx, cluster)
		if err != nil {
			return err
		}
		out = make([]osc.Leftover, len(rows))
		for i, r := range rows {
			out[i] = osc.Leftover{
				ID: r.ID, Name: r.Leftover, Kind: r.Kind, State: r.State, Token: r.Token, CreatedAt: r.CreatedAt,
				Target: osc.Target{Tier: r.Group, Cluster: r.Cluster, Addr: mysql.Addr{Host: r.Host, Port: r.Port}, Database: r.Database, Table: r.Table},
			}
			if r.KeepUntil != nil {
				out[i].KeepUntil = *r.KeepUntil
			}
		}
		return nil
	})
	return out, err
}

func (l leftovers) SetState(ctx context.Context, id uint64, state string, keepUntil time.Time) error {
	return l.patiently(ctx, func() error { return l.rows.SetState(ctx, id, state, keepUntil) })
}

func (l leftovers) Forget(ctx context.Context, id uint64) error {
	return l.patiently(ctx, func() error { return l.rows.Forget(ctx, id) })
}

func (l leftovers) patiently(ctx context.Context, fn func() error) error {
	return patiently(ctx, l.retry, fn)
}

// patiently repeats fn while it fails because a server is away.
func patiently(ctx context.Context, every time.Duration, fn func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := fn()
		if !mysql.IsConnection(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
