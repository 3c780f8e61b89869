package osc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/ghost"
	"github.com/aosc/aosc/internal/osc/keyed"
)

// keyedRun is what is particular to a copy by the package keyed: it runs in this process.
type keyedRun struct {
	began   time.Time
	foreign bool // a table stands where the new one was to be made

	mu        sync.Mutex
	copy      *keyed.Copy // nil until it is made
	throttled string      // why it rests, "" = it does not
	changed   chan struct{}
}

// superviseKeyed runs a copy from its start to its end. nil means that the tables are swapped.
func (c *copyRun) superviseKeyed(ctx context.Context) error {
	c.keyed = &keyedRun{began: time.Now(), changed: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(ctx)
	var watchers sync.WaitGroup
	for _, watch := range []func(context.Context) error{c.watchLock, c.watchRole, c.watchLag, c.keepReporting} {
		watchers.Go(func() {
			if err := watch(ctx); err != nil {
				cancel(err)
			}
		})
	}
	err := c.runKeyed(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !Final(err) {
		err = cause // what broke is a consequence
	}
	cancel(errKeyedEnded)
	watchers.Wait()
	return c.finalKeyed(err)
}

var errKeyedEnded = errors.New("the copy has ended")

func (c *copyRun) runKeyed(ctx context.Context) error {
	c.enter(StateCopying, "")
	req, err := c.keyedRequest(ctx)
	if err != nil {
		return err
	}
	made, err := keyed.New(ctx, req)
	if err != nil {
		c.keyed.foreign = mysql.IsNumber(err, mysql.ErrTableExists)
		return err
	}
	c.keyed.mu.Lock()
	c.keyed.copy = made
	c.keyed.mu.Unlock()
	return made.Run(ctx)
}

// finalKeyed tells errors that another try cannot mend from those of the moment. A value that does not fit and was not there when the plan
// was made is of the moment: the next plan finds it, and says what would be lost.
func (c *copyRun) finalKeyed(err error) error {
	var unfit *keyed.UnfitError
	var fit *keyed.FitError
	switch {
	case errors.As(err, &unfit):
		return c.refuse("%s", unfit.Reason)
	case errors.As(err, &fit) && c.mayNotFit():
		return fmt.Errorf("written since the plan was made: %w", err)
	case errors.As(err, &fit):
		return c.refuse("the rows do not fit the new definition: %v", fit)
	}
	return err
}

// keyedWorkers move rows at a time, and as many apply changes.
const keyedWorkers = 3

func (c *copyRun) keyedRequest(ctx context.Context) (keyed.Request, error) {
	cred := c.writer().Credentials()
	r := keyed.Request{
		DB: c.db, Addr: c.plan.Addr, User: cred.User, Password: cred.Password,
		Database: c.plan.Database, Table: c.plan.Table, Ghost: c.names.Ghost, Old: c.names.Old,
		Clauses: c.plan.Change.CopyClauses(c.names.Ghost), Lossy: c.lossy(), RowsEstimate: c.plan.Rows,
		LowerCaseNames: c.server.LowerCaseTableNames > 0, Workers: keyedWorkers, LockWaitTimeout: c.settings.LockWaitTimeout,
		Retries: c.settings.Retries, Gate: c.keyedGate, Resting: func() bool { return c.keyed.resting() != "" || c.control.Get() != PrivOK },
		Opportunity: c.keyedOpportunity, Unchanged: c.unchanged, StillOurs: c.lock.Check, Phase: c.keyedPhase, Logger: c.logger,
	}
	if c.settings.ChunkSize != DefaultChunkSize {
		r.MaxChunk = c.settings.ChunkSize
	}
	if r.Clauses == "" {
		return r, c.refuse("the change cannot be made in one ALTER of a copy")
	}
	if cred.Passwords != nil {
		if all := cred.Passwords(); len(all) > 0 {
			r.Password = all[0]
		}
	}
	config, plain, err := cred.TLSConfig(c.plan.Addr)
	if err != nil {
		return r, err
	}
	var cipher, unused string
	if err := c.db.QueryRowContext(ctx, "SHOW SESSION STATUS LIKE 'Ssl_cipher'").Scan(&unused, &cipher); err != nil {
		return r, fmt.Errorf("find out whether connections are encrypted: %w", err)
	}
	if cipher != "" || !plain {
		r.TLS = config
	}
	r.ServerID, err = freeServerID(c.server.ServerID)
	return r, err
}

// keyedPhase is told what the copy is at.
func (c *copyRun) keyedPhase(phase, detail string) {
	states := map[string]string{keyed.PhaseCopying: StateCopying, keyed.PhaseVerifying: StateVerifying, keyed.PhaseWaiting: StateCuttingOver,
		keyed.PhaseCuttingOver: StateCuttingOver}
	if phase == keyed.PhaseWaiting {
		detail = "waits: " + detail
	}
	c.enter(states[phase], detail)
}

// keyedGate blocks while the operator said PAUSE, or a replica lags.
func (c *copyRun) keyedGate(ctx context.Context) error {
	for {
		said := c.control.Changed()
		c.keyed.mu.Lock()
		throttled, changed := c.keyed.throttled, c.keyed.changed
		c.keyed.mu.Unlock()
		if c.control.Get() == PrivOK && throttled == "" {
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

// keyedOpportunity tells why a cut-over has no chance now: a long transaction has the table, or somebody keeps definitions from being
// changed.
func (c *copyRun) keyedOpportunity(ctx context.Context) (string, error) {
	if odd, err := oddSessions(ctx, c.db, EngineKeyed); err != nil {
		return "", err
	} else if odd != "" {
		return "", errors.New(odd)
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

// resting is why the copy rests, "" when it does not.
func (k *keyedRun) resting() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.throttled
}

// rest changes why the copy rests.
func (k *keyedRun) rest(why string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if (k.throttled == "") != (why == "") {
		close(k.changed)
		k.changed = make(chan struct{})
	}
	k.throttled = why
}

// status is how far the copy is, in the terms of publish.
func (k *keyedRun) status() ghost.Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := ghost.Status{Throttled: k.throttled != "", Reason: k.throttled}
	if k.copy != nil {
		now := k.copy.Status()
		s.RowsCopied, s.Lag, s.Ghost = int64(now.Copied), now.Lag, "keyed"
	}
	return s
}

func (k *keyedRun) compared() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.copy == nil {
		return 0
	}
	return k.copy.Status().Compared
}

// keepReporting reports the progress of the copy four times a second.
func (c *copyRun) keepReporting(ctx context.Context) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.publish()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
