package brain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
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

// An alter from the operator's row to finished_alters. I6: nothing before the row. I4: nothing finishes before every
// instance of the inventory was read afresh, and looked at after that.
func TestAdmittedToFinished(t *testing.T) {
	b := newBench(t)
	head := b.commit(tableWider)
	b.pass()
	b.none() // I6

	since := b.now()
	b.allow()
	c := b.is("IPR", "")
	if blob := b.repo.Git("rev-parse", "HEAD:schemas/udb/tabla1.sql"); c.CommitSHA != head || c.DesiredHash != blob || c.PinnedAt == nil || c.PinnedAt.Before(since) {
		t.Errorf("pinned to %s, %s at %v; want %s, %s after %v", c.CommitSHA, c.DesiredHash, c.PinnedAt, head, blob, since)
	}
	if c.AllowedBy != "istvan" || c.StartedAt == nil || b.ask("SELECT allowed_at IS NOT NULL FROM allowed_alters") != "1" {
		t.Errorf("admitted as %+v", c)
	}
	if !b.asked("checksum", "tier:udb", false, since) || !b.asked("collector", "", false, since) {
		t.Error("the checksum and the collector are not woken for the new pin")
	}
	if got := testkit.Ask(t, b.cluster.Primary, "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = ? AND table_name = 'tabla1'", b.databases[0]); got != "2" {
		t.Errorf("planning altered the table: %s columns", got)
	}

	all := b.tier.Instances()
	b.is("IPR", "") // no look yet
	b.checksum(false, all...)
	b.look(2, 0)
	b.is("IPR", "")
	b.look(0, 1)
	b.is("IPR", "") // I11
	b.look(0, 0)
	b.is("DONE", "")

	// The first of two checks, with an interval of 0: due at once.
	since = b.now()
	if c = b.is("DONE", ""); c.CheckFrom == nil || c.CheckFresh || c.NextCheckAt != nil {
		t.Fatalf("no check is under way: %+v", c)
	}
	if !b.asked("checksum", "tier:udb", false, since) || b.asked("checksum", "tier:udb", true, since) {
		t.Error("the first check must wake the checksum, and not ask for a fresh one")
	}
	b.look(0, 0)
	if c = b.is("DONE", ""); c.Tries != 0 {
		t.Error("a check passed without a checksum since it began")
	}
	b.checksum(false, all...)
	b.look(0, 0)
	if c = b.is("DONE", ""); c.Tries != 1 {
		t.Fatalf("%d tries after the first check passed", c.Tries)
	}

	// A machine that came with an old schema: back to work, and the checks begin anew.
	b.look(1, 0)
	if c = b.is("IPR", ""); c.Tries != 0 {
		t.Errorf("%d tries after a dirty look", c.Tries)
	}
	b.look(0, 0)
	b.is("DONE", "")
	b.is("DONE", "")
	b.checksum(false, all...)
	b.look(0, 0)
	if c = b.is("DONE", ""); c.Tries != 1 {
		t.Fatalf("%d tries after the first check passed again", c.Tries)
	}

	// The last check.
	since = b.now()
	if c = b.is("DONE", ""); !c.CheckFresh {
		t.Fatalf("I4: the last check is not fresh: %+v", c)
	}
	if !b.asked("checksum", "tier:udb", true, since) {
		t.Error("I4: no fresh checksum is asked for")
	}
	b.checksum(false, all...)
	b.look(0, 0)
	b.is("DONE", "") // I4: not fresh
	b.checksum(true, all[0])
	b.look(0, 0)
	b.is("DONE", "") // I4: only one of two instances
	b.look(0, 1)
	b.checksum(true, all[1])
	b.is("DONE", "") // I4: the look was before
	b.exec("INSERT INTO running_alters (host, port, `group`, table_name) VALUES ('db9', 3306, 'udb', 'tabla1')")
	b.look(0, 0)
	b.is("DONE", "") // something runs
	b.exec("DELETE FROM running_alters")
	must(t, b.store.RefreshView(t.Context(), "udb", "tabla1"))
	b.pass()
	b.none()

	finished, err := b.store.Finished(t.Context(), 10)
	must(t, err)
	if len(finished) != 1 {
		t.Fatalf("%d finished alters", len(finished))
	}
	if f := finished[0]; f.Outcome != "finished" || f.Tries != 2 || f.Targets != 2 || f.CommitSHA != head || f.DesiredHash != c.DesiredHash || f.AllowedBy != "istvan" || f.StartedAt == nil {
		t.Errorf("finished as %+v", f)
	}
	if n := b.ask("SELECT COUNT(*) FROM allowed_alters"); n != "0" {
		t.Error("the permission is not used up")
	}
	if n := b.ask("SELECT COUNT(*) FROM information_schema.views WHERE table_schema = DATABASE()"); n != "0" {
		t.Error("the view is still there")
	}
	b.pass()
	b.none() // I6: it does not begin again

	events, err := b.store.History(t.Context(), "udb", "tabla1", 100)
	must(t, err)
	var what []string
	for _, e := range events {
		what = append([]string{e.What}, what...)
	}
	want := "admitted, done, check, check passed, check failed, done, check, check passed, check, finished"
	if got := strings.Join(what, ", "); got != want {
		t.Errorf("history: %s\nwant:    %s", got, want)
	}
}

// I6: what loses data waits for allow_unsafe, with a reason that names the database and the instance.
func TestI6UnsafeHolds(t *testing.T) {
	b := newBench(t)
	b.commit(tableNarrow)
	b.allow()
	primary := b.cluster.Primary.Addr().String()
	c := b.is("HOLD", "brain", "would lose data", "note", b.databases[0]+" on "+primary, b.databases[1]+" on "+primary, "allow_unsafe=1 for udb/tabla1")
	if c.DesiredHash != "" || c.PinnedAt != nil {
		t.Errorf("I6: what was not approved is pinned: %+v", c)
	}
	t.Log(c.Reason)
	b.exec("UPDATE current_alters SET status = 'IPR'")
	b.is("HOLD", "brain", "would lose data") // I6: a bare UPDATE is not allow_unsafe
	b.exec("UPDATE allowed_alters SET allow_unsafe = 1")
	b.is("IPR", "")
	b.exec("UPDATE allowed_alters SET allow_unsafe = 0")
	b.is("HOLD", "brain", "would lose data")
	b.commit(tableWider)
	b.is("IPR", "")
	b.exec("DELETE FROM allowed_alters")
	b.pass()
	b.none()
	if outcome := b.ask("SELECT outcome FROM finished_alters"); outcome != "revoked" {
		t.Errorf("outcome %q of a revoked alter", outcome)
	}
}

// NOT NULL holds only where there are NULLs, and is looked at again when somebody has cleaned up.
func TestDataThatStandsInTheWay(t *testing.T) {
	b := newBench(t)
	testkit.Exec(t, b.cluster.Primary, "INSERT INTO "+b.databases[1]+".tabla1 VALUES (3, NULL)")
	b.commit(tableStrict)
	b.allow()
	c := b.is("HOLD", "brain", b.databases[1]+" on "+b.cluster.Primary.Addr().String())
	t.Log(c.Reason)
	if strings.Contains(c.Reason, b.databases[0]) {
		t.Errorf("the database without NULLs is named: %s", c.Reason)
	}
	testkit.Exec(t, b.cluster.Primary, "UPDATE "+b.databases[1]+".tabla1 SET note = '' WHERE id = 3")
	b.is("IPR", "")
}

// Bad input is a clear reason, and a corrected commit is enough.
func TestBadInput(t *testing.T) {
	b := newBench(t)
	b.commit(tableBroken)
	b.allow()
	t.Log(b.is("HOLD", "brain", "MySQL refuses schemas/udb/tabla1.sql", "1064", b.databases[0]+" on "+b.cluster.Primary.Addr().String(), "Commit a corrected schema").Reason)
	b.commit("CREATE TABLE tabla1 (id int PRIMARY KEY); CREATE TABLE b (id int);")
	t.Log(b.is("HOLD", "brain", "The file at commit", "schemas/udb/tabla1.sql", "second statement", "Commit a corrected one").Reason)
	b.repo.Delete("no table", "schemas/udb/tabla1.sql")
	b.repo.Commit(map[string]string{"schemas/udb/other.sql": strings.ReplaceAll(tableWider, "tabla1", "other")}, "another")
	t.Log(b.is("HOLD", "brain", `no file for table "tabla1"`).Reason)
	b.commit(tableWider)
	b.is("IPR", "")

	b.exec("INSERT INTO allowed_alters VALUES ('udbb','tabla1','istvan',NULL,10,'default')")
	b.pass()
	if got := b.ask("SELECT reason FROM current_alters WHERE `group` = 'udbb'"); !strings.Contains(got, `Tier "udbb" is not in table tiers, which has udb.`) {
		t.Errorf("reason for an unknown tier: %s", got)
	}
}

// I11: a cluster that does not answer is not judged, and so the alter is not admitted; nothing is guessed.
func TestI11UnreachableIsNotJudged(t *testing.T) {
	b := newBench(t)
	b.commit(tableWider)
	b.allow()
	away := b.tier
	away.Clusters = append([]fleet.Cluster{}, away.Clusters...)
	away.Clusters = append(away.Clusters, fleet.Cluster{Tier: "udb", Name: "udb-2", Instances: []fleet.Instance{
		{Tier: "udb", Cluster: "udb-2", Host: "127.0.0.1", Port: 1}}})
	b.inv.set(away)
	c := b.is("HOLD", "brain", "Waiting for", "udb-2", "127.0.0.1:1")
	t.Log(c.Reason)
	if c.DesiredHash != "" {
		t.Error("I11: pinned without having been judged")
	}
	b.inv.set(b.tier)
	b.is("IPR", "")

	// What was admitted goes on while the inventory cannot be read, but is not finished.
	b.inv.err = errors.New("inventory.yaml: line 7: unknown key")
	if err := b.brain.Pass(t.Context()); err == nil || !strings.Contains(err.Error(), "line 7") {
		t.Errorf("the pass says %v, want why it could not do all of its work", err)
	}
	if c := b.current(); c.Status != "IPR" {
		t.Errorf("status %s", c.Status)
	}
}

func TestHoldsOfOthers(t *testing.T) {
	b := newBench(t)
	b.commit(tableWider)
	b.allow()
	first := b.is("IPR", "")

	// The operator's, by a bare UPDATE: nothing lifts it but the operator.
	b.exec("UPDATE current_alters SET status = 'HOLD'")
	b.is("HOLD", "operator")
	b.commit(strings.Replace(tableWider, "`added` int", "`added` bigint", 1))
	c := b.is("HOLD", "operator")
	if c.DesiredHash != first.DesiredHash {
		t.Error("the operator's HOLD was pinned anew")
	}
	b.exec("UPDATE current_alters SET status = 'IPR'")
	b.is("IPR", "")
	if c = b.is("IPR", ""); c.DesiredHash == first.DesiredHash {
		t.Error("the other text was not taken up after the operator's HOLD")
	}

	// The worker's: only another text of this table.
	b.exec("UPDATE current_alters SET status = 'HOLD', hold_by = 'worker', reason = 'the copy differs'")
	b.is("HOLD", "worker", "the copy differs")
	b.repo.Commit(map[string]string{"schemas/udb/other.sql": strings.ReplaceAll(tableNow, "tabla1", "other")}, "another table")
	b.is("HOLD", "worker", "the copy differs")
	head := b.commit(tableWider)
	if c = b.is("IPR", ""); c.CommitSHA != head {
		t.Errorf("pinned to %s, want %s", c.CommitSHA, head)
	}
}

// A force-push: the same text under another commit keeps the alter going, another text is planned anew.
func TestForcePush(t *testing.T) {
	b := newBench(t)
	b.repo.Commit(map[string]string{"README": "schemas"}, "first")
	lost := b.commit(tableWider)
	b.allow()
	c := b.is("IPR", "")
	pinned := *c.PinnedAt
	b.repo.Git("commit", "--quiet", "--amend", "--message=reworded")
	b.repo.Git("reflog", "expire", "--expire=now", "--all")
	b.repo.Git("gc", "--quiet", "--prune=now")
	b.brain = b.newBrain() // nothing remembered
	if c = b.is("IPR", ""); !c.PinnedAt.Equal(pinned) {
		t.Errorf("pinned anew for the same text: %+v", c)
	}
	if d, err := b.brain.Repo.Pinned(t.Context(), lost, "udb", "tabla1", c.DesiredHash); err != nil || d.Text != tableWider {
		t.Errorf("the pinned text is not found any more: %q, %v", d.Text, err)
	}
	b.repo.Git("reset", "--quiet", "--hard", "HEAD~1")
	other := b.commit(strings.Replace(tableWider, "`added` int", "`added` bigint", 1))
	if c = b.is("IPR", ""); c.CommitSHA != other || c.PinnedAt.Equal(pinned) {
		t.Errorf("pinned to %s at %v, want %s anew", c.CommitSHA, c.PinnedAt, other)
	}
}

// I8: of two brains only the one with the lease writes, whatever the other still believes.
func TestI8DeposedBrainWritesNothing(t *testing.T) {
	b := newBench(t)
	b.commit(tableWider)
	old := b.brain
	b.brain = b.newBrain()
	b.allow()
	if err := old.Pass(t.Context()); !errors.Is(err, aoscdb.ErrLeaseLost) {
		t.Fatalf("the deposed brain's pass says %v, want that its lease is lost", err)
	}
	b.none()
	if n := b.ask("SELECT COUNT(*) FROM events"); n != "0" {
		t.Errorf("I8: the deposed brain left %s events", n)
	}
	b.is("IPR", "")
	// It takes over what is under way without planning it again, and goes on.
	b.brain = b.newBrain()
	b.checksum(false, b.tier.Instances()...)
	b.look(0, 0)
	b.is("DONE", "")
}

// An operator's row, a commit, a due check or a request wakes the brain; its own silence does not.
func TestWake(t *testing.T) {
	b := newBench(t)
	b.commit(tableWider)
	b.pass()
	wakes := func(want bool, after string) {
		t.Helper()
		got, err := b.brain.Wake(t.Context())
		must(t, err)
		if got != want {
			t.Errorf("after %s: woken %v, want %v", after, got, want)
		}
		b.pass()
		b.pass() // its own changes
	}
	wakes(false, "nothing")
	b.allow()
	wakes(true, "a permission")
	wakes(false, "its own pass")
	b.exec("UPDATE allowed_alters SET priority = 99")
	wakes(true, "a new priority")
	b.repo.Commit(map[string]string{"README": "more"}, "a commit")
	wakes(true, "a commit")
	must(t, b.store.Wake(t.Context(), aoscdb.DaemonBrain, "", false))
	wakes(true, "a request")
	b.checksum(false, b.tier.Instances()...)
	wakes(false, "a checksum that nobody looked at")
	b.look(1, 0)
	wakes(true, "a look that found a target")
	b.exec("UPDATE tiers SET verify_tries = 9")
	wakes(true, "a changed tier")
	b.exec("UPDATE current_alters SET status = 'HOLD'")
	wakes(true, "an operator's HOLD")
	wakes(false, "all that")

	b.exec("UPDATE tiers SET verify_interval_s = 3600")
	b.exec("UPDATE current_alters SET status = 'DONE', hold_by = '', targets = 0, next_check_at = NOW(6) + INTERVAL 1500000 MICROSECOND")
	wakes(true, "an alter set DONE by hand")
	if c := b.current(); c.CheckFrom != nil {
		t.Fatalf("a check began before it was due: %+v", c)
	}
	testkit.Eventually(t, 10*time.Second, "the brain wakes when a check is due", func() bool {
		woken, err := b.brain.Wake(t.Context())
		must(t, err)
		return woken
	})
	if b.pass(); b.current().CheckFrom == nil {
		t.Error("the due check did not begin")
	}
}

// onePass is a brain in a process of its own, to be killed at a fault point.
func onePass() {
	ctx := context.Background()
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	store, err := aoscdb.Open(os.Getenv("BRAIN_TEST_DSN"))
	fail(err)
	repo, err := schema.OpenRepo(ctx, schema.RepoConfig{URL: os.Getenv("BRAIN_TEST_REPO"), Branch: "main"})
	fail(err)
	tier := fleet.Tier{Name: "udb", Databases: os.Getenv("BRAIN_TEST_DATABASES"), Clusters: []fleet.Cluster{{Tier: "udb", Name: "udb-1"}}}
	for _, text := range strings.Fields(os.Getenv("BRAIN_TEST_INSTANCES")) {
		a, err := mysql.ParseAddr(text)
		fail(err)
		tier.Clusters[0].Instances = append(tier.Clusters[0].Instances, fleet.Instance{Tier: "udb", Cluster: "udb-1", Host: a.Host, Port: a.Port})
	}
	pool := mysql.NewPool(mysql.Credentials{User: "root"}, mysql.Options{})
	d := New(Deps{Store: store, Repo: repo, Inventory: &inventory{tiers: []fleet.Tier{tier}}, Pool: pool,
		Planner: osc.NewPlanner(pool, &schema.Materialiser{Cache: store.FormCache()}), Log: slog.New(slog.DiscardHandler)},
		Config{PlanTimeout: 30 * time.Second, Recheck: time.Minute, ConnectTimeout: 5 * time.Second, Fanout: 4}, prometheus.NewRegistry())
	epoch, ok, err := store.Acquire(ctx, Lease, "killed", time.Minute)
	fail(err)
	if !ok {
		fail(errors.New("the lease is not free"))
	}
	d.Lead(aoscdb.Lease{Name: Lease, Holder: "killed", Epoch: epoch})
	fail(d.Pass(ctx))
}

// I8: a brain killed at any of its fault points, at any step of an alter, and started again carries on as if nothing
// had happened: each step is taken once.
func TestI8KilledAtEachPoint(t *testing.T) {
	b := newBench(t)
	var instances []string
	for _, i := range b.tier.Instances() {
		instances = append(instances, i.String())
	}
	killedAt := func(point string) {
		t.Helper()
		b.exec("UPDATE leases SET expires_at = NOW(6) WHERE name = ?", Lease)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "AOSC_FAULT="+point+"=kill", "BRAIN_TEST_DSN="+testkit.Server(t).DSN(b.store.Database()),
			"BRAIN_TEST_REPO="+b.repo.Dir, "BRAIN_TEST_DATABASES="+b.tier.Databases, "BRAIN_TEST_INSTANCES="+strings.Join(instances, " "))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("not killed at %s: %v\n%s", point, err, out)
		}
		b.brain = b.newBrain()
	}
	b.commit(tableWider)
	b.allow()
	killedAt(faultPlan)
	b.none()
	killedAt(faultChange)
	b.none()
	killedAt(faultChanged)
	b.is("IPR", "")
	b.checksum(true, b.tier.Instances()...)
	b.look(0, 0)
	killedAt(faultChange)
	b.is("DONE", "")
	killedAt(faultChanged) // the first check is asked for
	if c := b.current(); c.CheckFrom == nil || c.Tries != 0 {
		t.Fatalf("%+v", c)
	}
	b.checksum(true, b.tier.Instances()...)
	b.look(0, 0)
	killedAt(faultChanged) // it has passed
	b.is("DONE", "")       // the second is asked for
	b.checksum(true, b.tier.Instances()...)
	b.look(0, 0)
	killedAt(faultChange)
	if c := b.current(); c.Tries != 1 {
		t.Fatalf("%+v", c)
	}
	killedAt(faultChanged) // finished
	b.none()
	b.pass()
	if got := b.ask("SELECT GROUP_CONCAT(what ORDER BY id SEPARATOR ', ') FROM events"); got != "admitted, done, check, check passed, check, finished" {
		t.Errorf("history: %s", got)
	}
	if n := b.ask("SELECT COUNT(*) FROM finished_alters"); n != "1" {
		t.Errorf("finished %s times", n)
	}
}
