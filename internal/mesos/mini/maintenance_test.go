package mini

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/testkit"
)

// operate makes a call of the operator API and returns status and body.
func operate(t *testing.T, m *Mini, call string) (int, string) {
	t.Helper()
	resp, err := http.Post(m.URL()+"/api/v1", "application/json", strings.NewReader(call))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

const (
	machine1 = `{"hostname":"agent1.example","ip":"127.0.0.1"}`
	plan1    = `{"type":"UPDATE_MAINTENANCE_SCHEDULE","update_maintenance_schedule":{"schedule":{"windows":[{"machine_ids":[` + machine1 + `],"unavailability":{"start":{"nanoseconds":1}}}]}}}`
	start1   = `{"type":"START_MAINTENANCE","start_maintenance":{"machines":[` + machine1 + `]}}`
	stop1    = `{"type":"STOP_MAINTENANCE","stop_maintenance":{"machines":[` + machine1 + `]}}`
)

// TestMaintenanceRefused: bad plans, and steps out of order, are refused and change nothing.
func TestMaintenanceRefused(t *testing.T) {
	m := start(t, nil)
	for _, call := range []string{
		start1, stop1,
		`{"type":"UPDATE_MAINTENANCE_SCHEDULE"}`, `{"type":"START_MAINTENANCE"}`, `{"type":"STOP_MAINTENANCE"}`,
		strings.Replace(plan1, machine1, `{}`, 1),
		strings.Replace(plan1, machine1, machine1+","+machine1, 1),
	} {
		if code, body := operate(t, m, call); code != http.StatusBadRequest {
			t.Errorf("%s gives %d %s", call, code, body)
		}
	}
	if code, body := operate(t, m, `{"type":"GET_MAINTENANCE_SCHEDULE"}`); code != http.StatusOK || strings.Contains(body, "agent1") {
		t.Errorf("after them: %d %s", code, body)
	}
}

// TestMaintenanceOutlivesMaster: the schedule, and that a machine is down, are known after a restart; its agent is not
// taken in before STOP_MAINTENANCE, and then as it was.
func TestMaintenanceOutlivesMaster(t *testing.T) {
	m := start(t, nil)
	s := subscribe(t, m.URL(), "", frameworkInfo(true))
	launchOnVolume(s, "agent1.example", "one", 31000)
	s.status("one", "TASK_RUNNING")
	for _, call := range []string{plan1, start1} {
		if code, body := operate(t, m, call); code != http.StatusOK {
			t.Fatalf("%s gives %d %s", call, code, body)
		}
	}
	s.status("one", "TASK_LOST")
	ended(t, m, "agent1")
	if err := m.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	again := startWith(t, m.cfg)
	if _, body := operate(t, again, `{"type":"GET_MAINTENANCE_STATUS"}`); !strings.Contains(body, `"down_machines":[`+machine1+`]`) {
		t.Errorf("after a restart: %s", body)
	}
	if code, _ := operate(t, again, `{"type":"UPDATE_MAINTENANCE_SCHEDULE","update_maintenance_schedule":{"schedule":{}}}`); code != http.StatusBadRequest {
		t.Errorf("a machine that is down is taken out of the schedule: %d", code)
	}
	ended(t, again, "agent1") // started with all, and sent away
	if code, body := operate(t, again, stop1); code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	if err := again.StartAgent("agent1"); err != nil {
		t.Fatal(err)
	}
	s = subscribe(t, again.URL(), s.id, frameworkInfo(true))
	o := s.offer("agent1.example", func(o map[string]any) bool { return str(volumeIn(o), "disk", "persistence", "id") == "vol-one" })
	if o["unavailability"] != nil {
		t.Errorf("offered with %v", o["unavailability"])
	}
}

// volumeIn is the first volume among an offer's resources.
func volumeIn(o map[string]any) any {
	list, _ := o["resources"].([]any)
	for _, r := range list {
		if at(r, "disk", "persistence") != nil {
			return r
		}
	}
	return nil
}

func ended(t *testing.T, m *Mini, agent string) {
	t.Helper()
	testkit.Eventually(t, testkit.Patience, agent+" has ended", func() bool { return m.AgentURL(agent) == "" })
}
