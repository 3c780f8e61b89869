package osc

import (
	"context"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/pace"
	"github.com/aosc/aosc/internal/wait"
)

// limits are those in force: what the tables say now, else those that the run was begun with.
func (c *copyRun) limits() pace.Limits {
	l := c.control.Terms().Limits
	if l.Lag == 0 {
		l.Lag = c.settings.MaxLag
	}
	return l
}

// watchPace keeps the copy at the pace that its replicas and its primary allow.
func (c *copyRun) watchPace(ctx context.Context, full pace.Full) error {
	var meter lagMeter
	signs := pace.Signs{DB: c.db, Log: c.logger}
	now := full.Start()
	for {
		limits := c.limits()
		sample := signs.Read(ctx, limits)
		if len(c.settings.Replicas) > 0 {
			if set, err := mysql.GTIDExecuted(ctx, c.db); err == nil {
				meter.add(executedAt{time.Now(), set})
			} else if sample.Silent == nil {
				sample.Silent = err
			}
			sample.Replicas = c.lags(ctx, &meter)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		now = pace.Decide(now, sample, limits, full)
		c.paced(now)
		if err := wait.For(ctx, lagEvery); err != nil {
			return err
		}
	}
}

// lags asks all replicas at once how far they are.
func (c *copyRun) lags(ctx context.Context, meter *lagMeter) []pace.Replica {
	out := make([]pace.Replica, len(c.settings.Replicas))
	var group sync.WaitGroup
	for i, addr := range c.settings.Replicas {
		group.Go(func() {
			ask, cancel := context.WithTimeout(ctx, lagAnswer)
			defer cancel()
			out[i].Name = addr.String()
			db, err := c.Pool.DB(addr)
			if err != nil {
				out[i].Err = err
				return
			}
			set, err := mysql.GTIDExecuted(ask, db)
			if out[i].Err = err; err == nil {
				out[i].Lag = meter.lag(set, time.Now())
			}
		})
	}
	group.Wait()
	return out
}

// paced changes the pace, and wakes whoever waits for the end of a rest.
func (c *copyRun) paced(p pace.Pace) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pace.Rest != p.Rest {
		close(c.changed)
		c.changed = make(chan struct{})
	}
	c.pace = p
}
