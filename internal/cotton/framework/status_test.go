package framework

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/internal/cotton"
)

// TestApplyStatus: what a status means, whatever came before it, and in whatever order.
func TestApplyStatus(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	launched := cotton.Member{ID: 1, Phase: cotton.PhaseLaunched, TaskID: "t", AgentID: "a", ResourceID: "r", VolumeID: "v", Port: 7, Anew: true, Launches: 1}
	running := launched
	running.Phase, running.TaskState, running.HasData, running.Anew, running.LaunchedAt = cotton.PhaseRunning, "TASK_RUNNING", true, false, now.Add(-time.Hour)
	failed := func(n int) cotton.Member { m := launched; m.Failures = n; return m }
	in := func(m cotton.Member, state mesos.TaskState) cotton.Member { m.TaskState = state.String(); return m }
	removing := running
	removing.Phase = cotton.PhaseRemoving
	for _, tc := range []struct {
		name   string
		member cotton.Member
		state  mesos.TaskState
		reason mesos.TaskStatus_Reason
		want   string // phase, state, failures, wait, resource id; "-" = unchanged
	}{
		{"starting", launched, mesos.TASK_STARTING, 0, "launched TASK_STARTING 0 0s r"},
		{"running", launched, mesos.TASK_RUNNING, 0, "running TASK_RUNNING 0 0s r"},
		{"running after failures", failed(2), mesos.TASK_RUNNING, 0, "running TASK_RUNNING 0 0s r"},
		{"running, again", running, mesos.TASK_RUNNING, 0, "-"},
		{"killing", running, mesos.TASK_KILLING, 0, "running TASK_KILLING 0 0s r"},
		{"the offer was rescinded", launched, mesos.TASK_DROPPED, mesos.REASON_INVALID_OFFERS, "pending TASK_DROPPED 0 0s "},
		{"the same, where it held something before", func() cotton.Member { m := running; m.Phase, m.TaskState = cotton.PhaseLaunched, ""; return m }(),
			mesos.TASK_DROPPED, mesos.REASON_INVALID_OFFERS, "lost TASK_DROPPED 0 0s r"},
		{"refused by the master", launched, mesos.TASK_ERROR, 0, "pending TASK_ERROR 1 1s r"},
		{"failed", launched, mesos.TASK_FAILED, 0, "pending TASK_FAILED 1 1s r"},
		{"failed twice", failed(1), mesos.TASK_FAILED, 0, "pending TASK_FAILED 2 2s r"},
		{"failed three times: away from here", failed(2), mesos.TASK_FAILED, 0, "pending TASK_FAILED 3 0s "},
		{"many times", failed(30), mesos.TASK_FAILED, 0, "pending TASK_FAILED 31 2m0s r"},
		{"never heard of", launched, mesos.TASK_GONE, 0, "pending TASK_GONE 1 1s r"},
		{"failed after it ran: back to its volume", running, mesos.TASK_FAILED, 0, "lost TASK_FAILED 1 1s r"},
		{"unreachable is not over (I11)", running, mesos.TASK_UNREACHABLE, 0, "running TASK_UNREACHABLE 0 0s r"},
		{"and comes back", in(running, mesos.TASK_UNREACHABLE), mesos.TASK_RUNNING, 0, "running TASK_RUNNING 0 0s r"},
		{"what was lost comes back", in(running, mesos.TASK_LOST), mesos.TASK_RUNNING, 0, "running TASK_RUNNING 0 0s r"},
		{"what was killed does not", in(running, mesos.TASK_KILLED), mesos.TASK_RUNNING, 0, "-"},
		{"nor what failed", in(running, mesos.TASK_FAILED), mesos.TASK_KILLED, 0, "-"},
		{"being removed: killed", removing, mesos.TASK_KILLED, 0, "removing TASK_KILLED 0 0s r"},
		{"being removed: late", removing, mesos.TASK_FAILED, 0, "removing TASK_FAILED 0 0s r"},
		{"being removed: still runs", in(removing, mesos.TASK_UNREACHABLE), mesos.TASK_RUNNING, 0, "removing TASK_RUNNING 0 0s r"},
		{"finished by itself", running, mesos.TASK_FINISHED, 0, "lost TASK_FINISHED 1 1s r"},
		{"its agent is drained: nobody's fault", running, mesos.TASK_KILLED, mesos.REASON_AGENT_DRAINING, "lost TASK_KILLED 0 0s r"},
		{"the same, before it ran", launched, mesos.TASK_KILLED, mesos.REASON_AGENT_DRAINING, "pending TASK_KILLED 0 0s r"},
		{"the machine is gone", running, mesos.TASK_GONE_BY_OPERATOR, 0, "lost TASK_GONE_BY_OPERATOR 1 1s r"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := cotton.Record{Members: []cotton.Member{tc.member}}
			m := &r.Members[0]
			s := mesos.TaskStatus{TaskID: mesos.TaskID{Value: "t"}, State: tc.state.Enum(), AgentID: &mesos.AgentID{Value: "a"}}
			if tc.reason != 0 {
				s.Reason = tc.reason.Enum()
			}
			got := "-"
			if err := applyStatus(&r, m, s, now); err == nil {
				wait := time.Duration(0)
				if !m.RetryAt.IsZero() {
					wait = m.RetryAt.Sub(now)
				}
				got = fmt.Sprintf("%s %s %d %s %s", m.Phase, m.TaskState, m.Failures, wait, m.ResourceID)
			} else if !errors.Is(err, errUnchanged) {
				t.Fatal(err)
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if gave := m.ResourceID == "" && !strings.HasSuffix(tc.name, "rescinded"); gave != (len(r.Abandoned) == 1) {
				t.Errorf("abandoned: %+v", r.Abandoned)
			}
			if tc.member.HasData && m.VolumeID != "v" {
				t.Error("a volume with data was given up")
			}
			if err := applyStatus(&r, m, s, now); !errors.Is(err, errUnchanged) {
				t.Errorf("the same status again: %v", err)
			}
		})
	}
}

// TestRepetitions: a status that Mesos sends again, or that only repeats what is known when it is asked, is counted apart.
func TestRepetitions(t *testing.T) {
	reg := prometheus.NewRegistry()
	f := &Framework{metrics: newMetrics(reg)}
	status := func(state mesos.TaskState, uuid string) mesos.TaskStatus {
		s := mesos.TaskStatus{State: &state, TaskID: mesos.TaskID{Value: "t"}}
		if uuid != "" {
			s.UUID = []byte(uuid)
		}
		return s
	}
	f.countStatus(status(mesos.TASK_RUNNING, "u1"), true)
	f.countStatus(status(mesos.TASK_RUNNING, "u1"), false)
	f.countStatus(status(mesos.TASK_RUNNING, "u2"), false) // mysqld is up again: another status, the same state
	f.countStatus(status(mesos.TASK_RUNNING, ""), false)   // asked for
	f.countStatus(status(mesos.TASK_LOST, ""), true)       // by the master
	f.countStatus(status(mesos.TASK_FAILED, "u3"), true)
	f.countStatus(status(mesos.TASK_FAILED, "u3"), true) // could not be stored before
	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.Metric {
			name := family.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			got[name] = m.Counter.GetValue()
		}
	}
	for name, want := range map[string]float64{
		"cotton_task_statuses_total TASK_RUNNING": 2, "cotton_task_statuses_total TASK_LOST": 1, "cotton_task_statuses_total TASK_FAILED": 1,
		"cotton_task_status_repetitions_total": 3,
	} {
		if got[name] != want {
			t.Errorf("%s is %g, want %g", name, got[name], want)
		}
	}
	var h heard
	for n := range maxHeard + 1 {
		if !h.add(fmt.Sprint(n)) {
			t.Fatalf("%d is known", n)
		}
	}
	if len(h.known) != maxHeard || !h.add("0") || h.add(fmt.Sprint(maxHeard)) {
		t.Errorf("of %d uuids it keeps %d, and not the last ones", maxHeard+1, len(h.known))
	}
}

// TestTaskIDsAreNotUsedAgain: a cluster that is made anew under the name of one that is gone has other tasks: a late status of the
// old one is no word of it. Ids as earlier releases stored them are known as before.
func TestTaskIDsAreNotUsedAgain(t *testing.T) {
	name := strings.Repeat("n", 64)
	old, anew := taskID(name, 1, 1), taskID(name, 1, 1)
	if old == anew {
		t.Errorf("two clusters of one name both launch %q", old)
	}
	if !strings.HasPrefix(anew, name+"-1-1") || len(anew) > 200 || strings.ContainsAny(anew, "/\\ ") {
		t.Errorf("%q is no task id for people and sandboxes", anew)
	}
	member := func(id string) cotton.Record {
		return cotton.Record{Spec: cotton.Spec{Name: name}, Members: []cotton.Member{{ID: 1, Phase: cotton.PhaseRunning, TaskID: id, HasData: true}}}
	}
	f := &Framework{clusters: map[string]*cluster{name: newCluster(member(anew))}}
	if c, _ := f.owner(old); c != nil {
		t.Error("a task of the cluster that is gone counts as one of the present cluster")
	}
	if c, id := f.owner(anew); c == nil || id != 1 {
		t.Error("the present task is not found")
	}
	f.clusters[name] = newCluster(member(name + "-1-1"))
	if c, id := f.owner(name + "-1-1"); c == nil || id != 1 {
		t.Error("a task whose id an earlier release stored is not found")
	}
}

// TestUnreachableIsShown: since when Mesos does not reach an agent, and what is done about it when, also while the server answers.
func TestUnreachableIsShown(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	m := cotton.Member{ID: 1, Phase: cotton.PhaseRunning, TaskID: "t", TaskState: "TASK_UNREACHABLE", HasData: true, DownSince: at, Hostname: "h1"}
	r := cotton.Record{Spec: cotton.Spec{Name: "c"}, Members: []cotton.Member{m, {ID: 2, Phase: cotton.PhaseRunning, TaskState: "TASK_RUNNING"}}}
	c := newCluster(r)
	c.seen[1] = cotton.Seen{Member: 1, Answered: true}
	if got := c.instance(m).Problem; got != "Mesos does not reach its agent since 2026-03-01 12:00:00 UTC (TASK_UNREACHABLE)" {
		t.Errorf("%q", got)
	}
	if got := unreachableProblems(r, 10*time.Minute); len(got) != 1 || !strings.Contains(got[0], "c-1") || !strings.Contains(got[0], "2026-03-01 12:10:00 UTC, another takes its place") {
		t.Errorf("%q", got)
	}
	if got := unreachableProblems(r, -1); len(got) != 1 || !strings.Contains(got[0], "left alone") {
		t.Errorf("%q", got)
	}
}
