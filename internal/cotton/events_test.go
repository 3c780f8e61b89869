package cotton_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/cotton"
)

// known is what a look at a primary leaves to know: the events that ran, and those that were disabled.
func known(t *testing.T, now int64, events ...cotton.Event) cotton.Events {
	t.Helper()
	plan := cotton.Record{}.PlanEvents(events, now)
	if len(plan.Changes)+len(plan.Problems) > 0 {
		t.Fatalf("a primary of which nothing is known, and no event is as on a replica: %+v", plan)
	}
	return plan.Know
}

// replicated is an event as a replica has it.
func replicated(e cotton.Event, changed ...func(*cotton.Event)) cotton.Event {
	e.Status = cotton.EventReplica
	for _, f := range changed {
		f(&e)
	}
	return e
}

// TestPlanEvents: a new primary runs what is known to have run, as it is defined, and nothing that may have been disabled.
func TestPlanEvents(t *testing.T) {
	const then, now = 1000, 2000
	on := cotton.Event{Schema: "d", Name: "on", Definer: "app@%", Status: cotton.EventEnabled, Altered: 900}
	off := cotton.Event{Schema: "d", Name: "of`f", Definer: "app@%", Status: cotton.EventDisabled, Altered: 900}
	fresh := cotton.Event{Schema: "d", Name: "fresh", Definer: "app@%", Status: cotton.EventEnabled, Altered: then}
	knows := known(t, then, on, off, fresh)
	if len(knows.On) != 1 || len(knows.Off) != 1 {
		t.Fatalf("known: %+v; what changed within the second of the look is not", knows)
	}
	for _, c := range []struct {
		name     string
		knows    cotton.Events
		seen     cotton.Event
		enabled  bool
		disabled bool
		problem  string
	}{
		{"ran", knows, replicated(on), true, false, ""},
		{"disabled", knows, replicated(off), false, true, ""},
		{"not known for sure", knows, replicated(fresh), false, false, "`d`.`fresh`: REPLICA_SIDE_DISABLED, so nobody runs it"},
		{"of a record that knows nothing", cotton.Events{}, replicated(on), false, false, "`d`.`on`"},
		{"disabled right before the primary died", knows, replicated(on, func(e *cotton.Event) { e.Altered = then + 1 }), false, false,
			"`d`.`on`"},
		{"enabled right before the primary died", knows, replicated(off, func(e *cotton.Event) { e.Altered = then + 1 }), false, false,
			"`d`.`of``f`"},
		{"definer gone", knows, replicated(on, func(e *cotton.Event) { e.Orphan = true }), false, false, "definer does not exist"},
		{"disabled, definer gone", knows, replicated(off, func(e *cotton.Event) { e.Orphan = true }), false, false, ""},
		{"may have run once", knows, replicated(on, func(e *cotton.Event) { e.Spent = true }), false, false, "was to run once"},
		{"over", knows, replicated(on, func(e *cotton.Event) { e.Ended = true }), false, false, ""},
		{"enabled at the copy, done once since", knows, func() cotton.Event { e := off; e.Status = cotton.EventEnabled; return e }(), false,
			true, ""},
		{"enabled", knows, on, false, false, ""},
		{"disabled by itself", knows, off, false, false, ""},
	} {
		plan := cotton.Record{Events: c.knows}.PlanEvents([]cotton.Event{c.seen}, now)
		enabled := len(plan.Changes) == 1 && plan.Changes[0].Enable
		disabled := len(plan.Changes) == 1 && !plan.Changes[0].Enable
		problems := strings.Join(plan.Problems, "; ")
		if enabled != c.enabled || disabled != c.disabled || (c.problem == "") != (problems == "") || !strings.Contains(problems, c.problem) {
			t.Errorf("%s: changes %+v, problems %q", c.name, plan.Changes, problems)
		}
	}
}

// TestPlanEventsTwice: a primary that dies while its events are set leaves nothing unknown to the next one, and an event that a client
// disables at that moment is not enabled again.
func TestPlanEventsTwice(t *testing.T) {
	on := cotton.Event{Schema: "d", Name: "on", Status: cotton.EventEnabled, Altered: 900}
	plan := cotton.Record{Events: known(t, 1000, on)}.PlanEvents([]cotton.Event{replicated(on)}, 2000)
	for _, altered := range []int64{900, plan.Stamp} {
		next := cotton.Record{Events: plan.Know}.PlanEvents([]cotton.Event{replicated(on, func(e *cotton.Event) { e.Altered = altered })}, 2001)
		if len(next.Changes) != 1 || !next.Changes[0].Enable || len(next.Problems) > 0 {
			t.Errorf("altered at %d: %+v", altered, next)
		}
	}
	next := cotton.Record{Events: plan.Know}.PlanEvents([]cotton.Event{replicated(on, func(e *cotton.Event) { e.Altered = 2000 })}, 2001)
	if len(next.Changes) != 0 || len(next.Problems) != 1 {
		t.Errorf("changed by a client in the second in which it was set: %+v", next)
	}
	// An event that waits for its definer is still known then.
	orphan := replicated(on, func(e *cotton.Event) { e.Orphan = true })
	waits := cotton.Record{Events: known(t, 1000, on)}.PlanEvents([]cotton.Event{orphan}, 2000)
	if again := (cotton.Record{Events: waits.Know}).PlanEvents([]cotton.Event{replicated(on)}, 2010); len(again.Changes) != 1 {
		t.Errorf("its definer is back: %+v", again)
	}
}

// TestPlanEventsMany: of too many events nothing is known, and that is said in time.
func TestPlanEventsMany(t *testing.T) {
	var events []cotton.Event
	for i := range 2001 {
		events = append(events, cotton.Event{Schema: "d", Name: fmt.Sprint("e", i), Status: cotton.EventEnabled, Altered: 900})
	}
	few := known(t, 1000, events[:2000]...)
	if marks := slices.Compact(slices.Clone(few.On)); len(marks) != 2000 || few.Over {
		t.Errorf("%d marks of 2000 events", len(marks))
	}
	plan := cotton.Record{Events: few}.PlanEvents(events, 1000)
	if !plan.Know.Over || len(plan.Know.On) > 0 || len(plan.Problems) != 1 {
		t.Errorf("%d events: %+v", len(events), plan.Problems)
	}
	for i := range events {
		events[i] = replicated(events[i])
	}
	if plan := (cotton.Record{Events: plan.Know}).PlanEvents(events, 2000); len(plan.Changes) > 0 ||
		!strings.Contains(strings.Join(plan.Problems, ""), "and 1996 more") {
		t.Errorf("%d changes, problems %v", len(plan.Changes), plan.Problems)
	}
}
