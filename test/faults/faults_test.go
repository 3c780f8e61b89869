// Package faults holds clusters that cotton keeps alive against the faults that they must survive: under a writer, with an
// observer that looks ten times a second, and a checker afterwards. docs/faults.md lists the faults, and what came of it.
package faults

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit/cottonkit"
)

func TestMain(m *testing.M) { cottonkit.Main(m) }

const (
	// convergeLimit is how long a cluster may take to be well again once the fault is over.
	convergeLimit = 2 * time.Minute
	// steadyFor is how long it must be well before it counts as well.
	steadyFor = 2 * time.Second
	// warmUp is how many operations are acknowledged before a fault.
	warmUp = 100
	// misledLimit is how long clients may be told of one instance while another one takes writes.
	misledLimit = 3 * time.Second
	// diskMB is the disk of an agent that can be filled: room for one instance.
	diskMB = 600
	// volumesMB is the file system of an agent's volumes that can be stalled.
	volumesMB = 2048
	// replaceAfter is how long a member is away before another takes its place: the shortest that the scheduler takes.
	replaceAfter = time.Minute
)

// outcome is a row of the table: of one run of one fault.
type outcome struct {
	scenario
	acknowledged uint64
	lost         uint64        // known only where the cluster was well at the end
	asked        bool          // the cluster asks a person, and is not well
	gap          time.Duration // longest without an acknowledgement, from the fault on
	health       time.Duration // from the fault until all was well again
	failovers    uint64        // changes of primary
	problems     []string
}

// run is one run of one fault on a cluster.
type run struct {
	t        *testing.T
	s        *cottonkit.Site
	sched    *cottonkit.Scheduler
	pool     *mysql.Pool
	at       time.Time  // of the fault
	c        v1.Cluster // before it
	primary  v1.Instance
	replicas []v1.Instance
	load     *load
	earlier  []*load // loads before, which ended; their ledgers hold still
	problems []string
}

func (r *run) bad(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// until waits for a condition; one that does not come is a problem of this run.
func (r *run) until(limit time.Duration, what string, condition func() bool) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			r.bad("not within %s: %s", limit, what)
			return false
		}
	}
	return true
}

// hold lets time pass in which a fault lasts.
func (r *run) hold(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.t.Context().Done():
	}
}

// scope is a test of which a part ends before the whole: what was to be cleaned up after the test is, after that part.
type scope struct {
	testing.TB
	cleanups []func()
}

func (s *scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *scope) end() {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
	s.cleanups = nil
}

// ground is a site with a cluster that runs are made on, one after the other.
type ground struct {
	*scope
	s     *cottonkit.Site
	sched *cottonkit.Scheduler
	pool  *mysql.Pool
	well  bool
}

const clusterName = "c0"

// kind of ground that a scenario needs.
type kind struct {
	zk, disk, volumes, replaces bool
	policy                      cotton.Policy
}

func newGround(t *testing.T, k kind) *ground {
	o := cottonkit.Options{Flags: []string{"--failover-cooldown=1s"}}
	if k.zk {
		o.ZooKeeper = 1
	}
	if k.disk {
		o.DiskMB = diskMB
	}
	if k.volumes {
		o.VolumesMB = volumesMB
	}
	if k.replaces {
		o.Agents, o.Flags = 4, append(o.Flags, "--replace-after="+replaceAfter.String())
	}
	g := &ground{scope: &scope{TB: t}, well: true}
	t.Cleanup(g.end)
	g.s = cottonkit.New(g.scope, o)
	g.sched = g.s.Scheduler("")
	g.s.Ready()
	g.s.Create(clusterName, 3, k.policy)
	g.pool = g.s.AdminPool(mysql.Options{ConnectTimeout: time.Second})
	g.Cleanup(func() { g.pool.Close() })
	return g
}

// try makes one run.
func (g *ground) try(t *testing.T, sc scenario) outcome {
	r := &run{t: t, s: g.s, sched: g.sched, pool: g.pool}
	out := outcome{scenario: sc}
	var problem string
	if !r.until(convergeLimit, "the cluster is well before the fault", func() bool {
		r.c, problem = healthy(t.Context(), g.s, g.pool, clusterName)
		return problem == ""
	}) {
		g.well = false
		out.problems = append(r.problems, problem)
		return out
	}
	r.primary, r.replicas, _ = cottonkit.Primary(r.c)
	var err error
	if !r.until(convergeLimit, "a load can be started", func() bool { r.load, err = startLoad(g.s, clusterName); return err == nil }) {
		g.well = false
		out.problems = append(r.problems, err.Error())
		return out
	}
	defer func() {
		for _, l := range slices.Concat(r.earlier, []*load{r.load}) {
			_ = l.close()
		}
	}()
	watch, err := observe(g.s, r.c)
	if err != nil {
		r.load.end()
		out.problems = []string{err.Error()}
		return out
	}
	r.until(convergeLimit, "the load runs", func() bool { return r.load.w.Stats().Acknowledged() > warmUp })
	at := time.Now()
	r.at = at
	sc.inject(r)
	over := time.Now()
	var c v1.Cluster
	var health time.Duration
	if sc.person != "" {
		g.await(r, sc.person)
		out.asked = true
	} else {
		c, health, out.asked = g.converge(r, sc, at, over)
	}
	end := time.Now()
	g.log(r, at)
	r.load.end()
	if err := watch.end(); err != nil {
		r.bad("%v", err)
	}
	g.sched = r.sched
	out.acknowledged, out.gap, out.health = r.load.w.Stats().Acknowledged(), r.load.gap(at, end), health
	if g.well {
		for _, l := range append(r.earlier, r.load) {
			lost, wrong := verify(t.Context(), g.pool, c, l)
			out.lost += lost
			r.problems = append(r.problems, wrong...)
		}
		r.held(c)
		if sc.end != nil {
			sc.end(r, c)
		}
		out.failovers = c.Epoch - r.c.Epoch
		if out.failovers > uint64(sc.changes) {
			r.bad("%d changes of primary, at most %d are right", out.failovers, sc.changes)
		}
	}
	if g.well && sc.zk {
		if at, err := g.s.InZooKeeper(clusterName); err != nil || !slices.ContainsFunc(c.Instances, func(i v1.Instance) bool {
			return i.ID == c.Endpoints.Primary.ID && cottonkit.Addr(i) == at
		}) {
			r.bad("I10: ZooKeeper has %s, %v; the primary is %+v", at, err, c.Endpoints.Primary)
		}
	}
	if two := twoAble(watch.samples); len(two) > 0 {
		r.bad("I2: two instances able to commit %d times, first %s", len(two), two[0])
	}
	if d := misled(watch.published, watch.samples); d > misledLimit {
		r.bad("I10: for %s another instance took writes than the one that was published", d.Round(time.Millisecond))
	}
	if sc.gap > 0 && out.gap > sc.gap {
		r.bad("no write was acknowledged for %s, at most %s is right", out.gap.Round(time.Millisecond), sc.gap)
	}
	out.problems = r.problems
	return out
}

// log shows the changes of primary and the operations since a time, step by step.
func (g *ground) log(r *run, since time.Time) {
	h, err := g.s.Client.History(r.t.Context(), clusterName)
	if err != nil {
		r.t.Log(err)
		return
	}
	if h.Change != nil {
		h.Changes = append(h.Changes, *h.Change)
	}
	for _, c := range h.Changes {
		if c.Began.Before(since) {
			continue
		}
		r.t.Logf("%s after %s: %s", c.Kind, c.Began.Sub(since).Round(time.Millisecond), c.Why)
		steps(r.t, c.Log)
	}
	for _, op := range h.Operations {
		if op.Began.After(since) {
			r.t.Logf("%s after %s: %s", op.What, op.Began.Sub(since).Round(time.Millisecond), op.Why)
			steps(r.t, op.Log)
		}
	}
}

func steps(t *testing.T, log []v1.Step) {
	for _, step := range log {
		t.Logf("%6d ms %s %s", step.AfterMS, step.Step, step.Note)
	}
}

// converge waits until all is well for a while, and writes are acknowledged; or until the cluster asks a person for what the scenario
// allows it to ask for. It is not used any more after that.
func (g *ground) converge(r *run, sc scenario, at, over time.Time) (c v1.Cluster, health time.Duration, asked bool) {
	var since time.Time
	var problem string
	ok := r.until(convergeLimit, "the cluster is well again", func() bool {
		c, problem = healthy(r.t.Context(), g.s, g.pool, clusterName)
		if problem == "" && r.load.acknowledged(over) == 0 {
			problem = "no write is acknowledged"
		}
		switch {
		case problem != "":
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		}
		asked = sc.mayAsk != "" && asks(c, sc.mayAsk)
		return asked || problem == "" && time.Since(since) > steadyFor
	})
	g.well = ok && !asked
	switch {
	case !ok:
		r.bad("at last: %s", problem)
		return c, 0, false
	case asked:
		return c, 0, true
	}
	return c, since.Sub(at), false
}

// asks tells whether a cluster that takes writes asks a person for something.
func asks(c v1.Cluster, what string) bool {
	return c.Endpoints.Primary != nil && slices.ContainsFunc(c.Problems, func(p string) bool { return strings.Contains(p, what) })
}

// await waits until the cluster asks a person for what it must not do by itself. It is not used any more after that.
func (g *ground) await(r *run, what string) {
	g.well = false
	r.until(convergeLimit, "the cluster asks a person: "+what, func() bool {
		c, err := g.s.Client.Cluster(r.t.Context(), clusterName)
		return err == nil && asks(c, what)
	})
}

// wanted are the scenarios of this run: a few, all of them with AOSC_E2E=full, or those named in AOSC_FAULTS, with semicolons between.
func wanted() []scenario {
	names := strings.Split(os.Getenv("AOSC_FAULTS"), ";")
	return slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool {
		if names[0] != "" {
			return !slices.Contains(names, s.name)
		}
		return !s.short && os.Getenv("AOSC_E2E") != "full"
	})
}

// runs of each scenario.
func runs() int {
	if n, err := strconv.Atoi(os.Getenv("AOSC_FAULT_RUNS")); err == nil && n > 0 {
		return n
	}
	if os.Getenv("AOSC_E2E") == "full" {
		return 5
	}
	return 1
}

// TestFaults: whatever breaks, no acknowledged write is lost (I1), never two instances are able to commit (I2), no errant
// transaction is made (I7), what is published takes the writes (I10), and the cluster is well again within two minutes:
// one primary, the others super_read_only and following it, semi-synchronous replication as the policy has it. At the end
// nothing is left of it in Mesos.
func TestFaults(t *testing.T) {
	var rows []outcome
	defer func() { report(t, rows) }()
	left := wanted()
	for len(left) > 0 {
		k := left[0].kind()
		var alike []scenario // they share a cluster
		left = slices.DeleteFunc(left, func(sc scenario) bool {
			same := sc.kind() == k
			if same {
				alike = append(alike, sc)
			}
			return same
		})
		rows = append(rows, onGround(t, k, alike)...)
	}
}

// kind of a cluster that a scenario needs.
func (sc scenario) kind() kind {
	return kind{sc.zk, sc.disk, sc.volumes, sc.replaces, cmp.Or(sc.policy, cotton.PolicyLossless)}
}

// onGround makes all runs of scenarios of one kind, on one cluster as long as it is well after a run.
func onGround(t *testing.T, k kind, alike []scenario) (rows []outcome) {
	var g *ground
	for _, sc := range alike {
		if sc.cuts && !cottonkit.CanCut() || sc.disk && !cottonkit.CanFillDisk() || sc.volumes && !cottonkit.CanBreakVolumes() {
			t.Logf("%s is left out: this machine gives the test no namespaces", sc.name)
			continue
		}
		for n := range runs() {
			if g != nil && !g.well {
				g.end()
				g = nil
			}
			if g == nil {
				g = newGround(t, k)
			}
			out := g.try(t, sc)
			t.Logf("%-45s run %d: %d acknowledged, %d lost, gap %s, well after %s, %d changes of primary %s", sc.name, n+1, out.acknowledged, out.lost,
				out.gap.Round(time.Millisecond), out.health.Round(100*time.Millisecond), out.failovers, strings.Join(out.problems, "; "))
			rows = append(rows, out)
			for _, p := range out.problems {
				t.Errorf("%s: %s", sc.name, p)
			}
		}
	}
	if g != nil {
		if g.well {
			g.s.Delete(clusterName)
		}
		g.end()
	}
	return rows
}

// ending says how the runs of a scenario ended that did as they should. Where the cluster asks a person, nothing is counted as lost or not.
func ending(of []outcome) string {
	asked := 0
	for _, o := range of {
		if o.asked {
			asked++
		}
	}
	switch what := cmp.Or(of[0].person, of[0].mayAsk); asked {
	case 0:
		return "well"
	case len(of):
		return "writes go on; asks a person: " + what
	default:
		return fmt.Sprintf("well; in %d of %d runs writes go on, and it asks a person: %s", asked, len(of), what)
	}
}

// report prints the table of docs/faults.md.
func report(t *testing.T, rows []outcome) {
	var b strings.Builder
	b.WriteString("\n| # | fault | runs | acknowledged | lost | write gap, median | worst | well after, median | worst | end state |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for len(rows) > 0 {
		name := rows[0].name
		var of []outcome
		rows = slices.DeleteFunc(rows, func(o outcome) bool {
			if o.name == name {
				of = append(of, o)
			}
			return o.name == name
		})
		var acknowledged, lost uint64
		var gaps, healths []time.Duration
		end := ending(of)
		for _, o := range of {
			acknowledged, lost = acknowledged+o.acknowledged, lost+o.lost
			gaps, healths = append(gaps, o.gap), append(healths, o.health)
			if len(o.problems) > 0 {
				end = "FAILED: " + strings.Join(o.problems, "; ")
			}
		}
		slices.Sort(gaps)
		slices.Sort(healths)
		s := func(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %s | %s | %s | %s | %s |\n", of[0].number, name, len(of), acknowledged, lost,
			s(gaps[len(gaps)/2]), s(gaps[len(gaps)-1]), s(healths[len(healths)/2]), s(healths[len(healths)-1]), end)
	}
	t.Log(b.String())
}
