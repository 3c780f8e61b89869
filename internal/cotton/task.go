package cotton

import (
	"encoding/json"
	"fmt"
	"time"
)

// TaskSchema of Task. An executor that is older than its scheduler refuses what it would misunderstand. Since 2 a server has a
// certificate by which it proves who it is; a task of 1 is one of an earlier scheduler.
const TaskSchema = 2

// Task is what the executor is told of its one instance, as the task's data. It holds no secret: the executor derives
// its passwords from the key file of its host.
type Task struct {
	Schema       int               `json:"schema"`
	Cluster      string            `json:"cluster"`
	Member       int               `json:"member"`
	ServerID     uint32            `json:"server_id"`
	Nodes        int               `json:"nodes"`
	Host         string            `json:"host"` // what clients and replicas connect to
	Port         int               `json:"port"`
	Size         Size              `json:"size"`
	Config       map[string]string `json:"config,omitempty"`  // my.cnf overrides
	Package      string            `json:"package,omitempty"` // for the Installer
	Tier         string            `json:"tier,omitempty"`
	Sidecars     bool              `json:"sidecars,omitempty"`
	AdminKeyfile string            `json:"admin_keyfile"` // a path, on the agent
	// Incarnation and Former are of the cluster's Identity; no Incarnation: of a scheduler that knew of none.
	Incarnation string `json:"incarnation,omitempty"`
	Former      bool   `json:"former,omitempty"`
	// HasData: the volume must hold a data directory. An executor never makes a new one in its place: a primary that
	// came back empty would empty its replicas.
	HasData bool `json:"has_data,omitempty"`
	// Restore, of a seed: an empty volume is filled from a backup, and from nothing else.
	Restore *Restore `json:"restore,omitempty"`
}

// ParseTask reads a task's data.
func ParseTask(data []byte) (Task, error) {
	var t Task
	if err := json.Unmarshal(data, &t); err != nil {
		return Task{}, fmt.Errorf("read the task's data: %w", err)
	}
	switch {
	case t.Schema > TaskSchema:
		return Task{}, fmt.Errorf("the task's data has schema %d, this executor knows %d: update the executor on this agent", t.Schema, TaskSchema)
	case t.Cluster == "" || t.Port == 0 || t.ServerID == 0 || t.Host == "" || t.AdminKeyfile == "":
		return Task{}, fmt.Errorf("the task's data lacks cluster, host, port, server_id or admin_keyfile: %+v", t)
	}
	if t.Schema >= 2 && t.Incarnation == "" {
		return Task{}, fmt.Errorf("the task's data lacks incarnation: %+v", t)
	}
	return t, nil
}

// Identity is what the secrets of the task's cluster derive from.
func (t Task) Identity() Identity {
	return Identity{Cluster: t.Cluster, Incarnation: t.Incarnation, Former: t.Former}
}

// VolumePath is where an executor finds its volume, in its sandbox.
const VolumePath = "volume"

// Facts are what the executor says of its instance, as data of a status and as a message every now and then.
type Facts struct {
	Task        string    `json:"task"`
	At          time.Time `json:"at"`
	Up          bool      `json:"up"` // mysqld answers
	Pid         int       `json:"pid,omitempty"`
	Version     string    `json:"version,omitempty"`
	Restarts    int       `json:"restarts"`            // since the executor started, those for CLONE not counted
	LastExit    string    `json:"last_exit,omitempty"` // how mysqld ended last
	DiskUsedMB  int64     `json:"disk_used_mb"`        // of the volume
	DiskFreeMB  int64     `json:"disk_free_mb"`        // of the file system it is on
	StartedAt   time.Time `json:"started_at,omitzero"`
	StartMillis int64     `json:"start_ms,omitempty"` // how long the last start took
	// Epoch is the highest that an order carried; FencedEpoch is that of the last fence that was carried out: from then on
	// the server was closed, until somebody with a newer epoch opened it.
	Epoch       uint64 `json:"epoch,omitempty"`
	FencedEpoch uint64 `json:"fenced_epoch,omitempty"`
	// Clock is the executor's own, in milliseconds since it was given the task, and at least 1; nobody sets it. 0: it is of an
	// earlier release. LeaseMillis is the length of the lease that it goes by; 0 = none: it leaves the server alone.
	Clock       int64 `json:"clock_ms,omitempty"`
	LeaseMillis int64 `json:"lease_ms,omitempty"`
	// Answers: mysqld answered its executor, which asks every second, on the same machine. SilentMillis is for how long it
	// has not: a process that runs (Up) and is silent hangs.
	Answers      bool  `json:"answers"`
	SilentMillis int64 `json:"silent_ms,omitempty"`
	// StalledMillis is for how long no small write to the volume has succeeded, of which one is made every second; WriteError
	// is why the last one failed.
	StalledMillis int64  `json:"stalled_ms,omitempty"`
	WriteError    string `json:"write_error,omitempty"`
	// ClosedWhy is why the executor closed the server last, by itself or because it was told to; for people.
	ClosedWhy string `json:"closed_why,omitempty"`
	// Keys are the ids of the admin keys that the executor has, that which it uses first. Certificate is of the server.
	Keys        []string     `json:"keys,omitempty"`
	Certificate *Certificate `json:"certificate,omitempty"`
	// Backup is nil for an executor that was never told to make one.
	Backup *BackupFacts `json:"backup,omitempty"`
}
