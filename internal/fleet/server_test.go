package fleet_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// clusterOf lists servers in an inventory's words, which say nothing of roles.
func clusterOf(name string, servers ...*mysqld.Server) fleet.Cluster {
	c := fleet.Cluster{Tier: "udb", Name: name}
	for _, s := range servers {
		c.Instances = append(c.Instances, fleet.Instance{Tier: "udb", Cluster: name, Host: s.Addr().Host, Port: s.Addr().Port})
	}
	return c
}

func newPool(t *testing.T) *mysql.Pool {
	pool := mysql.NewPool(mysql.Credentials{User: "root"}, mysql.Options{})
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return pool
}

// One cluster through its days: healthy, a replica down, the primary hung, two primaries. Roles are read from the
// servers, and a hung one costs its time-out and is unknown (I11).
func TestObserve(t *testing.T) {
	const timeout = 2 * time.Second
	ctx := t.Context()
	servers := testkit.FreshCluster(t, 3, mysqld.ReplicaOptions{}, nil)
	primary, first, second := servers.Primary, servers.Replicas[0], servers.Replicas[1]
	c := clusterOf("udb-1", first, primary, second) // not in the order of roles
	pool := newPool(t)
	observe := func() fleet.ClusterView {
		t.Helper()
		start := time.Now()
		v := fleet.Observe(ctx, pool, c, timeout)
		if took := time.Since(start); took >= 2*timeout { // one time-out, not one after the other
			t.Errorf("observing took %v", took)
		}
		return v
	}

	v := observe()
	got, err := v.Primary()
	if err != nil || got.Addr() != primary.Addr() || got.Server.UUID == "" {
		t.Errorf("healthy: %v, %v", got, err)
	}
	if roles := []fleet.Role{v.Members[0].Role, v.Members[1].Role, v.Members[2].Role}; !slices.Equal(roles, []fleet.Role{"replica", "primary", "replica"}) {
		t.Errorf("roles %v", roles)
	}
	if len(v.Replicas()) != 2 || len(v.Problems()) != 0 {
		t.Errorf("replicas %v, problems %v", v.Replicas(), v.Problems())
	}
	if lag, known := v.Replicas()[0].Lag(); !known || lag > 10*time.Second {
		t.Errorf("lag %v, %v", lag, known)
	}

	// A replica dies: the other one still receives from the primary, together they are two of three.
	if err := second.Kill(); err != nil {
		t.Fatal(err)
	}
	v = observe()
	if got, err := v.Primary(); err != nil || got.Addr() != primary.Addr() {
		t.Errorf("one replica dead: %v, %v", got, err)
	}
	if m := v.Members[2]; m.Role != fleet.RoleUnknown || !mysql.IsConnection(m.Err) {
		t.Errorf("the dead one is %s, %v", m.Role, m.Err)
	}

	// The other's receiver stops: nothing speaks for the primary any more.
	if err := mysql.StopReceiver(ctx, first.DB()); err != nil {
		t.Fatal(err)
	}
	if got, err := observe().Primary(); !errors.Is(err, fleet.ErrUncertainPrimary) {
		t.Errorf("alone with a stopped replica: %v, %v", got, err)
	}

	// The primary hangs: its replica's word is not enough to name it, and nobody else is promoted by omission.
	if err := primary.Pause(); err != nil {
		t.Fatal(err)
	}
	v = observe()
	if _, err := v.Primary(); !errors.Is(err, fleet.ErrNoPrimary) || !strings.Contains(err.Error(), "no answer within 2s") {
		t.Errorf("primary hung: %v", err)
	}

	// The replica is promoted by hand and the old primary wakes up: two (I2).
	for _, err := range []error{mysql.StopReplica(ctx, first.DB()), mysql.ResetReplicaAll(ctx, first.DB()), mysql.SetReadOnly(ctx, first.DB(), false), primary.Resume()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := observe().Primary(); !errors.Is(err, fleet.ErrManyPrimaries) {
		t.Errorf("two primaries: %v", err)
	}

	// The old one is fenced: read-only without a source is no primary and no replica.
	if err := mysql.SetSuperReadOnly(ctx, primary.DB(), true); err != nil {
		t.Fatal(err)
	}
	v = observe()
	if m := v.Members[1]; m.Role != fleet.RoleUnknown || m.Err != nil || !m.Server.SuperReadOnly {
		t.Errorf("fenced: %+v", m)
	}
}

// One that cannot be asked is unknown whatever the reason, and says it.
func TestObserveRefused(t *testing.T) {
	server := testkit.Server(t)
	pool := mysql.NewPool(mysql.Credentials{User: "root", Password: "wrong"}, mysql.Options{})
	defer pool.Close()
	v := fleet.Observe(t.Context(), pool, clusterOf("udb-1", server), 10*time.Second)
	m := v.Members[0]
	if m.Role != fleet.RoleUnknown || !mysql.IsAccessDenied(m.Err) || m.Instance != v.Instances[0] {
		t.Errorf("wrong password: %+v", m)
	}
	if _, err := v.Primary(); !errors.Is(err, fleet.ErrNoPrimary) || !strings.Contains(err.Error(), "Access denied") {
		t.Errorf("wrong password: %v", err)
	}
}

func TestObserveTier(t *testing.T) {
	pair, single := testkit.Cluster(t, 2), testkit.Server(t)
	tier := fleet.Tier{Name: "udb", Clusters: []fleet.Cluster{
		clusterOf("udb-1", pair.Servers()...), {Tier: "udb", Name: "empty"}, clusterOf("udb-2", single),
	}}
	for _, limit := range []int{0, 1} {
		views := fleet.ObserveTier(t.Context(), newPool(t), tier, limit, 10*time.Second)
		if len(views) != 3 || len(views[0].Members) != 2 || len(views[1].Members) != 0 || len(views[2].Members) != 1 {
			t.Fatalf("views %+v", views)
		}
		one, err1 := views[0].Primary()
		two, err2 := views[2].Primary()
		if err1 != nil || err2 != nil || one.Addr() != pair.Primary.Addr() || two.Addr() != single.Addr() {
			t.Errorf("primaries %v, %v; errors %v, %v", one, two, err1, err2)
		}
		if _, err := views[1].Primary(); !errors.Is(err, fleet.ErrNoPrimary) {
			t.Errorf("an empty cluster has a primary, %v", err)
		}
	}
}

func TestDatabases(t *testing.T) {
	server := testkit.FreshServer(t, nil)
	for _, name := range []string{"dbid2", "dbid10", "db_id", "dbxid", "other", "odd'd` b%", "aosc", "aoscdb", "aosc_scratch_1", "my_schema", "Dbid3"} {
		testkit.Exec(t, server, "CREATE DATABASE "+mysql.QuoteIdent(name))
	}
	for pattern, want := range map[string][]string{
		"dbid%":       {"dbid10", "dbid2"},
		`db\_id`:      {"db_id"},
		"db_id":       {"db_id", "dbxid"},
		"%":           {"Dbid3", "db_id", "dbid10", "dbid2", "dbxid", "odd'd` b%", "other"},
		"odd'd` b\\%": {"odd'd` b%"},
		"aosc%":       nil,
		"nothing%":    nil,
	} {
		got, err := fleet.Databases(t.Context(), server.DB(), pattern)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q matches %q, %v; want %q", pattern, got, err, want)
		}
	}
}
