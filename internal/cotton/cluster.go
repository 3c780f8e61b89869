// Package cotton is the framework: clusters of MySQL launched and kept alive on Mesos. This package holds the words of the
// domain, the rules that are pure (validation, placement, what a cluster needs next) and the loops around them;
// technology lives in sub-packages named after it.
package cotton

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// SchemaVersion of the stored records. A field that is added with omitempty, and whose absence is safe, leaves it as it is; what
// that means, and what else does, is in docs/decisions/026-records-of-other-releases.md. The tests of golden records keep to it.
const SchemaVersion = 1

// Spec is what a user asked for. It does not change as machines come and go.
type Spec struct {
	Name         string             `json:"name"`
	User         string             `json:"user"`
	PasswordHash string             `json:"password_hash"` // the server's own form (caching_sha2_password); the password itself is never kept
	Nodes        int                `json:"nodes"`
	Size         Size               `json:"size"`
	Policy       Policy             `json:"policy"`
	Labels       map[string]string  `json:"labels,omitempty"`  // "tier" joins the cluster to a tier of the pipeline
	Config       map[string]string  `json:"config,omitempty"`  // my.cnf overrides
	Package      string             `json:"package,omitempty"` // what the Installer installs; empty = mysqld of the host
	Scalars      map[string]float64 `json:"scalars,omitempty"` // counted custom resources, per instance
	// Constraints are attributes that agents must have, "hostname" among them, each with the values that serve: "a|b".
	Constraints map[string]string `json:"constraints,omitempty"`
	BackupID    string            `json:"backup_id,omitempty"`  // what it is restored from
	RestoreTo   string            `json:"restore_to,omitempty"` // the moment to restore to: a time, GTIDs, "latest"; empty = that of the copy
	Backup      *BackupPolicy     `json:"backup,omitempty"`     // nil = only on request
	Sidecars    bool              `json:"sidecars,omitempty"`
	CreatedAt   time.Time         `json:"created_at"`
	// Unknown is what a later release has stored in the spec, by path: it is written back as it was. What a user asked for
	// is not forgotten because an older scheduler had the lead for a while.
	Unknown map[string]json.RawMessage `json:"-"`
}

// Size is what one instance gets, mysqld and its executor together.
type Size struct {
	CPUs   float64 `json:"cpus"`
	MemMB  int64   `json:"mem_mb"`
	DiskMB int64   `json:"disk_mb"`
}

// Policy says what a cluster promises its clients when an instance is lost.
type Policy string

const (
	PolicyLossless  Policy = "lossless"  // a commit is acknowledged only once a replica has it, however long that takes
	PolicyAvailable Policy = "available" // the same, but without a replica commits go on after a second
	PolicySingle    Policy = "single"    // one instance: nothing to fail over to
)

// DefaultPolicy of a cluster of n nodes.
func DefaultPolicy(n int) Policy {
	switch {
	case n == 1:
		return PolicySingle
	case n == 2:
		return PolicyAvailable
	}
	return PolicyLossless
}

// State of a cluster.
type State string

const (
	StateCreating State = "creating" // no primary yet
	StateRunning  State = "running"
	StateDeleting State = "deleting" // persisted before anything is killed, so that a restart goes on with it
)

// Record is all that is stored about one cluster; it is written before Mesos is asked for anything (I9).
type Record struct {
	Schema  int      `json:"schema"`
	Spec    Spec     `json:"spec"`
	State   State    `json:"state"`
	Members []Member `json:"members"`
	Primary int      `json:"primary"` // ID of the primary member, 0 = none yet
	Epoch   uint64   `json:"epoch"`   // raised when a change of primary begins; carried by every command
	// Incarnation tells the cluster from all others that ever had its name; empty only in what an earlier release stored.
	// Former: accounts may still have the passwords of that release.
	Incarnation string `json:"incarnation,omitempty"`
	Former      bool   `json:"former,omitempty"`
	// Change of primary under way, nil when there is none; History has those that are over, the oldest first.
	Change  *Change  `json:"change,omitempty"`
	History []Change `json:"history,omitempty"`
	// Operation under way, nil when there is none; Operations has those that are over, the oldest first.
	Operation  *Operation  `json:"operation,omitempty"`
	Operations []Operation `json:"operations,omitempty"`
	LastOp     int         `json:"last_op,omitempty"` // id of the last operation that was begun
	// Loose: the policy became lossless, and the primary may not be set so yet: until that is seen, it may still go on without
	// a replica.
	Loose bool `json:"loose,omitempty"`
	// Forced: what agents that are away still hold is no reason to keep the record of a cluster that is being deleted.
	Forced bool `json:"forced,omitempty"`
	// Acks is the least number of acknowledgements that any commit may have had: lowered before it is lowered at the
	// primary, raised after. 0 = 1.
	Acks int `json:"acks,omitempty"`
	// Base is a lower bound of what was acknowledged: all that had been by the last change of primary, and by each moment at which
	// the arithmetic of Need and Ackers began anew. Who lacks any of it is never elected (I1), and what carries a former primary's
	// server_uuid and is not in it was acknowledged to nobody. "" = not known yet, in a record of an earlier release.
	Base string `json:"base,omitempty"`
	// Lineage are the server_uuids that may number transactions as a primary, stored before the server is opened; the last one is
	// the present primary's.
	// Transactions of others are errant (I7).
	Lineage []string `json:"lineage,omitempty"`
	// Strays is what was done about errant transactions of members, the oldest first; for people.
	Strays []Stray `json:"strays,omitempty"`
	// Founded: the primary has executed something (the cluster user). From then on a primary without transactions is one
	// that lost its data, and is never opened.
	Founded bool `json:"founded,omitempty"`
	// FoundedSet is what the primary had executed by then: a replica that lacks it does not know the cluster's user yet.
	FoundedSet string `json:"founded_set,omitempty"`
	// Events are what was known of clients' events at the last look at the open primary. Empty = nothing is.
	Events Events `json:"events,omitzero"`
	NextID int    `json:"next_id"` // member ids are never used again
	// Abandoned placements never held data and are to be given back: the launch failed there, or was never answered.
	Abandoned []Abandoned `json:"abandoned,omitempty"`
	// BackupAskedAt is when a user last asked for a backup; one that was ordered since then is the answer.
	BackupAskedAt time.Time `json:"backup_asked_at,omitzero"`
	Version       int64     `json:"-"` // of the store, for compare-and-set; 0 = not stored yet
	// Dropped are the fields, outside the spec, that a later release had stored, and at last which release. The next write is
	// without them: a state that nobody keeps up is worse than none.
	Dropped []string `json:"-"`
}

// Phase of a member: how far its resources and its task have come. Each step is stored before it is asked for.
type Phase string

const (
	PhasePending  Phase = "pending"  // wants an offer
	PhaseLaunched Phase = "launched" // ACCEPT was sent, or is about to be: RESERVE, CREATE and LAUNCH in one
	PhaseRunning  Phase = "running"  // its task runs
	PhaseLost     Phase = "lost"     // its task ended or its agent is away; the volume is kept, it wants its agent's offer
	PhaseRemoving Phase = "removing" // kill, destroy, unreserve; then it is forgotten
)

// Member is one instance of a cluster and where it lives.
type Member struct {
	ID         int       `json:"id"` // 1, 2, ... in the cluster, never reused
	Phase      Phase     `json:"phase"`
	TaskID     string    `json:"task_id,omitempty"` // new for every launch
	AgentID    string    `json:"agent_id,omitempty"`
	Hostname   string    `json:"hostname,omitempty"`
	Host       string    `json:"host,omitempty"` // what clients and replicas connect to: the hostname, or the agent's address where that does not resolve
	Rack       string    `json:"rack,omitempty"` // of the agent's attributes
	Zone       string    `json:"zone,omitempty"`
	Port       int       `json:"port,omitempty"`
	VolumeID   string    `json:"volume_id,omitempty"`   // persistence id, globally unique
	ResourceID string    `json:"resource_id,omitempty"` // label of its reservation
	HasData    bool      `json:"has_data,omitempty"`    // it ran: its volume is not to be given up, and it starts nowhere else
	Anew       bool      `json:"anew,omitempty"`        // its last launch was to reserve its resources, too
	Launches   int       `json:"launches"`
	LaunchedAt time.Time `json:"launched_at,omitzero"`
	TaskState  string    `json:"task_state,omitempty"` // last stored status, e.g. TASK_RUNNING
	Reason     string    `json:"reason,omitempty"`     // message of that status
	Failures   int       `json:"failures,omitempty"`   // in a row, for the back-off
	Failure    string    `json:"failure,omitempty"`    // the reason of the last of these
	// Relieved: it does not acknowledge, and all that it may have acknowledged is safe with others. Stored before its data
	// are replaced or removed; taken back before it follows the primary.
	Relieved bool `json:"relieved,omitempty"`
	// Unheld: it was relieved by a change of primary alone, from which it follows nobody. That others have what it has is still to be seen
	// to before its data may go.
	Unheld bool `json:"unheld,omitempty"`
	// Incomplete: its data are to be replaced, since they lack what a replication filter left out: the filter. Its GTIDs do not show that,
	// and the filter is gone with the server's next start.
	Incomplete string `json:"incomplete,omitempty"`
	// Boot of its machine under which it was last seen to have all of the primary. What it acknowledged before another boot
	// may not have come to its disk, so it bears witness to nothing until it has caught up again.
	Boot    string    `json:"boot,omitempty"`
	RetryAt time.Time `json:"retry_at,omitzero"`
	// DownSince is when its task ended, or was lost from sight; zero while it runs.
	DownSince time.Time `json:"down_since,omitzero"`
	// Joining: added by an operation, and not in step with the others yet. It does not count for how many acknowledge.
	Joining bool `json:"joining,omitempty"`
	// Leaving: to be removed once nothing rests on its data, and not started again until then. Discard: an operator gave up
	// what it may have that no other member has.
	Leaving bool `json:"leaving,omitempty"`
	Discard bool `json:"discard,omitempty"`
	// Restart: it runs with an older configuration than is stored, or was asked to restart; its next launch ends that.
	// Stopping: its task is to be killed, for it to be launched anew.
	Restart  bool `json:"restart,omitempty"`
	Stopping bool `json:"stopping,omitempty"`
	// Proves: it was launched with a certificate, so nothing secret is sent to whoever has none (I16). Only what an earlier
	// release launched has not.
	Proves bool `json:"proves,omitempty"`
}

// ServerID is the member's server_id: unique in its cluster and never 0, which MySQL refuses for replication.
func (m Member) ServerID() uint32 { return uint32(m.ID) }

// Identity is what the cluster's secrets derive from.
func (r Record) Identity() Identity {
	return Identity{Cluster: r.Spec.Name, Incarnation: r.Incarnation, Former: r.Former}
}

// Name is how people and logs call the member.
func (r Record) MemberName(id int) string { return fmt.Sprintf("%s-%d", r.Spec.Name, id) }

// Clone is a copy that shares nothing that changes: the spec's maps do not.
func (r Record) Clone() Record {
	r.Members = slices.Clone(r.Members)
	r.Abandoned = slices.Clone(r.Abandoned)
	if r.Change != nil {
		r.Change = new(*r.Change) // its slices are replaced, never changed
	}
	if r.Operation != nil {
		r.Operation = new(*r.Operation) // the same
	}
	return r
}

// Abandoned is a placement that was given up before it held data.
type Abandoned struct {
	Member     int       `json:"member"`
	ResourceID string    `json:"resource_id"`
	VolumeID   string    `json:"volume_id"`
	AgentID    string    `json:"agent_id"`
	Hostname   string    `json:"hostname"`
	At         time.Time `json:"at"`
	Why        string    `json:"why,omitempty"`
}

// LeftBehind is a placement of a cluster that was deleted by force while its agent was away.
type LeftBehind struct {
	Cluster string `json:"cluster"`
	Abandoned
}

// Drain is an agent that members are to leave.
type Drain struct {
	Since time.Time `json:"since"`
	Why   string    `json:"why,omitempty"`
}

// Abandon gives a member's placement up, for it to find another.
func (r *Record) Abandon(m *Member, why string, now time.Time) {
	if m.ResourceID == "" {
		return
	}
	r.Abandoned = append(r.Abandoned, Abandoned{m.ID, m.ResourceID, m.VolumeID, m.AgentID, m.Hostname, now, why})
	m.ResourceID, m.VolumeID, m.Port = "", "", 0
}

// Member returns the member with that id.
func (r *Record) Member(id int) (*Member, bool) {
	for i := range r.Members {
		if r.Members[i].ID == id {
			return &r.Members[i], true
		}
	}
	return nil, false
}

// validName is one path segment of ZooKeeper, of a URL and of a task id, without anything a shell, SQL or HTML would read.
var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// maxNodes is what semi-sync and one owner per cluster handle well.
const maxNodes = 9

// ValidName tells whether a cluster may have that name.
func ValidName(name string) bool { return validName.MatchString(name) && !strings.Contains(name, "..") }

// InvalidError is a refused request: the field and what is wrong with it.
type InvalidError struct{ Field, Problem string }

func (e *InvalidError) Error() string { return e.Field + ": " + e.Problem }

// Validate checks a spec as a user gave it. The first problem is an *InvalidError.
func (s Spec) Validate() error {
	switch {
	case !ValidName(s.Name):
		return &InvalidError{"name", fmt.Sprintf("%q: want 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit", s.Name)}
	case s.User == "":
		return &InvalidError{"cluster_user", "is needed"}
	case len(s.User) > 32 || strings.ContainsAny(s.User, "'\"`\\\x00"):
		return &InvalidError{"cluster_user", "at most 32 characters, without quotes or backslashes"}
	case ReservedUser(s.User) != "":
		return &InvalidError{"cluster_user", fmt.Sprintf("%q %s: choose another name", s.User, ReservedUser(s.User))}
	case s.Nodes < 1 || s.Nodes > maxNodes:
		return &InvalidError{"num_nodes", fmt.Sprintf("%d: want 1 to %d", s.Nodes, maxNodes)}
	case s.Policy == PolicyLossless && s.Nodes < 3:
		return &InvalidError{"policy", "lossless needs 3 nodes: with fewer, losing one either stops commits or risks them"}
	}
	if s.RestoreTo != "" && s.BackupID == "" {
		return &InvalidError{"restore_to", "is the moment that a backup_id is restored to, and there is none"}
	}
	if err := s.Backup.validate(); err != nil {
		return err
	}
	if err := s.Size.validate(); err != nil {
		return err
	}
	return checkScalars(s.Scalars)
}

// Least sizes with which mysqld starts and works, and the largest that can be counted everywhere: in bytes, and as a fixed-point
// number of Mesos. More than any agent has is no mistake of the request: `cotton why` says what each agent lacks.
const (
	minCPUs    = 0.01
	minMemMB   = 256
	minDiskMB  = 512
	maxCPUs    = 1 << 20
	maxMemMB   = 1 << 30
	maxDiskMB  = 1 << 40
	minScalar  = 0.001 // Mesos counts in thousandths
	maxScalar  = 1 << 40
	maxScalars = 64
)

func (s Size) validate() error {
	switch {
	case !(s.CPUs >= minCPUs): // also what is no number
		return &InvalidError{"size", fmt.Sprintf("cpus %g: want at least %g", s.CPUs, minCPUs)}
	case s.MemMB < minMemMB:
		return &InvalidError{"size", fmt.Sprintf("mem %d MB: want at least %d", s.MemMB, minMemMB)}
	case s.DiskMB < minDiskMB:
		return &InvalidError{"size", fmt.Sprintf("disk %d MB: want at least %d", s.DiskMB, minDiskMB)}
	case s.CPUs > maxCPUs:
		return &InvalidError{"size", fmt.Sprintf("cpus %g: want at most %d", s.CPUs, maxCPUs)}
	case s.MemMB > maxMemMB:
		return &InvalidError{"size", fmt.Sprintf("mem %d MB: want at most %d", s.MemMB, maxMemMB)}
	case s.DiskMB > maxDiskMB:
		return &InvalidError{"size", fmt.Sprintf("disk %d MB: want at most %d", s.DiskMB, maxDiskMB)}
	}
	return nil
}

// checkScalars refuses amounts that Mesos cannot count, in the order of their names.
func checkScalars(scalars map[string]float64) error {
	if len(scalars) > maxScalars {
		return &InvalidError{"scalars", fmt.Sprintf("%d resources: want at most %d", len(scalars), maxScalars)}
	}
	for _, name := range slices.Sorted(maps.Keys(scalars)) {
		switch amount := scalars[name]; {
		case slices.Contains([]string{"cpus", "mem", "disk", "ports"}, name):
			return &InvalidError{"scalars." + name, "is part of the size: scalars are of other resources"}
		case !(amount >= minScalar && amount <= maxScalar):
			return &InvalidError{"scalars." + name, fmt.Sprintf("%g: want a positive amount, from %g to %d", amount, minScalar, maxScalar)}
		}
	}
	return nil
}

// LastStored is the latest time at which something is stored to have happened to the cluster.
func (r Record) LastStored() time.Time {
	last := r.Spec.CreatedAt
	note := func(times ...time.Time) {
		for _, t := range times {
			if t.After(last) {
				last = t
			}
		}
	}
	changes, operations := r.History, r.Operations
	if r.Change != nil {
		changes = append(slices.Clone(changes), *r.Change)
	}
	if r.Operation != nil {
		operations = append(slices.Clone(operations), *r.Operation)
	}
	for _, c := range changes {
		note(c.Began, c.Ended)
		for _, s := range c.Log {
			note(s.At)
		}
	}
	for _, o := range operations {
		note(o.Began, o.Ended)
		for _, s := range o.Log {
			note(s.At)
		}
	}
	for _, m := range r.Members {
		note(m.LaunchedAt, m.DownSince)
	}
	for _, a := range r.Abandoned {
		note(a.At)
	}
	return last
}
