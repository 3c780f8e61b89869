package aoscdb

import (
	"fmt"
	"time"
)

// Values of tiers.ordering.
const (
	OrderingPrimary = "primary" // the alter runs on the primary, replication carries it
	OrderingRolling = "rolling" // each instance by itself, the primary last or, where the change is stricter, first
)

// Values of tiers.copy_engine.
const (
	CopyKeyed = "keyed"
	CopyGhost = "ghost"
)

// Values of tiers.status_store.
const (
	StoreInstance = "instance" // database aosc on each instance
	StoreCentral  = "central"  // aoscdb itself, for instances that are super_read_only
)

// Values of server_list.
const (
	ServersDefault = "default" // every instance of the tier
	ServersCustom  = "custom"  // only those in custom_servers
)

// Values of allowed_alters.cut_over.
const (
	CutOverAuto   = "auto"   // a copy that is verified and caught up is swapped in
	CutOverManual = "manual" // it waits for the operator's word
)

// Values of aosc_osc_ww.cut_over: the operator's word for one instance.
const (
	CutOverAsAllowed = "AUTO" // as the permission says
	CutOverWait      = "WAIT" // wait, whatever the permission says
	CutOverGo        = "GO"   // do not wait: it holds until the run has ended
)

// Values of current_alters.status.
const (
	AlterDone = "DONE" // no target left, being re-checked
	AlterIPR  = "IPR"  // in progress
	AlterHold = "HOLD" // nothing is started; reason says why
)

// Values of current_alters.hold_by: who put the alter on HOLD, and so who may lift it.
const (
	HoldNone     = ""
	HoldBrain    = "brain"
	HoldWorker   = "worker"
	HoldOperator = "operator"
)

// Values of current_alters.hold_how: what an operator's HOLD means for what runs.
const (
	HoldStop  = "stop"  // it is stopped
	HoldPause = "pause" // it is paused in place
)

// Values of finished_alters.outcome.
const (
	OutcomeFinished = "finished"
	OutcomeRevoked  = "revoked"
)

// Values of running_alters.osc_status.
const (
	RunReady   = "READY"
	RunRunning = "RUNNING"
	RunDone    = "DONE"
)

// Values of aosc_local_status.status.
const (
	LocalOK  = "OK"
	LocalNA  = "NA"  // the table is missing
	LocalINC = "INC" // the table differs from the desired one
)

// Values of aosc_osc_ww.osc_priv: what the operator permits at this moment.
const (
	PrivOK    = "OK"
	PrivStop  = "STOP"
	PrivPause = "PAUSE"
)

// Values of aosc_osc_ww.status.
const (
	OSCWaiting = "WAITING"
	OSCRunning = "RUNNING"
	OSCDone    = "DONE"
	OSCFailed  = "FAILED"
)

// Values of leftovers.kind.
const (
	LeftoverGhost     = "ghost"
	LeftoverChangelog = "changelog"
	LeftoverOld       = "old" // a user's old data
)

// Values of leftovers.state.
const (
	LeftoverLive = "live" // a copy may be using it
	LeftoverKeep = "keep" // old data, kept until keep_until
	LeftoverDrop = "drop" // may go now
)

// Names of the daemons that can be woken.
const (
	DaemonChecksum  = "checksum"
	DaemonBrain     = "brain"
	DaemonCollector = "collector"
	DaemonScheduler = "scheduler"
)

// Tier is a row of tiers: the limits and habits of one tier.
type Tier struct {
	Group                   string
	MaxRunning              int // instances altered at once; 0 = none
	MaxRunningPerHost       int // 0 = no limit
	MaxRunningPerDatacenter int // 0 = no limit
	Ordering                string
	CopyEngine              string
	StatusStore             string
	DirectMaxRows           uint64 // rows
	DirectMaxBytes          uint64 // bytes; 0 = without bound
	CreateMissing           bool
	VerifyIntervalS         int // seconds
	VerifyTries             int
	Enabled                 bool
	// Limits past which a copy is slowed or rests. 0 = the sign is not looked at, but MaxLagMS: 0 = as the worker is configured.
	MaxLagMS          int    // milliseconds that a replica may lag
	MaxThreadsRunning int    // Threads_running of the primary
	MaxCommitMS       int    // milliseconds that a commit takes on the primary
	MaxHistoryList    uint64 // length of the primary's history list
	MaxRedoAgePct     int    // checkpoint age, in percent of the redo log's capacity
	CutOverWindow     string // weekly window in which copies are swapped in, "" = at any time
}

// NewTier returns a tier with the defaults of the table.
func NewTier(group string) Tier {
	return Tier{
		Group:             group,
		MaxRunning:        1,
		MaxRunningPerHost: 1,
		Ordering:          OrderingPrimary,
		CopyEngine:        CopyKeyed,
		StatusStore:       StoreInstance,
		DirectMaxRows:     5000,
		DirectMaxBytes:    32 << 20,
		CreateMissing:     true,
		VerifyIntervalS:   86400,
		VerifyTries:       3,
		Enabled:           true,
		MaxThreadsRunning: 100,
		MaxCommitMS:       500,
		MaxHistoryList:    1_000_000,
		MaxRedoAgePct:     80,
	}
}

// VerifyInterval is the time between two checks of a DONE alter.
func (t Tier) VerifyInterval() time.Duration { return time.Duration(t.VerifyIntervalS) * time.Second }

// AllowedAlter is a row of allowed_alters: a person's permission (I6).
type AllowedAlter struct {
	Group       string
	Table       string
	AllowedBy   string
	AllowedAt   *time.Time // nil until the brain stamps it
	Priority    int        // higher goes first
	ServerList  string
	AllowUnsafe bool // the plan may lose data
	Comment     string
	// CutOver is CutOverAuto ("" counts as it) or CutOverManual: copies wait for the operator's word before they are swapped in.
	CutOver string
}

// Terms says for the history who permits what.
func (a AllowedAlter) Terms() string {
	text := fmt.Sprintf("allowed by %s, priority %d, server_list %s", a.AllowedBy, a.Priority, a.ServerList)
	if a.AllowUnsafe {
		text += ", allow_unsafe"
	}
	if a.CutOver == CutOverManual {
		text += ", cut_over manual"
	}
	if a.Comment != "" {
		text += fmt.Sprintf(", comment %q", a.Comment)
	}
	return text
}

// CustomServer is a row of custom_servers: one instance an alter with server_list='custom' is restricted to.
type CustomServer struct {
	Group string
	Table string
	Host  string
	Port  int
}

// CurrentAlter is a row of current_alters: an alter between its admission and its end.
type CurrentAlter struct {
	Group        string
	Table        string
	Status       string
	Priority     int
	ServerList   string
	Reason       string // why HOLD
	HoldBy       string
	CommitSHA    string // commit the desired schema is pinned to
	DesiredHash  string // git blob id at that commit
	PinnedAt     *time.Time
	Tries        int // consecutive clean checks since DONE
	NextCheckAt  *time.Time
	CheckFrom    *time.Time // only checksums begun after this count
	CheckFresh   bool       // only checksums without cached hashes count
	StartedAt    *time.Time
	AllowedBy    string
	CollectedAt  *time.Time // begin of the collector's last look
	Targets      int        // instances not OK by that look, -1 = never looked
	Unknowns     int        // instances that look could not judge, -1 = never looked (I11)
	TotalTargets int        // different instances that ever were targets
	PrimaryFirst bool       // ordering rolling: the primary goes before its replicas
	HoldHow      string     // of an operator's HOLD: HoldStop or HoldPause
	AllowUnsafe  bool       // as in the permission
	Comment      string     // as in the permission
}

// FinishedAlter is a row of finished_alters.
type FinishedAlter struct {
	ID          uint64
	Group       string
	Table       string
	FinishedAt  time.Time // when it ended, also where it was withdrawn
	Tries       int
	CommitSHA   string
	DesiredHash string
	AllowedBy   string
	StartedAt   *time.Time
	Targets     int
	Outcome     string
	AllowUnsafe *bool // nil: ended under a release that did not keep it
	Comment     string
	Instances   string // JSON: where what ran, "" = not kept
}

// Target is a row of alter_targets: an instance on which an alter still has to run.
type Target struct {
	Group     string
	Table     string
	Host      string
	Port      int
	Cluster   string
	Role      string // primary, replica, unknown
	FoundAt   time.Time
	Databases int    // databases not OK there
	Bytes     uint64 // data and index bytes of those tables
}

// RunningAlter is a row of running_alters: the one alter an instance is busy with (I3).
type RunningAlter struct {
	Host        string
	Port        int
	Group       string
	Table       string
	OSCStatus   string
	LastUpdated time.Time
	Cluster     string
	Datacenter  string
	Bytes       uint64
	Percentage  float64 // 0 to 100
	QueuedAt    time.Time
	StartedAt   *time.Time
	Epoch       uint64 // lease epoch of the scheduler that wrote the row

	// What its worker said when the scheduler last looked.
	State      string
	Note       string // why it waits
	RowsCopied uint64
	RowsTotal  uint64 // an estimate
	RowsPerS   float64
	ETAS       float64  // seconds, 0 = unknown
	LagS       *float64 // seconds, nil = unknown
}

// Pass is a row of checksum_passes: what the checksum last did for one instance and tier.
type Pass struct {
	Host           string
	Port           int
	Group          string
	CommitSHA      string
	StartedAt      *time.Time // begin of the last pass that finished
	FinishedAt     *time.Time
	FreshStartedAt *time.Time // begin of the last finished pass without cached hashes
	Databases      int
	Tables         int // databases x desired tables
	NotOK          int
	Error          string // why the newest attempt failed, "" when it did not
}

// LocalStatus is a row of aosc_local_status: one table of one database of one instance.
type LocalStatus struct {
	Host        string
	Port        int
	Database    string
	Table       string
	HashCurrent *string // nil = the table is missing
	HashDesired string
	Status      string
	LastRun     time.Time // when HashCurrent was computed, by the instance's clock; zero = now by the store's clock
	Group       string
	DesiredBlob string     // git blob the desired hash was made from
	CreateTime  *time.Time // information_schema.tables.create_time at LastRun
	TableRows   uint64     // the server's estimate
	Bytes       uint64     // data and index bytes
}

// OSCRow is a row of aosc_osc_ww: one alter queued for, or running on, one instance.
type OSCRow struct {
	Host       string
	Port       int
	Table      string
	OSCPriv    string
	Status     string
	Percentage float64 // 0 to 100
	LastUpdate time.Time
	// Try counts the runs begun. Take raises it, PutBack (a STOP is no failure) lowers it, and PutWaiting keeps what
	// it is given: so a row read as FAILED and queued again needs no arithmetic.
	Try         int
	Priority    int
	StartTime   *time.Time
	Group       string
	Error       string
	Detail      string // JSON per database, "" = none
	DesiredBlob string
	CommitSHA   string
	Owner       string // the worker that took the row
	Final       bool   // with FAILED: another try cannot help
	CutOver     string // the operator's word for this instance: CutOverAsAllowed, CutOverWait or CutOverGo

	// ReadAt is the clock of the server that holds the row, when the row was read. Ages are ReadAt.Sub(LastUpdate):
	// never compare LastUpdate with another machine's clock. It is not a column and is ignored on writing.
	ReadAt time.Time
}

// Leftover is a row of leftovers: a table that a copy leaves, or may leave, behind.
type Leftover struct {
	ID        uint64
	Group     string
	Cluster   string
	Host      string // instance the copy ran on
	Port      int
	Database  string
	Table     string // the table that was being altered
	Leftover  string // the table that may be left behind
	Kind      string
	State     string
	Token     string // the run that made it
	CreatedAt time.Time
	KeepUntil *time.Time
}

// Event is a row of events: one line of the history. ID and At are filled by the database.
type Event struct {
	ID     uint64
	At     time.Time
	Actor  string
	Group  string
	Table  string
	Host   string
	Port   int
	What   string // a short word: admitted, hold, started, ...
	Detail string
	// Statement is what ran on the instance, "" = nothing.
	Statement string
}
