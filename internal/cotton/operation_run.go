package cotton

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

const (
	// inStep: a member counts as in step with the others when it is at most this far behind. The primary was asked at the same
	// moment as its replicas, so a busy one is always a little ahead.
	inStepLag          = 5 * time.Second
	inStepTransactions = 500
	// handOverPause is between two attempts of an operation to hand the primary over.
	handOverPause = 30 * time.Second
)

// operate takes the next step of the operation under way, or begins one that is needed.
func (d *deciding) operate() {
	if d.out.Transition != nil || d.State != StateRunning {
		return
	}
	p, _ := d.Member(d.Primary)
	switch op := d.Operation; {
	case d.Change != nil:
		if op != nil && op.Kind != OpSwitchover {
			d.waits("a %s is under way", d.Change.Kind)
		}
	case d.beingEnded(p):
		if why := d.handOver(d.MemberName(p.ID) + " is being ended by Mesos: " + cmp.Or(p.Reason, p.TaskState)); why != "" {
			d.problem("%s is being ended by Mesos, and is not handed over before: %s", d.MemberName(p.ID), why)
		}
	case op == nil:
		d.repair()
	case p.Leaving:
		if why := d.handOver(d.MemberName(p.ID) + " is to leave"); why != "" {
			d.waits("%s", why)
		}
	case op.Canceled:
		d.takeOperationBack()
	case op.Kind == OpReplace:
		d.replaceMember()
	case op.Kind == OpScale:
		d.scale()
	case op.Kind == OpSwitchover:
		d.switchedOver()
	default:
		d.restart()
	}
}

// beingEnded: Mesos ends a member's task, and cotton did not ask for that: its agent is drained. Its executor keeps a primary open
// for a moment, so that another can take over first.
func (d *deciding) beingEnded(m *Member) bool {
	return m != nil && m.TaskState == "TASK_KILLING" && m.Phase == PhaseRunning && !m.Stopping && !m.Leaving
}

// waits notes why the operation does not go on.
func (d *deciding) waits(format string, args ...any) {
	d.out.Waits = fmt.Sprintf(format, args...)
	d.problem("%s waits: %s", d.Operation.Text(d.Record), d.out.Waits)
}

func (d *deciding) transit(kind TransitionKind, member int, format string, args ...any) {
	if d.out.Transition == nil {
		d.out.Transition = &Transition{Kind: kind, To: member, Note: fmt.Sprintf(format, args...)}
	}
}

// How long an operation whose steps are all taken waits for the cluster to be in step, and for what was removed to be gone: as long as that
// takes where all goes well. A server that is restarted may have to recover first.
const (
	settleFor  = 2 * time.Minute
	recoverFor = 15 * time.Minute
)

// settle ends an operation whose steps are all taken, once the cluster is in step and what was removed is gone: the next one is accepted
// then. What takes longer, or nobody knows how long, such as the return of an agent, holds no operation: it ends, and says what is
// missing.
func (d *deciding) settle(result OperationResult, format string, args ...any) {
	op, note := d.Operation, fmt.Sprintf(format, args...)
	missing, waits := d.unsettled()
	limit := settleFor
	if len(op.Members) > 0 {
		limit = recoverFor
	}
	switch {
	case missing == "":
		d.out.Transition = &Transition{Kind: OpEnd, Result: result, Note: note}
	case !waits, !op.Settling.IsZero() && d.lim.Now.Sub(op.Settling) >= limit:
		d.out.Transition = &Transition{Kind: OpEnd, Result: result, Note: note + ", but " + missing, Missing: missing}
	case op.Settling.IsZero():
		d.waits("%s", missing)
		d.transit(OpSettle, 0, "%s", note)
	default:
		d.waits("%s", missing)
	}
}

// unsettled says what is not as it is to be once an operation is over, and whether it is worth to wait for some of that.
func (d *deciding) unsettled() (missing string, waits bool) {
	var texts []string
	for _, m := range d.Members {
		name, s := d.MemberName(m.ID), d.seen[m.ID]
		switch {
		case m.Phase == PhaseRemoving && !m.OutOfSight():
			waits = true
			text := fmt.Sprintf("volume and reservation of %s on the agent %s are being given back", name, m.Hostname)
			if s.TaskLives || !s.Over && m.TaskID != "" {
				text = fmt.Sprintf("the task of %s on the agent %s has not ended yet", name, m.Hostname)
			}
			texts = append(texts, text)
		case m.Phase == PhaseRemoving:
			texts = append(texts, fmt.Sprintf("%s waits for its agent %s, which Mesos does not reach: its task is ended and its volume destroyed "+
				"when it is back",
				name, m.Hostname))
		case m.Leaving && d.outOfReach(m):
			texts = append(texts, fmt.Sprintf("%s cannot be reached and stays until it is known that it is off", name))
		case m.Leaving && m.ID != d.Primary:
			waits = true
			texts = append(texts, name+" is leaving")
		case m.Joining:
		default:
			if why := d.unready(m.ID); why != "" {
				waits = waits || !m.OutOfSight()
				texts = append(texts, why)
			}
		}
	}
	return strings.Join(texts, "; "), waits
}

// OutOfSight tells whether its task may run on an agent that the master does not reach, or does not know any more.
func (m Member) OutOfSight() bool {
	return m.TaskState == "TASK_UNREACHABLE" || m.TaskState == "TASK_UNKNOWN"
}

// switchedOver ends the operation of a switchover that an operator asked for.
func (d *deciding) switchedOver() {
	for _, c := range slices.Backward(d.History) {
		if c.Began.Before(d.Operation.Began) {
			break
		}
		if c.Taken {
			d.settle(ResultCanceled, "it was taken back: %s", c.Log[len(c.Log)-1].Note)
			return
		}
		if c.To == d.Operation.Member {
			break
		}
	}
	d.settle(ResultDone, "%s is the primary", d.MemberName(d.Primary))
}

// takeOperationBack ends a canceled operation once what it had added is gone.
func (d *deciding) takeOperationBack() {
	m, ok := d.Member(d.Operation.New)
	if ok && m.Phase != PhaseRemoving && m.ID != d.Primary && !m.Leaving { // it was the primary when the operation was canceled
		d.transit(OpLeave, m.ID, "%s, which was added", d.MemberName(m.ID))
		return
	}
	if ok && m.Phase != PhaseRemoving && m.ID != d.Primary && !d.outOfReach(*m) {
		d.waits("%s, which was added, leaves again", d.MemberName(m.ID))
		return
	}
	d.settle(ResultCanceled, "what could be taken back is as it was")
}

// unready says why a member does not serve beside the others as it should, empty when it does.
func (d *deciding) unready(id int) string {
	m, ok := d.Member(id)
	s, p, name := d.seen[id], d.seen[d.Primary], d.MemberName(id)
	switch {
	case !ok:
		return name + " is not there"
	case m.Phase == PhasePending:
		return name + " waits for an offer: cotton why " + d.Spec.Name
	case m.Phase != PhaseRunning:
		return fmt.Sprintf("%s is %s %s", name, m.Phase, m.TaskState)
	case !s.TaskLives:
		return fmt.Sprintf("%s is down: %s", name, down(*m, s))
	case !s.now():
		return fmt.Sprintf("%s does not answer: %v", name, s.Err)
	case id == d.Primary:
		if !s.Writable() {
			return name + " is the primary and takes no writes"
		}
		return ""
	case s.Busy != "":
		return fmt.Sprintf("%s: %s is under way", name, s.Busy)
	case s.Writable():
		return name + " is open for writes and is not the primary"
	case d.out.Errant[id] != "":
		return fmt.Sprintf("%s has errant transactions %s", name, d.out.Errant[id])
	case !d.hears(s) || s.Replica.SQLRunning != "Yes":
		return name + " does not replicate from the primary"
	case d.SemiSync().Enabled && !s.Acknowledging:
		return name + " does not acknowledge"
	case !m.witness(s):
		return name + " is not known to have all of the primary yet: a failover would not count on it"
	case s.Replica.SecondsBehind == nil:
		return fmt.Sprintf("how far %s is behind is not known", name)
	case time.Duration(*s.Replica.SecondsBehind)*time.Second > inStepLag:
		return fmt.Sprintf("%s is %d s behind", name, *s.Replica.SecondsBehind)
	}
	g, ok := d.sets(*m, s, p)
	if !ok {
		return fmt.Sprintf("the transactions of %s cannot be read", name)
	}
	if n := g.theirs.Subtract(g.mine).Count(); n > inStepTransactions {
		return fmt.Sprintf("%s is %d transactions behind", name, n)
	}
	return ""
}

// unwell says why the cluster, but for some of its members, is not as it should be; empty when it is. Members that join or
// leave do not count.
func (d *deciding) unwell(but ...int) string {
	for _, m := range d.Members {
		if m.Phase == PhaseRemoving || m.Leaving || m.Joining || slices.Contains(but, m.ID) {
			continue
		}
		if why := d.unready(m.ID); why != "" {
			return why
		}
	}
	return ""
}

// join adds the operation's new member and waits for it; true once it is in step with the others.
func (d *deciding) join() bool {
	op := d.Operation
	m, ok := d.Member(op.New)
	switch {
	case op.New == 0:
		d.transit(OpAdd, 0, "%s", d.MemberName(d.NextID))
		return false
	case !ok || m.Phase == PhaseRemoving:
		d.waits("%s, which was added, is gone again: cotton cancel %s", d.MemberName(op.New), d.Spec.Name)
		return false
	}
	if why := d.unready(op.New); why != "" {
		d.waits("%s", why)
		return false
	}
	if !m.Joining {
		return true
	}
	g, ok := d.sets(*m, d.seen[m.ID], d.seen[d.Primary])
	target, err := mysql.ParseGTIDSet(op.Target)
	switch {
	case !ok || err != nil:
		d.waits("the transactions of %s cannot be read", d.MemberName(m.ID))
	case op.Target == "":
		// Of a replica that has received little yet, neither its lag nor their number says how much is on its way.
		d.out.Transition = &Transition{Kind: OpFollow, To: m.ID, Target: g.theirs.String(), Note: d.MemberName(m.ID) + " replicates"}
	case !g.mine.Contains(target):
		d.waits("%s catches up: %d transactions are missing", d.MemberName(m.ID), target.Subtract(g.mine).Count())
	default:
		d.transit(OpJoined, m.ID, "%s is in step", d.MemberName(m.ID))
	}
	return false
}

// handOver begins a switchover away from the primary; otherwise it says why there is none now.
func (d *deciding) handOver(why string) string {
	for _, c := range slices.Backward(d.History) {
		if d.Operation != nil && c.Began.Before(d.Operation.Began) {
			break
		}
		if wait := c.Ended.Add(handOverPause).Sub(d.lim.Now); c.Kind == Switchover && c.Taken && wait > 0 {
			return fmt.Sprintf("the switchover was taken back (%s); it is tried again in %s", c.Log[len(c.Log)-1].Note, wait.Round(time.Second))
		}
	}
	t, err := d.planSwitchover(0, why, SwitchoverLimits{MaxLag: inStepLag, Within: 10 * time.Second, Avoid: d.drained()})
	if err != nil {
		return err.Error()
	}
	d.out.Transition = &t
	return ""
}

// drained are the members on agents that are being drained.
func (d *deciding) drained() map[int]bool {
	on := map[int]bool{}
	for _, m := range d.Members {
		on[m.ID] = d.lim.Draining[m.Hostname]
	}
	return on
}

// replaceMember: add -> (hand over) -> leave, or leave first where that was asked for, or the machine is gone.
func (d *deciding) replaceMember() {
	op := d.Operation
	old, there := d.Member(op.Member)
	going := !there || old.Phase == PhaseRemoving
	if op.Auto && !going && !old.Leaving && d.reasonGone(*old) {
		d.transit(OpCancel, 0, "%s serves again", d.MemberName(old.ID))
		return
	}
	if !going && old.ID == d.Primary {
		if why := d.unready(old.ID); why != "" {
			d.waits("%s", why)
			return
		}
		why := d.handOver(op.Text(d.Record))
		if why == "" {
			return
		}
		// Nobody can take over, but perhaps the new one can.
		if op.InPlace || op.New != 0 && d.unready(op.New) == "" && !d.isJoining(op.New) {
			d.waits("%s", why)
			return
		}
		d.join()
		return
	}
	first := going || op.InPlace || op.NoNew || gone(*old) || d.givenUp(*old)
	if !first && !d.join() {
		return
	}
	if !going {
		d.dismiss(*old)
		return
	}
	if op.NoNew {
		d.settle(ResultDone, "%s is gone", d.MemberName(op.Member))
	} else if d.join() {
		d.settle(ResultDone, "%s has taken the place of %s", d.MemberName(op.New), d.MemberName(op.Member))
	}
}

func (d *deciding) isJoining(id int) bool {
	m, ok := d.Member(id)
	return ok && m.Joining
}

// givenUp: it does not answer, and an operator said that it need not.
func (d *deciding) givenUp(m Member) bool { return d.Operation.Discard && !d.seen[m.ID].now() }

// reasonGone tells whether what called for a replacement is over before it was done.
func (d *deciding) reasonGone(old Member) bool {
	return !d.lim.Draining[old.Hostname] && !gone(old) && d.isJoining(d.Operation.New) && old.DownSince.IsZero() && d.unready(old.ID) == ""
}

// dismiss has a member leave that is not the primary, and waits until nothing rests on it.
func (d *deciding) dismiss(m Member) {
	name := d.MemberName(m.ID)
	if m.Leaving {
		if d.outOfReach(m) && d.Operation.Kind == OpReplace && d.Operation.New != 0 {
			d.settle(ResultDone, "%s has been added", d.MemberName(d.Operation.New))
			return
		}
		d.waits("%s is leaving", name)
		return
	}
	if why := d.unwell(m.ID); why != "" && !d.givenUp(m) {
		d.waits("%s", why)
		return
	}
	if why := d.mayHoldWrites(m); why != "" && !d.Operation.Discard {
		d.waits("%s", why)
		return
	}
	d.transit(OpLeave, m.ID, "%s", name)
}

// mayHoldWrites says which writes of clients would be lost with a member, empty when none would.
func (d *deciding) mayHoldWrites(m Member) string {
	s, p, name := d.seen[m.ID], d.seen[d.Primary], d.MemberName(m.ID)
	advice := fmt.Sprintf("save them from it, then give it up: cotton replace %s --member %d --discard", d.Spec.Name, m.ID)
	if !s.now() {
		// An available cluster's primary that was replaced, and never seen since.
		if d.Spec.Policy != PolicyLossless && m.Relieved && m.HasData && !gone(m) && !m.Joining && !d.waited(m.ID) {
			return fmt.Sprintf("%s was the primary and has not been heard since: it may have writes that no other member has; %s", name, advice)
		}
		return ""
	}
	g, ok := d.sets(m, s, p)
	if !ok {
		return fmt.Sprintf("the transactions of %s cannot be read", name)
	}
	if told := d.told(m, errantOf(g, p)); !told.Empty() {
		return fmt.Sprintf("%s has writes that no other member has, and clients may have been told of them: %s; %s", name, told, advice)
	}
	return ""
}

// outOfReach: it does not answer, and that it is down is not known: it may acknowledge.
func (d *deciding) outOfReach(m Member) bool {
	s := d.seen[m.ID]
	return !s.now() && s.TaskLives && !s.Over && !m.Discard
}

// leave removes a member that is to go once nothing rests on its data.
func (d *deciding) leave(m Member, s, p Seen) {
	name := d.MemberName(m.ID)
	switch {
	case s.Busy != "":
		d.problem("%s is leaving: %s is under way", name, s.Busy)
	case m.Discard && p.now() && p.Busy == "" && !d.promoting(p):
		// It may have acknowledged commits that no other replica has. What an operator gives up is what it alone has: an election must
		// still find all of the primary.
		d.out.Transition = cmp.Or(d.out.Transition, &Transition{Kind: OpRemove, To: m.ID, Target: p.Server.GTIDExecuted, Note: name})
	case m.Discard && !m.spare():
		d.problem("%s is given up once the primary answers, since commits may have been acknowledged by %s alone; if the primary is gone for "+
			"good, too: "+
			"cotton failover %s --accept-loss", name, name, d.Spec.Name)
	case !p.now() || !p.Writable() || d.promoting(p):
		d.problem("%s is leaving: it stays until the primary is open", name)
	case s.now() && d.saves(m, s, p):
	case m.spare() && (m.Joining || d.SemiSync().Enabled):
		d.transit(OpRemove, m.ID, "%s", name)
	case d.outOfReach(m):
		d.problem("%s is leaving: it cannot be reached and may still acknowledge, so it stays. If its machine is off for good: "+
			"cotton replace %s --member %d --discard, or mark its agent as gone at Mesos", name, d.Spec.Name, m.ID)
	case !d.SemiSync().Enabled:
		if g, ok := d.sets(m, s, p); ok && (!s.now() || g.theirs.Contains(d.fromPrimaries(g.received))) {
			d.transit(OpRemove, m.ID, "%s", name)
		}
	case !s.now() && !s.Over:
		d.transit(OpStop, m.ID, "%s does not answer", name)
	default:
		d.act(ActRelieve, m.ID)
	}
}

// scale adds members one after the other, or has the least useful ones leave.
func (d *deciding) scale() {
	op := d.Operation
	for _, m := range d.Members {
		if m.Leaving && m.Phase != PhaseRemoving && !d.outOfReach(m) {
			d.dismiss(m)
			return
		}
	}
	n := d.present()
	switch {
	case n < op.Nodes:
		if op.New == 0 {
			if why := d.unwell(); why != "" {
				d.waits("%s", why)
				return
			}
		}
		d.join()
	case n > op.Nodes:
		id := d.leastUseful()
		m, _ := d.Member(id)
		d.dismiss(*m)
	default:
		if why := d.unwell(); why != "" && op.Policy == PolicyLossless && d.Spec.Policy != PolicyLossless {
			d.waits("%s", why) // what is promised must be true from its first moment on
			return
		}
		d.settle(ResultDone, "%d nodes", n)
	}
}

// leastUseful is whom a cluster misses least: never the primary; one that is down, then one that is not in step; one on an
// agent that is being drained; one whose host, zone or rack has others; the youngest.
func (d *deciding) leastUseful() int {
	shares := func(m Member) int {
		n := 0
		for _, o := range d.Members {
			if o.ID == m.ID || o.Phase == PhaseRemoving || o.Leaving {
				continue
			}
			switch {
			case o.Hostname == m.Hostname:
				n += 100
			case o.Zone == m.Zone && o.Rack == m.Rack:
				n += 11
			case o.Zone == m.Zone:
				n++
			}
		}
		return n
	}
	var all []Member
	for _, m := range d.Members {
		if m.ID != d.Primary && m.Phase != PhaseRemoving && !m.Leaving {
			all = append(all, m)
		}
	}
	return slices.MaxFunc(all, func(a, b Member) int {
		return cmp.Or(
			compareBool(d.seen[a.ID].Over, d.seen[b.ID].Over),
			compareBool(d.unready(a.ID) != "", d.unready(b.ID) != ""),
			compareBool(d.lim.Draining[a.Hostname], d.lim.Draining[b.Hostname]),
			cmp.Compare(shares(a), shares(b)),
			cmp.Compare(a.ID, b.ID),
		)
	}).ID
}

// restart launches tasks anew, one at a time and each only while all others are well: replicas first, so that a newer
// source never feeds an older replica; the primary last, once another has taken over.
func (d *deciding) restart() {
	op := d.Operation
	var left []int
	for _, id := range op.Members {
		m, ok := d.Member(id)
		switch {
		case !ok || m.Phase == PhaseRemoving || m.Leaving:
		case m.Stopping:
			d.waits("%s is being stopped", d.MemberName(id))
			return
		case m.Restart:
			left = append(left, id)
		}
	}
	if len(left) == 0 {
		d.settle(ResultDone, "all are back and in step")
		return
	}
	next := slices.MaxFunc(left, func(a, b int) int {
		return cmp.Or(compareBool(a != d.Primary, b != d.Primary), compareBool(d.unready(a) != "", d.unready(b) != ""), cmp.Compare(b, a))
	})
	m, _ := d.Member(next)
	switch why := d.unwell(next); {
	case why != "":
		d.waits("%s", why)
	case m.Phase != PhaseRunning:
		d.waits("%s", d.unready(next))
	case next == d.Primary && len(d.Members) > 1:
		if why := d.handOver(op.Text(d.Record)); why != "" {
			d.waits("%s", why)
		}
	default:
		d.transit(OpStop, next, "%s", d.MemberName(next))
	}
}

// gone: the machine is gone for good, an operator said so; the data with it.
func gone(m Member) bool { return m.TaskState == "TASK_GONE_BY_OPERATOR" }

// repair begins the replacement of a member whose machine is gone, that has been down for too long, or whose agent is being
// drained, and the hand-over of one that is to leave: one at a time, and only while the others are well.
func (d *deciding) repair() {
	if !d.Founded {
		return
	}
	for _, m := range d.Members {
		if m.Restart && m.Phase == PhaseRunning {
			d.problem("%s runs with older settings than are stored: cotton restart %s --member %d", d.MemberName(m.ID), d.Spec.Name, m.ID)
		}
		why := d.needsReplacing(m)
		elected := m.Leaving && m.ID == d.Primary
		if elected {
			why = "it was to leave, and alone had all when the primary before it died"
		}
		if why == "" || m.Phase == PhaseRemoving || m.Leaving && !elected || m.Joining {
			continue
		}
		if problem := d.notYet(m); problem != "" {
			d.problem("%s is to be replaced (%s), but not yet: %s", d.MemberName(m.ID), why, problem)
			continue
		}
		d.out.Transition = &Transition{Kind: OpBegin, Note: why, Op: &Operation{Kind: OpReplace, Auto: true, Member: m.ID, Why: why, NoNew: elected}}
		return
	}
}

func (d *deciding) needsReplacing(m Member) string {
	down := d.lim.Now.Sub(m.DownSince)
	switch {
	case gone(m):
		return fmt.Sprintf("the agent %s is gone for good", m.Hostname)
	case d.lim.Draining[m.Hostname]:
		return fmt.Sprintf("the agent %s is being drained", m.Hostname)
	case m.HasData && !m.DownSince.IsZero() && d.lim.ReplaceAfter > 0 && down >= d.lim.ReplaceAfter:
		return fmt.Sprintf("%s for %s", cmp.Or(m.TaskState, "down"), down.Round(time.Second))
	}
	return ""
}

// notYet says what speaks against an automatic replacement at this moment.
func (d *deciding) notYet(m Member) string {
	if why := d.unwell(m.ID); why != "" {
		return why
	}
	if m.ID == d.Primary && d.unready(m.ID) != "" {
		return "it is the primary"
	}
	if why := d.mayHoldWrites(m); why != "" {
		return why
	}
	for _, op := range slices.Backward(d.Operations) {
		if op.Kind == OpReplace && op.Member == m.ID && op.Result == ResultCanceled && d.lim.Now.Sub(op.Ended) < max(d.lim.ReplaceAfter, time.Minute) {
			return fmt.Sprintf("that was canceled at %s", op.Ended.Format(time.TimeOnly))
		}
	}
	return ""
}
