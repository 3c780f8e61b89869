package ghost

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy"
	"github.com/aosc/aosc/internal/osc/pace"
	"github.com/aosc/aosc/internal/osc/verify"
)

// Fault points of a child's parent.
var (
	faultBegun         = fault.Register("osc.ghost.started", "the child is started")
	faultHeard         = fault.Register("osc.ghost.copying", "passed at each status of a child that copies rows")
	faultVerifyBefore  = fault.Register("osc.verify.before", "all rows are copied, nothing is compared yet")
	faultVerifyAfter   = fault.Register("osc.verify.after", "original and copy are found equal")
	faultCutoverBefore = fault.Register("osc.cutover.before", "about to command the cut-over")
	faultCutoverAfter  = fault.Register("osc.cutover.after", "the child has ended after the cut-over, its outcome is not read yet")
)

const (
	startLimit = 2 * time.Minute // from the start of a child to its first row: longer is a hang
	stuckLimit = 2 * time.Minute // without any sign of life from a child
	// cutOverLock is gh-ost's cut-over-lock-timeout. An attempt in vain holds up the application for twice as long; below 2 s
	// a good one would lose against gh-ost's own one-second sleeps.
	cutOverLock = 2 * time.Second
	// cutOverLimit is far more than an attempt can take: 2x cutOverLock for the lock, 1x for events, 1x for the rename.
	cutOverLimit = 60 * time.Second
	// verifyFactor makes chunks of the comparison larger than those of the copy: they lock nothing.
	verifyFactor = 5
	// marker begins a comment in each statement of gh-ost's.
	marker = "/* gh-ost"
)

// Engine is the adapter of gh-ost to the port of package copy.
type Engine struct{}

// Name is the value of copy_engine.
func (Engine) Name() string { return "ghost" }

// Full is the zero value: it is given the replicas, and paces itself.
func (Engine) Full() pace.Full { return pace.Full{} }

// New prepares a copy.
func (Engine) New(job copy.Job) copy.Copy { return &run{Job: job} }

// Left finds nothing: a copy whose process has died is of no use.
func (Engine) Left(context.Context, copy.Job) (copy.Left, error) { return copy.Left{}, nil }

// Trace is what a child that was killed leaves on its server.
func (Engine) Trace() copy.Trace {
	return copy.Trace{Marker: marker, Placeholder: OldSentinel, Beats: beating}
}

// run is one copy.
type run struct {
	copy.Job

	mu         sync.Mutex // guards child
	child      *child     // nil until it is started
	compared   atomic.Uint64
	comparison *verify.Comparison
}

// started is the child, nil when there is none yet.
func (c *run) started() *child {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.child
}

// Progress is what the child said last.
func (c *run) Progress() copy.Progress {
	child := c.started()
	if child == nil {
		return copy.Progress{}
	}
	s, _ := child.latest()
	p := copy.Progress{Copied: uint64(max(s.RowsCopied, 0)), Total: uint64(max(s.RowsTotal, 0)), Compared: c.compared.Load(), ETA: s.ETA,
		Lag: s.Lag, LagKnown: s.Ghost != "", Waits: s.Phase == PhasePostponed || s.Phase == PhaseCuttingOver,
		Swapping: s.Phase == PhaseCuttingOver}
	if s.Throttled {
		p.Rests = cmp.Or(s.Reason, "throttled")
	}
	return p
}

// Abandon kills the child: it has no time to be polite.
func (c *run) Abandon() {
	if child := c.started(); child != nil {
		child.abandon()
	}
}

// Failure is what the child said last.
func (c *run) Failure() error {
	if child := c.started(); child != nil {
		return child.ended()
	}
	return nil
}

// Foreign tells whether gh-ost gave up over a table that it found.
func (c *run) Foreign() bool {
	child := c.started()
	return child != nil && strings.Contains(child.failure(), "already exists. Panicking")
}

// Run runs the child from its start to its end. nil means that it ended by itself after its cut-over was commanded.
func (c *run) Run(ctx context.Context) error {
	socket, remove, err := SocketDir()
	if err != nil {
		return err
	}
	defer remove() // a directory left in TMPDIR does no harm
	spec, err := c.spec(ctx, socket)
	if err != nil {
		return err
	}
	child, err := startChild(c.Child, spec)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.child = child
	c.mu.Unlock()
	fault.Point(faultBegun)
	ctx, cancel := context.WithCancelCause(ctx)
	var watchers sync.WaitGroup
	for _, watch := range []func(context.Context) error{c.watchChild, c.obey} {
		watchers.Go(func() { cancel(watch(ctx)) })
	}
	err = c.phases(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !copy.Final(err) {
		err = cause // what broke is a consequence
	}
	cancel(err)
	c.child.stop()
	watchers.Wait()
	return err
}

// spec are the child's orders.
func (c *run) spec(ctx context.Context, socket string) (Spec, error) {
	cred := c.Credentials
	s := Spec{
		Addr: c.Addr, User: cred.User, Password: cred.Password,
		TLS: cred.TLS != "", TLSUnverified: cred.TLS != "required",
		Database: c.Database, Table: c.Table, Clauses: c.Clauses,
		SocketFile: socket, ChunkSize: c.ChunkSize, MaxLag: c.MaxLag, Replicas: c.Replicas,
		SkipPortValidation: c.Server.Port != c.Addr.Port, CutOverLockTimeout: cutOverLock,
		PanicOnWarnings: c.MayNotFit,
	}
	if cred.TLS == "required" && cred.Authority != nil {
		by, err := cred.Authority(c.Addr)
		if err != nil {
			return s, err
		}
		s.CA, s.TLSUnverified = by.PEM, by.Unproven
	}
	if s.Clauses == "" {
		return s, c.Host.Refuse("the change cannot be made in one ALTER of a copy")
	}
	if strings.Contains(cred.User, ":") {
		return s, c.Host.Refuse("gh-ost cannot use an account with a colon in its name (%s)", cred.User)
	}
	var cipher, unused string
	if err := c.DB.QueryRowContext(ctx, "SHOW SESSION STATUS LIKE 'Ssl_cipher'").Scan(&unused, &cipher); err != nil {
		return s, fmt.Errorf("find out whether connections are encrypted: %w", err)
	}
	s.TLS = s.TLS && cipher != "" // 'preferred' on a server that cannot
	// Where performance_schema is off or closed to us, gh-ost has to do without it.
	var enabled string
	err := c.DB.QueryRowContext(ctx, "SELECT enabled FROM performance_schema.setup_instruments WHERE name = "+
		"'wait/lock/metadata/sql/mdl'").Scan(&enabled)
	s.SkipMetadataLockCheck = err != nil || enabled != "YES"
	list, err := mysql.Processlist(ctx, c.DB)
	if err != nil {
		return s, err
	}
	s.ReadableProcesslist = list == mysql.PerformanceProcesslist
	if !s.ReadableProcesslist {
		if err := c.refuseBlindCutOver(ctx); err != nil {
			return s, err
		}
	}
	s.ServerID, err = copy.FreeServerID(c.Server.ServerID)
	return s, err
}

// refuseBlindCutOver refuses a copy on a server where gh-ost could not see its own RENAME wait (see the package ghost), and
// where that cannot be corrected: it would hold up the application in one cut-over after the other, in vain.
func (c *run) refuseBlindCutOver(ctx context.Context) error {
	blind, err := processlistBreaks(ctx, c.DB)
	if err != nil || !blind {
		return err
	}
	return c.Host.Refuse("information_schema.processlist of this server cannot be read while a session runs a statement with a character " +
		"outside of utf8mb3, and gh-ost reads it during its cut-over; start the server with performance_schema, which can take its place")
}

// processlistBreaks tries it: a session that runs such a statement, and another that reads the list.
func processlistBreaks(ctx context.Context, db *sql.DB) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sleeping := make(chan struct{})
	go func() {
		defer close(sleeping)
		// It ends by itself soon; its result is of no interest.
		_, _ = db.ExecContext(ctx, "DO SLEEP(0.3) /* \U0001F600 */")
	}()
	defer func() { <-sleeping }()
	for {
		var n int
		err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%no such statement%'").Scan(&n)
		if mysql.IsNumber(err, mysql.ErrCannotConvert) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		select {
		case <-sleeping:
			return false, nil
		default:
		}
	}
}

// obey carries PAUSE and OK to gh-ost by its own commands. STOP ends the context of the run.
func (c *run) obey(ctx context.Context) error {
	said := copy.PrivOK
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		changed := c.Control.Changed()
		want := c.Control.Get()
		var again <-chan time.Time
		if want != said {
			command := CommandNoThrottle
			if want == copy.PrivPause {
				command = CommandThrottle
			}
			if c.child.command(ctx, command) == nil {
				said = want
				c.Host.Publish()
			} else {
				again = retry.C // it does not listen before it begins to copy
			}
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
