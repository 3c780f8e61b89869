package cotton_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// event is one thing that happens; do returns false where it cannot.
type event struct {
	name string
	do   func(w *world) bool
}

// events are all that may happen next in a state.
func (w *world) events() []event {
	list := []event{
		{"look", (*world).round},
		{"look until nothing moves", func(w *world) bool {
			moved := false
			for range 40 {
				if !w.round() {
					break
				}
				moved = true
			}
			return moved
		}},
	}
	if w.budget.writes > 0 {
		list = append(list, event{"write", func(w *world) bool {
			w.budget.writes--
			return w.write()
		}})
	}
	if w.budget.switches > 0 {
		list = append(list, event{"switchover", func(w *world) bool {
			w.budget.switches--
			t, err := cotton.PlanSwitchover(w.r, w.seen(), 0, "", cotton.SwitchoverLimits{MaxLag: time.Minute, Within: 25 * time.Second})
			return err == nil && w.r.Apply(t, w.now) == nil
		}})
	}
	if w.budget.failures > 0 {
		for _, f := range []struct {
			name     string
			succeeds func(i, of int) bool
		}{
			{"look, and only the first step succeeds", func(i, _ int) bool { return i == 0 }},
			{"look, and only the last step succeeds", func(i, of int) bool { return i == of-1 }},
		} {
			list = append(list, event{f.name, func(w *world) bool {
				w.budget.failures--
				return w.look(f.succeeds)
			}})
		}
	}
	if w.budget.halves > 0 {
		list = append(list, event{"look, and a step is taken in part", func(w *world) bool {
			w.budget.halves--
			w.half = true
			moved := w.look(func(int, int) bool { return true })
			if w.half {
				w.half = false
				return false
			}
			return moved
		}})
	}
	if w.budget.anews > 0 {
		list = append(list, event{"another scheduler takes over", func(w *world) bool {
			w.budget.anews--
			for _, s := range w.servers {
				s.known, s.cloneSoon, s.cloneEpoch = false, 0, 0
			}
			return true
		}})
	}
	if w.budget.operations > 0 {
		for _, req := range w.requests() {
			name := fmt.Sprintf("%s (nodes %d, member %d, in place %v, discard %v)", req.Kind, req.Nodes, req.Member, req.InPlace, req.Discard)
			list = append(list, event{name, func(w *world) bool {
				w.budget.operations--
				_, t, err := cotton.PlanOperation(w.r, w.seen(), cotton.Room{Places: 9}, req, w.now)
				return err == nil && w.r.Apply(t, w.now) == nil
			}})
		}
		list = append(list, event{"cancel", func(w *world) bool {
			w.budget.operations--
			_, t, err := cotton.PlanCancel(w.r)
			return err == nil && w.r.Apply(t, w.now) == nil
		}})
	}
	for _, id := range slices.Sorted(maps.Keys(w.servers)) {
		list = append(list, w.eventsOf(id)...)
	}
	return list
}

// requests are the operations that may be asked for.
func (w *world) requests() (list []cotton.Request) {
	for _, n := range []int{3, 5} {
		list = append(list, cotton.Request{Kind: cotton.OpScale, Nodes: n})
	}
	for _, id := range slices.Sorted(maps.Keys(w.servers)) {
		list = append(list, cotton.Request{Kind: cotton.OpReplace, Member: id}, cotton.Request{Kind: cotton.OpReplace, Member: id, InPlace: true})
		if w.servers[id].lost { // of one that is not, the operator would be wrong to say so
			list = append(list, cotton.Request{Kind: cotton.OpReplace, Member: id, Discard: true})
		}
	}
	return append(list, cotton.Request{Kind: cotton.OpRestart})
}

func (w *world) eventsOf(id int) (list []event) {
	s := w.servers[id]
	add := func(name string, do func(w *world, s *server)) {
		list = append(list, event{fmt.Sprintf("%s %d", name, id), func(w *world) bool { do(w, w.servers[id]); return true }})
	}
	if s.up && w.budget.kills > 0 {
		add("kill", func(w *world, s *server) { w.budget.kills--; s.up = false })
	}
	if s.up && w.budget.powers > 0 {
		add("power off the machine of", func(w *world, s *server) {
			w.budget.powers--
			w.power = true
			s.up, s.boot = false, s.boot+1
			s.relay = mysql.GTIDSet{} // what was not applied was not on the disk
		})
	}
	if !s.slow && w.budget.slows > 0 {
		add("the applier stalls of", func(w *world, s *server) { w.budget.slows--; s.slow = true })
	}
	if s.up && s.source != 0 && !s.broken && w.budget.breaks > 0 {
		add("the applier fails of", func(w *world, s *server) { w.budget.breaks--; s.broken, w.power = true, true })
	}
	if s.up && s.source != 0 && !s.damaged && w.budget.damages > 0 {
		add("the relay log cannot be read of", func(w *world, s *server) { w.budget.damages--; s.damaged, w.power = true, true })
	}
	if s.slow {
		add("the applier goes on of", func(w *world, s *server) { s.slow = false })
	}
	if !s.up && !s.lost {
		add("start", func(w *world, s *server) { w.start(s) })
	}
	if m, ok := w.r.Member(id); ok && s.lost && m.TaskState == "TASK_RUNNING" {
		add("Mesos is told that the agent is gone of", func(w *world, s *server) {
			m, _ := w.r.Member(id)
			m.TaskState = "TASK_GONE_BY_OPERATOR"
		})
	}
	if !s.lost && w.budget.machines > 0 {
		add("lose the machine of", func(w *world, s *server) { w.budget.machines--; w.left++; s.up, s.lost = false, true })
	}
	if !s.alone && w.budget.cuts > 0 {
		add("cut off from the members", func(w *world, s *server) { w.budget.cuts--; s.alone = true })
	}
	if s.alone {
		add("heal", func(w *world, s *server) { s.alone = false })
	}
	if !s.hidden && w.budget.hides > 0 {
		add("hide from the scheduler", func(w *world, s *server) { w.budget.hides--; s.hidden = true })
	}
	if s.hidden {
		add("show", func(w *world, s *server) { s.hidden = false })
	}
	if s.up && !s.closed && !s.stalled && w.budget.stalls > 0 {
		add("commits stall of", func(w *world, s *server) { w.budget.stalls--; s.stalled = true })
	}
	if s.stalled {
		add("commits go on of", func(w *world, s *server) { s.stalled = false; w.flow() })
	}
	number := func(s *server, kind int64) mysql.GTIDSet {
		s.numbered++
		one := gtid(memberUUID(id), s.numbered+kind)
		s.executed = s.executed.Union(one)
		return one
	}
	takes := s.up && s.closed && s.cloning == 0
	if takes && w.budget.strays > 0 {
		add("FLUSH on", func(w *world, s *server) {
			w.budget.strays--
			number(s, flushes)
		})
	}
	if takes && w.budget.commits > 0 {
		add("XA COMMIT on", func(w *world, s *server) {
			w.budget.commits--
			w.committed = w.committed.Union(number(s, commits))
		})
	}
	if takes && w.budget.forced > 0 {
		add("write to the closed", func(w *world, s *server) {
			w.budget.forced--
			w.strayed = true
			number(s, forced)
		})
	}
	return list
}

// write is a client's: at every server that is open, as clients may hold any address.
func (w *world) write() bool {
	any := false
	for _, id := range slices.Sorted(maps.Keys(w.servers)) {
		if s := w.servers[id]; s.up && !s.closed {
			s.numbered++
			s.pending = s.pending.Union(gtid(memberUUID(id), s.numbered))
			any = true
		}
	}
	w.flow()
	return any
}

// step makes the event happen in a copy of the world.
func (w *world) step(e event) (*world, bool) {
	c := w.clone()
	if !e.do(c) {
		return nil, false
	}
	c.trail = append(c.trail, e.name)
	return c, true
}

// found is a state that must not be.
type found struct {
	what  string
	trail []string
}

func (f *found) String() string { return f.what + "\n\tafter: " + strings.Join(f.trail, ", ") }

// explore goes through all states that so many events lead to, breadth first, until time is up. It checks what must hold in each, and for
// each that it settles once everything is healed. What it looks for begins with wanted.
func explore(start *world, depth int, limit time.Duration, wanted string) (bad *found, states, reached int, whole bool) {
	seen := map[string]bool{start.key(): true}
	level := []*world{start}
	until := time.Now().Add(limit)
	for d := 1; d <= depth; d++ {
		var next []*world
		for _, w := range level {
			if time.Now().After(until) {
				return nil, len(seen), d - 1, false
			}
			for _, e := range w.events() {
				c, ok := w.step(e)
				if !ok {
					continue
				}
				if wrong := c.wrong(); wrong != "" && strings.HasPrefix(wrong, wanted) {
					return &found{wrong, c.trail}, len(seen), d, false
				}
				key := c.key()
				if seen[key] {
					continue
				}
				seen[key] = true
				if wrong := c.clone().settle(); wrong != "" && strings.HasPrefix(wrong, wanted) {
					return &found{wrong, append(c.trail, "all healed")}, len(seen), d, false
				}
				next = append(next, c)
			}
		}
		level = next
	}
	return nil, len(seen), depth, true
}

// walk makes one random walk.
func walk(start *world, seed uint64, steps int) *found {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := start
	for range steps {
		events := w.events()
		c, ok := w.step(events[rng.IntN(len(events))])
		if !ok {
			continue
		}
		w = c
		if wrong := w.wrong(); wrong != "" {
			return &found{wrong, w.trail}
		}
	}
	if wrong := w.clone().settle(); wrong != "" {
		return &found{wrong, append(w.trail, "all healed")}
	}
	return nil
}

// long tells whether this is `make search`: deeper, and for so long.
func long() (time.Duration, bool) {
	d, err := time.ParseDuration(os.Getenv("AOSC_SEARCH"))
	return d, err == nil && d > 0
}

// usual are two ways to fail. A member whose relay log is damaged, or whose
// applier has failed, cannot follow, so what was committed on it by mistake is not saved.
var usual = [2]budget{
	{writes: 2, kills: 2, machines: 1, cuts: 1, hides: 1, strays: 1, commits: 1, forced: 1, switches: 1, operations: 1, failures: 1},
	{stalls: 1, writes: 2, kills: 2, machines: 1, cuts: 1, hides: 1, strays: 1, switches: 1, operations: 1, failures: 1, halves: 1, powers: 1,
		slows: 1, breaks: 1,
		anews: 1, damages: 1},
}

// TestSearch: whatever fails, in whatever order, no primary is opened that lacks what was acknowledged (I1), never is the second last copy of
// it given up while all machines are there (I15), and once everything is healed the changes of primary come to an end.
func TestSearch(t *testing.T) {
	limit, deep := long()
	if !deep {
		limit = 8 * time.Second
	}
	for i, nodes := range []int{3, 5} {
		began := time.Now()
		depth := 6
		if deep {
			depth = 12
		}
		bad, states, reached, whole := explore(newWorld(nodes, usual[i]), depth, limit/2, "")
		t.Logf("%d nodes: %d states, depth %d (the whole of it: %v), %s", nodes, states, reached, whole, time.Since(began).Round(time.Millisecond))
		if bad != nil {
			t.Fatal(bad)
		}
	}
}

// TestWalk: the same far from the beginning, at random.
func TestWalk(t *testing.T) {
	limit, deep := long()
	if !deep {
		limit = 4 * time.Second
	}
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("AOSC_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("AOSC_SEED=%d", seed)
	many := [2]budget{
		{writes: 8, kills: 6, machines: 1, cuts: 5, hides: 4, strays: 2, commits: 2, forced: 1, switches: 4, operations: 4, failures: 6,
			halves: 4, slows: 3, stalls: 3},
		{stalls: 3, writes: 8, kills: 6, machines: 1, cuts: 5, hides: 4, strays: 2, switches: 4, operations: 4, failures: 6, halves: 4, powers: 2,
			slows: 3, breaks: 1,
			anews: 3, damages: 1},
	}
	walks := 0
	for began := time.Now(); time.Since(began) < limit; walks++ {
		if bad := walk(newWorld(3+2*(walks%2), many[walks/2%2]), seed+uint64(walks), 60); bad != nil {
			t.Fatalf("seed %d, walk %d: %s", seed, walks, bad)
		}
	}
	t.Logf("%d walks of 60 events", walks)
}

// TestTrails: what has been found, replayed. What a trail found may be prevented earlier by now, so an event may do nothing.
func TestTrails(t *testing.T) {
	for _, tc := range []struct {
		name  string
		power bool // a machine goes down and comes back, and what it had only in memory is lost: one copy may be all that is left
		trail []string
	}{
		{"the only primary that nobody follows yet is lost: all that was acknowledged is in Base, so those who have that may be elected", false,
			[]string{"kill 1", "cut off from the members 2", "look until nothing moves", "lose the machine of 3"}},
		{"an operator gives up a member that is off for good: what the primary has, too, an election must still find", false,
			[]string{"cut off from the members 3", "write", "lose the machine of 2", "replace (nodes 0, member 2, in place false, discard true)",
				"look until nothing moves", "kill 1", "look until nothing moves"}},
		{"the new primary waits to be opened until another member is cloned: that clone may begin", false,
			[]string{"kill 1", "lose the machine of 1", "look until nothing moves", "cut off from the members 2", "look until nothing moves", "look",
				"hide from the scheduler 2", "look, and only the last step succeeds", "cut off from the members 3", "heal 2", "heal 3", "write",
				"kill 2", "kill 3", "start 2", "kill 2", "start 3"}},
		{"a stray transaction of a former primary that a replica has received", false,
			[]string{"switchover", "look", "look", "kill 2", "look", "FLUSH on 1"}},
		{"a former primary comes back with a commit that nobody had acknowledged: its data go only once others have what was acknowledged", false,
			[]string{"cut off from the members 3", "write", "cut off from the members 2", "write", "kill 1", "heal 2", "look", "look", "look",
				"look",
				"look", "start 1", "look", "look", "look", "look", "lose the machine of 2"}},
		{"a relay log that cannot be read is thrown away: what was in it must be found by an election until it is received again", true,
			[]string{"cut off from the members 3", "the relay log cannot be read of 2", "write", "look", "kill 1", "heal 3",
				"look until nothing moves",
				"look until nothing moves"}},
		{"all machines lose their power with a commit in flight, and both replicas have a stray transaction", true,
			[]string{"FLUSH on 2", "FLUSH on 3", "cut off from the members 1", "write", "power off the machine of 1", "power off the machine of 2",
				"power off the machine of 3"}},
		{"the elected one loses its relay log before it has applied it, between two looks", true,
			[]string{"the applier stalls of 2", "the applier stalls of 3", "write", "kill 1", "look", "look", "look", "power off the machine of 2",
				"start 2"}},
		{"an applier fails, and the former primary has a commit that nobody acknowledged: both are cloned, one after the other", false,
			[]string{"write", "the applier fails of 2", "write", "cut off from the members 2", "cut off from the members 3", "write", "kill 1",
				"heal 2", "heal 3", "look until nothing moves", "write", "start 1", "look until nothing moves"}},
		{"an operation is canceled while the member that it added is the primary", true,
			[]string{"replace (nodes 0, member 1, in place false, discard false)", "cut off from the members 3", "kill 3",
				"power off the machine of 2",
				"look until nothing moves", "heal 3", "hide from the scheduler 3", "write", "hide from the scheduler 2", "start 2", "switchover",
				"show 2",
				"cut off from the members 3", "cancel", "kill 2", "show 3", "look, and only the last step succeeds"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(3, budget{writes: 9, kills: 9, machines: 1, cuts: 9, hides: 9, strays: 9, commits: 9, forced: 9, switches: 9,
				operations: 9, failures: 9, halves: 9, powers: 9, slows: 9, anews: 9, damages: 9, breaks: 9})
			w.power = tc.power
			if bad := w.replay(t, tc.trail); bad != nil {
				t.Fatal(bad)
			}
		})
	}
}

// replay has a trail happen again, and everything healed after it.
func (w *world) replay(t *testing.T, trail []string) *found {
	t.Helper()
	for _, name := range trail {
		events := w.events()
		i := slices.IndexFunc(events, func(e event) bool { return e.name == name })
		if i < 0 {
			t.Fatalf("after %v there is no %q", w.trail, name)
		}
		next, ok := w.step(events[i])
		if !ok {
			continue
		}
		if wrong := next.wrong(); wrong != "" {
			return &found{wrong, next.trail}
		}
		w = next
	}
	if wrong := w.settle(); wrong != "" {
		return &found{wrong, append(w.trail, "all healed")}
	}
	return nil
}

// TestLateCommit: a commit that was released with one acknowledgement while two are about to be wanted, and is in no gtid_executed when
// that is stored, is found by an election all the same. With the set read at once it was lost.
func TestLateCommit(t *testing.T) {
	const grow = "scale (nodes 5, member 0, in place false, discard false)"
	trail := slices.Concat([]string{grow}, slices.Repeat([]string{"look"}, 11), []string{
		"commits stall of 1", "cut off from the members 3", "cut off from the members 4", "cut off from the members 5", "write",
		"look", "look", "look", "commits go on of 1", "lose the machine of 1", "hide from the scheduler 2", "heal 3", "heal 4", "heal 5",
		"look until nothing moves"})
	for _, hasty := range []bool{true, false} {
		w := newWorld(3, budget{writes: 9, machines: 1, cuts: 9, hides: 9, operations: 9, stalls: 9})
		w.hasty = hasty
		if bad := w.replay(t, trail); (bad != nil) != hasty || bad != nil && !strings.HasPrefix(bad.what, "I1:") {
			t.Errorf("read at once: %v; found: %v", hasty, bad)
		}
	}
}

// TestSearchFinds: the search is worth something, since it finds defects when they are put back.
func TestSearchFinds(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		budget     budget
		put        func(*world)
	}{
		{"a replica that was cut off is elected after a failover that saved what it never had", "I1", budget{writes: 1, machines: 1, cuts: 1},
			func(w *world) { w.amnesia = true }},
		{"replicas with stray transactions of former primaries make a loop of failovers", "livelock", budget{strays: 1, switches: 1},
			func(w *world) { w.twoNames, w.blind = true, true }},
		{"what was committed on a closed member is thrown away with its data", "what was committed", budget{commits: 1},
			func(w *world) { w.blind = true }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(3, tc.budget)
			tc.put(w)
			began := time.Now()
			bad, states, depth, _ := explore(w, 8, time.Minute, tc.want)
			if bad == nil {
				t.Fatalf("not found in %d states of depth %d: %v", states, depth, bad)
			}
			t.Logf("found at depth %d, after %d states and %s: %s", depth, states, time.Since(began).Round(time.Millisecond), bad)
		})
	}
}
