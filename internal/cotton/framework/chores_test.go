package framework

import (
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
)

// TestNeedOffers: offers are wanted while a member waits for one, while something is to be given back, and while all that may
// tell of an agent is its offer; else none are.
func TestNeedOffers(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	well := cotton.Member{ID: 1, Phase: cotton.PhaseRunning, TaskID: "t", TaskState: "TASK_RUNNING", ResourceID: "r", HasData: true}
	for _, tc := range []struct {
		name string
		edit func(*Framework, *cotton.Record, *cotton.Member)
		want bool
	}{
		{"all is well", func(*Framework, *cotton.Record, *cotton.Member) {}, false},
		{"just subscribed", func(f *Framework, _ *cotton.Record, _ *cotton.Member) { f.offering.connectedAt = now.Add(-time.Second) }, true},
		{"lost", func(_ *Framework, _ *cotton.Record, m *cotton.Member) {
			m.Phase, m.TaskState = cotton.PhaseLost, "TASK_LOST"
		}, true},
		{"lost, and leaving", func(_ *Framework, _ *cotton.Record, m *cotton.Member) {
			m.Phase, m.TaskState, m.Leaving = cotton.PhaseLost, "TASK_LOST", true
		}, false},
		{"its agent is unreachable", func(_ *Framework, _ *cotton.Record, m *cotton.Member) { m.TaskState = "TASK_UNREACHABLE" }, true},
		{"Mesos does not answer for it", func(f *Framework, _ *cotton.Record, m *cotton.Member) {
			f.reconciling.open = map[string]string{m.TaskID: "a"}
		}, true},
		{"being removed", func(_ *Framework, _ *cotton.Record, m *cotton.Member) { m.Phase = cotton.PhaseRemoving }, true},
		{"a placement was given up", func(_ *Framework, r *cotton.Record, _ *cotton.Member) {
			r.Abandoned = []cotton.Abandoned{{ResourceID: "r2"}}
		}, true},
		{"an orphan in quarantine", func(f *Framework, _ *cotton.Record, _ *cotton.Member) {
			f.orphansSeen = map[string]time.Time{"r3": now}
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := cotton.Record{Spec: cotton.Spec{Name: "c"}, Members: []cotton.Member{well}}
			f := &Framework{clusters: map[string]*cluster{}}
			f.offering.connectedAt = now.Add(-time.Hour)
			tc.edit(f, &r, &r.Members[0])
			f.clusters["c"] = newCluster(r)
			if got := f.needOffers(now); got != tc.want {
				t.Errorf("needed: %v", got)
			}
		})
	}
}
