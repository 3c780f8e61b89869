package osc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy"
	"github.com/aosc/aosc/internal/osc/copy/preflight"
)

// errCopyEnded is the cause with which all supervision ends.
var errCopyEnded = errors.New("the copy has ended")

// supervise runs a copy from its start to its end. nil means that its engine believes the tables to be swapped.
func (c *copyRun) supervise(ctx context.Context) error {
	job, err := c.job()
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.copy = c.engine.New(job)
	c.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	watch := []func(context.Context) error{c.watchLock, c.watchRole, c.keepReporting}
	if full := c.engine.Full(); full.Workers > 0 {
		c.pace = full.Start()
		watch = append(watch, func(ctx context.Context) error { return c.watchPace(ctx, full) })
	}
	var watchers sync.WaitGroup
	for _, w := range watch {
		watchers.Go(func() {
			if err := w(ctx); err != nil {
				cancel(err)
			}
		})
	}
	err = c.copy.Run(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !Final(err) {
		err = cause // what broke is a consequence
	}
	cancel(errCopyEnded)
	watchers.Wait()
	return err
}

func (c *copyRun) job() (copy.Job, error) {
	j := copy.Job{
		Target: c.plan.Target, Names: c.names, DB: c.db, Server: c.server, Credentials: c.writer().Credentials(),
		Clauses: c.plan.Change.CopyClauses(c.names.Ghost), From: c.plan.Current.Hash, To: c.plan.Desired.Hash, Resume: c.resume, Note: c.note,
		Rows: c.plan.Rows, Lossy: lossyColumns(c.plan.Findings), MayNotFit: c.mayNotFit(),
		LockWaitTimeout: c.settings.LockWaitTimeout, Retries: c.settings.Retries, MaxLag: c.settings.MaxLag,
		Replicas: c.settings.Replicas, ChunkSize: c.settings.ChunkSize, Child: c.Child,
		Control: c.control, Logger: c.logger, Host: c,
	}
	if j.Clauses == "" {
		return j, c.refuse("the change cannot be made in one ALTER of a copy")
	}
	return j, nil
}

// mayNotFit tells whether a value that is written during the copy may not fit the new definition, although none in the table
// is so and no loss was permitted.
func (c *copyRun) mayNotFit() bool {
	return len(c.plan.Change.Findings) > 0 && len(c.plan.Findings) == 0
}

// What follows makes copyRun a copy.Host.

// Enter changes what the run says it is doing.
func (c *copyRun) Enter(phase, why string) {
	c.mu.Lock()
	c.phase, c.why = phase, why
	c.mu.Unlock()
	c.Publish()
}

// Gate blocks while the operator said PAUSE, or the pace is to rest.
func (c *copyRun) Gate(ctx context.Context) error {
	for {
		said := c.control.Changed()
		c.mu.Lock()
		rests, changed := c.pace.Rest, c.changed
		c.mu.Unlock()
		if c.control.Get() == PrivOK && !rests {
			return nil
		}
		select {
		case <-said:
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Resting tells whether Gate would block.
func (c *copyRun) Resting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pace.Rest || c.control.Get() != PrivOK
}

// Pace is how many workers may copy now, and how long one of their statements should take.
func (c *copyRun) Pace() (workers int, chunk time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pace.Workers, c.pace.Chunk
}

// openFor is how long a transaction must have been open on the table to be waited for: an attempt would outlast a
// shorter one, and fail against a longer one after holding up everybody.
const openFor = time.Second

// Opportunity tells why a cut-over has no chance now: a long transaction has the table, or somebody keeps definitions from being
// changed. A session whose writes the engine does not see is an error.
func (c *copyRun) Opportunity(ctx context.Context) (string, error) {
	if err := c.odd(ctx); err != nil {
		return "", err
	}
	if who := holder(ctx, c.db, c.plan.Database, c.plan.Table, openFor); who != "" {
		return who, nil
	}
	blockers, err := mysql.Blockers(ctx, c.db)
	if err == nil && len(blockers) > 0 { // performance_schema may be closed to us: an attempt tells
		return blockers[0].String(), nil
	}
	return "", nil
}

// odd looks at the sessions again.
func (c *copyRun) odd(ctx context.Context) error {
	sessions, err := preflight.ReadSessions(ctx, c.db)
	if err != nil {
		return err
	}
	refusal, err := preflight.First(ctx, c.db, preflight.Sessions(c.engine.Checks()), preflight.Facts{Sessions: sessions})
	if err == nil && refusal != nil {
		err = errors.New(refusal.Reason)
	}
	return err
}

// StillOurs fails when another run may be at work on the table.
func (c *copyRun) StillOurs(ctx context.Context) error { return c.lock.Check(ctx) }

// HeldBy tells who holds the table.
func (c *copyRun) HeldBy(ctx context.Context) string { return c.heldBy(ctx, c.db) }

// Refuse makes a final error.
func (c *copyRun) Refuse(format string, args ...any) error { return c.refuse(format, args...) }

var _ copy.Host = (*copyRun)(nil)

// keepReporting reports the progress of the copy four times a second.
func (c *copyRun) keepReporting(ctx context.Context) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.Publish()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
