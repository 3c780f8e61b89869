package checksum_test

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
	"github.com/aosc/aosc/internal/checksum"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/status"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/aoscdbkit"
)

const users = "CREATE TABLE users (id bigint NOT NULL PRIMARY KEY)"

// config is one in which nothing happens by itself.
var config = checksum.Config{Interval: time.Hour, Retry: time.Hour, FreshInterval: 24 * time.Hour, Timeout: time.Minute, Parallel: 4}

// inventory is a fleet.Inventory that a test can change between two questions.
type inventory struct{ tiers []fleet.Tier }

func (i *inventory) Tiers(context.Context) ([]fleet.Tier, error) { return i.tiers, nil }

func (i *inventory) instances(context.Context) ([]fleet.Instance, error) {
	var all []fleet.Instance
	for _, t := range i.tiers {
		all = append(all, t.Instances()...)
	}
	return all, nil
}

// fixture is a tier of servers, each its own cluster, with the daemon's parts.
type fixture struct {
	t         *testing.T
	store     *aoscdb.Store
	git       *testkit.GitRepo
	inventory *inventory
	parts     checksum.Parts
	databases string // prefix of the tier's databases
}

func newFixture(t *testing.T, servers ...mysql.Addr) *fixture {
	t.Helper()
	f := &fixture{t: t, store: aoscdbkit.AOSCDB(t), git: testkit.Repo(t), inventory: &inventory{}}
	f.git.Commit(map[string]string{"schemas/udb/users.sql": users}, "users")
	repo, err := schema.OpenRepo(t.Context(), schema.RepoConfig{URL: f.git.Dir})
	if err != nil {
		t.Fatal(err)
	}
	pool := mysql.NewPool(mysql.Credentials{User: "root"}, mysql.Options{ConnectTimeout: time.Second})
	t.Cleanup(func() { pool.Close() })
	f.databases = testkit.Database(t, testkit.Server(t), "cs") + "x"
	tier := fleet.Tier{Name: "udb", Databases: f.databases + "%"}
	for i, s := range servers {
		name := fmt.Sprintf("udb-%d", i)
		tier.Clusters = append(tier.Clusters, fleet.Cluster{Tier: "udb", Name: name,
			Instances: []fleet.Instance{{Tier: "udb", Cluster: name, Host: s.Host, Port: s.Port}}})
	}
	f.inventory.tiers = []fleet.Tier{tier}
	f.parts = checksum.Parts{Store: f.store, Repo: repo, Inventory: f.inventory, Served: f.inventory.instances, All: true, Log: slog.New(slog.DiscardHandler),
		Refresher: &status.Refresher{Pool: pool, Store: f.store, Materialiser: &schema.Materialiser{Cache: f.store.FormCache()}}}
	return f
}

func (f *fixture) pass(s mysql.Addr) aoscdb.Pass {
	f.t.Helper()
	passes, err := f.store.Passes(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, p := range passes {
		if p.Host == s.Host && p.Port == s.Port {
			return p
		}
	}
	return aoscdb.Pass{}
}

// start runs a daemon until the test ends, or stop is called.
func (f *fixture) start(cfg checksum.Config) (stop func()) {
	f.t.Helper()
	env := daemon.NewEnv("checksum", nil, nil)
	parts := f.parts
	parts.Log, parts.Metrics = env.Log, env.Metrics
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- checksum.New(parts, cfg).Run(ctx, env) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			f.t.Errorf("the daemon ended with %v", err)
		}
	}
	f.t.Cleanup(stop)
	return stop
}

func (f *fixture) collectorWoken() time.Time {
	f.t.Helper()
	w, err := f.store.Wakeups(f.t.Context(), aoscdb.DaemonCollector)
	if err != nil {
		f.t.Fatal(err)
	}
	return w[""].RequestedAt
}

// A hung instance and one that is down: each is told of, and neither keeps the others from being done.
func TestTroubleIsRecordedAndTheOthersGoOn(t *testing.T) {
	good, hung := testkit.Server(t), testkit.FreshServer(t, nil)
	down := mysql.Addr{Host: "127.0.0.1", Port: 1}
	f := newFixture(t, good.Addr(), hung.Addr(), down)
	db := testkit.Database(t, good, f.databases)
	testkit.Exec(t, good, "CREATE TABLE "+db+".users (id int)")
	if err := hung.Pause(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hung.Resume(); err != nil {
			t.Error(err)
		}
	})
	err := checksum.New(f.parts, config).Pass(t.Context())
	if err == nil || !strings.Contains(err.Error(), "2 of 3") || !strings.Contains(err.Error(), hung.Addr().String()) || !strings.Contains(err.Error(), down.String()) {
		t.Errorf("the pass says %v", err)
	}
	p := f.pass(good.Addr())
	if p.StartedAt == nil || p.FreshStartedAt == nil || p.FinishedAt == nil || p.Error != "" || p.Databases != 1 || p.Tables != 1 || p.NotOK != 1 ||
		p.CommitSHA != f.git.Head() {
		t.Errorf("pass of the good instance: %+v", p)
	}
	for name, addr := range map[string]mysql.Addr{"hung": hung.Addr(), "down": down} {
		// I11: nothing in it may look like a pass.
		if p := f.pass(addr); p.Error == "" || p.StartedAt != nil || p.FinishedAt != nil {
			t.Errorf("pass of the one that is %s: %+v", name, p)
		}
	}
	if f.collectorWoken().IsZero() {
		t.Error("the collector was not woken although rows changed")
	}
}

func TestUnusableTextIsAFinishedPassWithAReason(t *testing.T) {
	server := testkit.Server(t)
	f := newFixture(t, server.Addr())
	testkit.Database(t, server, f.databases)
	f.git.Commit(map[string]string{"schemas/udb/broken.sql": "CREATE TABLE broken (id int, KEY (nosuch))"}, "broken")
	if err := checksum.New(f.parts, config).Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := f.pass(server.Addr()); p.FinishedAt == nil || p.Tables != 1 || !strings.Contains(p.Error, "broken") {
		t.Errorf("pass %+v", p)
	}
}

// Commits and requests are taken up within a second or two, and only what was asked for is done.
func TestDaemonWakesByNeed(t *testing.T) {
	server := testkit.Server(t)
	f := newFixture(t, server.Addr())
	db := testkit.Database(t, server, f.databases)
	testkit.Exec(t, server, "CREATE TABLE "+db+".users (id bigint NOT NULL PRIMARY KEY)")
	stop := f.start(config)
	began := func() time.Time {
		if p := f.pass(server.Addr()); p.StartedAt != nil {
			return *p.StartedAt
		}
		return time.Time{}
	}
	within := func(what string, condition func() bool) {
		t.Helper()
		testkit.Eventually(t, testkit.Patience, what, condition)
	}
	within("a first pass", func() bool { return !began().IsZero() })
	fresh := *f.pass(server.Addr()).FreshStartedAt

	head := f.git.Commit(map[string]string{"schemas/udb/users.sql": users + " COMMENT 'x'"}, "comment")
	within("a pass for the new commit", func() bool { return f.pass(server.Addr()).CommitSHA == head })
	if p := f.pass(server.Addr()); p.NotOK != 1 || !p.FreshStartedAt.Equal(fresh) {
		t.Errorf("pass of the new commit: %+v", p)
	}

	for _, scope := range []string{aoscdb.ScopeTier("udb"), aoscdb.ScopeInstance(server.Addr().String())} {
		before, woken := began(), f.collectorWoken()
		if err := f.store.Wake(t.Context(), aoscdb.DaemonChecksum, scope, false); err != nil {
			t.Fatal(err)
		}
		within("a pass for "+scope, func() bool { return began().After(before) })
		// Nothing changed, but somebody waits for the pass.
		within("the collector is woken for "+scope, func() bool { return f.collectorWoken().After(woken) })
	}
	if p := f.pass(server.Addr()); !p.FreshStartedAt.Equal(fresh) {
		t.Error("a fresh pass that nobody asked for")
	}
	if err := f.store.Wake(t.Context(), aoscdb.DaemonChecksum, aoscdb.ScopeTier("udb"), true); err != nil {
		t.Fatal(err)
	}
	within("a fresh pass", func() bool { return f.pass(server.Addr()).FreshStartedAt.After(fresh) })
	fresh = *f.pass(server.Addr()).FreshStartedAt

	// I8: another process carries on, and does not take the old request for a new one.
	stop()
	before := began()
	f.start(config)
	within("the first pass of another process", func() bool { return began().After(before) })
	if p := f.pass(server.Addr()); !p.FreshStartedAt.Equal(fresh) {
		t.Error("a restart answered the old request for a fresh pass again")
	}
}

// One that hangs delays nobody else, and is tried again.
func TestDaemonDoesNotWaitForTheHung(t *testing.T) {
	good, hung := testkit.Server(t), testkit.FreshServer(t, nil)
	f := newFixture(t, good.Addr(), hung.Addr())
	if err := hung.Pause(); err != nil {
		t.Fatal(err)
	}
	resumed := false
	resume := func() {
		if !resumed {
			resumed = true
			if err := hung.Resume(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(resume)
	cfg := config
	cfg.Retry = time.Second
	f.start(cfg)
	testkit.Eventually(t, testkit.Patience, "a pass of the good instance", func() bool { return f.pass(good.Addr()).FinishedAt != nil })
	for range 3 {
		before := *f.pass(good.Addr()).StartedAt
		if err := f.store.Wake(t.Context(), aoscdb.DaemonChecksum, aoscdb.ScopeTier("udb"), false); err != nil {
			t.Fatal(err)
		}
		watch := testkit.StartStopwatch(t, good)
		testkit.Eventually(t, testkit.Patience, "a pass of the good instance beside a hung one", func() bool {
			return f.pass(good.Addr()).StartedAt.After(before)
		})
		watch.Within(t, 4*time.Second, "a pass of the good instance beside a hung one")
	}
	resume()
	testkit.Eventually(t, testkit.Patience, "a pass of the instance that answers again",
		func() bool { return f.pass(hung.Addr()).FinishedAt != nil })
	testkit.Eventually(t, testkit.Patience, "its error is gone", func() bool { return f.pass(hung.Addr()).Error == "" })
}

func TestInstancesThatLeftAreForgotten(t *testing.T) {
	server := testkit.Server(t)
	gone := mysql.Addr{Host: "127.0.0.1", Port: 1}
	for _, all := range []bool{true, false} {
		f := newFixture(t, server.Addr(), gone)
		f.parts.All = all
		if err := f.store.PassFailed(t.Context(), gone.Host, gone.Port, "udb", "down"); err != nil {
			t.Fatal(err)
		}
		tier := &f.inventory.tiers[0]
		tier.Clusters = slices.DeleteFunc(tier.Clusters, func(c fleet.Cluster) bool { return c.Instances[0].Addr() == gone })
		if err := checksum.New(f.parts, config).Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		// A process that serves a part of the inventory does not judge the rest.
		if there := f.pass(gone).Error != ""; there == all {
			t.Errorf("serving all: %v, the pass of the instance that left is there: %v", all, there)
		}
	}
}

// I8: two daemons on one instance do not undo each other's work.
func TestTwoDaemons(t *testing.T) {
	server := testkit.Server(t)
	f := newFixture(t, server.Addr())
	db := testkit.Database(t, server, f.databases)
	testkit.Exec(t, server, "CREATE TABLE "+db+".users (id bigint NOT NULL PRIMARY KEY)")
	f.start(config)
	f.start(config)
	testkit.Eventually(t, testkit.Patience, "a first pass", func() bool { return f.pass(server.Addr()).FinishedAt != nil })
	for i := range 6 {
		comment, notOK := "", 0
		if i%2 == 0 {
			comment, notOK = "x", 1
		}
		testkit.Exec(t, server, "ALTER TABLE "+db+".users COMMENT '"+comment+"'")
		since, err := f.store.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := f.store.Wake(t.Context(), aoscdb.DaemonChecksum, "", false); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, testkit.Patience, "a pass begun since", func() bool { return !f.pass(server.Addr()).StartedAt.Before(since) })
		// The other daemon's pass may be recorded by now: it began later, so it must say the same.
		if p := f.pass(server.Addr()); p.NotOK != notOK {
			t.Errorf("round %d: %d tables not OK, want %d", i, p.NotOK, notOK)
		}
	}
}

func TestNoRepository(t *testing.T) {
	f := newFixture(t, testkit.Server(t).Addr())
	repo, err := schema.OpenRepo(t.Context(), schema.RepoConfig{URL: f.git.Dir, Branch: "nosuch"})
	if err != nil {
		t.Fatal(err)
	}
	f.parts.Repo = repo
	if err := checksum.New(f.parts, config).Pass(t.Context()); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("a missing branch: %v", err)
	}
}

// aoscdb away for a while ends no daemon, and what is asked for afterwards is done.
func TestDaemonOutlivesAoscdb(t *testing.T) {
	central, instance := testkit.FreshServer(t, nil), testkit.Server(t)
	f := newFixture(t, instance.Addr())
	store, err := aoscdb.Open(central.DSN("aoscdb"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if _, err := store.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.store, f.parts.Store = store, store
	f.parts.Refresher = &status.Refresher{Pool: f.parts.Refresher.Pool, Store: store, Materialiser: f.parts.Refresher.Materialiser}
	f.start(config)
	testkit.Eventually(t, testkit.Patience, "a first pass", func() bool { return f.pass(instance.Addr()).FinishedAt != nil })
	if err := central.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := central.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := *f.pass(instance.Addr()).StartedAt
	if err := store.Wake(t.Context(), aoscdb.DaemonChecksum, "", false); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, testkit.Patience, "a pass after aoscdb came back",
		func() bool { return f.pass(instance.Addr()).StartedAt.After(before) })
}
