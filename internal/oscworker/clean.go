package oscworker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

// cleanAgain is when to clean up again after something has died: the heartbeat of its copies must be seen to have stopped.
const cleanAgain = 6 * time.Second

// cleanNowAndThen cleans up at the start, soon after it or whenever somebody was found dead, and by interval, until ctx ends.
func (d *Daemon) cleanNowAndThen(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	said, wait := "", cleanAgain
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.found:
			next.Reset(min(cleanAgain, d.cfg.Clean))
			continue
		case <-next.C:
		}
		err := d.clean(ctx)
		text := ""
		if err != nil && ctx.Err() == nil {
			if text = err.Error(); text != said {
				d.Log.Warn("clean-up failed, will be tried again", "error", err)
			}
		}
		said = text
		next.Reset(min(wait, d.cfg.Clean))
		wait = d.cfg.Clean
	}
}

// foundDead asks for a clean-up soon.
func (d *Daemon) foundDead() {
	select {
	case d.found <- struct{}{}:
	default: // it is asked for already
	}
}

// clean removes what dead runs left on the clusters whose primary this worker serves, and the rows of aosc_osc_ww nobody
// counts on. What it fails on does not keep it from the rest.
func (d *Daemon) clean(ctx context.Context) error {
	served, err := d.Served(ctx)
	if err != nil {
		return err
	}
	names, err := d.Store.LeftoverClusters(ctx)
	if err != nil {
		return err
	}
	due := map[string]bool{}
	for _, n := range names {
		due[n] = true
	}
	var errs []error
	for _, i := range served {
		if due[i.Cluster] {
			delete(due, i.Cluster)
			errs = append(errs, d.cleanCluster(ctx, i, nil))
		}
	}
	return errors.Join(append(errs, d.sweep(ctx, served))...)
}

// cleanCluster removes leftovers through the primary of an instance's cluster: there they were made, and their removal
// must be replicated. What jobs of this process are at work on is left alone, except for the one that asks.
func (d *Daemon) cleanCluster(ctx context.Context, i fleet.Instance, asking *job) error {
	_, cluster, err := d.cluster(ctx, i)
	if err != nil {
		return err
	}
	primary, err := fleet.Observe(ctx, d.Pool, cluster, d.cfg.Timeout).Primary()
	if err != nil {
		return fmt.Errorf("clean up after dead runs: %w", err)
	}
	db, err := d.Pool.DB(primary.Addr())
	if err != nil {
		return err
	}
	n, err := d.runner.Clean(ctx, cluster.Name, db, func(_, table string) bool { return d.altering(cluster.Name, table, asking) })
	d.metrics.cleaned.Add(float64(n))
	return err
}

// sweep removes rows that no row of running_alters stands for, so that no worker ever begins them: what a scheduler left
// that was stopped between two steps, or could not reach the instance to withdraw.
func (d *Daemon) sweep(ctx context.Context, served []fleet.Instance) error {
	tiers, err := d.tiers(ctx)
	if err != nil {
		return err
	}
	results := mysql.FanOut(ctx, served, d.cfg.FanOut, d.cfg.Timeout, func(ctx context.Context, i fleet.Instance) (struct{}, error) {
		return struct{}{}, d.sweepOne(ctx, tiers[i.Tier], i)
	})
	var errs []error
	for _, r := range results {
		// An instance that is down has nothing to sweep; whoever needs it reports it.
		if r.Err != nil && !mysql.IsConnection(r.Err) {
			errs = append(errs, fmt.Errorf("%s: %w", r.Item, r.Err))
		}
	}
	return errors.Join(errs...)
}

func (d *Daemon) sweepOne(ctx context.Context, tier aoscdb.Tier, i fleet.Instance) error {
	if !d.free(i.Addr()) {
		return nil
	}
	status, err := d.statusOf(tier, i.Addr())
	if err != nil {
		return err
	}
	rows, err := status.OSCRows(ctx, i.Host, i.Port)
	if err != nil {
		if mysql.IsNoSuchTable(err) || mysql.IsNoSuchDatabase(err) {
			return nil // never checked
		}
		return err
	}
	for _, row := range rows {
		if row.Status != aoscdb.OSCWaiting && row.Status != aoscdb.OSCRunning {
			continue
		}
		if counted, err := d.Store.Claimed(ctx, row); err != nil || counted {
			if err != nil {
				return err
			}
			continue
		}
		if err := d.remove(ctx, status, i, row); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes a row as it was read: one that is RUNNING only under the lock of the instance, which proves that nobody
// works on it. A row queued again in between is put back by the scheduler.
func (d *Daemon) remove(ctx context.Context, status *aoscdb.StatusStore, i fleet.Instance, row aoscdb.OSCRow) error {
	log := d.Log.With("tier", row.Group, "table", row.Table, "instance", i.String())
	if row.Status == aoscdb.OSCWaiting {
		removed, err := status.Withdraw(ctx, i.Host, i.Port, row.Group, row.Table)
		if removed {
			log.Info("removed a row of aosc_osc_ww that running_alters does not have")
		}
		return err
	}
	db, err := d.Pool.DB(i.Addr())
	if err != nil {
		return err
	}
	name, err := d.Store.WorkerLock(ctx, i.Addr())
	if err != nil {
		return err
	}
	lock, free, err := mysql.TryLock(ctx, db, name)
	if err != nil || !free {
		return err
	}
	defer lock.Release()
	removed, err := status.Abandon(ctx, row)
	if removed {
		log.Warn("removed the row of a dead worker that running_alters does not have", "owner", row.Owner)
	}
	return err
}

// replicasOf are the replicas of a cluster by the inventory: the lag of any instance but the primary paces a clean-up.
func (d *Daemon) replicasOf(cluster string) []mysql.Addr {
	tiers, err := d.Inventory.Tiers(context.Background())
	if err != nil {
		return nil
	}
	var addrs []mysql.Addr
	for _, t := range tiers {
		if c, ok := t.Cluster(cluster); ok {
			for _, i := range c.Instances {
				addrs = append(addrs, i.Addr())
			}
		}
	}
	return addrs
}
