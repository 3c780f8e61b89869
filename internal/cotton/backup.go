package cotton

import (
	"fmt"
	"time"
)

// BackupPolicy is how a cluster is backed up, by itself.
type BackupPolicy struct {
	Every time.Duration `json:"every_ns"` // between two physical copies
	// Keep is how many copies stay, with the binary logs since the oldest of them.
	Keep int `json:"keep"`
	// BinlogInterval is how often binary logs are archived: what was committed since may be lost with the whole cluster.
	BinlogInterval time.Duration `json:"binlog_interval_ns"`
}

// Defaults of a BackupPolicy.
const (
	DefaultBackupKeep     = 7
	DefaultBinlogInterval = 5 * time.Minute
)

// Bounds of a BackupPolicy.
const (
	leastBackupEvery    = time.Minute
	leastBinlogInterval = time.Second
	maxBackupKeep       = 1000
)

func (p *BackupPolicy) validate() error {
	switch {
	case p == nil:
		return nil
	case p.Every < leastBackupEvery:
		return &InvalidError{"backup.every", fmt.Sprintf("%v: want at least %v", p.Every, leastBackupEvery)}
	case p.Keep < 1 || p.Keep > maxBackupKeep:
		return &InvalidError{"backup.keep", fmt.Sprintf("%d: want 1 to %d", p.Keep, maxBackupKeep)}
	case p.BinlogInterval < leastBinlogInterval || p.BinlogInterval > p.Every:
		return &InvalidError{"backup.binlog_interval", fmt.Sprintf("%v: want at least %v, and not more than every %v", p.BinlogInterval, leastBinlogInterval, p.Every)}
	}
	return nil
}

// Seed is the member of a restored cluster whose data come from the backup; 0 in a cluster that began empty. Only it may
// be the first primary, the others are cloned.
func (r Record) Seed() int {
	if r.Spec.BackupID == "" {
		return 0
	}
	return 1
}

// Origin tells the cluster from others of its name, before and after it.
func (r Record) Origin() string { return r.Spec.CreatedAt.UTC().Format(time.RFC3339Nano) }

// Restore is what the executor of a seed is told.
type Restore struct {
	Store    string `json:"store"` // see BackupOrder
	BackupID string `json:"backup_id"`
	To       string `json:"to,omitempty"` // as in Spec.RestoreTo
}

// BackupOrder is what OrderBackup and OrderArchive say besides.
type BackupOrder struct {
	Store     string    `json:"store"` // dir:PATH on the agent; never a credential
	Origin    string    `json:"origin"`
	ID        string    `json:"id,omitempty"` // of the backup, for OrderBackup
	User      string    `json:"user,omitempty"`
	Role      string    `json:"role,omitempty"`
	OrderedAt time.Time `json:"ordered_at"`
}

const (
	// OrderBackup: make a physical copy and store it. One that is under way is not disturbed.
	OrderBackup OrderKind = "backup"
	// OrderArchive: store the binary logs that the store lacks, the present one closed first if there is anything new in it.
	OrderArchive OrderKind = "archive"
)

// BackupFacts are what an executor says of the backups that it was told to make.
type BackupFacts struct {
	ID      string `json:"id,omitempty"` // of the last copy that was ordered
	Copying bool   `json:"copying,omitempty"`
	Failed  string `json:"failed,omitempty"` // why it was not made
	// ArchivedAt is when the last archiving ended that went well; ArchiveFailed is why the last one did not.
	ArchivedAt    time.Time `json:"archived_at,omitzero"`
	ArchiveFailed string    `json:"archive_failed,omitempty"`
	// Restoring says how far the restore of a seed has come.
	Restoring string `json:"restoring,omitempty"`
}
