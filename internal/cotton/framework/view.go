package framework

import (
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/discovery"
)

// View is a cluster as it is stored, and as it was last seen.
type View struct {
	Record    cotton.Record `json:"record"`
	Instances []Instance    `json:"instances"`
	// Endpoints are what is published (I10).
	Endpoints Endpoints `json:"endpoints"`
	// Problems are what keeps the cluster from being as it was asked for, in words for people; none when all is well.
	Problems []string `json:"problems,omitempty"`
	// Diagnoses are what is wrong with the primary, for programs.
	Diagnoses []cotton.Diagnosis `json:"diagnoses,omitempty"`
	// Waits is what the operation under way waits for; empty when it goes on.
	Waits string `json:"waits,omitempty"`
	// Promise is what the cluster's policy means for its clients.
	Promise string `json:"promise"`
}

// Instance is a member of a cluster as it was last seen.
type Instance struct {
	cotton.Member
	Name string `json:"name"` // <cluster>-<member id>
	// Role is primary, replica or unknown: what the server is, not what it is meant to be.
	Role string `json:"role"`
	// Writable is whether the server takes writes of a client (super_read_only and read_only off).
	Writable bool `json:"writable"`
	// LagSeconds is how far a replica that receives is behind; nil when that is not known (I11).
	LagSeconds *int64 `json:"lag_seconds,omitempty"`
	ServerUUID string `json:"server_uuid,omitempty"`
	Version    string `json:"version,omitempty"`
	GTIDs      string `json:"gtid_executed,omitempty"`
	// Errant are transactions that the primary does not have and did not number.
	Errant string `json:"errant,omitempty"`
	// Source is whom a replica follows, Receiving and Applying whether both its threads run.
	Source    string `json:"source,omitempty"`
	Receiving bool   `json:"receiving"`
	Applying  bool   `json:"applying"`
	// Acknowledging: a replica that the primary's commits may wait for. Acks, of the primary: for how many each commit waits,
	// 0 = none; Clients: how many there are.
	Acknowledging bool `json:"acknowledging"`
	Acks          int  `json:"acks,omitempty"`
	Clients       int  `json:"clients,omitempty"`
	// DiskUsedMB and DiskFreeMB are of its volume, and of the file system it is on, by its executor's word.
	DiskUsedMB int64 `json:"disk_used_mb,omitempty"`
	DiskFreeMB int64 `json:"disk_free_mb,omitempty"`
	Restarts   int   `json:"restarts,omitempty"` // of mysqld, since its executor started
	// Keys are the ids of the admin keys that its executor has, that which it uses first; Certificate is the server's. By its
	// executor's word.
	Keys        []string            `json:"keys,omitempty"`
	Certificate *cotton.Certificate `json:"certificate,omitempty"`
	// Problem is why the server was not asked, or what it answered instead; empty when it answered.
	Problem string `json:"problem,omitempty"`
	// SeenAt is when the server answered last; zero when it never did since this scheduler started.
	SeenAt time.Time `json:"seen_at,omitzero"`
}

// Endpoints are what clients are told of a cluster.
type Endpoints struct {
	Primary  *discovery.Endpoint  `json:"primary"` // nil while no instance accepts writes
	Replicas []discovery.Endpoint `json:"replicas"`
	// CA are the authorities that the servers' certificates come from, PEM; empty while some server has none.
	CA string `json:"ca,omitempty"`
}

// Wait says what a cluster waits for, and why no agent serves.
type Wait struct {
	Cluster string `json:"cluster"`
	// Members are the ids that want an offer; none when all are placed.
	Members []int `json:"members"`
	// Refusals is the last thing that was wrong with each agent's offer, by agent.
	Refusals []cotton.Refusal `json:"refusals"`
	// OffersSeen counts the offers looked at since the scheduler started; 0 means that Mesos made none.
	OffersSeen int `json:"offers_seen"`
	// Maintenance are the agents of this cluster's members that will be, or are, taken down by an operator's plan.
	Maintenance []cotton.Maintenance `json:"maintenance,omitempty"`
	// Withheld are the agents of this cluster's members that an operator keeps from being used; all such agents while a member
	// wants a place.
	Withheld []cotton.Withheld `json:"withheld,omitempty"`
}

// Health is how the framework itself stands.
type Health struct {
	Leading   bool `json:"leading"`   // this process holds the store's lock
	Connected bool `json:"connected"` // subscribed to a Mesos master
	Ready     bool `json:"ready"`     // takes requests: the store is read and Mesos knows us
	// Refused: Mesos does not take this scheduler's credentials. Instances run on; nothing is done for them that needs Mesos.
	Refused     bool      `json:"refused,omitempty"`
	FrameworkID string    `json:"framework_id,omitempty"`
	Master      string    `json:"master,omitempty"`
	Clusters    int       `json:"clusters"`
	LastEvent   time.Time `json:"last_event,omitzero"` // of Mesos, heartbeats included
	// Problem is why the framework is not ready.
	Problem string `json:"problem,omitempty"`
}
