// Package cottonapi is the inventory of clusters that cotton launched: a tier is all clusters with the label tier=<name>.
// It is named by cotton's URL with "cotton+" before it:
//
//	cotton+http://127.0.0.1:5055
//	cotton+https://a:5055,b:5055?token-file=/etc/aosc/cotton.token&ca-file=/etc/aosc/ca.pem&databases=dbid%25
//
// Which databases belong to the tier is the clusters' label databases (a LIKE pattern), else the parameter of that name,
// else all.
package cottonapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

// Prefix of the names of this kind of inventory.
const Prefix = "cotton+"

// Labels of clusters that matter here.
const (
	TierLabel      = "tier"
	DatabasesLabel = "databases"
)

// allDatabases is the LIKE pattern of a tier that says nothing else: a cluster of cotton's has no other tenants.
const allDatabases = "%"

// fresh is how long an answer serves without asking again. Every pass of every daemon asks.
const fresh = time.Second

var _ fleet.Inventory = (*Inventory)(nil)

// Inventory is cotton's API. It is safe for concurrent use.
type Inventory struct {
	name      string // for people
	databases string
	client    *client.Client

	mu    sync.Mutex // held while asking: callers at the same moment share one answer
	tiers []fleet.Tier
	known map[mysql.Addr]proof // of all clusters, of the last answer
	asked time.Time            // when tiers were true; zero = not known
}

// Open checks the name of an inventory; nothing is asked before Tiers.
func Open(name string) (*Inventory, error) {
	config, databases, err := parse(name)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	c, err := client.New(config)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	return &Inventory{name: Prefix + c.String(), databases: databases, client: c}, nil
}

func parse(name string) (c client.Config, databases string, err error) {
	rest, ok := strings.CutPrefix(name, Prefix)
	scheme, rest, hasScheme := strings.Cut(rest, "://")
	if !ok || !hasScheme {
		return c, "", fmt.Errorf("want %shttp://host:port or %shttps://host:port", Prefix, Prefix)
	}
	hosts, query, _ := strings.Cut(rest, "?")
	for host := range strings.SplitSeq(hosts, ",") {
		c.URLs = append(c.URLs, scheme+"://"+host)
	}
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return c, "", fmt.Errorf("the parameters of %s are malformed: %w; a %% is written %%25", hosts, err)
	}
	databases = allDatabases
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		value := parameters.Get(key)
		switch {
		case value == "" || len(parameters[key]) > 1:
			return c, "", fmt.Errorf("parameter %s: want one value", key)
		case key == "token-file":
			c.TokenFile = value
		case key == "ca-file":
			c.CAFile = value
		case key == "databases":
			databases = value
		default:
			return c, "", fmt.Errorf("unknown parameter %q: known are ca-file, databases and token-file", key)
		}
	}
	return c, databases, nil
}

// Tiers asks cotton, at most once a second. While it cannot be asked the error is returned: an older list is not passed
// off as the fleet (I11).
func (inv *Inventory) Tiers(ctx context.Context) ([]fleet.Tier, error) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if inv.asked.IsZero() || time.Since(inv.asked) >= fresh {
		asked := time.Now()
		clusters, err := inv.client.Clusters(ctx)
		if err == nil {
			inv.known = proofs(clusters)
			inv.tiers, err = tiers(clusters, inv.databases)
		}
		if err != nil {
			inv.asked = time.Time{}
			return nil, fmt.Errorf("inventory %s: %w", inv.name, err)
		}
		inv.asked = asked
	}
	return fleet.CloneTiers(inv.tiers), nil
}

// proof is by what a server's certificate is verified.
type proof struct {
	cluster string
	ca      string
	at      time.Time // when cotton said so
}

const (
	// proofAge is how old an answer may be for a new connection: authorities change only while keys are rotated, and are known long
	// before they are needed.
	proofAge = 30 * time.Second
	// proofLimit bounds the question.
	proofLimit = 5 * time.Second
)

// ErrUnproven: an earlier release of cotton launched a server of the cluster.
var ErrUnproven = errors.New("servers that cannot prove who they are")

// Authority is what the certificate of an instance of cotton's is verified by, before a password is sent to it. While cotton
// cannot be asked what it said last serves.
func (inv *Inventory) Authority(a mysql.Addr) (mysql.Authority, error) {
	have, ok := inv.proof(a)
	var problem error
	if !ok || time.Since(have.at) > proofAge {
		ctx, cancel := context.WithTimeout(context.Background(), proofLimit)
		defer cancel()
		_, problem = inv.Tiers(ctx)
		have, ok = inv.proof(a)
	}
	switch {
	case !ok && problem != nil:
		return mysql.Authority{}, problem
	case !ok:
		return mysql.Authority{}, fmt.Errorf("inventory %s: cotton knows of no instance at %s", inv.name, a)
	case have.ca == "":
		return mysql.Authority{}, fmt.Errorf("inventory %s: cluster %s has %w: `cotton restart %s` gives them certificates",
			inv.name, have.cluster, ErrUnproven, have.cluster)
	}
	return mysql.Authority{PEM: []byte(have.ca)}, nil
}

func (inv *Inventory) proof(a mysql.Addr) (proof, bool) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	p, ok := inv.known[a]
	return p, ok
}

// proofs are those of all instances, also of clusters that belong to no tier.
func proofs(clusters []v1.Cluster) map[mysql.Addr]proof {
	now := time.Now()
	known := map[mysql.Addr]proof{}
	for _, c := range clusters {
		for _, in := range c.Instances {
			if in.Host != "" && in.Port != 0 && (in.Phase != "removing" || known[mysql.Addr{Host: in.Host, Port: in.Port}].cluster == "") {
				known[mysql.Addr{Host: in.Host, Port: in.Port}] = proof{c.Name, c.Endpoints.CA, now}
			}
		}
	}
	return known
}

// tiers turns clusters into tiers, by name. A cluster that is being deleted belongs to none any more, and a member that
// has no place yet is no instance: once it has one it comes with its primary's data, or empty.
func tiers(clusters []v1.Cluster, databases string) ([]fleet.Tier, error) {
	byName := map[string]*fleet.Tier{}
	said := map[string]string{} // which cluster has said a tier's databases
	for _, c := range clusters {
		name := c.Labels[TierLabel]
		if name == "" || c.State == "deleting" {
			continue
		}
		pattern := c.Labels[DatabasesLabel]
		if pattern == "" {
			pattern = databases
		}
		t := byName[name]
		if t == nil {
			t = &fleet.Tier{Name: name, Databases: pattern}
			byName[name], said[name] = t, c.Name
		}
		if t.Databases != pattern {
			return nil, fmt.Errorf("tier %s: cluster %s has databases %q and cluster %s %q: give all clusters of a tier the same label %s",
				name, said[name], t.Databases, c.Name, pattern, DatabasesLabel)
		}
		t.Clusters = append(t.Clusters, cluster(name, c))
	}
	out := make([]fleet.Tier, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, *byName[name])
	}
	return out, nil
}

func cluster(tier string, c v1.Cluster) fleet.Cluster {
	out := fleet.Cluster{Tier: tier, Name: c.Name}
	for _, in := range c.Instances {
		if in.Host == "" || in.Port == 0 || in.Phase == "removing" {
			continue
		}
		out.Instances = append(out.Instances, fleet.Instance{Tier: tier, Cluster: c.Name, Host: in.Host, Port: in.Port, Datacenter: in.Zone, Rack: in.Rack})
	}
	return out
}
