// Package permit decides whether an alter that is under way may go on (I6, I14). It is one pure function of what the tables
// say; it touches nothing.
package permit

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/aosc/aosc/aoscdb"
)

// Answer is what an alter under way is to do.
type Answer string

// The answers, the more restrictive the later.
const (
	GoOn  Answer = "go on"
	Pause Answer = "pause" // stand still in place: what was taken away may come back
	Stop  Answer = "stop"  // give the copy up, begin nothing
)

// Verdict is an answer and, unless it is GoOn, its reason for people.
type Verdict struct {
	Answer Answer
	Reason string
}

// Begun is what an alter was when it was begun.
type Begun struct {
	Host         string
	Port         int
	Group, Table string
	Blob         string // of the text that was allowed
	AllowUnsafe  bool   // its plan loses data, which was permitted
}

// Judge says whether what was begun may go on. The first reason that stops counts, then the first that pauses.
func Judge(b Begun, t aoscdb.Permission) Verdict {
	if reason := stops(b, t); reason != "" {
		return Verdict{Stop, reason}
	}
	if reason := pauses(b, t); reason != "" {
		return Verdict{Pause, reason}
	}
	return Verdict{Answer: GoOn}
}

// stops says why the permission itself is gone, "" when it is there.
func stops(b Begun, t aoscdb.Permission) string {
	_, known := t.Tiers[b.Group]
	switch a := t.Alter; {
	case t.Allowed == nil:
		return "revoked: allowed_alters has no row for it"
	case a == nil:
		return "current_alters has no row for it"
	case !known:
		return "tiers has no row for its tier"
	case a.Status == aoscdb.AlterHold && a.HoldBy != aoscdb.HoldWorker && !pausesInPlace(*a):
		return fmt.Sprintf("HOLD by %s: %s", cmp.Or(a.HoldBy, aoscdb.HoldOperator), cmp.Or(a.Reason, "put there by hand"))
	case a.DesiredHash != b.Blob:
		return fmt.Sprintf("superseded: the alter is now that of commit %.12s", a.CommitSHA)
	case b.AllowUnsafe && !t.Allowed.AllowUnsafe:
		return "allow_unsafe was taken back, and its plan loses data"
	case t.Allowed.ServerList == aoscdb.ServersCustom && !slices.ContainsFunc(t.Custom, func(c aoscdb.CustomServer) bool {
		return c.Host == b.Host && c.Port == b.Port
	}):
		return "the instance is not among its custom_servers"
	}
	return ""
}

// pausesInPlace: an operator's HOLD that keeps what was copied, as `aosc pause` makes it.
func pausesInPlace(a aoscdb.CurrentAlter) bool {
	return a.HoldBy == aoscdb.HoldOperator && a.HoldHow == aoscdb.HoldPause
}

// pauses says what may come back.
func pauses(b Begun, t aoscdb.Permission) string {
	if !t.Tiers[b.Group].Enabled {
		return fmt.Sprintf("tier %s is not enabled", b.Group)
	}
	if t.Alter.Status == aoscdb.AlterHold && pausesInPlace(*t.Alter) {
		return "HOLD by operator: " + t.Alter.Reason
	}
	return overLimit(b, t)
}

// overLimit says which limit of the tier what runs exceeds, "" when none, or when others are the ones to stand still: those
// begun first go on. All workers see the same rows, and so decide the same.
func overLimit(b Begun, t aoscdb.Permission) string {
	running := slices.Clone(t.Running)
	running = slices.DeleteFunc(running, func(r aoscdb.RunningAlter) bool { return r.OSCStatus != aoscdb.RunRunning })
	slices.SortFunc(running, begunFirst)
	self := slices.IndexFunc(running, func(r aoscdb.RunningAlter) bool { return r.Host == b.Host && r.Port == b.Port })
	if self < 0 {
		return ""
	}
	var inTier, onHost, inDatacenter int
	for _, r := range running[:self] {
		if r.Group == b.Group {
			inTier++
		}
		if r.Host == b.Host {
			onHost++
		}
		if r.Group == b.Group && r.Datacenter == running[self].Datacenter {
			inDatacenter++
		}
	}
	hostLimit := 0
	for _, r := range running {
		if l := t.Tiers[r.Group].MaxRunningPerHost; r.Host == b.Host && l > 0 && (hostLimit == 0 || l < hostLimit) {
			hostLimit = l
		}
	}
	tier := t.Tiers[b.Group]
	switch {
	case inTier >= tier.MaxRunning:
		return fmt.Sprintf("max_running of tier %s is %d", b.Group, tier.MaxRunning)
	case hostLimit > 0 && onHost >= hostLimit:
		return fmt.Sprintf("max_running_per_host on %s is %d", b.Host, hostLimit)
	case tier.MaxRunningPerDatacenter > 0 && inDatacenter >= tier.MaxRunningPerDatacenter:
		return fmt.Sprintf("max_running_per_datacenter of tier %s is %d", b.Group, tier.MaxRunningPerDatacenter)
	}
	return ""
}

func begunFirst(a, b aoscdb.RunningAlter) int {
	at := func(r aoscdb.RunningAlter) int64 {
		if r.StartedAt == nil {
			return 0
		}
		return r.StartedAt.UnixMicro()
	}
	return cmp.Or(cmp.Compare(at(a), at(b)), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
}
