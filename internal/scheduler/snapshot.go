package scheduler

import (
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

// AlterKey names an alter: one table of one tier.
type AlterKey struct{ Group, Table string }

// ClusterKey names a cluster of the inventory.
type ClusterKey struct{ Tier, Cluster string }

// TryKey names what table retries has a row for: an alter on an instance.
type TryKey struct {
	Alter AlterKey
	Addr  mysql.Addr
}

// PassKey names what checksum_passes has a row for.
type PassKey struct {
	Addr  mysql.Addr
	Group string
}

// Snapshot is all that Decide knows. It is read in one pass: the tables first, then the servers, so that what the
// servers say is never older than what the tables say of them.
type Snapshot struct {
	Now     time.Time // aoscdb's clock, as all times of the central tables
	Tiers   map[string]aoscdb.Tier
	Alters  map[AlterKey]aoscdb.CurrentAlter
	Targets []aoscdb.Target
	Running []aoscdb.RunningAlter
	Retries map[TryKey]aoscdb.Retry
	Passes  map[PassKey]aoscdb.Pass
	Fleet   Fleet

	// Looks holds what the instances with a row in running_alters answered. An instance that is not in it did not
	// answer: it is unknown, and may be altering at this moment (I11).
	Looks map[mysql.Addr]Look
	// Silent holds what was the matter with those that did not answer.
	Silent map[mysql.Addr]error
	// Views holds the roles read from the clusters named by Observe. A cluster that is not in it was not asked.
	Views map[ClusterKey]fleet.ClusterView
	// Avoid holds instances on which a start failed a moment ago, and until when to leave them alone.
	Avoid map[mysql.Addr]time.Time
	// Settling is what the decision before this one remembered, see Settle.
	Settling map[SettleKey]Settle
}

// Look is what one instance says of the alter that running_alters has for it.
type Look struct {
	Row  *aoscdb.OSCRow // nil: it holds no row for that alter
	Busy bool           // a worker holds the lock of the instance (I3): something may be running there
}

// Fleet is the inventory, indexed.
type Fleet struct {
	Instances map[mysql.Addr]fleet.Instance
	Clusters  map[ClusterKey]fleet.Cluster
}

// NewFleet indexes an inventory.
func NewFleet(tiers []fleet.Tier) Fleet {
	f := Fleet{Instances: map[mysql.Addr]fleet.Instance{}, Clusters: map[ClusterKey]fleet.Cluster{}}
	for _, t := range tiers {
		for _, c := range t.Clusters {
			f.Clusters[ClusterKey{t.Name, c.Name}] = c
			for _, i := range c.Instances {
				f.Instances[i.Addr()] = i
			}
		}
	}
	return f
}

// SettleKey names a replica that looks as if it alone still needed an alter.
type SettleKey struct {
	Alter AlterKey
	Addr  mysql.Addr
}

// Settle is how far such a replica is on its way to be believed. Right after the alter of a primary every replica
// still looks wrong, until replication has carried it over and a checksum has seen it. So the primary's GTID set is
// noted, then the replica must have applied it, and only a checksum begun after that counts.
type Settle struct {
	Barrier string    // gtid_executed of the primary, when it was first seen to need nothing
	At      time.Time // when the replica was seen to have applied it, zero until then
}

// Rules are the time limits of the scheduler.
type Rules struct {
	StartTimeout     time.Duration // READY for longer: withdrawn, another instance may go first
	HeartbeatTimeout time.Duration // RUNNING without a sign of life for longer: reported
	MaxRunTime       time.Duration // RUNNING for longer: reported and HOLD; 0 = no limit
	RetryBackoff     time.Duration // wait before the second try of a failed alter, doubled for each further one
	RetryBackoffMax  time.Duration
	MaxTries         int // tries on one instance before the alter goes on HOLD
}

// Backoff is how long to wait after the given number of failed tries.
func (r Rules) Backoff(tries int) time.Duration {
	d := r.RetryBackoff
	for range tries - 1 {
		if d >= r.RetryBackoffMax/2 {
			return r.RetryBackoffMax
		}
		d *= 2
	}
	return min(d, r.RetryBackoffMax)
}

// tries is how many runs of an alter have failed on an instance, of the version that is wanted now.
func (s Snapshot) tries(k AlterKey, a mysql.Addr) int {
	r, ok := s.Retries[TryKey{k, a}]
	if !ok || r.DesiredHash != s.Alters[k].DesiredHash {
		return 0
	}
	return r.Tries
}

func alterOf(r aoscdb.RunningAlter) AlterKey { return AlterKey{r.Group, r.Table} }

func addrOf(r aoscdb.RunningAlter) mysql.Addr { return mysql.Addr{Host: r.Host, Port: r.Port} }
