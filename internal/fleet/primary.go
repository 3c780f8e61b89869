package fleet

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNoPrimary: no member that answered is a primary.
	ErrNoPrimary = errors.New("no primary")
	// ErrManyPrimaries: several members take writes (I2). Nothing may be done to such a cluster until a person looked.
	ErrManyPrimaries = errors.New("more than one primary")
	// ErrUncertainPrimary: one member says it is the primary, but a member that did not answer could be it in truth (I11).
	ErrUncertainPrimary = errors.New("primary uncertain")
)

// Primary is the one member that takes writes. When every member answered, its own word is enough: exactly one is
// writable without a source. When some did not, one of those may have been made primary in its place, and the one seen
// be cut off from them, alive and writable (I2, I11); then
//
//   - the seen primary and the replicas receiving from it at this moment, directly or through each other, must be more
//     than half of all members. A failover that keeps acknowledged writes (I1) stops the receivers of a majority first,
//     so a majority still receiving rules out that another was promoted;
//   - no replica may be receiving from a server that was not seen: that server is alive and may be a primary.
//
// So three members stay usable with one down, while of two with one down the survivor is not trusted. That costs a
// delay: no alter could finish anyway while a member is unknown (I4). Trusting it could cost an ALTER on a deposed
// primary, which is an errant transaction (I7). A configured source alone is no evidence: a receiver that was stopped
// for a failover has it too.
//
// The error wraps ErrNoPrimary, ErrManyPrimaries or ErrUncertainPrimary and says what each member answered.
func (v ClusterView) Primary() (Observed, error) {
	var primaries []Observed
	silent := 0
	for _, m := range v.Members {
		switch {
		case m.Role == RolePrimary:
			primaries = append(primaries, m)
		case m.Err != nil:
			silent++
		}
	}
	switch {
	case len(primaries) == 0:
		return Observed{}, v.failure(ErrNoPrimary, "")
	case len(primaries) > 1:
		return Observed{}, v.failure(ErrManyPrimaries, "make all but one read-only")
	case silent == 0:
		return primaries[0], nil
	}
	primary := primaries[0]
	if m, ok := v.receivingFromUnseen(); ok {
		return Observed{}, v.failure(ErrUncertainPrimary,
			fmt.Sprintf("%s is receiving from %s, which was not seen and may be primary", m, m.Replica.Source))
	}
	if votes := 1 + v.receivingFrom(primary); 2*votes <= len(v.Members) {
		return Observed{}, v.failure(ErrUncertainPrimary, fmt.Sprintf("%s takes writes, but with the replicas receiving from it "+
			"it is only %d of %d members; bring the others back, or take them out of the inventory", primary, votes, len(v.Members)))
	}
	return primary, nil
}

// Replicas are the members that said they have a replication source, running or not.
func (v ClusterView) Replicas() []Observed {
	var replicas []Observed
	for _, m := range v.Members {
		if m.Role == RoleReplica {
			replicas = append(replicas, m)
		}
	}
	return replicas
}

// byUUID finds members by who they are: addresses in a replication source may be written differently than ours.
func (v ClusterView) byUUID() map[string]Observed {
	members := map[string]Observed{}
	for _, m := range v.Members {
		if m.Err == nil {
			members[m.Server.UUID] = m
		}
	}
	return members
}

// receivingFrom counts the replicas that receive from a member now, directly or through other members that do.
func (v ClusterView) receivingFrom(top Observed) int {
	members := v.byUUID()
	count := 0
	for _, m := range v.Replicas() {
		for range v.Members { // no chain is longer; a ring must end too
			if m.Replica == nil || !m.Replica.Receiving() {
				break
			}
			if m.Replica.SourceUUID == top.Server.UUID {
				count++
				break
			}
			m = members[m.Replica.SourceUUID]
		}
	}
	return count
}

// receivingFromUnseen finds a replica that is connected to a server which is none of the members that answered.
func (v ClusterView) receivingFromUnseen() (Observed, bool) {
	members := v.byUUID()
	for _, m := range v.Replicas() {
		if _, seen := members[m.Replica.SourceUUID]; !seen && m.Replica.Receiving() {
			return m, true
		}
	}
	return Observed{}, false
}

func (v ClusterView) failure(kind error, hint string) error {
	said := make([]string, len(v.Members))
	for i, m := range v.Members {
		said[i] = m.String() + " " + m.said()
	}
	if hint != "" {
		hint = " (" + hint + ")"
	}
	return fmt.Errorf("tier %s, cluster %s: %w%s: %s", v.Tier, v.Name, kind, hint, strings.Join(said, "; "))
}

// said is what a member answered, in a few words.
func (o Observed) said() string {
	switch {
	case o.Err != nil:
		return "cannot be judged: " + o.Err.Error()
	case o.Role == RolePrimary:
		return "is writable and follows nobody"
	case o.Role == RoleReplica:
		return fmt.Sprintf("is a replica of %s, receiving: %s, applying: %s", o.Replica.Source, o.Replica.IORunning, o.Replica.SQLRunning)
	}
	return "is read-only and follows nobody"
}

// Problem is something a person should know of a cluster.
type Problem struct {
	Instance Instance // zero when it concerns the cluster as a whole
	Text     string
}

// String names the instance, if there is one, and the problem.
func (p Problem) String() string {
	if p.Instance.Host == "" {
		return p.Text
	}
	return p.Instance.String() + ": " + p.Text
}

// Problems lists what is not as it should be, in the order of the members: those that did not answer, replicas that
// take writes, do not replicate or follow a stranger, one server listed twice; and last why there is no primary.
func (v ClusterView) Problems() []Problem {
	var found []Problem
	members := v.byUUID()
	first := map[string]Observed{}
	for _, m := range v.Members {
		add := func(format string, args ...any) {
			found = append(found, Problem{m.Instance, fmt.Sprintf(format, args...)})
		}
		if m.Err != nil {
			add("%s", m.said())
			continue
		}
		if other, twice := first[m.Server.UUID]; twice {
			add("has the server_uuid of %s: the same server listed twice, or a copied auto.cnf", other)
		} else {
			first[m.Server.UUID] = m
		}
		if m.Role == RoleUnknown {
			add("%s", m.said())
		}
		if m.Role == RoleReplica {
			m.replicaProblems(members, add)
		}
	}
	if _, err := v.Primary(); err != nil {
		found = append(found, Problem{Text: err.Error()})
	}
	return found
}

func (o Observed) replicaProblems(members map[string]Observed, add func(string, ...any)) {
	r := o.Replica
	if !o.Server.ReadOnly {
		add("is a replica of %s but takes writes", r.Source)
	}
	if r.IORunning != "Yes" || r.SQLRunning != "Yes" {
		why := strings.Join(nonEmpty(r.IOError, r.SQLError), "; ")
		if why == "" {
			why = "no error"
		}
		add("does not replicate (receiving: %s, applying: %s): %s", r.IORunning, r.SQLRunning, why)
	}
	if _, member := members[r.SourceUUID]; r.SourceUUID != "" && !member {
		add("follows %s (server_uuid %s), which is no member that answered", r.Source, r.SourceUUID)
	}
}

func nonEmpty(texts ...string) []string {
	var kept []string
	for _, t := range texts {
		if t != "" {
			kept = append(kept, t)
		}
	}
	return kept
}
