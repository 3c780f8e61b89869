package scheduler

import (
	"fmt"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	reasons "github.com/aosc/aosc/internal/why"
)

// row decides about one row of running_alters. Whatever it decides, the row keeps its place in the limits until the
// tables no longer have it.
func (d *decider) row(r aoscdb.RunningAlter) {
	inst, known := d.Fleet.Instances[addrOf(r)]
	if !known {
		gone := fleet.Instance{Tier: r.Group, Cluster: r.Cluster, Host: r.Host, Port: r.Port, Datacenter: r.Datacenter}
		d.book.take(d.Tiers[r.Group], gone, alterOf(r))
		d.act(Forget, r, nil, "the instance left the inventory")
		return
	}
	why := d.notWanted(r, inst)
	if r.OSCStatus == aoscdb.RunReady && why == "" {
		why = d.book.fits(d.Tiers[r.Group], inst).Text
	}
	d.occupy(r, inst)
	if r.OSCStatus == aoscdb.RunDone {
		d.act(Complete, r, nil, "")
		return
	}
	look, answered := d.Looks[addrOf(r)]
	d.standing(r, look, answered)
	switch {
	case !answered && r.OSCStatus == aoscdb.RunReady:
		d.waiting(r, nil, why)
	case !answered:
		d.overdue(r, "the instance does not answer")
	case look.Row == nil:
		d.absent(r, look, why)
	default:
		d.present(r, look, why)
	}
}

// occupy takes the row's place in the limits, also under the cluster the row was written for: the inventory may have
// moved the instance since.
func (d *decider) occupy(r aoscdb.RunningAlter, inst fleet.Instance) {
	d.book.take(d.Tiers[r.Group], inst, alterOf(r))
	d.book.cluster[ClusterKey{r.Group, r.Cluster}] = busy{alterOf(r), inst.Addr()}
}

func (d *decider) act(k Kind, r aoscdb.RunningAlter, w *aoscdb.OSCRow, reason string) {
	d.out.do(Action{Kind: k, Alter: alterOf(r), Addr: addrOf(r), Row: r, Work: w, Reason: reason})
}

// notWanted says why the alter of a row must not be begun, "" when it may be.
func (d *decider) notWanted(r aoscdb.RunningAlter, inst fleet.Instance) string {
	alter, ok := d.Alters[alterOf(r)]
	tier, known := d.Tiers[r.Group]
	switch {
	case !ok:
		return "the alter is no longer a current one"
	case alter.Status != aoscdb.AlterIPR:
		return fmt.Sprintf("the alter is on %s: %s", alter.Status, alter.Reason)
	case !known:
		return "the tier has no row in tiers"
	case !tier.Enabled:
		return "the tier is not enabled"
	case inst.Tier != r.Group:
		return fmt.Sprintf("the instance moved to tier %s", inst.Tier)
	}
	return d.roleChanged(r, tier, inst)
}

// roleChanged says why the instance of a row is no longer the one whose turn it is: a failover came in between. It
// speaks only where the roles are known.
func (d *decider) roleChanged(r aoscdb.RunningAlter, tier aoscdb.Tier, inst fleet.Instance) string {
	cluster := ClusterKey{inst.Tier, inst.Cluster}
	view, seen := d.Views[cluster]
	if !seen {
		return ""
	}
	primary, err := view.Primary()
	if err != nil {
		return ""
	}
	targets := d.targets[alterOf(r)][cluster]
	_, primaryNeedsIt := find(targets, primary.Addr())
	isPrimary := primary.Addr() == inst.Addr()
	if tier.Ordering == aoscdb.OrderingPrimary && primaryNeedsIt && !isPrimary {
		return fmt.Sprintf("the primary of cluster %s is now %s", inst.Cluster, primary.Addr())
	}
	if tier.Ordering == aoscdb.OrderingRolling && isPrimary && len(targets) > 1 {
		return "it became the primary, which goes last"
	}
	return ""
}

// absent is an instance without a row for its alter.
func (d *decider) absent(r aoscdb.RunningAlter, look Look, why string) {
	switch {
	case r.OSCStatus == aoscdb.RunReady && why != "":
		d.act(Withdraw, r, nil, why)
	case r.OSCStatus == aoscdb.RunReady:
		d.act(Queue, r, nil, "")
	case look.Busy:
		d.overdue(r, "its row in aosc_osc_ww is gone, a worker still holds the instance")
	default:
		d.act(Demote, r, nil, "its row in aosc_osc_ww is gone and no worker holds the instance")
	}
}

// present is an instance that shows the row.
func (d *decider) present(r aoscdb.RunningAlter, look Look, why string) {
	if r.OSCStatus == aoscdb.RunReady {
		d.ready(r, look.Row, why)
		return
	}
	switch w := look.Row; w.Status {
	case aoscdb.OSCDone:
		d.act(Complete, r, w, "")
	case aoscdb.OSCFailed:
		d.failed(r, w, why)
	case aoscdb.OSCRunning:
		d.running(r, look, why)
	default:
		if look.Busy {
			d.overdue(r, "the worker that gave it back still holds the instance")
			return
		}
		d.act(Demote, r, w, "the worker gave it back")
	}
}

// ready is a row that no worker has claimed. So what the instance shows as DONE or FAILED is the end of an earlier
// run: whoever ends this one has made the row RUNNING first.
func (d *decider) ready(r aoscdb.RunningAlter, w *aoscdb.OSCRow, why string) {
	ended := w.Status == aoscdb.OSCDone || w.Status == aoscdb.OSCFailed
	if ended && why == "" {
		d.act(Queue, r, w, "")
		return
	}
	d.waiting(r, w, why)
}

// waiting is a row no worker has begun. w is nil when the instance does not answer.
func (d *decider) waiting(r aoscdb.RunningAlter, w *aoscdb.OSCRow, why string) {
	if why != "" {
		d.act(Withdraw, r, w, why)
		return
	}
	alter := d.Alters[alterOf(r)]
	if w != nil && w.Status == aoscdb.OSCWaiting {
		if w.DesiredBlob != alter.DesiredHash || w.CommitSHA != alter.CommitSHA {
			d.act(Queue, r, w, "the desired schema changed")
			return
		}
		if w.OSCPriv != aoscdb.PrivOK {
			return // an operator stopped it; it keeps its place, so that OK never breaks a limit
		}
	}
	if age := d.Now.Sub(r.QueuedAt); age > d.rules.StartTimeout {
		d.out.do(Action{Kind: Withdraw, Alter: alterOf(r), Addr: addrOf(r), Row: r, Work: w, Rest: true, Reason: fmt.Sprintf(
			"no worker began it within %v (is there an oscworker for this instance, and does the instance answer?)", d.rules.StartTimeout)})
	}
}

// running is an alter at work.
func (d *decider) running(r aoscdb.RunningAlter, look Look, why string) {
	w := look.Row
	if age := w.ReadAt.Sub(w.LastUpdate); age > d.rules.HeartbeatTimeout {
		if why != "" && !look.Busy {
			d.act(Abandon, r, w, fmt.Sprintf("its worker %s is gone and %s", w.Owner, why))
			return
		}
		d.act(Warn, r, w, fmt.Sprintf("no sign of life from worker %s for %v", w.Owner, age.Round(time.Second)))
	} else if moved(r, w) || d.Now.Sub(r.LastUpdated) >= followEvery {
		d.act(Follow, r, w, "")
	}
	d.tooLong(r, w)
}

// moved reports whether a worker says something new.
func moved(r aoscdb.RunningAlter, w *aoscdb.OSCRow) bool {
	if w.Percentage != r.Percentage {
		return true
	}
	s := standOf(w)
	if r.State == "" && s.State == "running" {
		return false // it has not said anything yet
	}
	return s.State != r.State || s.Why != r.Note || s.RowsCopied != r.RowsCopied
}

// standOf is what a worker says, its age apart.
func standOf(w *aoscdb.OSCRow) reasons.Stand {
	fresh := *w
	fresh.ReadAt = w.LastUpdate
	return reasons.StandOf(w.LastUpdate, aoscdb.RunningAlter{OSCStatus: aoscdb.RunRunning}, reasons.Look{Row: &fresh}, true)
}

// standing notes why an alter that was handed out does not move, for people.
func (d *decider) standing(r aoscdb.RunningAlter, look Look, answered bool) {
	l := reasons.Look{Row: look.Row}
	if !answered {
		if l.Err = d.Silent[addrOf(r)]; l.Err == nil {
			return
		}
	}
	s := reasons.StandOf(d.Now, r, l, true)
	switch {
	case s.Code == reasons.Going || s.Code == reasons.Queued:
		return
	case s.Code == reasons.Backoff:
		if next := d.nextTry(r, look.Row); !look.Row.Final && next.Tries < d.rules.MaxTries {
			s.Why = nextTry(next)
		}
	}
	d.out.stands(alterOf(r), addrOf(r), reasons.Reason{Code: s.Code, Text: s.Why})
}

// followEvery is how old last_updated may get while the percentage stands still.
const followEvery = 5 * time.Second

// overdue reports a running row nothing can be learnt of, once it has been silent for too long. It keeps its place:
// the instance may be altering, and on its cluster nothing else may start (I3, I11).
func (d *decider) overdue(r aoscdb.RunningAlter, what string) {
	if age := d.Now.Sub(r.LastUpdated); age > d.rules.HeartbeatTimeout {
		d.act(Warn, r, nil, fmt.Sprintf("%s, last sign of life %v ago; its cluster takes no other alter until it answers or leaves the inventory",
			what, age.Round(time.Second)))
	}
	d.tooLong(r, nil)
}

func (d *decider) tooLong(r aoscdb.RunningAlter, w *aoscdb.OSCRow) {
	if d.rules.MaxRunTime <= 0 || r.StartedAt == nil || d.Now.Sub(*r.StartedAt) <= d.rules.MaxRunTime {
		return
	}
	if d.Alters[alterOf(r)].Status == aoscdb.AlterIPR {
		d.act(Hold, r, w, fmt.Sprintf("on %s it has been running for %v, more than max-run-time; it goes on there, nothing new is started",
			addrOf(r), d.Now.Sub(*r.StartedAt).Round(time.Second)))
	}
}

// failed decides between another try and a person. Between two tries nothing is held: the row goes, and what else the instance
// has to do is begun.
func (d *decider) failed(r aoscdb.RunningAlter, w *aoscdb.OSCRow, why string) {
	hold := func(reason string) {
		d.act(Hold, r, w, reason)
		d.act(Drop, r, w, w.Error)
	}
	next := d.nextTry(r, w)
	switch {
	case why != "":
		d.act(Drop, r, w, why)
	case w.DesiredBlob != d.Alters[alterOf(r)].DesiredHash:
		d.act(Retry, r, w, "the desired schema changed since it failed")
	case w.Final:
		hold(fmt.Sprintf("on %s: %s", addrOf(r), w.Error))
	case next.Tries >= d.rules.MaxTries:
		hold(fmt.Sprintf("on %s, after %d tries: %s", addrOf(r), next.Tries, w.Error))
	default:
		d.out.do(Action{Kind: BackOff, Alter: alterOf(r), Addr: addrOf(r), Row: r, Work: w, Next: next, Reason: nextTry(next)})
	}
}

// nextTry is what follows a failure, counted from when it came.
func (d *decider) nextTry(r aoscdb.RunningAlter, w *aoscdb.OSCRow) aoscdb.Retry {
	tries := max(w.Try, d.tries(alterOf(r), addrOf(r))+1)
	return aoscdb.Retry{Host: r.Host, Port: r.Port, Group: r.Group, Table: r.Table, DesiredHash: w.DesiredBlob, Tries: tries,
		MaxTries: d.rules.MaxTries, NextAt: d.Now.Add(d.rules.Backoff(tries) - w.ReadAt.Sub(w.LastUpdate)), Error: w.Error}
}

// nextTry says for people when which try follows, and what failed.
func nextTry(r aoscdb.Retry) string {
	return fmt.Sprintf("try %d of %d at %s UTC, after: %s", r.Tries+1, r.MaxTries, r.NextAt.UTC().Format(time.DateTime), r.Error)
}
