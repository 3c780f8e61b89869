package osc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/wait"
)

// Runner runs plans. Its fields are set once, then it is safe for concurrent use; one table is altered by one run at a
// time, whoever runs it.
type Runner struct {
	Pool *mysql.Pool
	// Writer is for all that is written to the binary log, of an account without SUPER and CONNECTION_ADMIN: what it writes fails once the
	// server is read_only, whoever made it so (I7). nil = Pool, whose account has to pass read_only to work on replicas.
	Writer    *mysql.Pool
	Leftovers Leftovers
	Log       *slog.Logger // nil = slog.Default
	// Child is the argv of a process for one copy: the own binary and its sub-command ChildCommand.
	Child []string
	Token string // of this process, recorded with each leftover
	// LockName names the lock for a purpose, so that nobody else can take it (aoscdb.Store.LockName); nil = the purpose itself.
	LockName func(ctx context.Context, purpose string) (string, error)
	// Wanted tells whether the alter of a dead run is still to be made, so that what it copied is kept for another run; nil = never.
	Wanted func(ctx context.Context, l Leftover) (bool, error)
	// Replicas are those of a cluster, whose lag paces Clean; nil = none are known.
	Replicas func(cluster string) []mysql.Addr
}

func (r *Runner) log() *slog.Logger {
	if r.Log != nil {
		return r.Log
	}
	return slog.Default()
}

// writer is the pool for what is replicated.
func (r *Runner) writer() *mysql.Pool {
	if r.Writer != nil {
		return r.Writer
	}
	return r.Pool
}

// lockPatience is how long a run waits for the lock of its table: Clean holds it for a few seconds at a time.
const lockPatience = 20 * time.Second

// tableLock names the lock that every run, and every clean-up, holds on the server whose table it touches.
func (r *Runner) tableLock(ctx context.Context, database, table string) (string, error) {
	purpose := "aosc.table." + database + "." + table
	if r.LockName == nil {
		return purpose, nil
	}
	return r.LockName(ctx, purpose)
}

// run is one call of Run.
type run struct {
	*Runner
	plan     Plan
	settings Settings
	control  *Control
	report   func(Progress)
	lock     *mysql.Lock
	logger   *slog.Logger
}

// Run brings one target to the form its plan desires. It returns when nothing of it is left running, also when ctx ends.
//
// Errors: ErrStopped after STOP, *RefusedError and *VerifyError are final; others are of the moment, another try of a fresh
// plan may succeed. With any error the table has the form it had (I5), except after a change of several statements
// (partitions) whose first ones were done. The outcome is read from the server: when the form is there, the run has
// succeeded, whatever an engine says, and the other way round.
func (r *Runner) Run(ctx context.Context, p Plan, s Settings, c *Control, report func(Progress)) (Outcome, error) {
	if report == nil {
		report = func(Progress) {}
	}
	if p.Refused != "" {
		if p.Final {
			return Outcome{}, &RefusedError{Target: p.Target, Reason: p.Refused}
		}
		return Outcome{}, fmt.Errorf("%s: %s", p.Target, p.Refused)
	}
	if p.Engine == EngineNone {
		return Outcome{Engine: EngineNone, Form: p.Current}, nil
	}
	ctx, release := untilStop(ctx, c)
	defer release()
	pool := r.writer()
	if s.NoBinlog {
		pool = r.Pool
	}
	db, err := pool.DB(p.Addr)
	if err != nil {
		return Outcome{}, err
	}
	lock, err := r.takeTableLock(ctx, db, p.Target)
	if err != nil {
		return Outcome{}, err
	}
	defer lock.Release()
	run := &run{Runner: r, plan: p, settings: s.withDefaults(), control: c, report: report, lock: lock,
		logger: r.log().With("tier", p.Tier, "instance", p.Addr.String(), "database", p.Database, "table", p.Table)}
	outcome, err := run.do(ctx, db)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) && !Final(err) {
			err = fmt.Errorf("%w (%w)", cause, err) // what broke is a consequence
		}
		return Outcome{}, run.named(err)
	}
	report(Progress{Database: p.Database, Engine: outcome.Engine, State: StateDone, Fraction: 1,
		RowsCopied: p.Rows, RowsTotal: p.Rows})
	return outcome, nil
}

// untilStop is a context that ends with STOP, for the cause ErrStopped. release must be called.
func untilStop(ctx context.Context, c *Control) (stoppable context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		for {
			changed := c.Changed()
			switch c.Get() {
			case PrivStop:
				cancel(ErrStopped)
				return
			case PrivLeave:
				cancel(ErrLeft)
				return
			case PrivOK, PrivPause:
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(nil); <-watching }
}

// named adds the target to errors that do not name it themselves.
func (r *run) named(err error) error {
	if Final(err) {
		return err
	}
	return fmt.Errorf("%s: %w", r.plan.Target, err)
}

func (r *run) refuse(format string, args ...any) error {
	return &RefusedError{Target: r.plan.Target, Reason: fmt.Sprintf(format, args...)}
}

// do runs the plan's engine, and the next one where the server turns out not to be able to do it that way.
func (r *run) do(ctx context.Context, db *sql.DB) (Outcome, error) {
	for {
		var outcome Outcome
		var err error
		switch engine := copier(r.plan.Engine); {
		case engine != nil:
			outcome, err = r.copyBy(ctx, engine)
		case r.plan.Engine.copies():
			return Outcome{}, r.refuse("%s", unknownEngine(r.plan.Engine))
		default:
			outcome, err = r.direct(ctx, db)
		}
		if err == nil || !mysql.IsUnsupportedAlter(err) {
			return outcome, err
		}
		r.logger.Info("the server cannot alter this table that way", "engine", r.plan.Engine, "error", err)
		if err := r.degrade(ctx, db, err); err != nil {
			return Outcome{}, err
		}
	}
}

// degrade replaces the engine by the next one. The proof was made on an empty copy; the real table may have had its last
// INSTANT change (4092), or rows in an old format.
func (r *run) degrade(ctx context.Context, db *sql.DB, cause error) error {
	f := r.plan.Facts
	switch r.plan.Engine {
	case EngineInstant:
		f.Instant = false
	case EngineInplace:
		f.Inplace = false
	default:
		return cause
	}
	engine, refused := Choose(f)
	if engine.copies() && refused == "" {
		plan := r.plan
		plan.Engine = engine
		refusal, err := examineCopy(ctx, db, plan)
		if err != nil {
			return err
		}
		if refusal != nil && !refusal.Passing {
			f.NoCopy = refusal.Reason
			engine, refused = Choose(f)
		}
	}
	r.plan.Facts, r.plan.Engine = f, engine
	if refused != "" {
		return r.refuse("%s (%v)", refused, cause)
	}
	return nil
}

// takeTableLock waits a little for the lock of a table. The error is ErrBusy when another process keeps it.
func (r *Runner) takeTableLock(ctx context.Context, db *sql.DB, t Target) (*mysql.Lock, error) {
	name, err := r.tableLock(ctx, t.Database, t.Table)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	deadline := time.Now().Add(lockPatience)
	for {
		lock, ok, err := mysql.TryLock(ctx, db, name)
		if err != nil && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t, err)
		}
		if ok {
			return lock, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s: %w", t, ErrBusy)
		}
		if err := wait.For(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// definition reads what a table is now, on a connection prepared by schema.ShowSession; false when it is missing.
func definition(ctx context.Context, q schema.Querier, database, table string) (schema.Form, bool, error) {
	text, err := schema.ShowCreate(ctx, q, database, table)
	if mysql.IsNoSuchTable(err) || mysql.IsNoSuchDatabase(err) {
		return schema.Form{}, false, nil
	}
	if err != nil {
		return schema.Form{}, false, err
	}
	form, err := schema.Normalise(text)
	if err != nil {
		return schema.Form{Text: text}, true, nil // something else than a table we know: equal to no form
	}
	return form, true, nil
}

// errNotPrimary: the role of a server is of the moment, so this is no final refusal.
var errNotPrimary = errors.New("not a writable primary")

// checkRole makes sure that what is about to be written to the binary log is written on the primary: anywhere else it
// would be an errant transaction (I7). A run on one instance alone writes none, it only needs a server that takes DDL.
func checkRole(ctx context.Context, db *sql.DB, s Settings) error {
	var readOnly, superReadOnly bool
	if err := db.QueryRowContext(ctx, "SELECT @@global.read_only, @@global.super_read_only").Scan(&readOnly, &superReadOnly); err != nil {
		return fmt.Errorf("find out whether the server takes writes: %w", err)
	}
	switch {
	case s.NoBinlog && superReadOnly:
		return errors.New("the server is super_read_only: it takes no DDL, not even unlogged")
	case s.NoBinlog:
		return nil
	case readOnly || superReadOnly:
		return fmt.Errorf("%w: the server is read_only", errNotPrimary)
	}
	status, err := mysql.ReadReplicaStatus(ctx, db)
	if err != nil {
		return fmt.Errorf("find out whether the server is a replica: %w", err)
	}
	if status != nil {
		return fmt.Errorf("%w: the server is a replica of %s", errNotPrimary, status.Source)
	}
	return nil
}
