package cotton

import (
	"fmt"
	"slices"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Operation is work on a cluster that takes more than one step: an operator asked for it, or the cluster does it for
// itself. There is one at a time, and each of its steps is stored before it is taken, so that a scheduler that takes over goes
// on with it. A change of primary (Change) is a step of it.
type Operation struct {
	ID   int           `json:"id"` // 1, 2, ... in the cluster, never reused
	Kind OperationKind `json:"kind"`
	Why  string        `json:"why,omitempty"`
	// Auto: nobody asked for it; it is taken back if its reason is gone before it is done.
	Auto  bool      `json:"auto,omitempty"`
	Began time.Time `json:"began"`

	Member  int    `json:"member,omitempty"`  // of a replace: the one that goes; of a switchover: the next primary
	New     int    `json:"new,omitempty"`     // the member that is being added
	Target  string `json:"target,omitempty"`  // what it must have executed to be in step: all that the primary had when it followed
	Nodes   int    `json:"nodes,omitempty"`   // of a scale: how many there are to be
	Policy  Policy `json:"policy,omitempty"`  // of a scale: from its end on
	Members []int  `json:"members,omitempty"` // of a rolling restart
	InPlace bool   `json:"in_place,omitempty"`
	Discard bool   `json:"discard,omitempty"`
	NoNew   bool   `json:"no_new,omitempty"` // the one that takes its place is there already

	Canceled bool   `json:"canceled,omitempty"` // what can be taken back is being taken back
	Log      []Step `json:"log"`
	// Settling is since when all its steps are taken: it ends once the cluster is in step and what was removed is gone. Missing is what
	// was not so when it had waited long enough, or when nobody knows how long that would take.
	Settling time.Time       `json:"settling,omitzero"`
	Missing  string          `json:"missing,omitempty"`
	Ended    time.Time       `json:"ended,omitzero"`
	Result   OperationResult `json:"result,omitempty"`
}

// OperationKind is what is done.
type OperationKind string

const (
	OpReplace   OperationKind = "replace"   // another member takes a member's place
	OpScale     OperationKind = "scale"     // as many members as asked for
	OpRestart   OperationKind = "restart"   // launch tasks anew, one after the other
	OpUpgrade   OperationKind = "upgrade"   // restart with another package
	OpConfigure OperationKind = "configure" // restart with other settings
	// OpSwitchover is a switchover that an operator asked for, and what follows it. While another operation is under way it is a change of
	// primary alone.
	OpSwitchover OperationKind = "switchover"
)

// OperationResult is how an operation ended.
type OperationResult string

const (
	ResultDone     OperationResult = "done"
	ResultCanceled OperationResult = "canceled"
)

const (
	// operationsKept is how many operations that are over a record remembers, and stepsKept how many steps of one: the first,
	// and the last.
	operationsKept = 20
	stepsKept      = 60
)

// Transitions of operations.
const (
	OpBegin  TransitionKind = "begin operation"
	OpAdd    TransitionKind = "add member" // there is a new member, which wants an offer
	OpFollow TransitionKind = "follows"    // To replicates; it is to catch up with Target
	OpJoined TransitionKind = "joined"     // To is in step with the others
	OpLeave  TransitionKind = "leave"      // To is to go; it is not relieved yet
	// OpRemove: nothing rests on To: kill, destroy, unreserve; Target is what an election must find from then on
	OpRemove TransitionKind = "remove member"
	OpStop   TransitionKind = "stop task" // kill To's task
	OpSettle TransitionKind = "settle"    // all steps are taken; what is left takes its time
	OpCancel TransitionKind = "cancel"
	OpEnd    TransitionKind = "end operation"
)

// ownOperation makes the operation this record's own before it is changed.
func (r *Record) ownOperation() {
	if r.Operation != nil {
		op := new(*r.Operation)
		op.Log = slices.Clone(op.Log)
		r.Operation = op
	}
}

func (r *Record) applyOperation(t Transition, now time.Time) error {
	if t.Kind == OpBegin {
		return r.beginOperation(t, now)
	}
	op := r.Operation
	var m *Member
	if t.To != 0 {
		var ok bool
		if m, ok = r.Member(t.To); !ok {
			return ErrOvertaken
		}
	}
	switch t.Kind {
	case OpRemove: // also after the operation that began it
		if !m.Leaving || m.ID == r.Primary || !m.spare() && !m.Discard && r.SemiSync().Enabled {
			return ErrOvertaken
		}
		executed, err := mysql.ParseGTIDSet(t.Target)
		if err != nil {
			return fmt.Errorf("what the primary has executed cannot be read: %w", err)
		}
		if err := r.RaiseBase(executed); err != nil {
			return err
		}
		m.Phase = PhaseRemoving
	case OpStop:
		if m.Stopping || m.Phase != PhaseRunning || op == nil && !m.Leaving {
			return ErrOvertaken
		}
		m.Stopping = true
	default:
		if op == nil {
			return ErrOvertaken
		}
		if err := r.stepOperation(op, m, t, now); err != nil {
			return err
		}
	}
	if op != nil {
		op.log(now, string(t.Kind), t.Note)
	}
	if t.Kind == OpEnd {
		op.Missing = t.Missing
		r.endOperation(t.Result, now)
	}
	return nil
}

// stepOperation is what only an operation under way does.
func (r *Record) stepOperation(op *Operation, m *Member, t Transition, now time.Time) error {
	switch {
	case t.Kind == OpAdd && op.New == 0 && !op.Canceled:
		op.New, op.Target = r.NextID, ""
		r.NextID++
		r.Members = append(r.Members, Member{ID: op.New, Phase: PhasePending, Relieved: true, Joining: true})
	case t.Kind == OpFollow && m != nil && m.ID == op.New:
		op.Target = t.Target
	case t.Kind == OpJoined && m != nil && m.ID == op.New && !op.Canceled:
		m.Joining = false
		if op.Kind == OpScale {
			op.New = 0 // the next one
		}
	case t.Kind == OpLeave && m != nil && m.ID != r.Primary && (!op.Canceled || m.ID == op.New):
		m.Leaving, m.Discard = true, op.Discard
	case t.Kind == OpCancel && !op.Canceled:
		return r.cancelOperation(op)
	case t.Kind == OpSettle && op.Settling.IsZero():
		op.Settling = now
	case t.Kind == OpEnd:
	default:
		return ErrOvertaken
	}
	return nil
}

func (r *Record) beginOperation(t Transition, now time.Time) error {
	if r.Operation != nil || r.State != StateRunning || t.Op == nil {
		return ErrOvertaken
	}
	op := new(*t.Op)
	r.LastOp++
	op.ID, op.Began, op.Log = r.LastOp, now, nil
	op.log(now, "begin", t.Note)
	r.Operation = op
	switch op.Kind {
	case OpReplace:
		if m, ok := r.Member(op.Member); ok && m.Leaving {
			m.Discard = m.Discard || op.Discard
		}
	case OpScale:
		// Fewer members are less of a promise from here on; more of them only once they are there.
		if op.Nodes < r.Spec.Nodes {
			r.Spec.Nodes = op.Nodes
			r.setPolicy(op.Policy)
		}
	case OpRestart, OpUpgrade, OpConfigure:
		if t.Spec != nil {
			r.Spec.Config, r.Spec.Package = t.Spec.Config, t.Spec.Package
			for i := range r.Members {
				r.Members[i].Restart = true
			}
		}
		for _, id := range op.Members {
			if m, ok := r.Member(id); ok {
				m.Restart = true
			}
		}
	}
	return nil
}

// setPolicy: what was promised less before is not promised in arrears.
func (r *Record) setPolicy(p Policy) {
	if p == "" || p == r.Spec.Policy {
		return
	}
	r.Loose = p == PolicyLossless
	r.Spec.Policy = p
}

// cancelOperation takes back what can be: a member that is leaving stays, one that was added leaves again. Settings and
// package stay as they were asked for; members that were not restarted yet take them up with their next start.
func (r *Record) cancelOperation(op *Operation) error {
	if r.cannotCancel() != "" {
		return ErrOvertaken
	}
	op.Canceled = true
	for i := range r.Members {
		m := &r.Members[i]
		switch {
		case m.ID == op.New:
			m.Leaving = m.ID != r.Primary
		case m.Leaving && m.Phase != PhaseRemoving:
			m.Leaving, m.Discard = false, false
		case op.Kind == OpRestart && !m.Stopping:
			m.Restart = false
		}
	}
	return nil
}

// cannotCancel says why the operation under way goes on whatever an operator says, empty when it can be taken back.
func (r *Record) cannotCancel() string {
	op := r.Operation
	if op.Canceled {
		return "it is being taken back already"
	}
	if op.Kind == OpSwitchover {
		return "a switchover is taken back by itself if it is not done in time"
	}
	if added, ok := r.Member(op.New); op.Kind == OpReplace && r.going(op.Member) && ok && !added.Joining {
		return fmt.Sprintf("%s has taken the place of %s already", r.MemberName(op.New), r.MemberName(op.Member))
	}
	return ""
}

// going tells whether a member is not there any more, or not for long.
func (r *Record) going(id int) bool {
	m, ok := r.Member(id)
	return !ok || m.Phase == PhaseRemoving
}

// endOperation moves the operation to those that are over.
func (r *Record) endOperation(result OperationResult, now time.Time) {
	op := *r.Operation
	op.Ended, op.Result = now, result
	r.Operation = nil
	if op.Kind == OpScale {
		if result == ResultDone {
			r.Spec.Nodes = op.Nodes
			r.setPolicy(op.Policy)
		} else if n := r.present(); n > 0 {
			r.Spec.Nodes = n
		}
	}
	r.Operations = append(slices.Clone(r.Operations), op)
	if extra := len(r.Operations) - operationsKept; extra > 0 {
		r.Operations = r.Operations[extra:]
	}
}

// present is how many members there are that neither join nor leave.
func (r Record) present() int {
	n := 0
	for _, m := range r.Members {
		if m.Phase != PhaseRemoving && !m.Leaving && !m.Joining {
			n++
		}
	}
	return n
}

func (o *Operation) log(at time.Time, step, note string) {
	o.Log = append(o.Log, Step{At: at, Step: step, Note: shorten(note)})
	if len(o.Log) > stepsKept {
		o.Log = slices.Delete(o.Log, stepsKept/2, stepsKept/2+1)
	}
}

// Text is what an operation does, for people.
func (o Operation) Text(r Record) string {
	switch o.Kind {
	case OpReplace:
		return fmt.Sprintf("replace %s", r.MemberName(o.Member))
	case OpScale:
		return fmt.Sprintf("scale to %d nodes", o.Nodes)
	case OpSwitchover:
		return fmt.Sprintf("switchover to %s", r.MemberName(o.Member))
	}
	if len(o.Members) == 1 && len(r.Members) > 1 {
		return fmt.Sprintf("%s %s", o.Kind, r.MemberName(o.Members[0]))
	}
	return fmt.Sprintf("%s all members, one after the other", o.Kind)
}
