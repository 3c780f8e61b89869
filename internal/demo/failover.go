package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/aosc/aosc/aoscdb"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
	"github.com/aosc/aosc/internal/why"
)

// failsOver: the demo ends with the death of a primary.
const failsOver = true

const (
	// strikeAt is how far the copy has come, in percent, when its primary is killed.
	strikeAt = 10
	// failoverLimit is for cotton, on a slow machine, to have a new primary take writes; wholeLimit for the old one to be
	// back as a replica, cloned anew if it must be.
	failoverLimit = 5 * time.Minute
	wholeLimit    = 10 * time.Minute
)

// failover is the last act: during a third alter, under load, the primary of a cluster is killed by kill -9. Another one takes
// over, nothing that was acknowledged is lost, and the alter finishes.
func (d *demo) failover(ctx context.Context) error {
	victim := d.room.clusters[0]
	d.columns, d.struck = columnsV4, victim
	group, acting := errgroup.WithContext(ctx)
	group.Go(func() error {
		return d.alter(acting, "Widen owner of "+table, ddlV4, "a copy again, during which a primary is killed")
	})
	group.Go(func() error {
		if err := d.awaitCopy(acting, victim); err != nil {
			return err
		}
		return d.strike(acting, victim)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wholeLimit, fmt.Errorf("not within %v", wholeLimit))
	defer cancel()
	c, err := d.room.api.WaitRunning(ctx, victim.name)
	if err == nil {
		d.say("Cluster %s is whole again: %d of %d instances serve, epoch %d.", victim.name, 1+len(c.Endpoints.Replicas), c.Nodes, c.Epoch)
	}
	return err
}

// awaitCopy returns when the alter is under way on the cluster's primary.
func (d *demo) awaitCopy(ctx context.Context, c *cluster) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		view, err := d.desk.Look(ctx, 1)
		if err != nil {
			return err
		}
		for _, a := range view.Alters {
			for _, run := range a.Runs {
				if run.Cluster == c.name && run.OSCStatus == aoscdb.RunRunning && run.Stand.Code == why.Going && run.Stand.Percentage >= strikeAt {
					return nil
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// strike kills the primary and measures what its clients see of it.
func (d *demo) strike(ctx context.Context, c *cluster) error {
	ctx, cancel := context.WithTimeoutCause(ctx, failoverLimit, fmt.Errorf("no failover within %v", failoverLimit))
	defer cancel()
	before, err := d.room.api.Cluster(ctx, c.name)
	if err != nil {
		return err
	}
	old, err := primaryOf(before)
	if err != nil {
		return err
	}
	pid, err := d.room.mysqld(old)
	if err != nil {
		return err
	}
	writers := d.writersOf(c)
	for _, w := range writers {
		w.NewGap()
	}
	d.say("kill -9 %d: the mysqld of %s, the primary of %s, under load.", pid, old.Name, c.name)
	struck := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill mysqld %d of %s: %w", pid, old.Name, err)
	}
	now, err := d.awaitOther(ctx, c, old.ID)
	if err != nil {
		return err
	}
	published := time.Since(struck)
	if err := d.awaitWrites(ctx, c); err != nil {
		return err
	}
	var gap time.Duration
	var refused, unknown uint64
	for _, w := range writers {
		s := w.Stats()
		gap, refused, unknown = max(gap, s.LongestGap), refused+s.Refused, unknown+s.Unknown
	}
	d.say("%s is the primary, published %.2fs after the kill; longest gap between two acknowledged writes %.2fs; %d writes refused, %d without an answer.",
		now.Name, published.Seconds(), gap.Seconds(), refused, unknown)
	return nil
}

// primaryOf is the published primary of a cluster.
func primaryOf(c v1.Cluster) (v1.Instance, error) {
	for _, i := range c.Instances {
		if c.Endpoints.Primary != nil && i.ID == c.Endpoints.Primary.ID {
			return i, nil
		}
	}
	return v1.Instance{}, fmt.Errorf("cluster %s: %w", c.Name, errNoPrimary)
}

// mysqld is the process of an instance, by the pid file on its volume. It must work on that volume: an old file may name
// anybody.
func (r *room) mysqld(i v1.Instance) (int, error) {
	found, err := filepath.Glob(filepath.Join(r.mesosPath(), "agents", "*", "volumes", "roles", "*", i.VolumeID, "mysqld.pid"))
	if err != nil || len(found) != 1 {
		return 0, fmt.Errorf("find the pid file of %s on volume %s: %d found, %w", i.Name, i.VolumeID, len(found), err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", found[0], err)
	}
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil || pid <= 1 || !strings.HasPrefix(dir, filepath.Dir(found[0])+"/") {
		return 0, fmt.Errorf("process %d of %s does not work on the volume of %s: %w", pid, found[0], i.Name, err)
	}
	return pid, nil
}

// awaitOther waits until another instance is published as the primary.
func (d *demo) awaitOther(ctx context.Context, c *cluster, old int) (v1.Instance, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := d.room.api.Cluster(ctx, c.name)
		if err != nil && !client.IsCode(err, v1.CodeUnavailable) {
			return v1.Instance{}, err
		}
		if primary, err := primaryOf(now); err == nil && primary.ID != old {
			return primary, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return v1.Instance{}, fmt.Errorf("cluster %s has no other primary: %w", c.name, context.Cause(ctx))
		}
	}
}

// awaitWrites waits until every writer of a cluster had a write acknowledged from now on.
func (d *demo) awaitWrites(ctx context.Context, c *cluster) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, w := range d.writersOf(c) {
		for before := w.Stats().Acknowledged(); w.Stats().Acknowledged() == before; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return errors.Join(fmt.Errorf("no write to cluster %s is acknowledged: %w", c.name, context.Cause(ctx)), errors.New(w.Stats().LastError))
			}
		}
	}
	return nil
}

// onHold tells whether an alter waits for a person. While a cluster has no primary an alter may wait for it by itself.
func (d *demo) onHold(a aoscdb.CurrentAlter) bool {
	return a.Status == aoscdb.AlterHold && (d.struck == nil || a.HoldBy != aoscdb.HoldBrain)
}
