package cotton

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// freeze stops the receivers of the old primary's replicas: with enough of them stopped it cannot commit any more, and
// what they have received is all that was ever acknowledged. Until then the change can still be taken back.
func (d *deciding) freeze() {
	from := d.seen[d.Change.From]
	d.shut(d.Change.From, from)
	var frozen []int
	var waiting []string
	for _, id := range d.Ackers() {
		s := d.seen[id]
		switch {
		case !s.now():
			waiting = append(waiting, fmt.Sprintf("%s does not answer", d.MemberName(id)))
		case s.Busy != "":
			waiting = append(waiting, fmt.Sprintf("%s: %s is under way", d.MemberName(id), s.Busy))
		case !d.witness(id) && !d.Change.Forced:
			waiting = append(waiting, d.MemberName(id)+" may have lost what it acknowledged: its machine was down, and it has not caught up since")
		case s.Replica != nil && s.Replica.IORunning != "No": // also one that tries to connect (M4)
			d.act(ActFreeze, id)
			waiting = append(waiting, d.MemberName(id)+" is being stopped")
		default:
			frozen = append(frozen, id)
		}
	}
	need := d.Need()
	if need == 0 {
		need = len(frozen) + d.freezing() // nothing rests on them, but whoever answers may have more than others
	}
	if d.Change.Forced {
		need = 1 + d.freezing() // all who answer are asked, to find who has most
		frozen = append(frozen, d.bystanders()...)
	}
	if len(frozen) < need {
		why := fmt.Sprintf("%d of the %d replicas needed are stopped: %s", len(frozen), need, strings.Join(waiting, "; "))
		d.problem("failover from %s: %s", d.MemberName(d.Change.From), why)
		if len(frozen)+d.freezing() < need {
			d.takeBack(from, why)
		}
		return
	}
	if why := d.notFenced(from, frozen); why != "" {
		d.problem("failover from %s: %s", d.MemberName(d.Change.From), why)
		return
	}
	e, why := d.elect(frozen)
	if why != "" {
		d.problem("failover from %s: %s", d.MemberName(d.Change.From), why)
		d.takeBack(from, why)
		return
	}
	d.out.Transition = &Transition{Kind: Elect, To: e.to, Target: e.target.String(), Frozen: e.frozen, Note: e.note}
}

// freezing is how many receivers are being stopped.
func (d *deciding) freezing() int {
	n := 0
	for _, a := range d.out.Actions {
		if a.Kind == ActFreeze {
			n++
		}
	}
	return n
}

// takeBackAfter is how long a failover that cannot go on waits although its old primary is back.
const takeBackAfter = 2 * time.Second

// takeBack ends a failover that cannot go on, for the stated reason, once its old primary is back.
func (d *deciding) takeBack(from Seen, why string) {
	if d.sound(from) && d.lim.Now.Sub(d.Change.Began) > takeBackAfter {
		d.out.Transition = &Transition{Kind: TakeBack, Note: "the old primary is back, and " + why}
	}
}

// shut closes the old primary: by SQL if it answers, else by its executor, which may reach what we do not.
func (d *deciding) shut(id int, s Seen) {
	switch {
	case s.now() && s.Writable():
		d.act(ActFence, id)
	case !s.now() && s.TaskLives && s.FencedEpoch < d.Epoch:
		d.act(ActOrder, id)
	}
}

// sound tells whether the old primary could go on as if nothing had been: it answers and has its data. One that had not been opened yet
// is a replica still, and has all that it was to have.
func (d *deciding) sound(s Seen) bool {
	if !s.now() || d.Founded && s.Server.GTIDExecuted == "" {
		return false
	}
	if s.Replica == nil {
		return true
	}
	has, err1 := received(s)
	base, err2 := d.Acknowledged()
	return err1 == nil && err2 == nil && has.Contains(base)
}

// notFenced says why the old primary may still commit, empty when it cannot. Where every commit waits for ever, the
// replicas that were stopped are the fence; where it falls back, nothing but its being down or closed is. The end of its lease
// closes it only once no replica acknowledges.
func (d *deciding) notFenced(from Seen, frozen []int) string {
	want := d.SemiSync()
	lossless := d.Spec.Policy == PolicyLossless && !d.Loose && !d.Change.Forced && (!from.Answered ||
		from.SourceSemiSync.Enabled && from.SourceSemiSync.Timeout == want.Timeout && from.SourceSemiSync.Acks >= d.acks()+from.Foreign)
	switch {
	case lossless,
		!from.TaskLives,
		from.now() && !from.Writable(),
		from.FencedEpoch >= d.Epoch,
		!from.Leased.IsZero() && d.lim.Now.After(from.Leased) &&
			!slices.ContainsFunc(frozen, func(id int) bool { return d.seen[id].Stopped < d.lim.Quiet }):
		return ""
	}
	return "the old primary may still commit: it is neither known to be down nor closed, and its lease has not run out"
}

// drain has the elected one apply what it has received, and makes it the primary then.
func (d *deciding) drain() {
	c := d.Change
	d.shut(c.From, d.seen[c.From])
	name := d.MemberName(c.To)
	to, ok := d.seen[c.To]
	again := func(why string, failed int) {
		d.out.Transition = &Transition{Kind: Reelect, To: failed, Note: why}
	}
	for _, id := range c.Frozen {
		if s := d.seen[id]; s.now() && s.Replica != nil && s.Replica.IORunning != "No" {
			again(d.MemberName(id)+" receives again, nobody knows why", 0)
			return
		}
	}
	switch {
	case !ok || !to.TaskLives:
		again(name+" is down", 0)
		return
	case !to.now():
		d.problem("failover: %s, which was elected, does not answer: %v", name, to.Err)
		if to.Silent > d.lim.Silence {
			again(name+" does not answer", 0)
		}
		return
	case to.Replica != nil && to.Replica.SQLError != "" && to.Replica.SQLRunning == "No" && to.Broken > brokenFor:
		again(name+" cannot apply what it received: "+to.Replica.SQLError, c.To)
		return
	}
	missing, err := d.missing(to)
	switch {
	case err != nil:
		d.problem("failover: %v", err)
	case !d.hasReceived(to, missing):
		again(name+" has lost a part of what it was elected for: its machine, or its volume, has failed meanwhile", 0)
	case missing.Empty():
		d.out.Transition = &Transition{Kind: Promote, To: c.To, UUID: to.Server.UUID, Note: name + " has applied all that it received"}
	default:
		d.problem("failover: %s applies what it received before it is opened; still missing: %s", name, missing)
		d.act(ActDrain, c.To)
	}
}

// hasReceived tells whether a member has a set, applied or not.
func (d *deciding) hasReceived(s Seen, set mysql.GTIDSet) bool {
	has, err := received(s)
	return err == nil && has.Contains(set)
}

// missing is what the elected one has not applied yet.
func (d *deciding) missing(to Seen) (mysql.GTIDSet, error) {
	target, err := d.ChangeTarget()
	if err != nil {
		return target, fmt.Errorf("the stored target of the failover cannot be read: %w", err)
	}
	executed, err := mysql.ParseGTIDSet(to.Server.GTIDExecuted)
	if err != nil {
		return executed, fmt.Errorf("gtid_executed of %s cannot be read: %w", d.MemberName(d.Change.To), err)
	}
	return target.Subtract(executed), nil
}

// demote is a switchover: close the primary, wait until the target has executed all of it, promote the target. Past the
// deadline all is taken back, and the primary is opened again.
func (d *deciding) demote() {
	c := d.Change
	from, to := d.seen[c.From], d.seen[c.To]
	if text, dead := d.lost(from); dead && d.noFailover() == "" {
		d.out.Transition = &Transition{Kind: BeginFailover, Note: text, Waited: d.waiting(from)}
		return
	}
	if !d.lim.Now.Before(c.Deadline) {
		d.out.Transition = &Transition{Kind: TakeBack, Note: "not done in time: " + d.whySlow(from, to)}
		return
	}
	switch {
	case !from.now() || !to.now():
		d.problem("switchover: %s", d.whySlow(from, to))
	case from.Writable(), from.SessionsEnded < d.Epoch:
		d.act(ActDemote, c.From)
	default:
		theirs, err1 := mysql.ParseGTIDSet(from.Server.GTIDExecuted)
		mine, err2 := mysql.ParseGTIDSet(to.Server.GTIDExecuted)
		if err1 != nil || err2 != nil {
			d.problem("switchover: GTIDs cannot be read: %v %v", err1, err2)
			return
		}
		if mine.Contains(theirs) {
			d.out.Transition = &Transition{Kind: Promote, To: c.To, UUID: to.Server.UUID, Target: theirs.String(),
				Note: fmt.Sprintf("%s is closed, %s has executed all of it", d.MemberName(c.From), d.MemberName(c.To))}
			return
		}
		d.act(ActCatchUp, c.To)
	}
}

// lost tells whether the primary is dead, by the same signs as at any other time.
func (d *deciding) lost(p Seen) (string, bool) {
	for _, row := range diagnoses {
		if row.code == PrimaryDead || row.code == PrimarySilent {
			if text, is := row.match(d, p); is {
				return text, true
			}
		}
	}
	return "", false
}

func (d *deciding) whySlow(from, to Seen) string {
	switch {
	case !from.now():
		return fmt.Sprintf("%s does not answer: %v", d.MemberName(d.Change.From), from.Err)
	case !to.now():
		return fmt.Sprintf("%s does not answer: %v", d.MemberName(d.Change.To), to.Err)
	case from.Writable():
		return d.MemberName(d.Change.From) + " could not be closed: a transaction or lock is held on it"
	case from.SessionsEnded < d.Epoch:
		return fmt.Sprintf("sessions of clients of %s, which is closed, did not end", d.MemberName(d.Change.From))
	}
	return d.MemberName(d.Change.To) + " has not executed all of the primary"
}

// PlanFailover checks whether an operator's failover may begin: one that goes on with whoever answers, and may lose writes
// that were acknowledged. It is for a primary, and replicas, that are gone for good; where nothing would be lost a failover
// begins by itself. Its error is a *RefusedError; nothing has been changed then. The text says what is risked.
func PlanFailover(r Record, seen []Seen, why string) (Transition, string, error) {
	d := decidingOn(r, seen, Limits{})
	refuse := func(format string, args ...any) (Transition, string, error) {
		return Transition{}, "", &RefusedError{"failover", r.Spec.Name, fmt.Sprintf(format, args...)}
	}
	p, name := d.seen[r.Primary], r.MemberName(r.Primary)
	var there, away []string
	for _, id := range slices.Concat(d.Ackers(), d.bystanders()) {
		if s := d.seen[id]; s.now() && s.Busy == "" {
			there = append(there, r.MemberName(id))
		} else {
			away = append(away, r.MemberName(id))
		}
	}
	switch {
	case r.State != StateRunning || r.Primary == 0:
		return refuse("the cluster is %s", r.State)
	case r.Change != nil && (r.Change.Kind != Failover || r.Change.Step != StepFreeze):
		return refuse("a %s is under way", r.Change.Kind)
	case p.now() && p.Writable():
		return refuse("the primary %s answers: hand it over with `cotton switchover %s`", name, r.Spec.Name)
	case p.now() && d.unsafe(p) == "" && r.Change == nil:
		return refuse("the primary %s answers, and is about to be opened", name)
	case p.TaskLives && p.FencedEpoch < r.Epoch && p.Leased.IsZero():
		return refuse("the primary %s does not answer, and may be taking writes: stop its machine, then tell Mesos that it is gone", name)
	case len(there) == 0:
		return refuse("no replica answers: there is nobody to fail over to")
	}
	risk := fmt.Sprintf("writes that only %s has are lost", strings.Join(append([]string{name}, away...), " or "))
	return Transition{Kind: BeginFailover, Note: strings.TrimSpace("an operator accepts the loss of writes: " + why), Forced: true}, risk, nil
}

// SwitchoverLimits bound a switchover.
type SwitchoverLimits struct {
	MaxLag time.Duration // of the target, at its beginning
	Within time.Duration // the whole of it, or it is taken back
	Avoid  map[int]bool  // members that are chosen only if there is no other
}

// PlanSwitchover checks whether the primary may be handed over to a member (0 = the one that is best placed to be it), and
// returns what is to be stored. Its error is a *RefusedError with the reason; nothing has been changed then.
func PlanSwitchover(r Record, seen []Seen, to int, why string, lim SwitchoverLimits) (Transition, error) {
	d := decidingOn(r, seen, Limits{})
	return d.planSwitchover(to, why, lim)
}

func (d *deciding) planSwitchover(to int, why string, lim SwitchoverLimits) (Transition, error) {
	r := d.Record
	refuse := func(format string, args ...any) (Transition, error) {
		return Transition{}, &RefusedError{"switchover", r.Spec.Name, fmt.Sprintf(format, args...)}
	}
	p := d.seen[r.Primary]
	switch {
	case r.State != StateRunning:
		return refuse("the cluster is %s", r.State)
	case r.Change != nil:
		return refuse("a %s is under way", r.Change.Kind)
	case !p.now() || !p.Writable():
		return refuse("the primary %s does not answer, or takes no writes", r.MemberName(r.Primary))
	case to == r.Primary:
		return refuse("%s is the primary already", r.MemberName(to))
	}
	if to != 0 {
		if _, ok := r.Member(to); !ok {
			return refuse("it has no member %d", to)
		}
		if problem := d.notATarget(to, lim); problem != "" {
			return refuse("%s", problem)
		}
		return Transition{Kind: BeginSwitchover, To: to, Note: why, Within: lim.Within}, nil
	}
	var fit []int
	var problems []string
	for _, m := range r.Members {
		if m.ID == r.Primary {
			continue
		}
		if problem := d.notATarget(m.ID, lim); problem != "" {
			problems = append(problems, problem)
			continue
		}
		fit = append(fit, m.ID)
	}
	if len(fit) == 0 {
		return refuse("no member can take over: %s", strings.Join(problems, "; "))
	}
	best := slices.MinFunc(fit, func(a, b int) int {
		return cmp.Or(compareBool(lim.Avoid[a], lim.Avoid[b]), cmp.Compare(lag(d.seen[a]), lag(d.seen[b])))
	})
	return Transition{Kind: BeginSwitchover, To: best, Note: why, Within: lim.Within}, nil
}

// notATarget says why a member cannot take over, empty when it can.
func (d *deciding) notATarget(id int, lim SwitchoverLimits) string {
	m, _ := d.Member(id)
	s, p, name := d.seen[id], d.seen[d.Primary], d.MemberName(id)
	switch {
	case m.Phase != PhaseRunning:
		return fmt.Sprintf("%s is %s", name, m.Phase)
	case m.Leaving:
		return fmt.Sprintf("%s is leaving the cluster", name)
	case d.beingEnded(m):
		return fmt.Sprintf("%s is being ended by Mesos", name)
	case !s.now():
		return fmt.Sprintf("%s does not answer: %v", name, s.Err)
	case s.Busy != "":
		return fmt.Sprintf("%s: %s is under way", name, s.Busy)
	case !d.hears(s) || s.Replica.SQLRunning != "Yes":
		return fmt.Sprintf("%s does not replicate from the primary", name)
	case s.Replica.SecondsBehind == nil:
		return fmt.Sprintf("how far %s is behind is not known", name)
	case time.Duration(*s.Replica.SecondsBehind)*time.Second > lim.MaxLag:
		return fmt.Sprintf("%s is %d s behind; at most %s is allowed: wait until it has caught up", name, *s.Replica.SecondsBehind, lim.MaxLag)
	case s.Server.Version.Compare(p.Server.Version) > 0 && d.older(s.Server.Version, id):
		return fmt.Sprintf("%s runs MySQL %s, and a replica an older one: it could not replicate from it", name, s.Server.Version)
	}
	if errant := d.out.Errant[id]; errant != "" {
		return fmt.Sprintf("%s has errant transactions %s", name, errant)
	}
	mine, err1 := mysql.ParseGTIDSet(s.Server.GTIDExecuted)
	theirs, err2 := mysql.ParseGTIDSet(p.Server.GTIDExecuted)
	if err1 != nil || err2 != nil {
		return fmt.Sprintf("the transactions of %s cannot be read", name)
	}
	if errant := mine.Subtract(theirs).Without(p.Server.UUID); !errant.Empty() {
		return fmt.Sprintf("%s has errant transactions %s", name, errant)
	}
	return ""
}

// older tells whether any replica but one runs less than a version. The primary itself may: it is what is upgraded last.
func (d *deciding) older(v mysql.Version, but int) bool {
	return slices.ContainsFunc(d.Members, func(m Member) bool {
		s := d.seen[m.ID]
		return m.ID != but && m.ID != d.Primary && s.Answered && s.Server.Version.Compare(v) < 0
	})
}

// RefusedError is an operation that was not begun, and why. Nothing was changed.
type RefusedError struct{ Operation, Cluster, Why string }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s of cluster %s is refused: %s", e.Operation, e.Cluster, e.Why)
}
