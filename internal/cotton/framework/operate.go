package framework

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/executor/mycnf"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
)

// Fault points of operations: each is passed right after its step is stored.
var (
	faultOpBegin  = fault.Register("cotton.operation.stored", "an operation is stored, nothing of it is done yet")
	faultOpAdd    = fault.Register("cotton.operation.added", "a new member is stored, it wants an offer")
	faultOpJoined = fault.Register("cotton.operation.joined", "the new member is in step, the old one has not begun to leave")
	faultOpLeave  = fault.Register("cotton.operation.leaving", "a member is to leave; it is not relieved yet")
	faultOpRemove = fault.Register("cotton.operation.removed", "a member is to be removed, its task still runs")
	faultOpStop   = fault.Register("cotton.operation.stopping", "a member's task is to be killed and launched anew, it still runs")
	faultOpCancel = fault.Register("cotton.operation.canceled", "an operation is canceled, nothing is taken back yet")
	faultOpEnd    = fault.Register("cotton.operation.ended", "an operation is over and stored")
	faultForced   = fault.Register("cotton.delete.forced", "what a forced deletion leaves behind is stored, its cluster is not forgotten yet")
)

var operationFaults = map[cotton.TransitionKind]func(){
	cotton.OpBegin:  func() { fault.Point(faultOpBegin) },
	cotton.OpAdd:    func() { fault.Point(faultOpAdd) },
	cotton.OpJoined: func() { fault.Point(faultOpJoined) },
	cotton.OpLeave:  func() { fault.Point(faultOpLeave) },
	cotton.OpRemove: func() { fault.Point(faultOpRemove) },
	cotton.OpStop:   func() { fault.Point(faultOpStop) },
	cotton.OpCancel: func() { fault.Point(faultOpCancel) },
	cotton.OpEnd:    func() { fault.Point(faultOpEnd) },
}

// operated is what follows once a step of an operation is stored; r is the record after it.
func (f *Framework) operated(kind cotton.TransitionKind, r cotton.Record) {
	point, ours := operationFaults[kind]
	if !ours {
		return
	}
	switch kind {
	case cotton.OpAdd, cotton.OpRemove:
		f.anew.Store(true) // offers are of interest again
	case cotton.OpEnd:
		last := r.Operations[len(r.Operations)-1]
		f.metrics.clusterOperations.WithLabelValues(string(last.Kind), string(last.Result)).Inc()
	}
	point()
}

// Planned is an operation that was begun, or that would be.
type Planned struct {
	Cluster string
	Text    string // what it is, for people
	cotton.Plan
	// Operation as it was stored; nil when it would be begun only (DryRun).
	Operation *cotton.Operation
}

// Operate begins an operation and returns once it is stored; the cluster's loop does it, and a scheduler that takes over
// goes on with it. Errors: a *cotton.RefusedError, a *cotton.InvalidError, ErrUnknown, ErrNotReady. With dryRun only the check
// is made.
func (f *Framework) Operate(ctx context.Context, name string, req cotton.Request, dryRun bool) (Planned, error) {
	c, err := f.known(name)
	if err != nil {
		return Planned{}, err
	}
	if req.Kind == cotton.OpConfigure {
		config := cotton.Configured(c.snapshot().Spec.Config, req.Set, req.Unset)
		if err := mycnf.Check(config); err != nil {
			return Planned{}, &cotton.InvalidError{Field: "set", Problem: err.Error()}
		}
	}
	var room cotton.Room
	if more := roomFor(c.snapshot(), req); more > 0 {
		if room, err = f.room(ctx, c.snapshot(), more); err != nil {
			return Planned{}, err
		}
	}
	return f.begin(ctx, c, dryRun, func(r cotton.Record) (cotton.Plan, cotton.Transition, error) {
		return cotton.PlanOperation(r, c.seenNow(), room, req, f.clock.now())
	})
}

// Cancel takes the operation under way back as far as that is possible. Errors as of Operate.
func (f *Framework) Cancel(ctx context.Context, name string, dryRun bool) (Planned, error) {
	c, err := f.known(name)
	if err != nil {
		return Planned{}, err
	}
	return f.begin(ctx, c, dryRun, cotton.PlanCancel)
}

// begin stores what was planned on the record as it is at that moment.
func (f *Framework) begin(ctx context.Context, c *cluster, dryRun bool, plan func(cotton.Record) (cotton.Plan, cotton.Transition, error)) (Planned, error) {
	p := Planned{Cluster: c.name}
	var t cotton.Transition
	var after cotton.Record
	err := f.change(ctx, c, func(r *cotton.Record) error {
		var err error
		if p.Plan, t, err = plan(*r); err != nil {
			return err
		}
		if t.Op != nil {
			p.Text = t.Op.Text(*r)
		} else if r.Operation != nil {
			p.Text = "cancel: " + r.Operation.Text(*r)
		}
		if dryRun {
			return errUnchanged
		}
		if err := r.Apply(t, f.clock.now()); err != nil {
			return err
		}
		after = r.Clone()
		return nil
	})
	switch {
	case dryRun && errors.Is(err, errUnchanged):
		return p, nil
	case errors.Is(err, cotton.ErrOvertaken):
		return p, &cotton.RefusedError{Operation: string(t.Kind), Cluster: c.name, Why: err.Error() + ": look again, and try again"}
	case err != nil:
		return p, err
	}
	p.Operation = after.Operation
	f.cfg.Log.Info("operation", "cluster", c.name, "what", p.Text, "note", t.Note)
	f.operated(t.Kind, after)
	c.poke()
	return p, nil
}

// roomFor is how many more members a request may need places for.
func roomFor(r cotton.Record, req cotton.Request) int {
	switch req.Kind {
	case cotton.OpReplace:
		return 1
	case cotton.OpScale:
		return min(max(req.Nodes-len(r.Members)+1, 1), 16) // one may be leaving; more than a cluster can have is refused anyway
	}
	return 0
}

// room looks for how many more members of a cluster the agents have places, by what the master says of all agents: offers
// are not held, so nothing is known of them at this moment. What others take meanwhile is found out when an offer comes.
func (f *Framework) room(ctx context.Context, r cotton.Record, more int) (cotton.Room, error) {
	agents, err := f.operator.Agents(ctx)
	if err != nil {
		return cotton.Room{}, fmt.Errorf("%w: it cannot be seen what the agents have free: %w", ErrNotReady, err)
	}
	draining := f.drainingHosts()
	for _, m := range f.Maintenance() {
		draining[m.Hostname] = true
	}
	var offers []cotton.Offer
	for _, a := range agents.Agents {
		if !a.Active || a.Deactivated != nil && *a.Deactivated {
			continue
		}
		o := cotton.Offer{AgentID: a.AgentInfo.GetID().Value, Hostname: a.AgentInfo.Hostname, Attributes: map[string]string{}, Free: cotton.Amounts{}}
		for _, at := range a.AgentInfo.Attributes {
			o.Attributes[at.Name] = attribute(at)
		}
		f.maker.read(&o, a.TotalResources)
		used := cotton.Offer{Free: cotton.Amounts{}}
		f.maker.read(&used, a.AllocatedResources)
		o.Free, o.Held, o.Draining = o.Free.Minus(used.Free), nil, draining[o.Hostname]
		offers = append(offers, o)
	}
	var wants []cotton.Want
	for i := range more {
		wants = append(wants, want(r, cotton.Member{ID: r.NextID + i}, f.clock.now()))
	}
	placed := cotton.Place(offers, wants, f.clock.now())
	places := len(placed.Assignments)
	if places == more {
		return cotton.Room{Places: places}, nil
	}
	var why []string
	for _, refusal := range placed.Refusals {
		if refusal.Member != r.NextID+places {
			continue // the others of those without a place were refused for the same
		}
		why = append(why, refusal.Hostname+": "+refusal.Reason)
	}
	slices.Sort(why)
	if len(why) == 0 {
		why = []string{"there are no agents"}
	}
	return cotton.Room{Places: places, Why: strings.Join(why, "; ")}, nil
}

// quiesceLimit is for an applier to finish the transaction that it is at.
const quiesceLimit = 2 * time.Second

// quiesce stops the applier of a replica that is about to be restarted, while its receiver still gets the rest of the
// transaction that it is at: a server that is stopped in the middle of one waits for that rest, which no longer comes, for a
// minute. It is for speed only: what is received is kept, and whoever does not answer is stopped all the same.
func (d *driver) quiesce(ctx context.Context, r cotton.Record, member int) {
	m, ok := r.Member(member)
	if !ok || member == r.Primary {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, quiesceLimit)
	defer cancel()
	db, err := d.db(*m)
	if err == nil {
		err = mysql.StopApplier(ctx, db)
	}
	if err != nil {
		d.f.cfg.Log.Info("an applier is not stopped before its server", "cluster", r.Spec.Name, "member", member, "error", err)
	}
}
