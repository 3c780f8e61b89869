// Package v1 holds the JSON documents of cotton's API, as the server writes and the clients read them. They are a public
// interface of their own: what is stored, or how the framework sees a cluster, may change without them. None of them
// can carry a password or a hash but Create and Created, which exist for it.
package v1

import "time"

// Create asks for a cluster: the body of POST /clusters/<name> as application/json.
type Create struct {
	User string `json:"cluster_user"`
	// Password of the user; one is generated when it is empty. Only the server's own hash of it is kept.
	Password string `json:"cluster_password,omitempty"`
	Nodes    int    `json:"nodes,omitempty"` // absent = 1
	Size     *Size  `json:"size,omitempty"`  // nil = the scheduler's default
	// Policy is lossless, available or single; empty = the safest that many nodes allow.
	Policy  string             `json:"policy,omitempty"`
	Labels  map[string]string  `json:"labels,omitempty"`
	Config  map[string]string  `json:"config,omitempty"`  // my.cnf overrides
	Package string             `json:"package,omitempty"` // what is installed; empty = mysqld of the host
	Scalars map[string]float64 `json:"scalars,omitempty"` // counted custom resources, per instance
	// Constraints are attributes of agents (or "hostname"), each with the values that serve: {"rack": "a|b"}.
	Constraints map[string]string `json:"constraints,omitempty"`
	// BackupID is what the cluster is restored from; absent = it begins empty. RestoreTo is the moment: a time as in RFC 3339,
	// GTIDs, or "latest"; absent = that of the copy.
	BackupID  string        `json:"backup_id,omitempty"`
	RestoreTo string        `json:"restore_to,omitempty"`
	Backup    *BackupPolicy `json:"backup,omitempty"` // absent = backups on request only
	Sidecars  bool          `json:"sidecars,omitempty"`
}

// Created is the answer to a create, the same as the original's.
type Created struct {
	ClusterURL string `json:"cluster_url"`
	Password   string `json:"cluster_password"`
}

// Deleted is the answer to a delete, the same as the original's.
type Deleted struct {
	ClusterURL string `json:"cluster_url"`
}

// Clusters is the list of GET /clusters.
type Clusters struct {
	Clusters []Cluster `json:"clusters"`
}

// Cluster is what may be known of a cluster.
type Cluster struct {
	Name        string             `json:"name"`
	State       string             `json:"state"` // creating, running or deleting
	User        string             `json:"cluster_user"`
	Nodes       int                `json:"nodes"`
	Size        Resources          `json:"size"`
	Policy      string             `json:"policy"`
	Promise     string             `json:"promise"` // what the policy means for clients
	Labels      map[string]string  `json:"labels,omitempty"`
	Config      map[string]string  `json:"config,omitempty"`
	Package     string             `json:"package,omitempty"`
	Scalars     map[string]float64 `json:"scalars,omitempty"`
	Constraints map[string]string  `json:"constraints,omitempty"`
	BackupID    string             `json:"backup_id,omitempty"`
	RestoreTo   string             `json:"restore_to,omitempty"`
	Backup      *BackupPolicy      `json:"backup,omitempty"`
	Sidecars    bool               `json:"sidecars,omitempty"`
	CreatedAt   time.Time          `json:"created_at"`
	Epoch       uint64             `json:"epoch"`                 // raised with every change of primary
	Incarnation string             `json:"incarnation,omitempty"` // differs for each cluster that ever had the name
	URL         string             `json:"cluster_url"`
	Endpoints   Endpoints          `json:"endpoints"`
	Instances   []Instance         `json:"instances"`
	Problems    []string           `json:"problems"` // none when all is as it was asked for
	Diagnoses   []Diagnosis        `json:"diagnoses"`
	Operation   *Operation         `json:"operation,omitempty"` // under way
	Change      *Change            `json:"change,omitempty"`    // of primary, under way
	// LastChange of primary that is over.
	LastChange *Change `json:"last_change,omitempty"`
}

// Resources are what one instance has.
type Resources struct {
	CPUs   float64 `json:"cpus"`
	MemMB  int64   `json:"mem_mb"`
	DiskMB int64   `json:"disk_mb"`
}

// Instance is one mysqld of a cluster.
type Instance struct {
	ID       int    `json:"id"`
	Name     string `json:"name"`
	Phase    string `json:"phase"` // pending, launched, running, lost or removing
	Role     string `json:"role"`  // primary, replica or unknown: what the server says of itself
	Writable bool   `json:"writable"`
	Host     string `json:"host,omitempty"`
	Port     int    `json:"port,omitempty"`
	Agent    string `json:"agent,omitempty"` // hostname of its agent
	Rack     string `json:"rack,omitempty"`  // attributes of its agent
	Zone     string `json:"zone,omitempty"`
	// LagSeconds is absent when it is not known.
	LagSeconds *int64 `json:"lag_seconds,omitempty"`
	Version    string `json:"version,omitempty"`
	ServerID   uint32 `json:"server_id"`
	ServerUUID string `json:"server_uuid,omitempty"`
	GTIDs      string `json:"gtid_executed,omitempty"`
	TaskID     string `json:"task_id,omitempty"`
	TaskState  string `json:"task_state,omitempty"`
	AgentID    string `json:"agent_id,omitempty"`
	VolumeID   string `json:"volume_id,omitempty"`
	Launches   int    `json:"launches"`
	Problem    string `json:"problem,omitempty"`
	// Failures are the launches in a row that failed, Failure why the last one did.
	Failures  int       `json:"failures,omitempty"`
	Failure   string    `json:"failure,omitempty"`
	SeenAt    time.Time `json:"seen_at,omitzero"`
	DownSince time.Time `json:"down_since,omitzero"` // its task ended, or was lost from sight

	Source    string `json:"source,omitempty"` // whom a replica follows
	Receiving bool   `json:"receiving"`
	Applying  bool   `json:"applying"`
	// Acknowledging: a replica that commits may wait for. Acks, of the primary: how many each commit waits for, of Clients.
	Acknowledging bool `json:"acknowledging"`
	Acks          int  `json:"acks,omitempty"`
	Clients       int  `json:"clients,omitempty"`
	// Errant are transactions that the primary does not have and no primary numbered.
	Errant     string `json:"errant,omitempty"`
	DiskUsedMB int64  `json:"disk_used_mb,omitempty"`
	DiskFreeMB int64  `json:"disk_free_mb,omitempty"`
	Restarts   int    `json:"restarts,omitempty"` // of mysqld, since its executor started

	Joining bool `json:"joining,omitempty"` // new, not in step yet
	Leaving bool `json:"leaving,omitempty"` // to be removed once nothing rests on its data
	// Keys are the ids of the admin keys that its executor has, that which it uses first.
	Keys        []string     `json:"keys,omitempty"`
	Certificate *Certificate `json:"certificate,omitempty"` // of its server
	Outdated    bool         `json:"outdated,omitempty"`    // a restart is due: older settings than are stored, or one was asked for
}

// Certificate is by what a server proves who it is.
type Certificate struct {
	Key   string    `json:"key"` // id of the admin key that its authority derives from
	Until time.Time `json:"until"`
}

// Endpoints are where clients of a cluster connect.
type Endpoints struct {
	Primary  *Endpoint  `json:"primary"` // null while no instance accepts writes
	Replicas []Endpoint `json:"replicas"`
	// CA are the authorities, PEM, that the certificates of all these servers come from. Those are for the host as it is given
	// here; empty while some server has none.
	CA string `json:"ca,omitempty"`
}

// Endpoint is one instance that clients may connect to.
type Endpoint struct {
	ID   int    `json:"id"`
	Host string `json:"host"`
	Port int    `json:"port"`
}

// Why says what a cluster waits for, and what is wrong with each agent.
type Why struct {
	Cluster string `json:"cluster"`
	// Members are the ids that want a place; none when all have one.
	Members []int `json:"members"`
	// Refusals is the last thing that was wrong with each agent's offer, per member.
	Refusals []Refusal `json:"refusals"`
	// OffersSeen counts the offers looked at since the scheduler started.
	OffersSeen int `json:"offers_seen"`
	// Maintenance are the agents of this cluster's instances that will be, or are, taken down by an operator's plan.
	Maintenance []Maintenance `json:"maintenance,omitempty"`
	// Withheld are the agents of this cluster's instances that an operator of Mesos has drained or deactivated; all such agents
	// while an instance wants a place.
	Withheld []Withheld `json:"withheld,omitempty"`
}

// Withheld is an agent that an operator of Mesos has drained or deactivated: it is not offered before REACTIVATE_AGENT.
type Withheld struct {
	AgentID  string    `json:"agent_id"`
	Hostname string    `json:"hostname"`
	State    string    `json:"state"`          // draining, drained or deactivated
	Gone     bool      `json:"gone,omitempty"` // for good, once it is drained
	Since    time.Time `json:"since,omitzero"` // when it was told to drain
	Text     string    `json:"text"`           // for people
}

// Maintenance is a planned absence of a machine.
type Maintenance struct {
	AgentID  string    `json:"agent_id"`
	Hostname string    `json:"hostname"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end,omitzero"` // zero = not known
	Begun    bool      `json:"begun,omitempty"`
}

// Refusal is why an agent does not serve a member.
type Refusal struct {
	Member   int       `json:"member"`
	AgentID  string    `json:"agent_id"`
	Hostname string    `json:"hostname"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
}

// Health is how the scheduler itself stands.
type Health struct {
	Ready       bool      `json:"ready"`     // takes requests
	Leading     bool      `json:"leading"`   // holds the store's lock
	Connected   bool      `json:"connected"` // subscribed to a Mesos master
	FrameworkID string    `json:"framework_id,omitempty"`
	Master      string    `json:"master,omitempty"`
	Clusters    int       `json:"clusters"`
	LastEvent   time.Time `json:"last_event,omitzero"`
	Problem     string    `json:"problem,omitempty"` // why it is not ready
}

// Codes of errors, for programs. The messages are for people, and may become better ones.
const (
	CodeInvalid     = "invalid"      // 400: the field says which, where there is one
	CodeNoToken     = "unauthorized" // 401
	CodeForbidden   = "forbidden"    // 403: the wrong password, a token that may only read, a foreign web page
	CodeNotFound    = "not_found"    // 404
	CodeMethod      = "method_not_allowed"
	CodeExists      = "exists"           // 409
	CodeTooLarge    = "too_large"        // 413
	CodeMediaType   = "unsupported_type" // 415
	CodeUnavailable = "unavailable"      // 503: try again later, or another scheduler
	CodeInternal    = "internal"         // 500
)

// Error is what went wrong.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Field of the request that is wrong, as it is named there.
	Field string `json:"field,omitempty"`
	// Detail is what an operator can do about it, or why.
	Detail string `json:"detail,omitempty"`
}

// Failure is the body of every answer with a status of 400 or more.
type Failure struct {
	Error Error `json:"error"`
}
