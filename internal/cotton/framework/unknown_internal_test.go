package framework

import (
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/cotton"
)

// TestUnknownIsNotOver: TASK_UNKNOWN says that the master knows nothing of a task; it may run (I11). Until that is known it is neither
// down, which fences an available cluster's primary, nor may it be relieved without its receiver being stopped.
func TestUnknownIsNotOver(t *testing.T) {
	m := cotton.Member{ID: 3, TaskID: "t", Phase: cotton.PhaseRunning, TaskState: "TASK_RUNNING", HasData: true, AgentID: "a"}
	r := cotton.Record{Members: []cotton.Member{m}}
	state := mesos.TASK_UNKNOWN
	if err := applyStatus(&r, &r.Members[0], mesos.TaskStatus{TaskID: mesos.TaskID{Value: "t"}, State: &state}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := r.Members[0]; !mayLive(got) || got.Phase != cotton.PhaseRunning {
		t.Errorf("a task that may run counts as over: phase %s, may live %v", got.Phase, mayLive(got))
	}
}
