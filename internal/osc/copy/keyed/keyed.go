// Package keyed is the adapter of the engine in internal/osc/keyed to the port of package copy.
package keyed

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy"
	"github.com/aosc/aosc/internal/osc/keyed"
	"github.com/aosc/aosc/internal/osc/pace"
)

// workers move rows at a time, and as many apply changes.
const workers = 3

// Engine is the engine by the name 'keyed'.
type Engine struct{}

// Name is the value of copy_engine.
func (Engine) Name() string { return "keyed" }

// Full is its pace when nothing slows it.
func (Engine) Full() pace.Full { return pace.Full{Workers: workers, Chunk: keyed.ChunkTime} }

// New prepares a copy.
func (Engine) New(job copy.Job) copy.Copy { return &run{Job: job, began: time.Now()} }

// Trace is what the connections of a dead process may be at for a moment, and its progress.
func (Engine) Trace() copy.Trace { return copy.Trace{Marker: keyed.Marker, Source: source} }

// source is the definition that a copy was made from whose progress is there.
func source(ctx context.Context, db *sql.DB, database string, names copy.Names) (string, error) {
	saved, err := keyed.Find(ctx, db, database, names.Changelog)
	if saved == nil || err != nil {
		return "", err
	}
	return saved.Source(), nil
}

// Left looks for the progress of an earlier run.
func (Engine) Left(ctx context.Context, job copy.Job) (copy.Left, error) {
	saved, err := keyed.Find(ctx, job.DB, job.Database, job.Names.Changelog)
	if saved == nil || err != nil {
		return copy.Left{}, err
	}
	reason, err := saved.Judge(ctx, (&run{Job: job}).about())
	return copy.Left{Found: true, Unusable: reason, Rows: saved.Copied()}, err
}

// about is what of the request progress is judged by.
func (r *run) about() keyed.Request {
	return keyed.Request{DB: r.DB, Database: r.Database, Table: r.Table, Ghost: r.Names.Ghost, Old: r.Names.Old, Progress: r.Names.Changelog,
		From: r.From, To: r.To, Resume: r.Resume, Clauses: r.Clauses, Lossy: r.Lossy}
}

// run is one copy: it runs in this process.
type run struct {
	copy.Job
	began time.Time

	mu      sync.Mutex
	copy    *keyed.Copy // nil until it is made
	foreign bool        // a table stands where the new one was to be made
}

// Run copies, verifies and swaps. nil means that the tables are swapped.
func (r *run) Run(ctx context.Context) error {
	r.Host.Enter(copy.StateCopying, r.Note)
	req, err := r.request(ctx)
	if err != nil {
		return err
	}
	made, err := keyed.New(ctx, req)
	r.mu.Lock()
	r.copy, r.foreign = made, mysql.IsNumber(err, mysql.ErrTableExists)
	r.mu.Unlock()
	if err != nil {
		return r.final(err)
	}
	return r.final(made.Run(ctx))
}

// Abandon does nothing: its statements fail on a server that takes no writes.
func (r *run) Abandon() {}

// Failure is nil: Run tells all that it knows.
func (r *run) Failure() error { return nil }

// Foreign tells whether a table stood where the new one was to be made.
func (r *run) Foreign() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.foreign
}

// Progress is how far it is.
func (r *run) Progress() copy.Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.copy == nil {
		return copy.Progress{}
	}
	s := r.copy.Status()
	own := s.Copied - s.Resumed
	return copy.Progress{Copied: s.Copied, Compared: s.Compared, Lag: s.Lag, LagKnown: true,
		ETA: remaining(time.Since(r.began), own, r.Rows-min(s.Resumed, r.Rows))}
}

// remaining is how long the rest of a copy takes at its rate so far, 0 = unknown.
func remaining(took time.Duration, done, all uint64) time.Duration {
	if done == 0 || done >= all {
		return 0
	}
	return time.Duration(float64(took) / float64(done) * float64(all-done))
}

// final tells errors that another try cannot mend from those of the moment. A value that does not fit and was not there when the plan
// was made is of the moment: the next plan finds it, and says what would be lost.
func (r *run) final(err error) error {
	var unfit *keyed.UnfitError
	var fit *keyed.FitError
	switch {
	case errors.Is(err, keyed.ErrTaken):
		return fmt.Errorf("%w: %w", copy.ErrLeft, err)
	case errors.As(err, &unfit):
		return r.Host.Refuse("%s", unfit.Reason)
	case errors.As(err, &fit) && r.MayNotFit:
		return fmt.Errorf("written since the plan was made: %w", err)
	case errors.As(err, &fit):
		return r.Host.Refuse("the rows do not fit the new definition: %v", fit)
	}
	return err
}

func (r *run) request(ctx context.Context) (keyed.Request, error) {
	cred := r.Credentials
	q := r.about()
	q.Addr, q.User, q.Password, q.RowsEstimate = r.Addr, cred.User, cred.Password, r.Rows
	q.LowerCaseNames, q.Workers, q.LockWaitTimeout, q.Retries = r.Server.LowerCaseTableNames > 0, workers, r.LockWaitTimeout, r.Retries
	q.Gate, q.Resting, q.Opportunity, q.Unchanged = r.Host.Gate, r.Host.Resting, r.Host.Opportunity, r.Host.Unchanged
	q.StillOurs, q.Phase, q.Logger = r.Host.StillOurs, r.phase, r.Logger
	q.Pace, q.Held = r.Host.Pace, func() string { return r.Control.Terms().Gate }
	if r.ChunkSize != copy.DefaultChunkSize {
		q.MaxChunk = r.ChunkSize
	}
	if cred.Passwords != nil {
		if all := cred.Passwords(); len(all) > 0 {
			q.Password = all[0]
		}
	}
	config, plain, err := cred.TLSConfig(r.Addr)
	if err != nil {
		return q, err
	}
	var cipher, unused string
	if err := r.DB.QueryRowContext(ctx, "SHOW SESSION STATUS LIKE 'Ssl_cipher'").Scan(&unused, &cipher); err != nil {
		return q, fmt.Errorf("find out whether connections are encrypted: %w", err)
	}
	if cipher != "" || !plain {
		q.TLS = config
	}
	q.ServerID, err = copy.FreeServerID(r.Server.ServerID)
	return q, err
}

// phase is told what the copy is at.
func (r *run) phase(phase, detail string) {
	states := map[string]string{keyed.PhaseCopying: copy.StateCopying, keyed.PhaseVerifying: copy.StateVerifying,
		keyed.PhaseGate: copy.StateGate, keyed.PhaseWaiting: copy.StateCuttingOver, keyed.PhaseCuttingOver: copy.StateCuttingOver}
	if phase == keyed.PhaseCopying && detail == "" {
		detail = r.Note
	}
	if phase == keyed.PhaseWaiting {
		detail = "waits: " + detail
	}
	r.Host.Enter(states[phase], detail)
}
