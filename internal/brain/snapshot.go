package brain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

// key names an alter.
type key struct{ Group, Table string }

func (k key) String() string { return k.Group + "/" + k.Table }

// place is one instance of one tier.
type place struct {
	Group string
	Addr  mysql.Addr
}

// snapshot is all that a pass decides on. Maps that miss a key mean "there is none", except where an error field says
// that nothing is known.
type snapshot struct {
	Now time.Time // aoscdb's clock, before anything was read

	Head    *schema.Snapshot // nil: HeadErr says why git cannot be read
	HeadErr error

	Inventory    map[string]fleet.Tier
	InventoryErr error // the list cannot be trusted now

	Tiers   map[string]aoscdb.Tier
	Allowed map[key]aoscdb.AllowedAlter
	Custom  map[key]map[mysql.Addr]bool
	Current map[key]aoscdb.CurrentAlter
	Running map[key]int // rows of running_alters
	Passes  map[place]aoscdb.Pass

	// Known is what planning found before, for the question it was asked; Asked are the alters planned in this very pass.
	Known map[key]judgement
	Asked map[key]bool
}

// question is all that a plan's verdict depends on, apart from the servers themselves. Equal questions need not be asked
// twice.
type question struct {
	Blob        string
	AllowUnsafe bool
	ServerList  string
	Custom      string // instances, when ServerList is custom
	Clusters    string // of the tier
	Databases   string // pattern

	Ordering, CopyEngine string
	DirectMaxRows        uint64
	DirectMaxBytes       uint64
	CreateMissing        bool
}

// kind is what is known of an alter's feasibility.
type kind int

const (
	// pending is the zero value on purpose: what nobody judged may not run.
	pending kind = iota
	fits         // it may run
	refused      // it may not, Reason says why
	waiting      // it cannot be judged now, Reason says what for (I11)
)

func (k kind) String() string { return [...]string{"pending", "fits", "refused", "waiting"}[k] }

// verdict is whether an alter may run.
type verdict struct {
	Kind   kind
	Reason string
	// PrimaryFirst: with ordering rolling the primary goes before its replicas.
	PrimaryFirst bool
}

// judgement is a verdict that was paid for with plans on the servers.
type judgement struct {
	Question question
	Verdict  verdict
	At       time.Time // when the planning began
	Failures int       // how often in a row it ended in waiting
}

// keys are all alters there is anything about, in the order of urgency: priority, then name.
func (s *snapshot) keys() []key {
	urgency := map[key]int{}
	for k, c := range s.Current {
		urgency[k] = c.Priority
	}
	for k, a := range s.Allowed {
		urgency[k] = a.Priority
	}
	keys := make([]key, 0, len(urgency))
	for k := range urgency {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int {
		if urgency[a] != urgency[b] {
			return urgency[b] - urgency[a]
		}
		return strings.Compare(a.Group+"\x00"+a.Table, b.Group+"\x00"+b.Table)
	})
	return keys
}

// desired is the table's file at the head, false when there is none or git cannot be read.
func (s *snapshot) desired(k key) (schema.Desired, bool) {
	if s.Head == nil {
		return schema.Desired{}, false
	}
	return s.Head.Table(k.Group, k.Table)
}

// instances are those of the inventory that an alter with this server_list concerns.
func (s *snapshot) instances(k key, serverList string) []fleet.Instance {
	all := s.Inventory[k.Group].Instances()
	if serverList != aoscdb.ServersCustom {
		return all
	}
	return slices.DeleteFunc(all, func(i fleet.Instance) bool { return !s.Custom[k][i.Addr()] })
}

// clusters are those that have at least one of the instances the alter concerns.
func (s *snapshot) clusters(k key, serverList string) []fleet.Cluster {
	wanted := map[string]bool{}
	for _, i := range s.instances(k, serverList) {
		wanted[i.Cluster] = true
	}
	var out []fleet.Cluster
	for _, c := range s.Inventory[k.Group].Clusters {
		if wanted[c.Name] {
			out = append(out, c)
		}
	}
	return out
}

// question is what the planner would be asked about an alter now. It needs the alter's file, tier and inventory.
func (s *snapshot) question(k key) question {
	d, _ := s.desired(k)
	t, a := s.Tiers[k.Group], s.Allowed[k]
	q := question{
		Blob: d.Blob, AllowUnsafe: a.AllowUnsafe, ServerList: a.ServerList, Databases: s.Inventory[k.Group].Databases,
		Ordering: t.Ordering, CopyEngine: t.CopyEngine, DirectMaxRows: t.DirectMaxRows, DirectMaxBytes: t.DirectMaxBytes,
		CreateMissing: t.CreateMissing,
	}
	var names []string
	for _, c := range s.Inventory[k.Group].Clusters {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	q.Clusters = strings.Join(names, "\x00")
	if a.ServerList == aoscdb.ServersCustom {
		var custom []string
		for addr := range s.Custom[k] {
			custom = append(custom, addr.String())
		}
		slices.Sort(custom)
		q.Custom = strings.Join(custom, " ")
	}
	return q
}

// verdict is what is known of an alter with a permission: from the tables, git and the inventory alone where they
// settle it, else from the last planning that answered the present question.
func (s *snapshot) verdict(k key) verdict {
	if v := s.obvious(k); v.Kind != pending {
		return v
	}
	if known, ok := s.Known[k]; ok && known.Question == s.question(k) {
		return known.Verdict
	}
	return verdict{}
}

// obvious is what needs no server to be asked. pending = the servers must be asked.
func (s *snapshot) obvious(k key) verdict {
	no := func(format string, args ...any) verdict {
		return verdict{Kind: refused, Reason: sentence(fmt.Sprintf(format, args...))}
	}
	if _, ok := s.Tiers[k.Group]; !ok {
		return no("Tier %q is not in table tiers, which has %s. Add it (aosc tier set %s), or delete the row of allowed_alters.",
			k.Group, names(s.Tiers), k.Group)
	}
	if s.InventoryErr != nil {
		return verdict{Kind: waiting, Reason: sentence("Waiting for the inventory: " + s.InventoryErr.Error())}
	}
	if _, ok := s.Inventory[k.Group]; !ok {
		return no("Tier %q is not in the inventory, which has %s. Add its clusters there, or delete the row of allowed_alters.",
			k.Group, names(s.Inventory))
	}
	if s.Head == nil {
		return verdict{Kind: waiting, Reason: sentence("Waiting for git: " + s.HeadErr.Error())}
	}
	d, ok := s.desired(k)
	if !ok {
		return no("Commit %s has no file for table %q of tier %q. Commit schemas/%s/%s.sql, or delete the row of allowed_alters.",
			short(s.Head.Commit), k.Table, k.Group, k.Group, k.Table)
	}
	if d.Problem != nil {
		return no("The file at commit %s cannot be used: %v. Commit a corrected one.", short(s.Head.Commit), d.Problem)
	}
	a := s.Allowed[k]
	if len(s.instances(k, a.ServerList)) > 0 {
		return verdict{}
	}
	switch {
	case a.ServerList != aoscdb.ServersCustom:
		return no("The inventory has no instance for tier %q. Add its instances there.", k.Group)
	case len(s.Custom[k]) == 0:
		return no("server_list is 'custom', but custom_servers has no row for %s. Insert the host and port of each server, "+
			"or set server_list='default' in allowed_alters.", k)
	}
	return no("None of the servers listed in custom_servers for %s (%s) is an instance of tier %q in the inventory. "+
		"Correct custom_servers or the inventory.", k, s.question(k).Custom, k.Group)
}

// names lists the keys of a map for a message.
func names[V any](m map[string]V) string {
	if len(m) == 0 {
		return "none"
	}
	all := make([]string, 0, len(m))
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// short is a commit as people write it.
func short(commit string) string { return commit[:min(len(commit), 10)] }
