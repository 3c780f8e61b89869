package osc

import (
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy"
	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/schema"
)

// Engine is how one table is brought to its desired form, cheapest first.
type Engine string

// The engines, in the order in which they are preferred.
const (
	EngineNone    Engine = "none"    // the table already has the desired form
	EngineCreate  Engine = "create"  // the table is missing
	EngineInstant Engine = "instant" // ALTER ... ALGORITHM=INSTANT: metadata only
	EngineInplace Engine = "inplace" // ALTER ... ALGORITHM=INPLACE, LOCK=NONE
	EngineDirect  Engine = "direct"  // a plain ALTER of a table small enough that its locks do not matter
	EngineKeyed   Engine = "keyed"   // a copy, verified: rows are moved by the server, only keys are read from the binary log
	EngineGhost   Engine = "ghost"   // a copy, verified, by the program of that name
)

// Defaults of Settings.
const (
	DefaultLockWaitTimeout = 2 * time.Second
	DefaultRetries         = 10
	DefaultMaxLag          = 1500 * time.Millisecond
	DefaultChunkSize       = copy.DefaultChunkSize
	DefaultDirectMaxRows   = 5000
	// DefaultDirectMaxBytes: writers of 200 rows of 1 MB were held up for 6.7 s.
	DefaultDirectMaxBytes = 32 << 20
)

// Settings are how the tier wants its tables altered. The zero value of a field means its default.
type Settings struct {
	Ordering      string // 'primary' (default) or 'rolling'
	CopyEngine    string // 'ghost' (default) or 'keyed'
	DirectMaxRows uint64 // up to this many rows a plain ALTER may be used in place of a copy; 0 = only for empty tables
	// DirectMaxBytes is as many bytes of data and indexes, by the size of the table's files; 0 = without bound.
	DirectMaxBytes uint64
	CreateMissing  bool // create tables that are missing
	AllowUnsafe    bool // plans that lose data may run

	// LockWaitTimeout bounds each wait for a metadata lock. While an ALTER waits for its lock every query on the table
	// waits behind it, so this is also how long one attempt may hold up the application: kept within 1 to 3 seconds.
	LockWaitTimeout time.Duration
	Retries         int           // attempts at getting that lock
	MaxLag          time.Duration // a copy pauses while a replica lags more
	Replicas        []mysql.Addr  // whose lag throttles a copy
	Retention       time.Duration // how long the old table of a copy is kept; 0 = dropped at once
	ChunkSize       int           // rows per chunk of a copy and of its verification
	NoBinlog        bool          // ordering 'rolling': this instance alone, with sql_log_bin=0 (I7)
}

// withDefaults fills what was left zero and brings the rest into the bounds documented above.
func (s Settings) withDefaults() Settings {
	if s.CopyEngine == "" {
		s.CopyEngine = string(EngineGhost)
	}
	if s.LockWaitTimeout <= 0 {
		s.LockWaitTimeout = DefaultLockWaitTimeout
	}
	s.LockWaitTimeout = min(max(s.LockWaitTimeout, time.Second), 3*time.Second)
	if s.Retries <= 0 {
		s.Retries = DefaultRetries
	}
	if s.MaxLag <= 0 {
		s.MaxLag = DefaultMaxLag
	}
	if s.ChunkSize <= 0 {
		s.ChunkSize = DefaultChunkSize
	}
	s.ChunkSize = min(max(s.ChunkSize, 10), 100_000) // the bounds of one of the engines
	return s
}

// rolling: members of a cluster are altered one at a time, and differ for a while. (A replica that alone differs is altered by itself, too:
// it then differs no more.)
func (s Settings) rolling() bool { return s.NoBinlog && s.Ordering != "primary" }

// Plan is what would be done to one target, and why not when it may not run.
type Plan struct {
	Target
	Engine  Engine
	Current schema.Form // zero when the table is missing
	Desired schema.Form
	Create  schema.Statement // of a table that is missing: the committed text itself, keys in its order
	Change  schema.Change
	// Direction is in which order members may be altered one at a time, of a table that is there and differs.
	Direction schema.Direction
	SQL       string // what would be run, for people
	Rows      uint64 // the server's estimate, exact up to DirectMaxRows
	Bytes     uint64 // data and indexes
	Findings  []schema.Finding
	// Findings are those that really lose data: checked against the rows of this table.

	Refused string // why it cannot or may not run; "" = may run
	Final   bool   // with Refused: trying again without a change of schema, settings or permission cannot help

	Facts Facts // what Choose decided on

	oneByOne   bool          // Settings.rolling
	shape      *verify.Table // what a copy would be, where one might be made
	asked      schema.Form   // what the text says: Desired less a generated primary key
	withoutKey bool          // a missing table for which the server would, and cannot, generate a primary key
}

// Has tells whether a table of this form, on any member of the cluster, is what the plan leads to. A primary key that a server generated
// may be on one member and not on another.
func (p Plan) Has(f schema.Form) bool {
	return f.Hash == p.Desired.Hash || p.asked.Hash != "" && f.Hash == p.asked.WithGeneratedKeyOf(f).Hash
}

// Progress is what a run reports while it works.
type Progress struct {
	Database   string
	Engine     Engine
	State      string  // one of the State constants
	Fraction   float64 // 0 to 1 of the whole run
	RowsCopied uint64
	RowsTotal  uint64        // estimate
	ETA        time.Duration // 0 = unknown
	Detail     string        // why it waits, or is slow, for people
	Workers    int           // that copy at the moment, 0 = not known
	// Lag is how far the copy is behind the binary log; LagKnown is false where nothing says it.
	Lag      time.Duration
	LagKnown bool
}

// Outcome is how a run ended: read from the server, never concluded from what an engine said.
type Outcome struct {
	Engine Engine
	Form   schema.Form
}
