package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/aoscdbkit"
	"github.com/aosc/aosc/internal/wiring"
)

// tiers is a fleet.Inventory.
type tiers []fleet.Tier

func (t tiers) Tiers(context.Context) ([]fleet.Tier, error) { return t, nil }

// brokenInventory is one whose file cannot be read at the moment.
type brokenInventory struct{}

func (brokenInventory) Tiers(context.Context) ([]fleet.Tier, error) {
	return nil, errors.New("inventory: line 3 is nonsense")
}

// fixture is a tier of one cluster with one alter, tabla1 pinned to blob1, of which every instance has been checksummed.
type fixture struct {
	t         *testing.T
	store     *aoscdb.Store
	parts     Parts
	instances []fleet.Instance
	lease     aoscdb.Lease
}

func newFixture(t *testing.T, servers ...*mysqld.Server) *fixture {
	t.Helper()
	f := &fixture{t: t, store: aoscdbkit.AOSCDB(t)}
	cluster := fleet.Cluster{Tier: "udb", Name: "udb-1"}
	for _, s := range servers {
		cluster.Instances = append(cluster.Instances, fleet.Instance{Tier: "udb", Cluster: "udb-1", Host: s.Addr().Host, Port: s.Addr().Port})
	}
	f.instances = cluster.Instances
	pool := mysql.NewPool(mysql.Credentials{User: "root"}, mysql.Options{ConnectTimeout: time.Second})
	t.Cleanup(func() { pool.Close() })
	f.parts = Parts{Store: f.store, Pool: pool, Log: slog.New(slog.DiscardHandler),
		Inventory: tiers{{Name: "udb", Databases: "dbid%", Clusters: []fleet.Cluster{cluster}}}}
	f.exec("INSERT INTO current_alters (`group`, table_name, status, desired_hash, pinned_at, started_at) VALUES ('udb', 'tabla1', 'IPR', 'blob1', NOW(6), NOW(6))")
	for i := range servers {
		f.checksummed(i, "OK", "OK")
	}
	f.lease = f.take()
	return f
}

func (f *fixture) take() aoscdb.Lease {
	f.t.Helper()
	epoch, ok, err := f.store.Acquire(f.t.Context(), LeaseName, "test", time.Minute)
	if err != nil || !ok {
		f.t.Fatal(ok, err)
	}
	return aoscdb.Lease{Name: LeaseName, Holder: "test", Epoch: epoch}
}

func (f *fixture) exec(query string, args ...any) {
	f.t.Helper()
	if _, err := f.store.DB().ExecContext(f.t.Context(), query, args...); err != nil {
		f.t.Fatal(err)
	}
}

// statusStore is where the tier keeps the rows of an instance.
func (f *fixture) statusStore(i int) *aoscdb.StatusStore {
	f.t.Helper()
	if tier, err := f.store.Tier(f.t.Context(), "udb"); err == nil && tier.StatusStore == aoscdb.StoreCentral {
		return f.store.CentralStatus()
	}
	db, err := f.parts.Pool.DB(f.instances[i].Addr())
	if err != nil {
		f.t.Fatal(err)
	}
	s := aoscdb.InstanceStatus(db)
	if err := s.Ensure(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	return s
}

// checksummed does what a checksum does that finds these statuses in databases dbid0, dbid1, ...
func (f *fixture) checksummed(i int, statuses ...string) {
	f.t.Helper()
	ctx, inst := f.t.Context(), f.instances[i]
	began, err := f.store.Now(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	var rows []aoscdb.LocalStatus
	for n, s := range statuses {
		rows = append(rows, aoscdb.LocalStatus{Host: inst.Host, Port: inst.Port, Database: fmt.Sprintf("dbid%d", n), Table: "tabla1",
			Group: "udb", Status: s, DesiredBlob: "blob1", Bytes: 100})
	}
	if err := f.statusStore(i).PutLocal(ctx, rows); err != nil {
		f.t.Fatal(err)
	}
	err = f.store.PutPass(ctx, aoscdb.Pass{Host: inst.Host, Port: inst.Port, Group: "udb", StartedAt: &began, Databases: len(statuses)}, false)
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) daemon() *Daemon {
	return New(f.parts, Config{Interval: time.Hour, Timeout: 2 * time.Second, LeaseTTL: 3 * time.Second, FanOut: 8})
}

func (f *fixture) look() aoscdb.CurrentAlter {
	f.t.Helper()
	if err := f.daemon().Pass(f.t.Context(), f.lease); err != nil {
		f.t.Fatal(err)
	}
	return f.alter()
}

func (f *fixture) alter() aoscdb.CurrentAlter {
	f.t.Helper()
	a, err := f.store.CurrentAlter(f.t.Context(), "udb", "tabla1")
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

// targets are those an operator sees: through the view of the alter, as "host:port".
func (f *fixture) targets() []string {
	f.t.Helper()
	rows, err := f.store.DB().QueryContext(f.t.Context(), "SELECT CONCAT(host, ':', port) FROM alter_udb_tabla1 ORDER BY host, port")
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			f.t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		f.t.Fatal(err)
	}
	return out
}

func (f *fixture) want(targets, unknowns int, listed ...fleet.Instance) {
	f.t.Helper()
	a := f.look()
	if a.Targets != targets || a.Unknowns != unknowns {
		f.t.Errorf("targets %d, unknowns %d, want %d and %d", a.Targets, a.Unknowns, targets, unknowns)
	}
	var want []string
	for _, i := range listed {
		want = append(want, i.String())
	}
	slices.Sort(want)
	if got := f.targets(); !slices.Equal(got, want) {
		f.t.Errorf("the view lists %v, want %v", got, want)
	}
}

func TestLooks(t *testing.T) {
	c := testkit.Cluster(t, 2)
	for _, store := range []string{aoscdb.StoreInstance, aoscdb.StoreCentral} {
		t.Run(store, func(t *testing.T) {
			f := newFixture(t, c.Primary, c.Replicas[0])
			tier := aoscdb.NewTier("udb")
			tier.StatusStore = store
			if err := f.store.PutTier(t.Context(), tier); err != nil {
				t.Fatal(err)
			}
			for i := range f.instances {
				f.checksummed(i, "OK", "OK")
			}
			primary, replica := f.instances[0], f.instances[1]
			f.want(0, 0)
			f.checksummed(0, "OK", "INC")
			f.checksummed(1, "NA", "INC")
			f.want(2, 0, primary, replica)
			rows, err := f.store.TargetsOf(t.Context(), "udb", "tabla1")
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				role, databases := "primary", 1
				if r.Port == replica.Port {
					role, databases = "replica", 2
				}
				if r.Role != role || r.Databases != databases || r.Bytes != uint64(100*databases) || r.Cluster != "udb-1" {
					t.Errorf("target %+v, want a %s with %d databases", r, role, databases)
				}
			}
			f.checksummed(0, "OK", "OK")
			f.want(1, 0, replica)
			f.checksummed(1, "OK", "OK")
			f.want(0, 0)
			if a := f.alter(); a.TotalTargets != 2 {
				t.Errorf("%d different targets, want 2", a.TotalTargets)
			}
		})
	}
}

// I11: an instance that does not answer is unknown, whatever its rows said last and wherever they are kept; its place
// among the targets stays.
func TestUnreachableIsUnknown(t *testing.T) {
	for store, last := range map[string]string{aoscdb.StoreInstance: "INC", aoscdb.StoreCentral: "OK"} {
		t.Run(store+", was "+last, func(t *testing.T) {
			hung := sharedHung(t)
			f := newFixture(t, testkit.Server(t), hung)
			tier := aoscdb.NewTier("udb")
			tier.StatusStore = store
			if err := f.store.PutTier(t.Context(), tier); err != nil {
				t.Fatal(err)
			}
			f.checksummed(0, "OK")
			f.checksummed(1, last)
			var listed []fleet.Instance
			if last == "INC" {
				listed = append(listed, f.instances[1])
			}
			f.want(len(listed), 0, listed...)
			pause(t, hung)
			f.want(0, 1, listed...)
		})
	}
}

// sharedHung is a server that tests may pause, one after the other.
func sharedHung(t *testing.T) *mysqld.Server {
	t.Helper()
	return testkit.Cluster(t, 2).Replicas[0]
}

func pause(t *testing.T, s *mysqld.Server) {
	t.Helper()
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Resume(); err != nil {
			t.Error(err)
		}
	})
}

// I4, I11: a verdict needs a checksum begun since the pin, or since another check was asked for.
func TestOldChecksumsProveNothing(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	f.want(0, 0)
	f.exec("UPDATE current_alters SET check_from = NOW(6)")
	f.want(0, 1)
	f.checksummed(0, "OK")
	f.want(0, 0)
	f.exec("UPDATE current_alters SET check_fresh = 1")
	f.want(0, 1)
	// Pinned to another text: the rows say nothing of it, in however new a pass.
	f.exec("UPDATE current_alters SET check_fresh = 0, desired_hash = 'blob2', pinned_at = NOW(6)")
	f.checksummed(0, "INC")
	f.want(0, 1)
}

func TestNeverChecksummed(t *testing.T) {
	server := testkit.Server(t)
	f := newFixture(t, server)
	f.exec("DELETE FROM checksum_passes")
	f.want(0, 1)
	// A pass is recorded, of no databases even, but the instance has no status tables: it was emptied since.
	f.checksummed(0)
	f.want(0, 0)
	testkit.Exec(t, server, "DROP DATABASE aosc")
	f.want(0, 1)
}

// Somebody waits for a look: whoever does is woken by it, and by no other.
func TestWakes(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	woken := func(daemon string) time.Time {
		w, err := f.store.Wakeups(t.Context(), daemon)
		if err != nil {
			t.Fatal(err)
		}
		return w[""].RequestedAt
	}
	step := func(what string, want bool) {
		t.Helper()
		brain, scheduler := woken(aoscdb.DaemonBrain), woken(aoscdb.DaemonScheduler)
		f.look()
		if woken(aoscdb.DaemonBrain).After(brain) != want || woken(aoscdb.DaemonScheduler).After(scheduler) != want {
			t.Errorf("%s: brain and scheduler were woken: %v, want %v", what, !want, want)
		}
	}
	step("the first look", true)
	step("nothing new", false)
	f.checksummed(0, "INC", "OK")
	step("a target", true)
	step("the same target", false)
	f.checksummed(0, "OK", "OK")
	step("no target", true)
	f.exec("UPDATE current_alters SET check_from = NOW(6)")
	f.checksummed(0, "OK", "OK")
	step("the first look since a check was asked for, with the same result", true)
	step("nothing new again", false)
}

func TestAltersThatAreGoneLeaveNothing(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	f.checksummed(0, "INC")
	f.want(1, 0, f.instances[0])
	f.exec("DELETE FROM current_alters")
	if err := f.daemon().Pass(t.Context(), f.lease); err != nil {
		t.Fatal(err)
	}
	if rows, err := f.store.Targets(t.Context()); err != nil || len(rows) != 0 {
		t.Errorf("targets %v (%v), want none", rows, err)
	}
	var views int
	err := f.store.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.views WHERE table_schema = DATABASE() AND "+
		"table_name <> 'why'").Scan(&views)
	if err != nil || views != 0 {
		t.Errorf("%d views are left (%v)", views, err)
	}
}

// I11: an inventory that cannot be read is not an empty fleet.
func TestBrokenInventoryRecordsNothing(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	f.checksummed(0, "INC")
	before := f.look()
	f.parts.Inventory = brokenInventory{}
	if err := f.daemon().Pass(t.Context(), f.lease); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("the pass says %v", err)
	}
	if a := f.alter(); !a.CollectedAt.Equal(*before.CollectedAt) || a.Targets != 1 || len(f.targets()) != 1 {
		t.Errorf("recorded: %+v", a)
	}
	f.parts.Inventory = tiers{}
	f.want(0, 1) // the tier has left the inventory: nobody says that the alter is done
}

// I8: a look under a lost lease is refused, and a standby takes over.
func TestStandby(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	f.parts.Wake = wiring.Waker(f.store, aoscdb.DaemonCollector)
	old := f.lease
	if err := f.store.Release(t.Context(), old.Name, old.Holder, old.Epoch); err != nil {
		t.Fatal(err)
	}
	leader := run(t, f)
	testkit.Eventually(t, testkit.Patience, "a look", func() bool { return f.alter().CollectedAt != nil })
	if err := f.daemon().Pass(t.Context(), old); !errors.Is(err, aoscdb.ErrLeaseLost) {
		t.Errorf("a look under a lost lease: %v", err)
	}
	run(t, f)
	leader()
	f.checksummed(0, "INC")
	if err := f.store.Wake(t.Context(), aoscdb.DaemonCollector, "", false); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, testkit.Patience, "a look of the standby", func() bool { return f.alter().Targets == 1 })
}

// run runs a daemon until the test ends or the returned function is called.
func run(t *testing.T, f *fixture) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.daemon().Run(ctx, daemon.NewEnv("collector", nil, nil)) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the collector ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}
