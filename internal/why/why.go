// Package why answers the one question an operator has of an alter that stands still: why does it not run. The answer is a
// pure function of the central tables and, where somebody has asked the instances, of what they said. `aosc status`, `aosc
// watch`, `aosc explain` and the view why of aoscdb all show it. It touches nothing.
package why

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
)

// Code is a reason in a word.
type Code string

// The codes. Going means that nothing stands in the way.
const (
	Going         Code = "running"
	Verifying     Code = "verifying"      // no target is left; the checks follow
	NotAllowed    Code = "not_allowed"    // allowed_alters has no row
	Admission     Code = "admission"      // the brain has not taken the permission up
	DaemonDown    Code = "daemon_down"    // a daemon that is needed has no heartbeat
	DaemonFailing Code = "daemon_failing" // it lives, and its passes fail
	Hold          Code = "hold"           // HOLD, by whom and why
	NoTier        Code = "no_tier"        // tiers has no row
	TierDisabled  Code = "tier_disabled"  // tiers.enabled = 0
	WorkerLost    Code = "worker_lost"    // no sign of life from the worker at work
	OSCPriv       Code = "osc_priv"       // PAUSE or STOP on the instance
	Limit         Code = "limit"          // a limit of the tier
	OtherAlter    Code = "other_alter"    // another alter is on the instance or cluster
	Backoff       Code = "backoff"        // a try failed; when the next is; it holds nothing until then
	Gate          Code = "gate"           // the copy is ready and waits for the operator's word, or the tier's window
	Lock          Code = "lock"           // the table's lock, and who holds it
	Throttled     Code = "throttled"      // the copy waits, for what
	Paused        Code = "paused"         // the worker pauses for another reason
	Unreachable   Code = "unreachable"    // the instance, or its cluster, does not answer
	ChecksumFails Code = "checksum_fails" // no status: the checksum fails there
	NotChecked    Code = "not_checked"    // no status yet
	Order         Code = "order"          // other instances go first
	Turn          Code = "turn"           // the scheduler hands it out with its next pass
	Queued        Code = "queued"         // a worker takes it within seconds
)

// severity orders the codes of instances for the one that speaks for the alter: what a person must do something about first,
// what passes by itself last.
var severity = []Code{DaemonDown, DaemonFailing, WorkerLost, Unreachable, OSCPriv, Gate, ChecksumFails, Lock, Backoff, Limit, Throttled,
	Paused,
	TierDisabled, Hold, OtherAlter, NotChecked, Order, Turn, Queued}

// Reason is an answer: the code, and a sentence for people.
type Reason struct {
	Code Code
	Text string
}

// Waits reports whether something stands in the way.
func (r Reason) Waits() bool { return r.Code != Going && r.Code != Verifying }

func (r Reason) String() string { return fmt.Sprintf("%s (%s)", r.Text, r.Code) }

// because is a reason, in one line: a joined error has several.
func because(c Code, format string, args ...any) Reason {
	return Reason{Code: c, Text: strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")}
}

// alter is what is known of one alter as a whole.
type alter struct {
	Now       time.Time
	Allowed   *aoscdb.AllowedAlter
	Current   *aoscdb.CurrentAlter
	Tier      *aoscdb.Tier
	Brain     Liveness
	Collector Liveness
	Checksum  Liveness
	Anywhere  *aoscdb.Obstacle // found by the collector at no instance in particular
	Instances []Entry          // of the instances with something to say
}

// reason is the answer for the alter as a whole.
func (a alter) reason() Reason {
	switch c := a.Current; {
	case c == nil && a.Allowed == nil:
		return because(NotAllowed, "nothing allows it: allowed_alters has no row for it")
	case c == nil:
		return a.admission()
	case c.Status == aoscdb.AlterHold:
		return a.hold()
	case a.Tier == nil:
		return because(NoTier, "its tier has no row in tiers")
	case c.Status == aoscdb.AlterDone:
		return a.checks()
	case !a.Tier.Enabled:
		return tierDisabled(a.Tier.Group)
	}
	return a.inProgress()
}

func tierDisabled(group string) Reason {
	return because(TierDisabled, "tier %s is off (tiers.enabled = 0): nothing new is started, what runs pauses", group)
}

// admission is of a permission that the brain has not taken up.
func (a alter) admission() Reason {
	if r, bad := a.Brain.trouble(); bad {
		return because(r.Code, "waits for admission, and %s", r.Text)
	}
	r := because(Admission, "waits for admission: the brain judges it, and was last seen at %s", stamp(a.Brain.Seen))
	if a.Brain.Note != "" {
		r.Text += "; " + a.Brain.Note
	}
	return r
}

func (a alter) hold() Reason {
	c := a.Current
	text := fmt.Sprintf("HOLD by %s: %s", cmp.Or(c.HoldBy, aoscdb.HoldOperator), cmp.Or(c.Reason, "put there by hand"))
	// A brain that waits for a server that does not answer says that it fails for that very reason: it does look.
	looks := a.Brain.Alive && c.Reason != "" && strings.Contains(a.Brain.Error, c.Reason)
	if r, bad := a.Brain.trouble(); bad && c.HoldBy == aoscdb.HoldBrain && !looks {
		text += fmt.Sprintf(" (Nobody looks whether that still holds: %s.)", r.Text)
	}
	return because(Hold, "%s", text)
}

// checks is of an alter that is DONE.
func (a alter) checks() Reason {
	for _, d := range []Liveness{a.Brain, a.Collector, a.Checksum} {
		if r, bad := d.trouble(); bad {
			return because(r.Code, "no target is left, its checks wait: %s", r.Text)
		}
	}
	if r, ok := worst(a.Instances); ok && a.Current.NextCheckAt == nil {
		return because(r.Code, "no target is left, its check waits: %s", r.Text)
	}
	when := "is under way"
	if a.Current.NextCheckAt != nil {
		when = "is at " + stamp(*a.Current.NextCheckAt)
	}
	return because(Verifying, "no target is left; check %d of %d %s", a.Current.Tries+1, max(a.Tier.VerifyTries, 1), when)
}

func (a alter) inProgress() Reason {
	going := 0
	for _, e := range a.Instances {
		if e.Code == Going {
			going++
		}
	}
	c := a.Current
	pinned := c.PinnedAt != nil && c.CollectedAt != nil && !c.CollectedAt.Before(*c.PinnedAt)
	worst, waits := worst(a.Instances)
	switch {
	case going > 0:
		return because(Going, "runs on %s", instances(going))
	case !pinned || c.Targets < 0:
		if r, bad := a.Collector.trouble(); bad {
			return because(r.Code, "no instance has been looked at, and %s", r.Text)
		}
		return because(NotChecked, "no instance has been looked at yet: the collector was last seen at %s", stamp(a.Collector.Seen))
	case waits:
		return worst
	case a.Anywhere != nil:
		return Reason{Code(a.Anywhere.Code), a.Anywhere.Reason}
	}
	if r, bad := a.Brain.trouble(); bad {
		return because(r.Code, "no target is left, and %s", r.Text)
	}
	return because(Verifying, "no target is left; the brain marks it DONE once every instance has been checked")
}

// worst picks the instance that speaks for all.
func worst(entries []Entry) (Reason, bool) {
	for _, c := range severity {
		var found []Entry
		for _, e := range entries {
			if e.Code == c {
				found = append(found, e)
			}
		}
		if len(found) == 0 {
			continue
		}
		text := fmt.Sprintf("%s: %s", found[0].Addr, found[0].Text)
		if len(found) > 1 {
			text += fmt.Sprintf(" (and %d more)", len(found)-1)
		}
		return Reason{c, text}, true
	}
	return Reason{}, false
}

func instances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
}

// instance is what is known of one alter on one instance.
type instance struct {
	Addr    mysql.Addr
	Current aoscdb.CurrentAlter
	Tier    *aoscdb.Tier
	Run     *aoscdb.RunningAlter // nil: nothing was handed out there
	Stand   Stand                // with Run
	Asked   bool                 // Stand is what the instance said, else what the scheduler saw last
	Target  bool                 // a row of alter_targets
	// What the two daemons found, nil = nothing.
	ByCollector, ByScheduler *aoscdb.Obstacle

	Scheduler, Worker, Checksum Liveness // the latter two: those that serve the instance
}

// reason is the answer for the instance; false: there is nothing to do on it.
func (i instance) reason() (Reason, bool) {
	switch {
	case i.Run == nil && i.ByCollector == nil && !i.Target:
		return Reason{}, false
	case i.Run == nil:
		return i.notHandedOut(), true
	case i.Run.OSCStatus == aoscdb.RunReady:
		return i.handedOut(), true
	}
	return i.begun(), true
}

// notHandedOut is of an instance without a row in running_alters.
func (i instance) notHandedOut() Reason {
	if i.Current.Status == aoscdb.AlterHold {
		return because(Hold, "the alter is on HOLD")
	}
	if o := i.ByCollector; o != nil {
		if r, bad := i.Checksum.trouble(); bad && o.Code != string(Unreachable) {
			return because(r.Code, "it has not been checked, and %s", r.Text)
		}
		return Reason{Code(o.Code), o.Reason}
	}
	if i.Tier != nil && !i.Tier.Enabled {
		return tierDisabled(i.Tier.Group)
	}
	if r, bad := i.Scheduler.trouble(); bad {
		if o := i.ByScheduler; o != nil && o.Code == string(Backoff) {
			return because(r.Code, "%s; nobody begins it: %s", o.Reason, r.Text)
		}
		return r
	}
	if o := i.ByScheduler; o != nil {
		return Reason{Code(o.Code), o.Reason}
	}
	return because(Turn, "the scheduler hands it out with its next pass")
}

// handedOut is of an instance whose alter no worker has begun.
func (i instance) handedOut() Reason {
	if i.Stand.Code == Unreachable || i.Stand.Code == OSCPriv {
		return Reason{i.Stand.Code, i.Stand.Why}
	}
	if r, bad := i.Worker.trouble(); bad {
		return r
	}
	if i.Stand.Code == Order {
		return Reason{i.Stand.Code, i.Stand.Why}
	}
	if r, bad := i.Scheduler.trouble(); bad {
		return r
	}
	if o := i.ByScheduler; o != nil {
		return Reason{Code(o.Code), o.Reason}
	}
	return because(Queued, "a worker takes it within seconds; it is queued since %s", stamp(i.Run.QueuedAt))
}

// begun is of an alter at work.
func (i instance) begun() Reason {
	s := i.Stand
	if r, bad := i.Scheduler.trouble(); bad && !i.Asked && s.Code == WorkerLost {
		return because(r.Code, "whether its worker is at work is not known: %s", r.Text)
	}
	if o := i.ByScheduler; o != nil && !i.Asked {
		s.Code, s.Why = Code(o.Code), o.Reason
	}
	switch s.Code {
	case Going:
		return because(Going, "%s", s.State)
	case Backoff:
		if r, bad := i.Scheduler.trouble(); bad {
			return because(r.Code, "%s; nobody decides about the next try, %s", s.Why, r.Text)
		}
		if o := i.ByScheduler; o != nil && o.Code == string(Backoff) {
			return Reason{Backoff, o.Reason}
		}
	case WorkerLost:
		if r, bad := i.Worker.trouble(); bad {
			return because(WorkerLost, "%s; %s", s.Why, r.Text)
		}
	}
	return Reason{s.Code, s.Why}
}

// Entry is the answer for one alter on one instance.
type Entry struct {
	Addr mysql.Addr
	Reason
	Stand Stand // where something has been handed out
}

// Answer is everything there is to say of one alter.
type Answer struct {
	Group, Table string
	Reason
	Instances []Entry // those with something to do, or that could not be judged; in the order of their names
}

// AlterKey names an alter.
type AlterKey struct{ Group, Table string }

// RunKey names an alter on an instance.
type RunKey struct {
	AlterKey
	Addr mysql.Addr
}

// KeyOf names an alter on an instance by the columns that its rows have.
func KeyOf(group, table, host string, port int) RunKey {
	return RunKey{AlterKey{group, table}, mysql.Addr{Host: host, Port: port}}
}

// Look is what an instance said when it was asked for its row of aosc_osc_ww. Without one, the scheduler's last look counts.
type Look struct {
	Row *aoscdb.OSCRow // nil: it has none
	Err error          // it did not answer
}

// Answers answers for every alter that is allowed or current, by tier and table. looks may be nil.
func Answers(t aoscdb.WhyTables, looks map[RunKey]Look) []Answer {
	f := indexed(t)
	keys := make([]AlterKey, 0, len(f.keys))
	for k := range f.keys {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b AlterKey) int { return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Table, b.Table)) })
	out := make([]Answer, len(keys))
	for n, k := range keys {
		out[n] = f.answer(k, looks)
	}
	return out
}

// Rows are the answers as the view why has them, from the tables alone.
func Rows(t aoscdb.WhyTables) []aoscdb.WhyRow {
	var rows []aoscdb.WhyRow
	for _, a := range Answers(t, nil) {
		rows = append(rows, aoscdb.WhyRow{Group: a.Group, Table: a.Table, Code: string(a.Code), Why: a.Text})
		for _, e := range a.Instances {
			rows = append(rows, aoscdb.WhyRow{Group: a.Group, Table: a.Table, Host: e.Addr.Host, Port: e.Addr.Port,
				Code: string(e.Code), Why: e.Text})
		}
	}
	return rows
}

// facts are the tables, indexed.
type facts struct {
	aoscdb.WhyTables
	keys      map[AlterKey]bool
	allowed   map[AlterKey]*aoscdb.AllowedAlter
	current   map[AlterKey]*aoscdb.CurrentAlter
	tiers     map[string]*aoscdb.Tier
	places    map[AlterKey]map[mysql.Addr]*found
	anywhere  map[AlterKey]*aoscdb.Obstacle
	daemonsOf map[string][]process
}

// process is a row of daemons, with what it is restricted to.
type process struct {
	aoscdb.DaemonRow
	serves Serves
}

// found is what the tables have of one alter on one instance.
type found struct {
	target                   bool
	run                      *aoscdb.RunningAlter
	byCollector, byScheduler *aoscdb.Obstacle
}

func indexed(t aoscdb.WhyTables) *facts {
	f := &facts{WhyTables: t, keys: map[AlterKey]bool{},
		allowed: map[AlterKey]*aoscdb.AllowedAlter{}, current: map[AlterKey]*aoscdb.CurrentAlter{},
		tiers: map[string]*aoscdb.Tier{}, places: map[AlterKey]map[mysql.Addr]*found{}, anywhere: map[AlterKey]*aoscdb.Obstacle{},
		daemonsOf: map[string][]process{}}
	for _, d := range t.Daemons {
		f.daemonsOf[d.Name] = append(f.daemonsOf[d.Name], process{d, ParseServes(d.Serves)})
	}
	for i := range t.Tiers {
		f.tiers[t.Tiers[i].Group] = &t.Tiers[i]
	}
	for i, a := range t.Allowed {
		k := AlterKey{a.Group, a.Table}
		f.keys[k], f.allowed[k] = true, &t.Allowed[i]
	}
	for i, c := range t.Current {
		k := AlterKey{c.Group, c.Table}
		f.keys[k], f.current[k] = true, &t.Current[i]
	}
	for _, r := range t.Targets {
		f.place(r.Group, r.Table, r.Host, r.Port).target = true
	}
	for i, r := range t.Running {
		f.place(r.Group, r.Table, r.Host, r.Port).run = &t.Running[i]
	}
	for i, o := range t.Obstacles {
		p := &found{}
		if o.Host != "" {
			p = f.place(o.Group, o.Table, o.Host, o.Port)
		} else if o.FoundBy == aoscdb.DaemonCollector {
			f.anywhere[AlterKey{o.Group, o.Table}] = &t.Obstacles[i]
		}
		if o.FoundBy == aoscdb.DaemonCollector {
			p.byCollector = &t.Obstacles[i]
		} else {
			p.byScheduler = &t.Obstacles[i]
		}
	}
	return f
}

func (f *facts) place(group, table, host string, port int) *found {
	k := KeyOf(group, table, host, port)
	if f.places[k.AlterKey] == nil {
		f.places[k.AlterKey] = map[mysql.Addr]*found{}
	}
	p := f.places[k.AlterKey][k.Addr]
	if p == nil {
		p = &found{}
		f.places[k.AlterKey][k.Addr] = p
	}
	return p
}

func (f *facts) answer(k AlterKey, looks map[RunKey]Look) Answer {
	current, tier := f.current[k], f.tiers[k.Group]
	a := alter{Now: f.Now, Allowed: f.allowed[k], Current: current, Tier: tier, Anywhere: f.anywhere[k],
		Brain: f.live(aoscdb.DaemonBrain, ""), Collector: f.live(aoscdb.DaemonCollector, ""), Checksum: f.live(aoscdb.DaemonChecksum, k.Group)}
	if current != nil {
		scheduler := f.live(aoscdb.DaemonScheduler, "")
		for addr, p := range f.places[k] {
			i := instance{Addr: addr, Current: *current, Tier: tier, Run: p.run, Target: p.target,
				ByCollector: p.byCollector, ByScheduler: p.byScheduler,
				Scheduler: scheduler, Worker: f.serving(aoscdb.DaemonOSCWorker, k.Group, addr),
				Checksum: f.serving(aoscdb.DaemonChecksum, k.Group, addr)}
			if p.run != nil {
				look, asked := looks[RunKey{k, addr}]
				i.Stand, i.Asked = StandOf(f.Now, *p.run, look, asked), asked
			}
			if r, ok := i.reason(); ok {
				a.Instances = append(a.Instances, Entry{addr, r, i.Stand})
			}
		}
		slices.SortFunc(a.Instances, func(x, y Entry) int {
			return cmp.Or(cmp.Compare(x.Addr.Host, y.Addr.Host), cmp.Compare(x.Addr.Port, y.Addr.Port))
		})
	}
	return Answer{Group: k.Group, Table: k.Table, Reason: a.reason(), Instances: a.Instances}
}

// stamp is a time for people, by aoscdb's clock.
func stamp(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }
