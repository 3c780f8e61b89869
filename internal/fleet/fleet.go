// Package fleet is the domain of servers: tiers, clusters, instances, and which of them is what at this moment. Where
// they are listed is an Inventory's business (adapters are sub-packages); what they are is read from the servers
// themselves, never assumed from a list.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// Role is what an instance is in its cluster, as it says itself.
type Role string

const (
	// RolePrimary is a server that takes writes and has no replication source.
	RolePrimary Role = "primary"
	// RoleReplica is a server with a configured replication source, whether it runs or not.
	RoleReplica Role = "replica"
	// RoleUnknown is a server that did not answer (I11), or that neither takes writes nor follows anybody.
	RoleUnknown Role = "unknown"
)

// Instance is one mysqld.
type Instance struct {
	Tier, Cluster    string
	Host             string
	Port             int
	Datacenter, Rack string // "" when not given
}

// Addr is where the instance listens.
func (i Instance) Addr() mysql.Addr { return mysql.Addr{Host: i.Host, Port: i.Port} }

// String is "host:port".
func (i Instance) String() string { return i.Addr().String() }

// Cluster is one replica set: a primary and its replicas. Its name is unique in the inventory.
type Cluster struct {
	Tier, Name string
	Instances  []Instance
}

// Tier is a named set of clusters that share one schema directory.
type Tier struct {
	Name      string
	Databases string // LIKE pattern of the databases that have the tier's tables
	Clusters  []Cluster
}

// Instances are those of all clusters, in order.
func (t Tier) Instances() []Instance {
	var all []Instance
	for _, c := range t.Clusters {
		all = append(all, c.Instances...)
	}
	return all
}

// Cluster finds a cluster of the tier by name.
func (t Tier) Cluster(name string) (Cluster, bool) {
	for _, c := range t.Clusters {
		if c.Name == name {
			return c, true
		}
	}
	return Cluster{}, false
}

// Inventory knows which clusters there are.
type Inventory interface {
	// Tiers lists all of them as they are now. An error means that the list cannot be trusted at this moment: callers
	// keep what they knew or wait, and never treat it as an empty fleet (I11).
	Tiers(ctx context.Context) ([]Tier, error)
}

// CloneTiers copies tiers as deep as they go, so that an inventory's callers may sort and cut what they were given.
func CloneTiers(tiers []Tier) []Tier {
	tiers = slices.Clone(tiers)
	for i := range tiers {
		tiers[i].Clusters = slices.Clone(tiers[i].Clusters)
		for j := range tiers[i].Clusters {
			tiers[i].Clusters[j].Instances = slices.Clone(tiers[i].Clusters[j].Instances)
		}
	}
	return tiers
}

// ErrUnknownTier is wrapped by FindTier.
var ErrUnknownTier = errors.New("unknown tier")

// FindTier finds a tier by name. The error wraps ErrUnknownTier and lists those there are, or is the inventory's.
func FindTier(ctx context.Context, inv Inventory, name string) (Tier, error) {
	tiers, err := inv.Tiers(ctx)
	if err != nil {
		return Tier{}, err
	}
	known := make([]string, len(tiers))
	for i, t := range tiers {
		if t.Name == name {
			return t, nil
		}
		known[i] = t.Name
	}
	if len(known) == 0 {
		return Tier{}, fmt.Errorf("%w %q: the inventory has none", ErrUnknownTier, name)
	}
	return Tier{}, fmt.Errorf("%w %q: the inventory has %s", ErrUnknownTier, name, strings.Join(known, ", "))
}
