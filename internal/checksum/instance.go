package checksum

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/status"
)

var faultRecorded = fault.Register("checksum.pass.recorded", "a checksum of an instance is recorded, the collector is not woken")

// one checksums one instance, records how it went, and returns why it failed.
func (d *Daemon) one(ctx context.Context, c candidate) error {
	d.mu.Lock()
	snap := d.snap
	d.mu.Unlock()
	begin := time.Now()
	passCtx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	sum, err := d.Refresher.Refresh(passCtx, c.served.Instance, c.served.Tier, snap, status.Options{Fresh: c.order.fresh})
	cancel()
	took := time.Since(begin)
	if ctx.Err() != nil {
		return err // the daemon stops: that is no finding
	}
	if recordErr := d.record(ctx, c, snap, sum, err); recordErr != nil {
		err = errors.Join(err, recordErr)
	}
	d.settle(c, snap, sum, err, took)
	return err
}

// record writes how a pass went to checksum_passes and wakes the collector for news.
func (d *Daemon) record(ctx context.Context, c candidate, snap *schema.Snapshot, sum status.Summary, failure error) error {
	// A pass that ran into its own deadline is recorded too.
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	i := c.served.Instance
	switch {
	case errors.Is(failure, status.ErrBusy):
		return nil // whoever is at it records it
	case failure != nil:
		return d.Store.PassFailed(ctx, i.Host, i.Port, i.Tier, failure.Error())
	}
	err := d.Store.PutPass(ctx, aoscdb.Pass{
		Host: i.Host, Port: i.Port, Group: i.Tier, CommitSHA: snap.Commit, StartedAt: &sum.StartedAt,
		Databases: sum.Databases, Tables: sum.Tables, NotOK: sum.NotOK, Error: sum.Problem(),
	}, c.order.fresh)
	fault.Point(faultRecorded)
	if err != nil || !c.order.wanted && sum.Changed == 0 {
		return err
	}
	return d.Store.Wake(ctx, aoscdb.DaemonCollector, "", false)
}

// settle remembers how a pass went and tells people.
func (d *Daemon) settle(c candidate, snap *schema.Snapshot, sum status.Summary, err error, took time.Duration) {
	d.metrics.pass(c.served.Instance, sum, err, took)
	log := d.Log.With("tier", c.served.Tier.Name, "instance", c.served.Instance.String())
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.states[c.served.Addr()]
	if s == nil || s.tier != c.served.Tier.Name {
		return // no longer served
	}
	said := s.said
	s.running, s.failed, s.ended, s.said = false, err != nil, c.at.Add(took), sum.Problem()
	if err != nil {
		s.said = err.Error()
		logOnce(log, slog.LevelError, "checksum failed, will be tried again", said, s.said)
		return
	}
	s.good, s.commit = sum.StartedAt, snap.Commit
	if c.order.fresh {
		s.fresh = sum.StartedAt
	}
	logOnce(log, slog.LevelWarn, "checksum could not judge some tables", said, s.said)
	level := slog.LevelDebug
	if sum.Changed > 0 {
		level = slog.LevelInfo
	}
	log.Log(context.Background(), level, "checksum", "commit", snap.Commit, "fresh", c.order.fresh, "databases", sum.Databases,
		"tables", sum.Tables, "not_ok", sum.NotOK, "read", sum.Read, "changed", sum.Changed, "took", took.Round(time.Millisecond))
}

// logOnce logs a trouble when it is not what was said of the instance last time: the same one at each try is one line.
func logOnce(log *slog.Logger, level slog.Level, msg, said, now string) {
	if now != "" && now != said {
		log.Log(context.Background(), level, msg, "error", now)
	}
}
