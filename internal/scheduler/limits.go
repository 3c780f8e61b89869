package scheduler

import (
	"fmt"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/why"
)

// book counts what is taken, for I3.
type book struct {
	tier     map[string]int
	host     map[string]hostUse
	dc       map[dcKey]int
	cluster  map[ClusterKey]busy
	instance map[mysql.Addr]AlterKey
}

// busy is the alter that a cluster is busy with, and the instance it is on.
type busy struct {
	alter AlterKey
	addr  mysql.Addr
}

func (b busy) String() string {
	return fmt.Sprintf("%s.%s on %s", b.alter.Group, b.alter.Table, b.addr)
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
		cluster:  map[ClusterKey]busy{},
		instance: map[mysql.Addr]AlterKey{},
	}
}

// take notes that an instance is busy with an alter of tier t.
func (b *book) take(t aoscdb.Tier, i fleet.Instance, alter AlterKey) {
	b.tier[t.Group]++
	use := b.host[i.Host]
	b.host[i.Host] = hostUse{use.running + 1, strictest(use.limit, t.MaxRunningPerHost)}
	b.dc[dcKey{t.Group, i.Datacenter}]++
	b.cluster[ClusterKey{i.Tier, i.Cluster}] = busy{alter, i.Addr()}
	b.instance[i.Addr()] = alter
}

// fits says why one more alter on i would break a limit of its tier; no text when it would not. Alters of one cluster never
// overlap, whatever the ordering: after a failover the row of the old primary still stands for work that may go on
// there, and rolling means one instance at a time.
func (b *book) fits(t aoscdb.Tier, i fleet.Instance) why.Reason {
	if other, busy := b.instance[i.Addr()]; busy {
		return why.Reason{Code: why.OtherAlter, Text: fmt.Sprintf("the instance has an alter already: %s.%s", other.Group, other.Table)}
	}
	if other, busy := b.cluster[ClusterKey{i.Tier, i.Cluster}]; busy {
		return otherAlter(i.Cluster, other)
	}
	if reason := b.full(t); reason.Text != "" {
		return reason
	}
	use := b.host[i.Host]
	if limit := strictest(use.limit, t.MaxRunningPerHost); limit > 0 && use.running >= limit {
		return limited("max_running_per_host on "+i.Host, limit, use.running, " there")
	}
	if limit, n := t.MaxRunningPerDatacenter, b.dc[dcKey{t.Group, i.Datacenter}]; limit > 0 && n >= limit {
		return limited("max_running_per_datacenter of tier "+t.Group, limit, n, " in "+i.Datacenter)
	}
	return why.Reason{}
}

// full says that a tier has as many alters as it may; no text when it has not.
func (b *book) full(t aoscdb.Tier) why.Reason {
	if b.tier[t.Group] < t.MaxRunning {
		return why.Reason{}
	}
	return limited("max_running of tier "+t.Group, t.MaxRunning, b.tier[t.Group], "")
}

func limited(what string, limit, running int, where string) why.Reason {
	return why.Reason{Code: why.Limit, Text: fmt.Sprintf("%s is %d, and %d are queued or running%s", what, limit, running, where)}
}

func otherAlter(cluster string, other busy) why.Reason {
	return why.Reason{Code: why.OtherAlter, Text: fmt.Sprintf("cluster %s has an alter on %s: %s.%s",
		cluster, other.addr, other.alter.Group, other.alter.Table)}
}

// strictest is the lower of two limits of which 0 means none.
func strictest(a, b int) int {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}
