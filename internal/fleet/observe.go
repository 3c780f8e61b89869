package fleet

import (
	"context"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Observed is an instance and what it said of itself at one moment.
type Observed struct {
	Instance
	Role    Role
	Err     error                // why nothing is known; Role is then RoleUnknown
	Server  mysql.Server         // zero when Err is set
	Replica *mysql.ReplicaStatus // nil when it follows nobody
}

// Lag is how far a replica's data is behind its source. Known is false when the server cannot tell: it did not answer,
// or it is not connected to its source, or it is not applying. A primary is 0 behind.
func (o Observed) Lag() (lag time.Duration, known bool) {
	switch {
	case o.Role == RolePrimary:
		return 0, true
	case o.Role != RoleReplica || !o.Replica.Receiving() || o.Replica.SecondsBehind == nil:
		// Seconds_Behind_Source of a replica that lost its source counts against the last event received: 0 may be hours.
		return 0, false
	}
	return time.Duration(*o.Replica.SecondsBehind) * time.Second, true
}

// roleOf is the role a server has by its own words. Being a replica is a matter of configuration: one that is stopped
// or writable still is one, while read_only alone makes no replica (a fenced primary, a server about to be set up).
func roleOf(s mysql.Server, r *mysql.ReplicaStatus) Role {
	switch {
	case r != nil:
		return RoleReplica
	case s.ReadOnly || s.SuperReadOnly:
		return RoleUnknown
	}
	return RolePrimary
}

// ClusterView is what the members of a cluster said at about the same moment, in the cluster's order.
type ClusterView struct {
	Cluster
	Members []Observed
}

// Observe asks all members of a cluster at once. A member that has not answered within timeout has its Err set; the
// call takes hardly longer than timeout whatever hangs.
func Observe(ctx context.Context, pool *mysql.Pool, c Cluster, timeout time.Duration) ClusterView {
	return group([]Cluster{c}, observeAll(ctx, pool, c.Instances, 0, timeout))[0]
}

// ObserveTier is Observe of every cluster of a tier, asking at most limit instances at a time (0 = all).
func ObserveTier(ctx context.Context, pool *mysql.Pool, t Tier, limit int, timeout time.Duration) []ClusterView {
	return group(t.Clusters, observeAll(ctx, pool, t.Instances(), limit, timeout))
}

// group deals out observations, which are in the order of the clusters' instances.
func group(clusters []Cluster, seen []Observed) []ClusterView {
	views := make([]ClusterView, len(clusters))
	for i, c := range clusters {
		n := len(c.Instances)
		views[i] = ClusterView{Cluster: c, Members: seen[:n:n]}
		seen = seen[n:]
	}
	return views
}

func observeAll(ctx context.Context, pool *mysql.Pool, instances []Instance, limit int, timeout time.Duration) []Observed {
	results := mysql.FanOut(ctx, instances, limit, timeout, func(ctx context.Context, i Instance) (Observed, error) {
		return observe(ctx, pool, i)
	})
	seen := make([]Observed, len(results))
	for i, r := range results {
		seen[i] = r.Value
		if r.Err != nil {
			seen[i] = Observed{Instance: r.Item, Role: RoleUnknown, Err: r.Err}
		}
	}
	return seen
}

// observe asks one instance, in two round trips. The replication status comes last: what was primary and follows
// somebody a moment later is seen as a replica.
func observe(ctx context.Context, pool *mysql.Pool, i Instance) (Observed, error) {
	db, err := pool.DB(i.Addr())
	if err != nil {
		return Observed{}, err
	}
	server, err := mysql.ReadServer(ctx, db)
	if err != nil {
		return Observed{}, err
	}
	replica, err := mysql.ReadReplicaStatus(ctx, db)
	if err != nil {
		return Observed{}, err
	}
	return Observed{Instance: i, Role: roleOf(server, replica), Server: server, Replica: replica}, nil
}
