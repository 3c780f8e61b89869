package v1

import "time"

// BackupPolicy is how a cluster is backed up by itself.
type BackupPolicy struct {
	// Every is the time between two physical copies, such as 24h.
	Every string `json:"every"`
	// Keep is how many copies stay, with the binary logs since the oldest; absent = 7.
	Keep int `json:"keep,omitempty"`
	// BinlogInterval is how often binary logs are archived, such as 5m, the default.
	BinlogInterval string `json:"binlog_interval,omitempty"`
}

// Backups is the list of GET /clusters/<name>/backups, oldest first.
type Backups struct {
	Backups []Backup `json:"backups"`
	// Problems name what the store has and nobody can read.
	Problems []string `json:"problems"`
}

// Backup is one that a cluster can be restored from.
type Backup struct {
	ID        string    `json:"id"`
	Cluster   string    `json:"cluster"`
	OrderedAt time.Time `json:"ordered_at"`
	CopiedAt  time.Time `json:"copied_at"` // nothing that was committed later is in the copy
	Member    int       `json:"member"`
	Role      string    `json:"role"`
	Version   string    `json:"version"` // of the server
	Tool      string    `json:"tool"`
	Size      int64     `json:"size"` // in bytes, of the copy
	// GTIDsFrom are in the copy for certain, nothing beyond GTIDsTo is.
	GTIDsFrom string `json:"gtid_executed_from"`
	GTIDsTo   string `json:"gtid_executed_to"`
	// RestorableGTIDs is what a restore to "latest" executes, RestorableTime the last commit in it; absent when no binary
	// log that continues the copy is archived.
	RestorableGTIDs string    `json:"restorable_to_gtids"`
	RestorableTime  time.Time `json:"restorable_to_time,omitzero"`
}

// BackupAsked is the answer to POST /clusters/<name>/backups: the backup is there once one with an OrderedAt not before
// AskedAt is listed.
type BackupAsked struct {
	Cluster string    `json:"cluster"`
	AskedAt time.Time `json:"asked_at"`
}
