package cotton

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Change is a change of primary under way. Each step is stored before it is taken, so that a scheduler that takes over
// finishes it or takes it back:
//
//	failover:   freeze -> drain -> promote
//	switchover: demote -----------> promote
//
// Up to promote the primary is From, and the change can be taken back. Promote is the moment from which it is To.
type Change struct {
	Kind ChangeKind `json:"kind"`
	Step ChangeStep `json:"step"`
	From int        `json:"from"`
	To   int        `json:"to,omitempty"` // 0 = not elected yet
	Why  string     `json:"why"`
	// Target is what To must have executed before it is promoted, beside Base: all that it, and every other one that was stopped, has
	// received. Of a forced one it is all: Record.ChangeTarget.
	Target string `json:"target,omitempty"`
	// Frozen are the replicas whose receivers were stopped and who were asked. Only this framework starts them again.
	Frozen []int `json:"frozen,omitempty"`
	// Failed were elected and could not be promoted.
	Failed []int `json:"failed,omitempty"`
	// Forced: an operator accepts that writes may be lost. It goes on with whoever answers.
	Forced bool `json:"forced,omitempty"`
	// Waited: when From was asked last, right before it died, its commits waited for a replica. What it has more than its
	// successor was then acknowledged to nobody.
	Waited bool      `json:"waited,omitempty"`
	Began  time.Time `json:"began"`
	// Deadline of a switchover: what is not done by then is taken back. None for a failover.
	Deadline time.Time `json:"deadline,omitzero"`
	Log      []Step    `json:"log"`
	// What follows is set once it is over.
	Ended time.Time `json:"ended,omitzero"`
	Taken bool      `json:"taken_back,omitempty"` // From is the primary still
}

// ChangeKind is why a primary changes.
type ChangeKind string

const (
	Failover   ChangeKind = "failover"   // the primary is dead, or as good as
	Switchover ChangeKind = "switchover" // somebody asked for it
)

// ChangeStep is how far a change has come.
type ChangeStep string

const (
	StepFreeze  ChangeStep = "freeze"  // stop the receivers of enough replicas: the old primary cannot commit any more
	StepDrain   ChangeStep = "drain"   // the elected one applies what it has received
	StepDemote  ChangeStep = "demote"  // close the primary, let the target catch up
	StepPromote ChangeStep = "promote" // To is the primary: open it, make it known, have the others follow
	StepDone    ChangeStep = "done"
)

// Step is a line of a change's log.
type Step struct {
	At   time.Time `json:"at"`
	Step string    `json:"step"`
	Note string    `json:"note,omitempty"`
}

// historyKept is how many changes a record remembers: the store's values are to stay small.
const historyKept = 20

// TransitionKind is what happens to a change.
type TransitionKind string

const (
	BeginFailover   TransitionKind = "begin failover"
	BeginSwitchover TransitionKind = "begin switchover"
	Elect           TransitionKind = "elect"
	Reelect         TransitionKind = "elect anew"
	Promote         TransitionKind = "promote"
	TakeBack        TransitionKind = "take back"
	Finish          TransitionKind = "finish"
)

// Transition is a step from one stored state of a cluster to the next. It is decided on a snapshot and applied to the
// record as it is by then: Apply refuses one that comes too late.
type Transition struct {
	Kind   TransitionKind
	To     int
	Target string
	Frozen []int
	UUID   string // of the server that becomes primary
	Note   string
	Within time.Duration // of a switchover
	Waited bool          // of a failover, see Change
	Forced bool          // of a failover, see Change
	// Of operations.
	Op     *Operation
	Spec   *Spec // of a configuration or upgrade: the new settings and package
	Result OperationResult
	// Missing is what was not as it should be when it ended.
	Missing string
}

// ErrOvertaken is returned by Apply for what was decided on a record that has changed meanwhile.
var ErrOvertaken = fmt.Errorf("the cluster has changed meanwhile")

// Apply changes the record. Every new change of primary has a new epoch from its first step on: nothing that was decided
// before lands after it (M7).
func (r *Record) Apply(t Transition, now time.Time) error {
	if c := r.Change; c != nil {
		c = new(*c)
		c.Log = slices.Clone(c.Log)
		c.Failed = slices.Clone(c.Failed)
		r.Change = c
	}
	r.ownOperation()
	switch t.Kind {
	case BeginFailover:
		return r.beginFailover(t, now)
	case BeginSwitchover:
		return r.beginSwitchover(t, now)
	case Elect:
		return r.elect(t, now)
	case Reelect:
		return r.reelect(t, now)
	case Promote:
		return r.promote(t, now)
	case TakeBack:
		return r.takeBack(t, now)
	case Finish:
		if r.Change == nil || r.Change.Step != StepPromote {
			return ErrOvertaken
		}
		r.Change.log(now, string(StepDone), t.Note)
		r.end(now, false)
		return nil
	}
	return r.applyOperation(t, now)
}

func (r *Record) beginFailover(t Transition, now time.Time) error {
	if c := r.Change; c != nil {
		if c.Step == StepPromote { // the new one died before it was opened
			c.log(now, "lost", t.Note)
			r.end(now, false)
		} else if c.Kind == Switchover {
			c.log(now, "lost", t.Note)
			r.end(now, true)
		} else if t.Forced && c.Step == StepFreeze {
			c.log(now, "forced", t.Note)
			r.end(now, true)
		} else {
			return ErrOvertaken
		}
	}
	r.Epoch++
	r.Change = &Change{Kind: Failover, Step: StepFreeze, From: r.Primary, Why: t.Note, Waited: t.Waited, Forced: t.Forced, Began: now}
	r.Change.log(now, string(StepFreeze), t.Note)
	return nil
}

func (r *Record) beginSwitchover(t Transition, now time.Time) error {
	if r.Change != nil || r.State != StateRunning {
		return ErrOvertaken
	}
	r.Epoch++
	r.Change = &Change{Kind: Switchover, Step: StepDemote, From: r.Primary, To: t.To, Why: t.Note, Began: now, Deadline: now.Add(t.Within)}
	r.Change.log(now, string(StepDemote), t.Note)
	if r.Operation != nil {
		r.Operation.log(now, "hand over", fmt.Sprintf("from %s to %s", r.MemberName(r.Primary), r.MemberName(t.To)))
	}
	return nil
}

func (r *Record) elect(t Transition, now time.Time) error {
	c := r.Change
	if c == nil || c.Step != StepFreeze {
		return ErrOvertaken
	}
	target := t.Target
	if !c.Forced { // a set of many ranges is stored once
		set, err := mysql.ParseGTIDSet(t.Target)
		base, err2 := r.Acknowledged()
		if err := cmp.Or(err, err2); err != nil {
			return fmt.Errorf("what %s must have cannot be read: %w", r.MemberName(t.To), err)
		}
		target = set.Subtract(base).String()
	}
	c.Step, c.To, c.Target, c.Frozen = StepDrain, t.To, target, t.Frozen
	c.log(now, string(StepDrain), t.Note)
	return nil
}

// ChangeTarget is what the one elected must have executed before it is promoted.
func (r Record) ChangeTarget() (mysql.GTIDSet, error) {
	target, err := mysql.ParseGTIDSet(r.Change.Target)
	if err != nil || r.Change.Forced {
		return target, err
	}
	base, err := r.Acknowledged()
	return target.Union(base), err
}

func (r *Record) reelect(t Transition, now time.Time) error {
	c := r.Change
	if c == nil || c.Step != StepDrain {
		return ErrOvertaken
	}
	if t.To != 0 {
		c.Failed = append(c.Failed, t.To)
	}
	c.Step, c.To, c.Target, c.Frozen = StepFreeze, 0, "", nil
	c.log(now, string(StepFreeze), t.Note)
	return nil
}

func (r *Record) promote(t Transition, now time.Time) error {
	c := r.Change
	if c == nil || c.To != t.To || c.Step != StepDrain && c.Step != StepDemote {
		return ErrOvertaken
	}
	to, ok := r.Member(c.To)
	if !ok {
		return ErrOvertaken
	}
	c.Step = StepPromote
	c.log(now, string(StepPromote), t.Note)
	to.CountAgain()
	if from, ok := r.Member(c.From); ok {
		from.Relieved, from.Unheld = true, true // it follows nobody: it acknowledges nothing
	}
	r.Primary = c.To
	r.AddLineage(t.UUID)
	acknowledged, err := mysql.ParseGTIDSet(cmp.Or(c.Target, t.Target))
	if err != nil {
		return fmt.Errorf("what %s must have cannot be read: %w", r.MemberName(c.To), err)
	}
	c.Target = "" // it is in Base now, and kept once
	if c.Forced {
		r.Base = "" // an operator gave up what nobody has who answers
	}
	if err := r.RaiseBase(acknowledged); err != nil {
		return err
	}
	return nil
}

func (r *Record) takeBack(t Transition, now time.Time) error {
	c := r.Change
	if c == nil || c.Step == StepPromote {
		return ErrOvertaken
	}
	c.log(now, "taken back", t.Note)
	r.end(now, true)
	r.Epoch++ // a fence of the change taken back no longer counts
	return nil
}

// end moves the change to the history.
func (r *Record) end(now time.Time, taken bool) {
	c := *r.Change
	c.Ended, c.Taken = now, taken
	c.Target, c.Frozen = "", nil // GTID sets can be large, and records must not be
	r.Change = nil
	r.History = append(slices.Clone(r.History), c)
	if extra := len(r.History) - historyKept; extra > 0 {
		r.History = r.History[extra:]
	}
}

// AddLineage notes that a server with this server_uuid may number transactions as the primary from now on.
func (r *Record) AddLineage(uuid string) {
	if uuid == "" {
		return
	}
	others := slices.DeleteFunc(slices.Clone(r.Lineage), func(u string) bool { return u == uuid })
	r.Lineage = append(others, uuid)
}

// log has a note for people only: it is kept short, since records are.
func (c *Change) log(at time.Time, step, note string) {
	c.Log = append(c.Log, Step{At: at, Step: step, Note: shorten(note)})
	if len(c.Log) > stepsKept { // one that elects again and again
		c.Log = slices.Delete(c.Log, stepsKept/2, stepsKept/2+1)
	}
}

// waited tells whether all that a member has more than its successor was acknowledged to nobody: see Change.Waited.
func (r Record) waited(member int) bool {
	for _, c := range slices.Backward(r.History) {
		if c.From == member && !c.Taken {
			return c.Waited || c.Kind == Switchover
		}
	}
	return false
}

// LastFailover is when the last failover that moved the primary was over; zero when there was none.
func (r Record) LastFailover() time.Time {
	for _, c := range slices.Backward(r.History) {
		if c.Kind == Failover && !c.Taken {
			return c.Ended
		}
	}
	return time.Time{}
}
