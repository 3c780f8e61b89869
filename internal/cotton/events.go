package cotton

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// Event is an event of a client's (CREATE EVENT), as the open primary shows it.
type Event struct {
	Schema, Name, Definer string
	// Charset and Collation are those of the session that wrote it; another ALTER EVENT changes them.
	Charset, Collation string
	Status             EventStatus
	// Altered is when its definition changed last, in whole seconds since 1970. The members agree on it.
	Altered int64
	// Orphan: its definer does not exist.
	Orphan bool
	// Ended: the last of its times is over. Spent: it runs once and stays afterwards, and its time has come; a server that ran it then shows
	// it as disabled, and tells no replica.
	Ended, Spent bool
}

// EventStatus is how a server shows whether it runs an event.
type EventStatus string

// EventReplica is what a replica makes of every event that it receives, whether its client had enabled or disabled it. MySQL 8.0 calls
// it SLAVESIDE_DISABLED.
const (
	EventEnabled  EventStatus = "ENABLED"
	EventDisabled EventStatus = "DISABLED"
	EventReplica  EventStatus = "REPLICA_SIDE_DISABLED"
)

func (e Event) String() string {
	return mysql.QuoteIdents(e.Schema, e.Name)
}

// mark stands for an event as it was defined at one time.
func (e Event) mark() string {
	const bytes = 6
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", e.Schema, e.Name, e.Altered))
	return base64.RawURLEncoding.EncodeToString(sum[:bytes])
}

// maxEvents bounds what a record knows of events: 11 bytes for each.
const maxEvents = 2000

// Events is what was known of the events when the primary was last looked at: marks of those that ran, and of those that a client had
// disabled. A replica does not tell one from the other, so this is what a new primary is set by. An event that changed since is in
// neither. Over: there are too many to be known.
type Events struct {
	On   []string `json:"on,omitempty"`
	Off  []string `json:"off,omitempty"`
	Over bool     `json:"over,omitempty"`
}

// Equal tells whether both know the same.
func (e Events) Equal(o Events) bool {
	return slices.Equal(e.On, o.On) && slices.Equal(e.Off, o.Off) && e.Over == o.Over
}

// EventChange is an event that the primary is to run, or not to.
type EventChange struct {
	Event
	Enable bool
}

// EventPlan is what becomes of the events of an open primary.
type EventPlan struct {
	// Know is to be stored before anything is changed; Changes are to be made with Stamp as the time of the change, in seconds since 1970,
	// by which Know knows them: a primary that dies in the middle leaves nothing unknown.
	Know     Events
	Changes  []EventChange
	Stamp    int64
	Problems []string
}

// PlanEvents decides by what is stored and what an open primary shows now, in seconds since 1970 by its own clock. It enables only what is
// known to have run, as it is defined: an event that a client disabled never runs again by itself.
func (r Record) PlanEvents(seen []Event, now int64) EventPlan {
	// An event that is changed twice in a second bears the same time both times, so what changed in this second is not known yet; nor may
	// what is changed here be taken for what a client changes right afterwards.
	plan := EventPlan{Stamp: now - 1}
	on, off := markSet(r.Events.On), markSet(r.Events.Off)
	var unknown, orphans []Event
	for _, e := range seen {
		mark := e.mark()
		settled := e.Altered < now
		switch {
		case e.Status == EventEnabled && off[mark]: // as a copy from before it was done has it: it was not altered since
			plan.change(e, false)
		case e.Status == EventEnabled && settled:
			plan.Know.On = append(plan.Know.On, mark)
		case e.Status == EventDisabled && settled:
			plan.Know.Off = append(plan.Know.Off, mark)
		case e.Status != EventReplica, e.Ended:
		case off[mark] && e.Orphan:
			plan.Know.Off = append(plan.Know.Off, mark)
		case off[mark]:
			plan.change(e, false)
		case !on[mark], e.Spent:
			unknown = append(unknown, e)
		case e.Orphan:
			plan.Know.On = append(plan.Know.On, mark)
			orphans = append(orphans, e)
		default:
			plan.change(e, true)
		}
	}
	if len(seen) > maxEvents {
		plan.Know = Events{Over: true}
		plan.problem("%d events are more than the %d of which cotton knows which ones run: after a change of primary none runs until it is "+
			"enabled by hand", len(seen), maxEvents)
	}
	for _, marks := range []*[]string{&plan.Know.On, &plan.Know.Off} {
		slices.Sort(*marks)
		*marks = slices.Compact(*marks)
	}
	if len(unknown) > 0 {
		plan.problem("%s: REPLICA_SIDE_DISABLED, so nobody runs it, and whether it is to run is not known (it came with a restored copy, was "+
			"changed right before the primary changed, or was to run once at that moment): say so with ALTER EVENT ... ENABLE or DISABLE",
			named(unknown, Event.String))
	}
	if len(orphans) > 0 {
		plan.problem("%s: not enabled after the change of primary, since the definer does not exist: create the account, or alter the event",
			named(orphans, func(e Event) string { return e.String() + " of " + e.Definer }))
	}
	return plan
}

func (p *EventPlan) problem(format string, args ...any) {
	p.Problems = append(p.Problems, fmt.Sprintf(format, args...))
}

// change plans one, known both as it is and as it will be.
func (p *EventPlan) change(e Event, enable bool) {
	p.Changes = append(p.Changes, EventChange{e, enable})
	after := e
	after.Altered = p.Stamp
	marks := &p.Know.Off
	if enable {
		marks = &p.Know.On
	}
	*marks = append(*marks, e.mark(), after.mark())
}

func markSet(marks []string) map[string]bool {
	set := map[string]bool{}
	for _, m := range marks {
		set[m] = true
	}
	return set
}

// named are a few of them, and how many there are besides.
func named(events []Event, name func(Event) string) string {
	const most = 5
	var names []string
	for _, e := range events[:min(len(events), most)] {
		names = append(names, name(e))
	}
	text := "event " + strings.Join(names, ", ")
	if more := len(events) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
