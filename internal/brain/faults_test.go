package brain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

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
	testkit.Eventually(t, testkit.Patience, "the brain wakes when a check is due", func() bool {
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
