package v1

import "time"

// Asked is what every request for work on a cluster may say.
type Asked struct {
	Why    string `json:"why,omitempty"`     // for the history
	DryRun bool   `json:"dry_run,omitempty"` // only check, and say what would be done
}

// Switchover is the body of POST /clusters/<name>/switchover.
type Switchover struct {
	Asked
	To int `json:"to,omitempty"` // id of the next primary; 0 = the replica that is placed best
	// MaxLagSeconds is how far behind it may be, WithinSeconds after how long all is taken back; 0 = 10.
	MaxLagSeconds int `json:"max_lag_seconds,omitempty"`
	WithinSeconds int `json:"within_seconds,omitempty"`
}

// Failover is the body of POST /clusters/<name>/failover: an operator's, for when too many members are gone for good for one
// that loses nothing.
type Failover struct {
	Asked
	// AcceptLoss of writes that were acknowledged; needed, except to see what would be lost (dry_run).
	AcceptLoss bool `json:"accept_loss,omitempty"`
}

// Replace is the body of POST /clusters/<name>/replace.
type Replace struct {
	Asked
	Member  int  `json:"member"`             // id of the one that goes
	InPlace bool `json:"in_place,omitempty"` // remove it first, then add another
	Discard bool `json:"discard,omitempty"`  // give up writes that only it may have
}

// Scale is the body of POST /clusters/<name>/scale.
type Scale struct {
	Asked
	Nodes  int    `json:"nodes"`
	Policy string `json:"policy,omitempty"` // empty = as it is
}

// Restart is the body of POST /clusters/<name>/restart.
type Restart struct {
	Asked
	Member int `json:"member,omitempty"` // id of the only one; 0 = all, one after the other
}

// Configure is the body of POST /clusters/<name>/configure.
type Configure struct {
	Asked
	Set   map[string]string `json:"set,omitempty"`   // my.cnf overrides
	Unset []string          `json:"unset,omitempty"` // overrides that are no more
}

// Upgrade is the body of POST /clusters/<name>/upgrade.
type Upgrade struct {
	Asked
	Package string `json:"package"` // a name that the scheduler knows
}

// Cancel is the body of POST /clusters/<name>/cancel.
type Cancel struct{ Asked }

// Drain is the body of POST /agents/<hostname>/drain.
type Drain struct {
	Asked
	Undo bool `json:"undo,omitempty"`
}

// Planned is the answer to these: what is done, or with dry_run would be. Refusals are 409, CodeRefused.
type Planned struct {
	Cluster string `json:"cluster"`
	What    string `json:"what"`
	// ID of the operation, for its progress in GET /clusters/<name>/history; 0 for a dry run, and for a switchover while another
	// operation is under way.
	ID       int      `json:"id,omitempty"`
	DryRun   bool     `json:"dry_run,omitempty"`
	Steps    []string `json:"steps"`
	Warnings []string `json:"warnings"`
}

// Operation is work on a cluster that takes more than one step.
type Operation struct {
	ID       int       `json:"id"`
	Kind     string    `json:"kind"` // replace, scale, restart, configure, upgrade or switchover
	What     string    `json:"what"`
	Why      string    `json:"why,omitempty"`
	Auto     bool      `json:"auto,omitempty"`  // nobody asked for it
	Waits    string    `json:"waits,omitempty"` // why it does not go on at this moment
	Canceled bool      `json:"canceled,omitempty"`
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended,omitzero"`
	Result   string    `json:"result,omitempty"` // done or canceled; empty while it is under way
	// Missing is what was not as it should be when it ended: it takes long, or nobody knows how long, such as the return of an agent.
	Missing string `json:"missing,omitempty"`
	Log     []Step `json:"log"`
}

// Change is a change of primary.
type Change struct {
	Kind      string    `json:"kind"` // failover or switchover
	Step      string    `json:"step"`
	From      string    `json:"from"` // names of instances
	To        string    `json:"to,omitempty"`
	Why       string    `json:"why,omitempty"`
	Began     time.Time `json:"began"`
	Ended     time.Time `json:"ended,omitzero"`
	TakenBack bool      `json:"taken_back,omitempty"` // from is the primary still
	Log       []Step    `json:"log"`
}

// Step is a line of a log.
type Step struct {
	At      time.Time `json:"at"`
	AfterMS int64     `json:"after_ms"` // since it began
	TookMS  int64     `json:"took_ms"`  // until the next step; -1 for the last one of what is under way
	Step    string    `json:"step"`
	Note    string    `json:"note,omitempty"`
}

// History is what GET /clusters/<name>/history has: what is under way, and what is over, the oldest first.
type History struct {
	Cluster    string      `json:"cluster"`
	Change     *Change     `json:"change,omitempty"`
	Operation  *Operation  `json:"operation,omitempty"`
	Changes    []Change    `json:"changes"`
	Operations []Operation `json:"operations"`
	Strays     []Stray     `json:"strays,omitempty"`
}

// Stray is what was done about transactions of an instance that the primary did not have.
type Stray struct {
	At       time.Time `json:"at"`
	Instance string    `json:"instance"`
	GTIDs    string    `json:"gtids"`
	Adopted  bool      `json:"adopted"` // the primary has executed them, too; else the instance's data were replaced
	Note     string    `json:"note,omitempty"`
}

// Diagnosis is what is wrong with a primary.
type Diagnosis struct {
	Code    string `json:"code"`    // for programs: these do not change
	Certain bool   `json:"certain"` // known, rather than inferred from silence
	Text    string `json:"text"`
}

// Agents is what GET /agents has.
type Agents struct {
	Draining []Draining `json:"draining"`
	// LeftBehind is what forced deletions left on agents that were away. It is destroyed and given back when they return.
	LeftBehind []LeftBehind `json:"left_behind"`
	// Withheld are those that an operator of Mesos has drained or deactivated.
	Withheld []Withheld `json:"withheld,omitempty"`
}

// Draining is an agent that instances are to leave.
type Draining struct {
	Agent  string      `json:"agent"`
	Since  time.Time   `json:"since,omitzero"`
	Why    string      `json:"why,omitempty"`
	DryRun bool        `json:"dry_run,omitempty"`
	Left   []DrainLeft `json:"left"` // instances that are on it still
}

// DrainLeft is an instance on an agent that is to be drained.
type DrainLeft struct {
	Cluster  string   `json:"cluster"`
	Instance string   `json:"instance"`
	Steps    []string `json:"steps,omitempty"`
	Waits    string   `json:"waits,omitempty"` // for what, or why it is refused
}

// LeftBehind is a placement on an agent that is away.
type LeftBehind struct {
	Cluster  string    `json:"cluster"`
	Member   int       `json:"member"`
	Agent    string    `json:"agent"`
	VolumeID string    `json:"volume_id,omitempty"`
	At       time.Time `json:"at"`
}

// CodeRefused is an operation that was not begun, with the reason: 409. Nothing was changed.
const CodeRefused = "refused"
