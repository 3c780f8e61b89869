package brain

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/aoscdbkit"
)

func TestMain(m *testing.M) {
	if os.Getenv("BRAIN_TEST_DSN") != "" {
		onePass()
		return
	}
	testkit.Main(m)
}

// inventory is a list that a test changes.
type inventory struct {
	mu    sync.Mutex
	tiers []fleet.Tier
	err   error
}

func (i *inventory) Tiers(context.Context) ([]fleet.Tier, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.tiers, i.err
}

func (i *inventory) set(tiers ...fleet.Tier) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tiers = tiers
}

const (
	tableNow    = "CREATE TABLE `tabla1` (\n  `id` int NOT NULL,\n  `note` varchar(40) DEFAULT NULL,\n  PRIMARY KEY (`id`)\n);\n"
	tableWider  = "CREATE TABLE `tabla1` (\n  `id` int NOT NULL,\n  `note` varchar(40) DEFAULT NULL,\n  `added` int DEFAULT NULL,\n  PRIMARY KEY (`id`)\n);\n"
	tableNarrow = "CREATE TABLE `tabla1` (\n  `id` int NOT NULL,\n  PRIMARY KEY (`id`)\n);\n"
	tableBroken = "CREATE TABLE `tabla1` (\n  `id` intt NOT NULL,\n  PRIMARY KEY (`id`)\n);\n"
	tableStrict = "CREATE TABLE `tabla1` (\n  `id` int NOT NULL,\n  `note` varchar(40) NOT NULL,\n  PRIMARY KEY (`id`)\n);\n"
)

// bench is a brain with real surroundings: aoscdb, git, and a cluster with two databases that have table tabla1.
type bench struct {
	t         *testing.T
	store     *aoscdb.Store
	repo      *testkit.GitRepo
	cluster   *mysqld.Cluster
	databases []string
	tier      fleet.Tier
	inv       *inventory
	brain     *Daemon
	collector aoscdb.Lease
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, store: aoscdbkit.AOSCDB(t), repo: testkit.Repo(t), cluster: testkit.Cluster(t, 2), inv: &inventory{}}
	prefix := fmt.Sprintf("b%d_", time.Now().UnixNano()%1e9)
	for range 2 {
		name := testkit.Database(t, b.cluster.Primary, prefix)
		b.databases = append(b.databases, name)
		testkit.Exec(t, b.cluster.Primary, strings.Replace(tableNow, "`tabla1`", name+".tabla1", 1),
			"INSERT INTO "+name+".tabla1 VALUES (1, 'one'), (2, 'two')")
	}
	b.tier = fleet.Tier{Name: "udb", Databases: strings.ReplaceAll(prefix, "_", "\\_") + "%", Clusters: []fleet.Cluster{{Tier: "udb", Name: "udb-1"}}}
	for _, s := range append([]*mysqld.Server{b.cluster.Primary}, b.cluster.Replicas...) {
		b.tier.Clusters[0].Instances = append(b.tier.Clusters[0].Instances,
			fleet.Instance{Tier: "udb", Cluster: "udb-1", Host: s.Addr().Host, Port: s.Addr().Port})
	}
	b.inv.set(b.tier)
	row := aoscdb.NewTier("udb")
	row.VerifyIntervalS, row.VerifyTries = 0, 2
	must(t, b.store.PutTier(t.Context(), row))
	b.brain = b.newBrain()
	b.collector = b.acquire("collector", "test")
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newBrain is another process's brain: it leads.
func (b *bench) newBrain() *Daemon {
	b.t.Helper()
	repo, err := schema.OpenRepo(b.t.Context(), schema.RepoConfig{URL: b.repo.Dir, Branch: b.repo.Branch})
	must(b.t, err)
	pool := mysql.NewPool(b.cluster.Primary.Credentials(), mysql.Options{ConnectTimeout: 2 * time.Second})
	b.t.Cleanup(func() { _ = pool.Close() })
	d := New(Deps{Store: b.store, Repo: repo, Inventory: b.inv, Pool: pool,
		Planner: osc.NewPlanner(pool, &schema.Materialiser{Cache: b.store.FormCache()}),
		Log:     slog.New(slog.DiscardHandler)},
		Config{Interval: time.Second, LeaseTTL: time.Minute, PlanTimeout: 30 * time.Second, Recheck: time.Millisecond, ConnectTimeout: 2 * time.Second, Fanout: 4},
		prometheus.NewRegistry())
	d.Lead(b.acquire(Lease, fmt.Sprintf("brain %p", d)))
	return d
}

// acquire takes a lease for the rest of the test, from whoever has it.
func (b *bench) acquire(name, holder string) aoscdb.Lease {
	b.t.Helper()
	b.exec("UPDATE leases SET expires_at = NOW(6) WHERE name = ?", name)
	epoch, ok, err := b.store.Acquire(b.t.Context(), name, holder, 10*time.Minute)
	must(b.t, err)
	if !ok {
		b.t.Fatalf("lease %s is not free", name)
	}
	return aoscdb.Lease{Name: name, Holder: holder, Epoch: epoch}
}

// exec is what an operator does with a mysql client.
func (b *bench) exec(query string, args ...any) {
	b.t.Helper()
	_, err := b.store.DB().ExecContext(b.t.Context(), query, args...)
	must(b.t, err)
}

func (b *bench) ask(query string, args ...any) string {
	b.t.Helper()
	var answer string
	must(b.t, b.store.DB().QueryRowContext(b.t.Context(), query, args...).Scan(&answer))
	return answer
}

func (b *bench) commit(text string) string {
	b.t.Helper()
	return b.repo.Commit(map[string]string{"schemas/udb/tabla1.sql": text}, "change tabla1")
}

// allow is the INSERT of the original.
func (b *bench) allow() {
	b.t.Helper()
	b.exec("INSERT INTO allowed_alters VALUES ('udb','tabla1','istvan',NULL,10,'default')")
}

func (b *bench) pass() {
	b.t.Helper()
	must(b.t, b.brain.Pass(b.t.Context()))
}

func (b *bench) current() aoscdb.CurrentAlter {
	b.t.Helper()
	c, err := b.store.CurrentAlter(b.t.Context(), "udb", "tabla1")
	must(b.t, err)
	return c
}

func (b *bench) now() time.Time {
	b.t.Helper()
	now, err := b.store.Now(b.t.Context())
	must(b.t, err)
	return now
}

// checksum does what the checksum of some instances would.
func (b *bench) checksum(fresh bool, instances ...fleet.Instance) {
	b.t.Helper()
	began := b.now()
	for _, i := range instances {
		must(b.t, b.store.PutPass(b.t.Context(), aoscdb.Pass{Host: i.Host, Port: i.Port, Group: "udb", StartedAt: &began, Databases: 2, Tables: 2}, fresh))
	}
}

// look does what the collector would, having found this.
func (b *bench) look(targets, unknowns int) {
	b.t.Helper()
	at := b.now()
	must(b.t, b.store.RecordLooks(b.t.Context(), b.collector, []aoscdb.Look{{Alter: b.current(), At: at, Targets: targets, Unknowns: unknowns}}, nil))
}

// is passes once and compares what became of the alter.
func (b *bench) is(status, holdBy string, reasons ...string) aoscdb.CurrentAlter {
	b.t.Helper()
	b.pass()
	c := b.current()
	if c.Status != status || c.HoldBy != holdBy {
		b.t.Fatalf("%s by %q because %q, want %s by %q", c.Status, c.HoldBy, c.Reason, status, holdBy)
	}
	for _, r := range reasons {
		if !strings.Contains(c.Reason, r) {
			b.t.Errorf("the reason %q does not say %q", c.Reason, r)
		}
	}
	if status != aoscdb.AlterHold && c.Reason != "" {
		b.t.Errorf("a reason without HOLD: %q", c.Reason)
	}
	return c
}

func (b *bench) none() {
	b.t.Helper()
	if n := b.ask("SELECT COUNT(*) FROM current_alters"); n != "0" {
		b.t.Fatalf("%s current alters, want none: %+v", n, b.current())
	}
}

// asked tells whether a wake-up newer than since asks for this.
func (b *bench) asked(daemon, scope string, fresh bool, since time.Time) bool {
	b.t.Helper()
	all, err := b.store.Wakeups(b.t.Context(), daemon)
	must(b.t, err)
	w, ok := all[scope]
	if !ok || !w.RequestedAt.After(since) {
		return false
	}
	return !fresh || w.FreshAt != nil && w.FreshAt.After(since)
}
