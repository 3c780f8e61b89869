package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/site"

	// Their fault points are what is tested here.
	_ "github.com/aosc/aosc/internal/brain"
	_ "github.com/aosc/aosc/internal/checksum"
	_ "github.com/aosc/aosc/internal/collector"
	_ "github.com/aosc/aosc/internal/oscworker"
	_ "github.com/aosc/aosc/internal/scheduler"
)

// childPrefix begins the names of the points in the child of the copy engine 'ghost'. They do not kill the worker.
const childPrefix = "osc.child."

// selection are the points of an ordinary run: the most dangerous of each daemon, with the engine that is the default.
var selection = []string{"brain.change.after", "checksum.pass.recorded", "collector.gathered", "scheduler.waiting.written",
	"osc.keyed.chunk.after", "osc.keyed.verified", "osc.keyed.rename.after", "worker.done.before"}

// owners are the daemons that pass a point.
func owners(t testing.TB, point string) []string {
	t.Helper()
	prefix, _, _ := strings.Cut(point, ".")
	who, known := map[string][]string{
		"brain": {"brain"}, "checksum": {"checksum"}, "collector": {"collector"}, "scheduler": {"scheduler"},
		"worker": {"oscworker"}, "osc": {"oscworker"}, "status": {"checksum", "oscworker"},
	}[prefix]
	if !known {
		t.Fatalf("fault point %s: whose is it?", point)
	}
	return who
}

// victim is a daemon that is killed at one point after the other, and started again each time.
type victim struct {
	name    string
	parent  []string // points of the daemon itself that it has not died at
	child   []string // of its children
	killed  []string
	current *site.Daemon
}

// armed are all points that are left, but one of the child's: those are told apart only by what is armed.
func (v *victim) armed() string {
	var faults []string
	for _, point := range append(v.parent, v.child[:min(1, len(v.child))]...) {
		faults = append(faults, point+"=kill")
	}
	return strings.Join(faults, ",")
}

// orphaned is what a worker says of a child that ended without a word: only SIGKILL does that.
const orphaned = "it ended without saying why"

// step looks after the victim: where it has died of a fault it is started again without that one. A child that has died
// of its own takes its worker with it: the leftovers of both are for the next.
func (v *victim) step(s *place) {
	s.T.Helper()
	d := v.current
	switch {
	case d.Ended():
		point, ok := diedAt(d)
		i := slices.Index(v.parent, point)
		if !ok || i < 0 {
			s.T.Fatalf("%s ended, not of an armed fault (%s): %v", v.name, v.armed(), d.Wait())
		}
		v.parent = slices.Delete(v.parent, i, i+1)
		v.killed = append(v.killed, point)
	case len(v.child) > 0 && d.Says(orphaned):
		s.Do(d.Kill())
		v.killed = append(v.killed, v.child[0])
		v.child = v.child[1:]
	default:
		return
	}
	v.current = s.Daemon(v.name, v.armed())
}

// diedAt is the point at which a process killed itself.
func diedAt(d *site.Daemon) (string, bool) {
	_, rest, ok := strings.Cut(d.Text(), "fault point ")
	point, _, closed := strings.Cut(rest, ": kill\n")
	status, isExit := d.ExitStatus()
	return point, ok && closed && isExit && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// I5, I8: every daemon, and the child of a copy, killed with SIGKILL at each of its fault points in the course of an alter
// under load, and started again. The alter comes to its end, once; no acknowledged row is lost on primary and replica
// (I1), no errant transaction is made (I7), nothing is left behind.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	s := newPlace(t, nil, c)
	writers := s.battlefield(c)
	victims := s.victims()

	// What a point needs may be over when a daemon is back; then it is met in the next round, a copy of another width.
	const rounds = 4
	for round := range rounds {
		ddl := strings.Replace(site.Plain, "varchar(100)", []string{"text", "mediumtext", "longtext", "varchar(8000)"}[round], 1)
		s.SQL("UPDATE tiers SET copy_engine = '" + []string{"keyed", "ghost"}[round%2] + "'") // each has points of its own
		commit := s.Commit("tabla1", ddl)
		s.Allow("tabla1")
		if round == rounds-1 {
			s.SQL("UPDATE allowed_alters SET allow_unsafe = 1") // longtext to varchar
		}
		s.Eventually(5*time.Minute, "the alter is finished", func() bool {
			for _, v := range victims {
				v.step(s)
			}
			if cur := s.Current("tabla1"); cur != nil && cur.Status == "HOLD" && cur.HoldBy != "brain" {
				t.Fatalf("HOLD by %s: %s", cur.HoldBy, cur.Reason)
			}
			return s.Ask("SELECT COUNT(*) FROM finished_alters WHERE commit_sha = ?", commit) != "0"
		})
		s.Finished("tabla1", commit)
		left := 0
		for _, v := range victims {
			left += len(v.parent) + len(v.child)
		}
		t.Logf("round %d: %d points left", round+1, left)
		if left == 0 {
			s.survived(ddl, victims, c, writers)
			return
		}
		s.Fill("", 0) // something to create in the next round
	}
	for _, v := range victims {
		if len(v.parent)+len(v.child) > 0 {
			t.Errorf("I8: %s never came to %v %v", v.name, v.parent, v.child)
		}
	}
}

// battlefield has something for every engine: tables to copy under load, small ones, and a missing one.
func (s *place) battlefield(c *mysqld.Cluster) []*testkit.Writer {
	s.T.Helper()
	var writers []*testkit.Writer
	for range 3 {
		writers = append(writers, s.Writer(c, s.Fill(site.Plain, 0), 2000, 30))
	}
	for range 3 {
		s.Fill(site.Plain, 10)
	}
	s.Fill("", 0)
	s.Fill("", 0)
	return writers
}

// victims starts the daemons with their points armed.
func (s *place) victims() []*victim {
	s.T.Helper()
	points := fault.Names()
	if !full {
		points = selection
	}
	byName := map[string]*victim{}
	var all []*victim
	for _, name := range site.Names {
		v := &victim{name: name}
		byName[name], all = v, append(all, v)
	}
	for _, point := range points {
		if fault.Explanation(point) == "" {
			s.T.Fatalf("there is no fault point %s", point)
		}
		for _, name := range owners(s.T, point) {
			if v := byName[name]; strings.HasPrefix(point, childPrefix) {
				v.child = append(v.child, point)
			} else {
				v.parent = append(v.parent, point)
			}
		}
	}
	for _, v := range all {
		v.current = s.Daemon(v.name, v.armed())
	}
	return all
}

func (s *place) survived(ddl string, victims []*victim, c *mysqld.Cluster, writers []*testkit.Writer) {
	s.T.Helper()
	var killed []string
	for _, v := range victims {
		killed = append(killed, fmt.Sprintf("%s at %s", v.name, strings.Join(v.killed, ", ")))
	}
	s.T.Logf("killed: %s", strings.Join(killed, "; "))
	s.MustHave("tabla1", ddl)
	s.Lossless(c, writers...)
	s.Clean("tabla1")
	if n := s.Ask("SELECT COUNT(*) FROM running_alters"); n != "0" {
		s.T.Errorf("%s rows left in running_alters", n)
	}
}
