package oscworker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
)

func inst(host string) fleet.Instance {
	return fleet.Instance{Tier: "udb", Cluster: "c1", Host: host, Port: 3306}
}

// view is a cluster of a primary p and replicas a and b.
func view(change func(map[string]*fleet.Observed)) fleet.ClusterView {
	members := map[string]*fleet.Observed{}
	v := fleet.ClusterView{}
	for _, h := range []string{"p", "a", "b"} {
		o := &fleet.Observed{Instance: inst(h), Role: fleet.RoleReplica, Replica: &mysql.ReplicaStatus{SourceUUID: "p", IORunning: "Yes", SQLRunning: "Yes"}}
		if h == "p" {
			o.Role, o.Replica = fleet.RolePrimary, nil
		}
		o.Server.UUID = h
		members[h] = o
	}
	if change != nil {
		change(members)
	}
	for _, h := range []string{"p", "a", "b"} {
		v.Members = append(v.Members, *members[h])
	}
	return v
}

func hosts(os []fleet.Observed) string {
	var names []string
	for _, o := range os {
		names = append(names, o.Host)
	}
	return strings.Join(names, "")
}

func TestTurnOf(t *testing.T) {
	down := func(h string) func(map[string]*fleet.Observed) {
		return func(m map[string]*fleet.Observed) {
			*m[h] = fleet.Observed{Instance: inst(h), Role: fleet.RoleUnknown, Err: errors.New("down")}
		}
	}
	const primary, rolling = aoscdb.OrderingPrimary, aoscdb.OrderingRolling
	for _, c := range []struct {
		name, ordering, self string
		view                 fleet.ClusterView
		noBinlog, drift      bool
		before, replicas     string
		err                  string // a part of it
	}{
		{"the primary", primary, "p", view(nil), false, false, "", "ab", ""},
		{"the primary, a replica down", primary, "p", view(down("b")), false, false, "", "a", ""},
		{"the primary, a replica that is meant to stay behind", primary, "p", view(func(m map[string]*fleet.Observed) { m["b"].Replica.Delay = time.Hour }),
			false, false, "", "a", ""},
		{"a replica is altered alone, after the primary (I7)", primary, "a", view(nil), true, true, "p", "", ""},
		{"a replica while the primary is down (I11)", primary, "a", view(down("p")), false, false, "", "", "no primary"},
		{"an instance of unknown role", primary, "a", view(down("a")), false, false, "", "", "role of a:3306 is unknown"},
		{"two primaries (I2)", primary, "p", view(func(m map[string]*fleet.Observed) { m["a"].Role, m["a"].Replica = fleet.RolePrimary, nil }),
			false, false, "", "", "more than one primary"},
		{"rolling, a replica", rolling, "a", view(nil), true, false, "", "", ""},
		{"rolling, a replica while another is down", rolling, "a", view(down("b")), true, false, "", "", ""},
		{"rolling, the primary after all replicas", rolling, "p", view(nil), true, false, "ab", "", ""},
		{"rolling, the primary with a replica nobody can ask (I11)", rolling, "p", view(down("b")), false, false, "", "", "primary goes last"},
		{"super_read_only takes no DDL", rolling, "a", view(func(m map[string]*fleet.Observed) { m["a"].Server.SuperReadOnly = true }),
			false, false, "", "", "super_read_only"},
		{"a super_read_only replica, perhaps after a failover", primary, "a", view(func(m map[string]*fleet.Observed) { m["a"].Server.SuperReadOnly = true }),
			true, true, "p", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := turnOf(c.ordering, c.view, inst(c.self))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Sealed != strings.HasPrefix(c.name, "a super_read_only") {
				t.Errorf("sealed: %v", got.Sealed)
			}
			if got.NoBinlog != c.noBinlog || got.Drift != c.drift || hosts(got.Before) != c.before || hosts(got.Replicas) != c.replicas {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// What passes by itself costs no try; what needs a person is final.
func TestTurnErrorsAreOfTheRightKind(t *testing.T) {
	_, err := turnOf(aoscdb.OrderingPrimary, fleet.ClusterView{Members: []fleet.Observed{{Instance: inst("p"), Err: fmt.Errorf("down")}}}, inst("p"))
	if v := verdictOf(err, nil); v.End != endGiveBack {
		t.Errorf("an unknown primary: %+v, want it given back", v)
	}
	_, err = turnOf(aoscdb.OrderingRolling, view(func(m map[string]*fleet.Observed) { m["a"].Server.SuperReadOnly = true }), inst("a"))
	if v := verdictOf(err, nil); v.End != endFailed || !v.Final {
		t.Errorf("super_read_only: %+v, want a final failure", v)
	}
}

// A replica that alone differs is to be cloned anew only where no permission lets it be mended.
func TestAdmitDrift(t *testing.T) {
	loses := osc.Plan{Refused: "data would be lost and allow_unsafe is 0: drop_column c", Final: true, Facts: osc.Facts{Instant: true,
		NoBinlog: true,
		Loses:    []string{"drop_column c"}}}
	never := osc.Plan{Refused: "no unique key", Final: true, Facts: osc.Facts{Rows: 1, NoBinlog: true}}
	for _, c := range []struct {
		name      string
		plans     []osc.Plan
		says, not string
	}{
		{"a permission is all that lacks", []osc.Plan{loses}, "allow_unsafe", "clone"},
		{"in one of its databases nothing helps", []osc.Plan{loses, never}, "clone it anew", ""},
	} {
		err := admit(c.plans, turn{Drift: true})
		if err == nil || !strings.Contains(err.Error(), c.says) || c.not != "" && strings.Contains(err.Error(), c.not) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
