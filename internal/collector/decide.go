package collector

import (
	"cmp"
	"slices"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/why"
)

// alterKey names an alter.
type alterKey struct{ Group, Table string }

// snapshot is all that one look gathered.
type snapshot struct {
	// At is aoscdb's clock before anything was read. It becomes collected_at: whoever waits for a look that saw its
	// change compares with it.
	At     time.Time
	Alters []aoscdb.CurrentAlter
	// Instances by tier, in the order of the inventory. A tier the inventory does not know has none.
	Instances map[string][]evidence
	// Custom are the instances an alter with server_list='custom' is restricted to.
	Custom map[alterKey]map[mysql.Addr]bool
	// Stored are the rows of alter_targets.
	Stored []aoscdb.Target
}

// unknownInstance is an instance a look could not judge, and why.
type unknownInstance struct {
	Instance string // host:port, "" = the alter has no instance at all
	Addr     mysql.Addr
	Code     why.Code
	Reason   string
}

// finding is what one look found for one alter, and the rows that this calls for.
type finding struct {
	Alter    aoscdb.CurrentAlter // as gathered
	Targets  int                 // instances that are targets now
	Unknowns []unknownInstance
	Insert   []aoscdb.Target
	Update   []aoscdb.Target
	Delete   []aoscdb.Target
}

// news reports whether another daemon waits for this: a row of alter_targets changes, a count changes, or this is
// the first look since the alter was pinned or its check was asked for.
func (f finding) news(at time.Time) bool {
	a := f.Alter
	first := a.CollectedAt == nil || (a.CollectedAt.Before(needSince(a)) && !at.Before(needSince(a)))
	return first || len(f.Insert)+len(f.Update)+len(f.Delete) > 0 || a.Targets != f.Targets || a.Unknowns != len(f.Unknowns)
}

// decide turns a snapshot into findings, one per alter that can be judged, and the alter_targets rows of alters that
// are gone.
func decide(s snapshot) (findings []finding, orphans []aoscdb.Target) {
	stored := map[alterKey]map[mysql.Addr]aoscdb.Target{}
	for _, t := range s.Stored {
		k := alterKey{t.Group, t.Table}
		if stored[k] == nil {
			stored[k] = map[mysql.Addr]aoscdb.Target{}
		}
		stored[k][mysql.Addr{Host: t.Host, Port: t.Port}] = t
	}
	for _, a := range s.Alters {
		k := alterKey{a.Group, a.Table}
		if judged(a) {
			findings = append(findings, findingOf(a, s, stored[k]))
		}
		delete(stored, k)
	}
	for _, rows := range stored {
		for _, t := range rows {
			orphans = append(orphans, t)
		}
	}
	slices.SortFunc(orphans, byKey)
	return findings, orphans
}

// findingOf judges every instance of one alter. What is stored of an instance that is unknown now stays as it is: a
// target that stopped answering has not become clean (I11). A row from before the alter was pinned to its present text
// says nothing, though, and goes.
func findingOf(a aoscdb.CurrentAlter, s snapshot, stored map[mysql.Addr]aoscdb.Target) finding {
	f := finding{Alter: a}
	keep := map[mysql.Addr]bool{}
	counted := 0
	for _, e := range s.Instances[a.Group] {
		k := e.Instance.Addr()
		if a.ServerList == aoscdb.ServersCustom && !s.Custom[alterKey{a.Group, a.Table}][k] {
			continue
		}
		counted++
		old, was := stored[k]
		switch v, reason := judge(a, e); v {
		case unknown:
			f.Unknowns = append(f.Unknowns, unknownInstance{Instance: e.Instance.String(), Addr: k, Code: codeOf(e), Reason: reason})
			keep[k] = was && !old.FoundAt.Before(*a.PinnedAt)
		case target:
			f.Targets++
			keep[k] = true
			row := targetRow(a, e, s.At)
			if !was {
				f.Insert = append(f.Insert, row)
			} else if row.FoundAt = old.FoundAt; row != old {
				f.Update = append(f.Update, row)
			}
		case clean:
		}
	}
	if counted == 0 {
		// No instance is no evidence: an empty tier is more often a mistake in the inventory than a finished alter (I11).
		f.Unknowns = append(f.Unknowns, unknownInstance{Code: why.NotChecked, Reason: "the inventory has no instance for this alter"})
	}
	for k, t := range stored {
		if !keep[k] {
			f.Delete = append(f.Delete, t)
		}
	}
	slices.SortFunc(f.Delete, byKey)
	return f
}

func targetRow(a aoscdb.CurrentAlter, e evidence, at time.Time) aoscdb.Target {
	s := e.Summary[a.Table]
	return aoscdb.Target{
		Group: a.Group, Table: a.Table, Host: e.Instance.Host, Port: e.Instance.Port,
		Cluster: e.Instance.Cluster, Role: string(e.Role), FoundAt: at, Databases: s.NotOK, Bytes: s.Bytes,
	}
}

// obstacles are the unknowns, for whoever asks why.
func obstacles(findings []finding) []aoscdb.Obstacle {
	var out []aoscdb.Obstacle
	for _, f := range findings {
		for _, u := range f.Unknowns {
			out = append(out, aoscdb.Obstacle{Group: f.Alter.Group, Table: f.Alter.Table, Host: u.Addr.Host, Port: u.Addr.Port,
				Code: string(u.Code), Reason: u.Reason})
		}
	}
	return out
}

func byKey(a, b aoscdb.Target) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
}
