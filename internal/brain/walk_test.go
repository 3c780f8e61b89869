package brain

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/testkit"
)

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
	if n := b.ask("SELECT COUNT(*) FROM information_schema.views WHERE table_schema = DATABASE() AND table_name <> 'why'"); n != "0" {
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

// The tier's settings count, and a changed tier is reason enough to judge again.
func TestTierSettings(t *testing.T) {
	b := newBench(t)
	tier, err := b.store.Tier(t.Context(), "udb")
	must(t, err)
	tier.Ordering, tier.DirectMaxRows = aoscdb.OrderingRolling, 0
	must(t, b.store.PutTier(t.Context(), tier))
	b.commit(strings.Replace(tableNow, "`id` int", "`id` bigint", 1)) // needs a copy, or a plain ALTER
	b.allow()
	t.Log(b.is("HOLD", "brain", "rolling", b.databases[0]+" on "+b.cluster.Primary.Addr().String()).Reason)
	b.exec("UPDATE tiers SET ordering = 'primary'")
	b.is("IPR", "")
	b.exec("UPDATE tiers SET create_missing = 0") // no table is missing here
	b.is("IPR", "")
	testkit.Exec(t, b.cluster.Primary, "DROP TABLE "+b.databases[1]+".tabla1")
	b.exec("UPDATE tiers SET direct_max_rows = 1")
	b.is("HOLD", "brain", "create_missing", b.databases[1])
	b.exec("UPDATE tiers SET create_missing = 1")
	b.is("IPR", "")
}

// An alter of custom servers concerns their clusters only, and later all of them once the permission says so.
func TestCustomServers(t *testing.T) {
	b := newBench(t)
	b.commit(tableWider)
	primary := b.cluster.Primary.Addr()
	away := b.tier
	away.Clusters = append(slices.Clone(away.Clusters), fleet.Cluster{Tier: "udb", Name: "udb-2", Instances: []fleet.Instance{
		{Tier: "udb", Cluster: "udb-2", Host: "127.0.0.1", Port: 1}}})
	b.inv.set(away)
	b.exec("INSERT INTO allowed_alters VALUES ('udb','tabla1','istvan',NULL,10,'custom')")
	b.is("HOLD", "brain", "custom_servers has no row for udb/tabla1")
	b.exec("INSERT INTO custom_servers VALUES ('udb','tabla1',?,?)", primary.Host, primary.Port)
	if c := b.is("IPR", ""); c.ServerList != "custom" {
		t.Errorf("server_list %q", c.ServerList)
	}
	b.checksum(false, b.tier.Clusters[0].Instances[0])
	b.look(0, 0)
	b.is("DONE", "")
	b.exec("UPDATE allowed_alters SET server_list = 'default'")
	b.is("HOLD", "brain", "Waiting for", "udb-2")
	b.inv.set(b.tier)
	if c := b.is("IPR", ""); c.ServerList != "default" {
		t.Errorf("server_list %q", c.ServerList)
	}
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
