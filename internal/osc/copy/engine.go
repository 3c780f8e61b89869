package copy

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy/preflight"
	"github.com/aosc/aosc/internal/osc/pace"
)

// Engine is one way to copy tables.
type Engine interface {
	// Name is how people know it: a value of the tier's copy_engine.
	Name() string
	// Checks are what speaks against a copy by this engine, in the order in which they are to be asked.
	Checks() []preflight.Check
	// Full is the pace of a copy that nothing slows; Host.Gate and Host.Pace hold it. The zero value is of an engine that paces itself.
	Full() pace.Full
	// New prepares a copy. What it may leave behind are the tables of Job.Names.
	New(Job) Copy
	// Left looks for what an earlier run, of whatever process, has copied of this job, and decides whether Job.Resume would go on from it.
	Left(context.Context, Job) (Left, error)
	// Trace tells what a process that has died may have left at work on a server.
	Trace() Trace
}

// Left is what an earlier run has left of a copy.
type Left struct {
	Found    bool
	Unusable string // why no run can go on from it, "" = one can
	Rows     uint64 // that are copied
}

// Copy is one copy of one table.
type Copy interface {
	// Run copies, verifies, waits until the swap may be made, and makes it. It returns when nothing of the copy is left running in this
	// process or in a child of its own. nil means that it believes the tables to be swapped; what became of them only the server can tell.
	Run(context.Context) error
	// Progress is safe for use beside Run.
	Progress() Progress
	// Abandon ends the copy at once and rudely: its server takes no writes any more. Run returns soon after.
	Abandon()
	// Failure is why Run, although it returned nil, may not have swapped the tables; nil = it knows of nothing.
	Failure() error
	// Foreign tells whether a table of somebody else's stood where the copy was to be made: then nothing there is ours to drop.
	Foreign() bool
}

// Job is what a copy is told.
type Job struct {
	Target
	Names       Names // of the tables beside it, recorded already
	DB          *sql.DB
	Server      mysql.Server
	Credentials mysql.Credentials
	Clauses     string          // what follows ALTER TABLE <name>, for the new table
	From, To    string          // the hashes of the definitions between which it is made
	Rows        uint64          // an estimate
	Lossy       map[string]bool // columns (lower case) in which the operator permitted a loss
	// MayNotFit: a value that is written during the copy may not fit the new definition, although none in the table is so and no loss was
	// permitted.
	MayNotFit bool

	Resume bool   // go on from what Engine.Left has found
	Note   string // how it begins, for people

	LockWaitTimeout time.Duration
	Retries         int // attempts at the swap
	MaxLag          time.Duration
	Replicas        []mysql.Addr
	ChunkSize       int      // rows
	Child           []string // the argv of a child process, for an engine that needs one

	Control *Control
	Logger  *slog.Logger
	Host    Host
}

// Host is whoever runs a copy, as the copy sees it.
type Host interface {
	// Enter hears what the copy is at: one of the State constants, and a detail for people.
	Enter(state, detail string)
	// Publish hears that Progress has changed in a way that should be seen at once.
	Publish()
	// Gate blocks while the copy should rest: the operator said PAUSE, a replica lags, or the server is busy. Its error ends the copy.
	Gate(context.Context) error
	// Pace is how many workers may copy at the moment, and how long one of their statements should take.
	Pace() (workers int, chunk time.Duration)
	// Resting tells whether Gate would block.
	Resting() bool
	// Opportunity tells why the swap has no chance now, "" when it has one.
	Opportunity(context.Context) (string, error)
	// Unchanged fails when the table is no longer what the copy was begun for.
	Unchanged(context.Context) error
	// StillOurs fails when another run may be at work on the table.
	StillOurs(context.Context) error
	// HeldBy tells who holds the table, in brackets, "" when it cannot be told.
	HeldBy(context.Context) string
	// Refuse makes an error that no other try mends.
	Refuse(format string, args ...any) error
}

// Progress is how far a copy is.
type Progress struct {
	Copied   uint64        // rows
	Total    uint64        // an estimate better than the Job's; 0 = none
	Compared uint64        // rows
	ETA      time.Duration // of the copying; 0 = unknown
	Lag      time.Duration // of what is read from the binary log
	LagKnown bool
	Rests    string // why the engine rests by its own decision, "" = it does not
	Waits    bool   // all rows are copied, what is left is the swap
	Swapping bool   // the tables are being locked and swapped
}

// Trace is what is to be known of an engine when a copy of it died.
type Trace struct {
	Marker string // in each statement that its sessions run
	// Placeholder is the comment of a table that is none of a user's, in the place of Names.Old; "" = it makes no such table.
	Placeholder string
	// Beats tells whether a copy with these names is alive, by what it writes on the server; nil = nothing shows it.
	Beats func(ctx context.Context, db *sql.DB, database string, names Names) (bool, error)
	// Source gives the hash of the definition that a dead copy with these names was made from, if another run can go on from it; "" = none
	// can. nil = none ever can.
	Source func(ctx context.Context, db *sql.DB, database string, names Names) (string, error)
}

// States of a run.
const (
	StatePlanning    = "planning"
	StateAltering    = "altering" // a direct engine is at work
	StateCopying     = "copying"
	StatePaused      = "paused"
	StateThrottled   = "throttled"
	StateVerifying   = "verifying"
	StateGate        = "at the gate" // verified and caught up, it waits for the operator's word
	StateCuttingOver = "cutting over"
	StateDone        = "done"
)

// DefaultChunkSize is the Job's ChunkSize where nobody has chosen one.
const DefaultChunkSize = 1000
