package scheduler

import (
	"fmt"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

// book counts what is taken, for I3.
type book struct {
	tier     map[string]int
	host     map[string]hostUse
	dc       map[dcKey]int
	cluster  map[ClusterKey]mysql.Addr
	instance map[mysql.Addr]bool
}

type dcKey struct{ tier, datacenter string }

// hostUse counts the alters on one machine, of all tiers: they share its disks. limit is the lowest
// max_running_per_host among the tiers that have one there, 0 = none has.
type hostUse struct{ running, limit int }

func newBook() *book {
	return &book{
		tier:     map[string]int{},
		host:     map[string]hostUse{},
		dc:       map[dcKey]int{},
		cluster:  map[ClusterKey]mysql.Addr{},
		instance: map[mysql.Addr]bool{},
	}
}

// take notes that an instance is busy with an alter of tier t.
func (b *book) take(t aoscdb.Tier, i fleet.Instance) {
	b.tier[t.Group]++
	use := b.host[i.Host]
	b.host[i.Host] = hostUse{use.running + 1, strictest(use.limit, t.MaxRunningPerHost)}
	b.dc[dcKey{t.Group, i.Datacenter}]++
	b.cluster[ClusterKey{i.Tier, i.Cluster}] = i.Addr()
	b.instance[i.Addr()] = true
}

// fits says why one more alter on i would break a limit of its tier, "" when it would not. Alters of one cluster never
// overlap, whatever the ordering: after a failover the row of the old primary still stands for work that may go on
// there, and rolling means one instance at a time.
func (b *book) fits(t aoscdb.Tier, i fleet.Instance) string {
	if b.instance[i.Addr()] {
		return "the instance has an alter already"
	}
	if other, busy := b.cluster[ClusterKey{i.Tier, i.Cluster}]; busy {
		return fmt.Sprintf("cluster %s has an alter on %s", i.Cluster, other)
	}
	if reason := b.full(t); reason != "" {
		return reason
	}
	use := b.host[i.Host]
	if limit := strictest(use.limit, t.MaxRunningPerHost); limit > 0 && use.running >= limit {
		return fmt.Sprintf("max_running_per_host on %s is %d", i.Host, limit)
	}
	if limit := t.MaxRunningPerDatacenter; limit > 0 && b.dc[dcKey{t.Group, i.Datacenter}] >= limit {
		return fmt.Sprintf("max_running_per_datacenter of tier %s is %d", t.Group, limit)
	}
	return ""
}

// full says that a tier has as many alters as it may, "" when it has not.
func (b *book) full(t aoscdb.Tier) string {
	if b.tier[t.Group] < t.MaxRunning {
		return ""
	}
	return fmt.Sprintf("max_running of tier %s is %d", t.Group, t.MaxRunning)
}

// strictest is the lower of two limits of which 0 means none.
func strictest(a, b int) int {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}
