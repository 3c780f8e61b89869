package oscworker

import (
	"errors"
	"fmt"
	"slices"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/osc"
)

// errNotNow marks reasons that pass by themselves: the row goes back to the queue, and no try is counted.
var errNotNow = errors.New("not now")

// refusal is a reason that only a person can remove.
type refusal string

func (r refusal) Error() string { return string(r) }

// turn is how an instance may be altered, given the roles in its cluster at this moment.
type turn struct {
	// NoBinlog: this instance alone, with sql_log_bin=0 (I7). Else it is the primary and replication carries the alter.
	NoBinlog bool
	// Drift: this is a replica that differs from its primary, which has the desired form already.
	Drift bool
	// Source is the primary whose rows this instance should have, nil on the primary itself.
	Source *fleet.Observed
	// Before are the members that must have the desired form before this instance is touched; with ordering rolling those of a
	// change that begins with the replicas.
	Before []fleet.Observed
	// First is the primary, of a replica with ordering rolling: it goes first where the change is stricter.
	First *fleet.Observed
	// Sealed: it is a super_read_only replica, on which nothing can be altered. It was the primary when the scheduler chose it
	// and a failover came since, or it alone differs: what the primary, Before[0], has tells one from the other.
	Sealed bool
	// Replicas are those that throttle a copy.
	Replicas []fleet.Observed
}

// keepingUp leaves out the replicas that are meant to stay behind: a copy that waited for one of them would wait for ever.
func keepingUp(replicas []fleet.Observed) []fleet.Observed {
	return slices.DeleteFunc(replicas, func(o fleet.Observed) bool { return o.Replica != nil && o.Replica.Delay > 0 })
}

// turnOf decides what the order in the cluster allows. The scheduler has decided the same, on what it saw; a failover may
// have come since, and a replica altered before its primary would break replication when the primary's ALTER arrives.
func turnOf(ordering string, view fleet.ClusterView, self fleet.Instance) (turn, error) {
	primary, err := view.Primary()
	if err != nil {
		return turn{}, fmt.Errorf("%w: %w", errNotNow, err)
	}
	var me fleet.Observed
	var others []fleet.Observed
	for _, m := range view.Members {
		if m.Addr() == self.Addr() {
			me = m
		} else {
			others = append(others, m)
		}
	}
	isPrimary := me.Addr() == primary.Addr()
	if !isPrimary && me.Role != fleet.RoleReplica {
		return turn{}, fmt.Errorf("%w: the role of %s is unknown (%v)", errNotNow, self, me.Err)
	}
	switch {
	case me.Server.SuperReadOnly && ordering == aoscdb.OrderingPrimary && !isPrimary:
		return turn{Sealed: true, NoBinlog: true, Drift: true, Before: []fleet.Observed{primary}}, nil
	case me.Server.SuperReadOnly:
		return turn{}, sealed(self)
	case ordering == aoscdb.OrderingPrimary && isPrimary:
		return turn{Replicas: keepingUp(view.Replicas())}, nil
	case ordering == aoscdb.OrderingPrimary:
		return turn{NoBinlog: true, Drift: true, Source: &primary, Before: []fleet.Observed{primary}}, nil
	case isPrimary:
		for _, o := range others {
			if o.Role != fleet.RoleReplica {
				return turn{}, fmt.Errorf("%w: the primary goes last, and it is not known what replica %s has (%v)", errNotNow, o, o.Err)
			}
		}
		return turn{NoBinlog: true, Before: others}, nil
	}
	return turn{NoBinlog: true, Source: &primary, First: &primary}, nil
}

// before are the members that must have the desired form before this instance is given these plans.
func (t turn) before(plans []osc.Plan) ([]fleet.Observed, error) {
	primaryFirst := slices.ContainsFunc(plans, osc.Plan.PrimaryFirst)
	switch {
	case !primaryFirst:
		return t.Before, nil
	case slices.ContainsFunc(plans, osc.Plan.ReplicasFirst):
		return nil, refusal("some databases would have to be altered at the primary first, others at the replicas: bring them to one form first")
	case t.First != nil:
		return []fleet.Observed{*t.First}, nil
	}
	return nil, nil // the primary itself
}

// sealed is the refusal of an instance that takes no DDL.
func sealed(self fleet.Instance) refusal {
	return refusal(fmt.Sprintf("%s is super_read_only and takes no DDL, not even unlogged: with ordering 'primary' its "+
		"primary is altered and replication carries it here; if only this replica differs, clone it anew", self))
}
