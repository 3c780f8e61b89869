package keyed

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/wait"
)

// Request is one copy.
type Request struct {
	DB       *sql.DB // the server, as an account that writes; 3 * Workers + 10 connections are used
	Addr     mysql.Addr
	User     string
	Password string
	TLS      *tls.Config // of the connection that reads the binary log; nil = none
	ServerID uint32      // as which it is read: unique among replicas and other copies

	Database, Table, Ghost, Old string
	// Progress is the table beside the ghost in which it is noted how far the copy is, so that another run can go on; "" = nothing is noted.
	Progress string
	// From and To stand for the definitions of the table and of what it becomes. Progress of a copy between others is worth nothing.
	From, To string
	// Resume tells New to go on from what the progress table says, which Saved.Judge has found to be usable.
	Resume         bool
	Clauses        string          // what follows ALTER TABLE <name>, for the ghost
	Lossy          map[string]bool // columns (lower case) in which the operator permitted a loss
	RowsEstimate   uint64
	LowerCaseNames bool // names of tables do not depend on case

	Workers         int // that copy, and that apply
	MaxChunk        int // rows
	LockWaitTimeout time.Duration
	Retries         int // attempts at the cut-over
	// CatchUp is for how long a copy goes on whose backlog of changes does not become smaller; 0 = DefaultCatchUp.
	CatchUp time.Duration

	// Gate blocks while the copy should rest: paused, or throttled. Its error ends the copy.
	Gate func(context.Context) error
	// Pace is how many workers may copy at the moment, and how long a chunk should take; nil = Workers, and ChunkTime.
	Pace func() (workers int, chunk time.Duration)
	// Held tells why the copy must not be swapped in yet although it could be: the operator's word is missing. "" = it may be.
	Held func() string
	// Resting tells whether Gate would block.
	Resting func() bool
	// Opportunity tells why a cut-over has no chance now, "" when it has one.
	Opportunity func(context.Context) (string, error)
	// Unchanged fails when the table is no longer what the copy was begun for.
	Unchanged func(context.Context) error
	// StillOurs fails when another run may be at work on the table: this one was taken for dead. It is asked while the tables are locked, so
	// that no other can begin until they are swapped.
	StillOurs func(context.Context) error
	// Phase hears what the copy is at.
	Phase  func(phase, detail string)
	Logger *slog.Logger
}

// Phases.
const (
	PhaseCopying     = "copying"
	PhaseVerifying   = "verifying"
	PhaseGate        = "gate"    // equal to the table, kept so, waiting for the operator's word
	PhaseWaiting     = "waiting" // for an opportunity to cut over
	PhaseCuttingOver = "cutting over"
)

// Defaults of Request.
const (
	DefaultWorkers  = 4
	DefaultMaxChunk = 50_000
	DefaultCatchUp  = 10 * time.Minute
)

// Status is how far a copy is.
type Status struct {
	Copied   uint64        // rows, Resumed included
	Resumed  uint64        // rows that an earlier run had copied
	Compared uint64        // rows
	Applied  uint64        // keys
	Backlog  int           // keys that are known and not applied
	Lag      time.Duration // of what is read from the binary log
}

// Copy is a copy under way.
type Copy struct {
	req     Request
	mover   *mover
	key     key
	stream  *stream
	tracker *tracker
	ledger  *ledger
	queues  []*queue
	chunks  *dispenser
	sizes   sizes
	slots   slots
	recheck *recheck
	keeper  *keeper
	resumed uint64        // rows that an earlier run had copied
	from    mysql.GTIDSet // where the stream begins
	before  mysql.GTIDSet // what was executed before anything was copied, of a copy that goes on
	began   time.Time
	covered *coverage

	comparison *verify.Comparison
	in         chan message

	turn   sync.RWMutex // held for reading while a batch is applied, for writing by the cut-over
	single sync.Mutex   // where rows of other keys may be in the way, one batch is applied at a time

	copied, compared, applied atomic.Uint64
}

// New prepares a copy: the ghost is made, both tables are looked at, nothing is copied yet. An error leaves the ghost behind, if it was
// made; the names of tables that may be left are the caller's to record beforehand.
func New(ctx context.Context, req Request) (*Copy, error) {
	req.Workers = max(req.Workers, 1)
	if req.MaxChunk <= 0 {
		req.MaxChunk = DefaultMaxChunk
	}
	if req.CatchUp <= 0 {
		req.CatchUp = DefaultCatchUp
	}
	if req.Logger == nil {
		req.Logger = slog.Default()
	}
	if req.Phase == nil {
		req.Phase = func(string, string) {}
	}
	c := &Copy{req: req, tracker: newTracker(), in: make(chan message), began: time.Now()}
	var err error
	if c.keeper, err = newKeeper(req); err != nil {
		return nil, err
	}
	if req.Resume {
		return c, c.resume(ctx)
	}
	if err := c.makeGhost(ctx); err != nil {
		return nil, err
	}
	return c, c.look(ctx)
}

// resume goes on with the ghost of an earlier run.
func (c *Copy) resume(ctx context.Context) error {
	saved, err := c.keeper.takeOver(ctx, c.req)
	if err != nil {
		return err
	}
	if c.from, err = mysql.ParseGTIDSet(saved.Position); err != nil {
		return err
	}
	if c.before, err = mysql.ParseGTIDSet(saved.Before); err != nil {
		return err
	}
	c.began = saved.Began
	if err := c.look(ctx); err != nil {
		return err
	}
	if err := c.goOn(saved); err != nil {
		return err
	}
	fault.Point(faultResumed)
	return nil
}

// makeGhost makes the new table, empty, in a session like those of people.
func (c *Copy) makeGhost(ctx context.Context) error {
	table, ghost := mysql.QuoteIdents(c.req.Database, c.req.Table), mysql.QuoteIdents(c.req.Database, c.req.Ghost)
	err := withSession(ctx, c.req.DB, func(ctx context.Context, conn *sql.Conn) error {
		statements := []string{"CREATE TABLE " + ghost + " LIKE " + table + " " + Marker}
		if c.req.Clauses != "" {
			statements = append(statements, "ALTER "+Marker+" TABLE "+ghost+" "+c.req.Clauses)
		}
		for _, s := range statements {
			if _, err := conn.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", abridged(s), err)
			}
		}
		err := c.keeper.create(ctx, conn)
		if mysql.IsNumber(err, mysql.ErrTableExists) { // somebody else's: nothing of ours is left beside it
			_, drop := conn.ExecContext(ctx, "DROP "+Marker+" TABLE IF EXISTS "+ghost)
			err = errors.Join(err, drop)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("make the new table: %w", err)
	}
	return nil
}

// UnfitError says that this table cannot be copied by this engine, whatever the moment.
type UnfitError struct{ Reason string }

func (e *UnfitError) Error() string { return e.Reason }

// look reads both tables and decides by which key they are matched.
func (c *Copy) look(ctx context.Context) error {
	o, err := verify.ReadTable(ctx, c.req.DB, c.req.Database, c.req.Table)
	if err != nil {
		return err
	}
	n, err := verify.ReadTable(ctx, c.req.DB, c.req.Database, c.req.Ghost)
	if err != nil {
		return err
	}
	utc, err := inUTC(ctx, c.req.DB)
	if err != nil {
		return err
	}
	if c.key, err = chooseKey(o, n, o.Keys, utc); err != nil {
		helped, ok := helpedKey(o, n, o.Keys, utc)
		if !ok {
			return &UnfitError{err.Error()}
		}
		c.key = helped
		if err := c.addHelper(ctx); err != nil {
			return err
		}
	}
	if c.mover, err = newMover(o, n, c.key, c.req.Lossy, c.began); err != nil {
		return &UnfitError{err.Error()}
	}
	rows, rowBytes, err := sizeOf(ctx, c.req.DB, c.req.Database, c.req.Table)
	if err != nil {
		return err
	}
	c.sizes = sizesOf(rowBytes, c.req.MaxChunk)
	if rows < uint64(c.sizes.first()) { // it is one chunk: most of the time would go into connections
		c.req.Workers = 1
	}
	columns := make([]string, len(c.key.parts))
	for i, p := range c.key.parts {
		columns[i] = p.original.Name
	}
	c.comparison, err = verify.Prepare(verify.Request{DB: c.req.DB, Original: o, Copy: n,
		Key: verify.Key{Name: c.key.name, Columns: columns, Visible: true}, Index: c.key.index,
		Lossy: c.req.Lossy, ChunkSize: c.req.MaxChunk, RowsEstimate: c.req.RowsEstimate, Gate: c.gate, Health: c.health,
		Progress: func(rows uint64) { c.compared.Store(rows) }})
	if err != nil {
		return &UnfitError{fmt.Sprintf("the copy could not be verified: %v", err)}
	}
	workers := c.req.Workers
	if c.mover.uniques() || !c.key.exact() {
		workers = 1
	}
	for range workers {
		c.queues = append(c.queues, newQueue())
	}
	c.mover.fence = c.keeper.fence
	c.recheck, c.covered = newRecheck(), newCoverage()
	if c.byRange() { // ranges are compared from the beginning on
		c.recheck.start()
	}
	c.chunks = &dispenser{mover: c.mover, tracker: c.tracker}
	return nil
}

// addHelper makes the index that the ghost's rows are found by, where it is not there.
func (c *Copy) addHelper(ctx context.Context) error {
	columns := make([]string, len(c.key.parts))
	for i, p := range c.key.parts {
		columns[i] = p.column(ghost)
	}
	return withSession(ctx, c.req.DB, func(ctx context.Context, conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, fmt.Sprintf("ALTER %s TABLE %s ADD KEY %s (%s)", Marker,
			mysql.QuoteIdents(c.req.Database, c.req.Ghost), mysql.QuoteIdent(helperKey), strings.Join(columns, ", ")))
		if err != nil && !mysql.IsNumber(err, mysql.ErrDupKeyname) {
			return fmt.Errorf("give the new table an index over the columns of key %s: %w", c.key.name, err)
		}
		return nil
	})
}

// exact tells whether equal keys have equal texts: those of text may not, by their collation.
func (k key) exact() bool {
	for _, p := range k.parts {
		if p.kind == kindText {
			return false
		}
	}
	return true
}

// inUTC tells whether the server's time zone is UTC all year round.
func inUTC(ctx context.Context, db *sql.DB) (bool, error) {
	var utc bool
	err := db.QueryRowContext(ctx, `SELECT UPPER(IF(@@GLOBAL.time_zone = 'SYSTEM', @@GLOBAL.system_time_zone, @@GLOBAL.time_zone))
		IN ('+00:00', 'UTC', 'ETC/UTC')`).Scan(&utc)
	return utc, err
}

func (c *Copy) gate(ctx context.Context) error {
	if c.req.Gate == nil {
		return nil
	}
	return c.req.Gate(ctx)
}

// Status is how far the copy is. It may be called at any time.
func (c *Copy) Status() Status {
	s := Status{Copied: c.copied.Load(), Resumed: c.resumed, Compared: c.compared.Load(), Applied: c.applied.Load()}
	if c.ledger != nil {
		s.Backlog = c.ledger.left()
	}
	if c.stream != nil {
		s.Lag = c.stream.lag()
	}
	return s
}

// errDone ends the goroutines of a copy that has come to its end.
var errDone = errors.New("the copy has ended")

// Run copies, verifies and swaps. nil means that the tables are swapped; after an error the server must be asked whether they are,
// and the ghost is still there otherwise. It returns when nothing of it is left running.
func (c *Copy) Run(ctx context.Context) error {
	if err := c.startStream(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var group sync.WaitGroup
	start := func(f func(context.Context) error) {
		group.Go(func() {
			if err := f(ctx); err != nil {
				cancel(err)
			}
		})
	}
	start(c.stream.run)
	start(c.route)
	for _, q := range c.queues {
		start(func(ctx context.Context) error { return c.work(ctx, q) })
	}
	start(c.keepComparing)
	start(c.keep)
	err := c.phases(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // what broke is a consequence
	}
	cancel(errDone)
	group.Wait()
	return err
}

// startStream takes the set from which changes are followed: everything that is not in it comes from the log.
func (c *Copy) startStream(ctx context.Context) error {
	from, err := c.from, error(nil)
	if !c.req.Resume {
		if from, err = mysql.GTIDExecuted(ctx, c.req.DB); err != nil {
			return err
		}
		c.from = from
	}
	c.ledger = newLedger(from)
	src := source{addr: c.req.Addr, user: c.req.User, password: c.req.Password, tls: c.req.TLS, serverID: c.req.ServerID, logger: c.req.Logger}
	table := about{database: c.req.Database, table: c.req.Table, fold: c.req.LowerCaseNames}
	c.stream = newStream(src, table, len(c.mover.original.Columns), c.key.parts, from, c.take, c.unknownXA)
	return nil
}

// unknownXA is told of an XA transaction that commits and was prepared before the log was read. Before anything is copied, the copy sees
// its rows; afterwards nobody knows which they are.
func (c *Copy) unknownXA(gtid, xid string) error {
	if !c.tracker.now().begun {
		return nil
	}
	if set, err := mysql.ParseGTIDSet(gtid); err != nil || c.before.Contains(set) {
		return err
	}
	return lost("the XA transaction %s was prepared before the copy began, and committed during it", xid)
}

// phases are what a copy goes through, in order.
func (c *Copy) phases(ctx context.Context) error {
	c.req.Phase(PhaseCopying, "")
	if !c.req.Resume {
		before, err := c.awaitPrepared(ctx)
		if err != nil {
			return err
		}
		if err := c.keeper.begin(ctx, c, before); err != nil {
			return err
		}
	}
	if err := c.copyAll(ctx); err != nil {
		return err
	}
	if err := c.verify(ctx); err != nil {
		return err
	}
	return c.cutOver(ctx)
}

// unlistedWait is how long XA transactions are given to end that cannot be listed.
const unlistedWait = 500 * time.Millisecond

// preparedLimit is how long XA transactions that are prepared when a copy begins are waited for.
const preparedLimit = 30 * time.Second

// awaitPrepared waits until XA transactions are gone that were prepared before the log was read: their keys are not known. Where they
// cannot be listed, the copy ends when one of them commits. before is what the server had executed then.
func (c *Copy) awaitPrepared(ctx context.Context) (before mysql.GTIDSet, err error) {
	open, err := mysql.Prepared(ctx, c.req.DB)
	switch {
	case mysql.Number(err) != 0: // without XA_RECOVER_ADMIN the server says XAER_RMERR: most end within moments
		if err := wait.For(ctx, unlistedWait); err != nil {
			return before, err
		}
	case err != nil:
		return before, err
	}
	for deadline := time.Now().Add(preparedLimit); len(open) > 0; {
		now, err := mysql.Prepared(ctx, c.req.DB)
		if err != nil {
			return before, err
		}
		if open = common(open, now); len(open) == 0 {
			break
		}
		if time.Now().After(deadline) {
			// They may be of other tables: one that commits rows of anybody's ends the copy loudly.
			c.req.Logger.Warn("XA transactions were prepared before the copy began", "number", len(open), "first", open[0].ID())
			break
		}
		if err := wait.For(ctx, 50*time.Millisecond); err != nil {
			return before, err
		}
	}
	if before, err = mysql.GTIDExecuted(ctx, c.req.DB); err != nil {
		return before, err
	}
	return before, c.stream.passed(ctx, before)
}

func common(a, b []mysql.PreparedXA) []mysql.PreparedXA {
	var both []mysql.PreparedXA
	for _, x := range a {
		for _, y := range b {
			if x == y {
				both = append(both, x)
			}
		}
	}
	return both
}

// Copyable tells why a table cannot be copied to one of another shape, or not be compared with it, nil when it can.
func Copyable(original, ghost verify.Table, lossy map[string]bool, utc bool) error {
	chosen, err := chooseKey(original, ghost, original.Keys, utc)
	if err != nil {
		var ok bool
		if chosen, ok = helpedKey(original, ghost, original.Keys, utc); !ok {
			return err
		}
	}
	if _, err := newMover(original, ghost, chosen, lossy, time.Time{}); err != nil {
		return err
	}
	columns := make([]string, len(chosen.parts))
	for i, p := range chosen.parts {
		columns[i] = p.original.Name
	}
	_, err = verify.Prepare(verify.Request{Original: original, Copy: ghost, Lossy: lossy, Index: chosen.index,
		Key: verify.Key{Name: chosen.name, Columns: columns, Visible: true}})
	return err
}

// Usable tells why a table has no key that it could be copied by, whatever it is to become.
func Usable(t verify.Table, utc bool) error {
	_, err := chooseKey(t, t, t.Keys, utc)
	return err
}
