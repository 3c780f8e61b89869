package oscworker

import (
	"context"
	"fmt"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/permit"
)

// wanted tells whether the alter of a dead run is still to be made on its cluster, so that what it has copied is kept: it is permitted, and
// nobody said STOP where it ran or where it would run now.
func (d *Daemon) wanted(ctx context.Context, l osc.Leftover) (bool, error) {
	p, err := d.Store.Permission(ctx, l.Tier, l.Table)
	if err != nil {
		return false, err
	}
	if p.Alter == nil {
		return false, nil
	}
	b := permit.Begun{Host: l.Addr.Host, Port: l.Addr.Port, Group: l.Tier, Table: l.Table, Blob: p.Alter.DesiredHash}
	if v := permit.Judge(b, p); v.Answer == permit.Stop {
		d.Log.Info("what a dead run has copied is not wanted any more", "tier", l.Tier, "table", l.Table, "database", l.Database, "reason",
			v.Reason)
		return false, nil
	}
	stopped, err := d.anyStopped(ctx, p.Tiers[l.Tier], l)
	return !stopped, err
}

// anyStopped tells whether one of a cluster's rows says STOP. An instance that does not answer says nothing.
func (d *Daemon) anyStopped(ctx context.Context, tier aoscdb.Tier, l osc.Leftover) (bool, error) {
	results := mysql.FanOut(ctx, d.replicasOf(l.Cluster), d.cfg.FanOut, d.cfg.Timeout, func(ctx context.Context, a mysql.Addr) (bool, error) {
		rows, err := d.statusOf(tier, a)
		if err != nil {
			return false, err
		}
		row, err := rows.OSCRow(ctx, a.Host, a.Port, l.Tier, l.Table)
		if aoscdb.Missing(err) {
			return false, nil
		}
		return row.OSCPriv == aoscdb.PrivStop, err
	})
	for _, r := range results {
		switch {
		case r.Err != nil && !mysql.IsConnection(r.Err):
			return false, fmt.Errorf("ask %s for its osc_priv: %w", r.Item, r.Err)
		case r.Value:
			return true, nil
		}
	}
	return false, nil
}

// stoppedNow asks for a clean-up when a row that nobody works on says STOP for the first time: a copy may be kept for it.
func (d *Daemon) stoppedNow(row aoscdb.OSCRow) {
	key := fmt.Sprint(row.Host, row.Port, row.Group, row.Table)
	stopped := row.Status == aoscdb.OSCWaiting && row.OSCPriv == aoscdb.PrivStop
	d.mu.Lock()
	known := d.stopped[key]
	if stopped {
		d.stopped[key] = true
	} else {
		delete(d.stopped, key)
	}
	d.mu.Unlock()
	if stopped && !known {
		d.foundDead()
	}
}
