package mini

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	allocatorapi "github.com/mesos/mesos-go/api/v1/lib/allocator"
	maintenanceapi "github.com/mesos/mesos-go/api/v1/lib/maintenance"
	masterapi "github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// machineID is a machine as operators name it: exactly the hostname and the
// address that its agents registered with.
type machineID struct{ hostname, ip string }

func machineOf(id mesos.MachineID) machineID {
	return machineID{strings.ToLower(id.GetHostname()), id.GetIP()}
}

func (id machineID) proto() mesos.MachineID {
	out := mesos.MachineID{}
	if id.hostname != "" {
		out.Hostname = ptr(id.hostname)
	}
	if id.ip != "" {
		out.IP = ptr(id.ip)
	}
	return out
}

func (id machineID) String() string { return fmt.Sprintf("%s (%s)", id.hostname, id.ip) }

// machine is one that the maintenance schedule names: draining, or down. All
// others are up, and not kept.
type machine struct {
	unavailability mesos.Unavailability
	down           bool
	answers        map[string]allocatorapi.InverseOfferStatus // by framework
}

// inverseOffer asks a framework for what it has on an agent.
type inverseOffer struct {
	id        string
	framework *framework
	agent     *agentRecord
}

func (a *agentRecord) machine() machineID {
	host, _ := splitAddr(a.addr)
	return machineID{strings.ToLower(a.info.Hostname), host}
}

// maintenanceCall carries out the operator's calls on maintenance; known is
// false for any other.
func (m *master) maintenanceCall(c *masterapi.Call) (known bool, err error) {
	expect := func(field string) (bool, error) {
		return true, badRequest("Failed to validate master::Call: Expecting '%s' to be present", field)
	}
	switch c.Type {
	case masterapi.Call_UPDATE_MAINTENANCE_SCHEDULE:
		if c.UpdateMaintenanceSchedule == nil {
			return expect("update_maintenance_schedule")
		}
		return true, m.updateSchedule(c.UpdateMaintenanceSchedule.Schedule)
	case masterapi.Call_START_MAINTENANCE:
		if c.StartMaintenance == nil {
			return expect("start_maintenance")
		}
		return true, m.startMaintenance(c.StartMaintenance.Machines)
	case masterapi.Call_STOP_MAINTENANCE:
		if c.StopMaintenance == nil {
			return expect("stop_maintenance")
		}
		return true, m.stopMaintenance(c.StopMaintenance.Machines)
	}
	return false, nil
}

// updateSchedule puts a schedule in the place of the one before. All offers are
// void, since they do not say what will be.
func (m *master) updateSchedule(s maintenanceapi.Schedule) error {
	next := map[machineID]*machine{}
	for _, w := range s.Windows {
		for _, id := range w.MachineIDs {
			key := machineOf(id)
			switch {
			case key == machineID{}:
				return badRequest("A machine needs a hostname or an ip")
			case next[key] != nil:
				return badRequest("Machine %s appears more than once in the schedule", key)
			}
			next[key] = &machine{unavailability: w.Unavailability, answers: map[string]allocatorapi.InverseOfferStatus{}}
			if known := m.machines[key]; known != nil {
				next[key].down = known.down
			}
		}
	}
	for key, known := range m.machines {
		if known.down && next[key] == nil {
			return badRequest("Machine %s is down: it can leave the schedule only by STOP_MAINTENANCE", key)
		}
	}
	m.machines = next
	m.mustCheckpoint()
	for _, id := range sortedKeys(m.agents) {
		m.withdraw(m.agents[id])
	}
	m.allocate()
	return nil
}

// withdraw takes all offers and inverse offers of an agent back.
func (m *master) withdraw(a *agentRecord) {
	for _, o := range a.offers {
		m.rescind(o)
	}
	for _, id := range sortedKeys(m.inverse) {
		if o := m.inverse[id]; o.agent == a {
			delete(m.inverse, id)
			o.framework.send(&scheduler.Event{Type: scheduler.Event_RESCIND_INVERSE_OFFER,
				RescindInverseOffer: &scheduler.Event_RescindInverseOffer{InverseOfferID: mesos.OfferID{Value: id}}})
		}
	}
}

// startMaintenance takes machines down: their agents are removed, and told to
// end.
func (m *master) startMaintenance(ids []mesos.MachineID) error {
	for _, id := range ids {
		if known := m.machines[machineOf(id)]; known == nil || known.down {
			return badRequest("Machine %s is not draining and cannot be brought down", machineOf(id))
		}
	}
	for _, id := range ids {
		m.machines[machineOf(id)].down = true
	}
	m.mustCheckpoint()
	for _, id := range ids {
		for _, name := range sortedKeys(m.agents) {
			if a := m.agents[name]; a.machine() == machineOf(id) {
				a.send(func(a *agent) { a.leave() })
				m.removeAgent(a, "Operator initiated 'Machine DOWN'")
			}
		}
	}
	return nil
}

// stopMaintenance lets machines be used again; their windows are over.
func (m *master) stopMaintenance(ids []mesos.MachineID) error {
	for _, id := range ids {
		if known := m.machines[machineOf(id)]; known == nil || !known.down {
			return badRequest("Machine %s is not down and cannot be brought up", machineOf(id))
		}
	}
	for _, id := range ids {
		delete(m.machines, machineOf(id))
	}
	m.mustCheckpoint()
	return nil
}

// removeAgent takes an agent out of the books, with all that ran on it. It may
// come back, and is then taken as it is.
func (m *master) removeAgent(a *agentRecord, why string) {
	stopTimer(a.pingTimer)
	delete(m.agents, a.id)
	delete(m.drains, a.id)
	for _, t := range a.tasks {
		if t.freed {
			m.finish(t.framework, t)
			continue
		}
		m.endTask(t, masterStatus(t.proto.TaskID, mesos.TASK_LOST, mesos.REASON_AGENT_REMOVED,
			fmt.Sprintf("Agent %s removed: %s", a.info.Hostname, why)))
	}
	m.withdraw(a)
	m.agentFailed(a)
	m.mustCheckpoint()
}

// unregister is told by an agent that leaves in good order.
func (m *master) unregister(id string, from *agent) {
	if a := m.agents[id]; a != nil && a.link == from {
		m.removeAgent(a, "the agent unregistered")
	}
}

// unavailability of an agent, nil when its machine is not in the schedule.
func (m *master) unavailability(a *agentRecord) *mesos.Unavailability {
	if known := m.machines[a.machine()]; known != nil {
		u := known.unavailability
		return &u
	}
	return nil
}

// askBack sends inverse offers: to each framework that holds something on an
// agent that will be down, was not asked already, and has not answered lately.
func (m *master) askBack(now time.Time) {
	if len(m.machines) == 0 {
		return
	}
	for _, id := range sortedKeys(m.frameworks) {
		f := m.frameworks[id]
		event := &scheduler.Event_InverseOffers{}
		for _, name := range sortedKeys(m.agents) {
			a := m.agents[name]
			u := m.unavailability(a)
			if f.stream == nil || u == nil || !a.connected || m.drains[a.id] != nil || !a.serves(f) || m.asked(f, a) ||
				now.Before(f.answered[a.id]) {
				continue
			}
			o := &inverseOffer{id: fmt.Sprintf("%s-O%d", m.id, m.nextOffer), framework: f, agent: a}
			m.nextOffer++
			m.inverse[o.id] = o
			event.InverseOffers = append(event.InverseOffers, mesos.InverseOffer{
				OfferID: mesos.OfferID{Value: o.id}, URL: a.url(), FrameworkID: mesos.FrameworkID{Value: f.id},
				AgentID: &mesos.AgentID{Value: a.id}, Unavailability: *u})
		}
		if len(event.InverseOffers) > 0 {
			f.send(&scheduler.Event{Type: scheduler.Event_INVERSE_OFFERS, InverseOffers: event})
		}
	}
}

// serves tells whether a framework has or is offered anything of the agent.
func (a *agentRecord) serves(f *framework) bool {
	for k := range a.tasks {
		if k.framework == f.id {
			return true
		}
	}
	for k := range a.executors {
		if k.framework == f.id {
			return true
		}
	}
	for _, o := range a.offers {
		if o.framework == f {
			return true
		}
	}
	return false
}

func (m *master) asked(f *framework, a *agentRecord) bool {
	for _, o := range m.inverse {
		if o.framework == f && o.agent == a {
			return true
		}
	}
	return false
}

// answerInverse keeps what a framework says to inverse offers, and does not ask
// again while its filter stands. Offers that are not known are passed over.
func (m *master) answerInverse(f *framework, ids []mesos.OfferID, filters *mesos.Filters, status allocatorapi.InverseOfferStatus_Status) {
	for _, id := range ids {
		o := m.inverse[id.Value]
		if o == nil || o.framework != f {
			continue
		}
		delete(m.inverse, id.Value)
		now := time.Now()
		f.answered[o.agent.id] = now.Add(m.filterTime(filters))
		if known := m.machines[o.agent.machine()]; known != nil {
			known.answers[f.id] = allocatorapi.InverseOfferStatus{Status: &status, FrameworkID: mesos.FrameworkID{Value: f.id},
				Timestamp: mesos.TimeInfo{Nanoseconds: now.UnixNano()}}
		}
	}
}

// dropInverse forgets what a framework was asked: it is gone, or another
// scheduler has it now.
func (m *master) dropInverse(f *framework) {
	for id, o := range m.inverse {
		if o.framework == f {
			delete(m.inverse, id)
		}
	}
	f.answered = map[string]time.Time{}
}

func (m *master) machineIDs() []machineID {
	var ids []machineID
	for id := range m.machines {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b machineID) int { return cmp.Or(cmp.Compare(a.hostname, b.hostname), cmp.Compare(a.ip, b.ip)) })
	return ids
}

func (m *master) maintenanceStatus() maintenanceapi.ClusterStatus {
	var out maintenanceapi.ClusterStatus
	for _, id := range m.machineIDs() {
		known := m.machines[id]
		if known.down {
			out.DownMachines = append(out.DownMachines, id.proto())
			continue
		}
		draining := maintenanceapi.ClusterStatus_DrainingMachine{ID: id.proto()}
		for _, f := range sortedKeys(known.answers) {
			draining.Statuses = append(draining.Statuses, known.answers[f])
		}
		out.DrainingMachines = append(out.DrainingMachines, draining)
	}
	return out
}

// maintenanceSchedule has a window for each machine.
func (m *master) maintenanceSchedule() maintenanceapi.Schedule {
	var out maintenanceapi.Schedule
	for _, id := range m.machineIDs() {
		out.Windows = append(out.Windows, maintenanceapi.Window{
			MachineIDs: []mesos.MachineID{id.proto()}, Unavailability: m.machines[id].unavailability})
	}
	return out
}

// restoreMaintenance takes up what maintenanceSchedule and maintenanceStatus
// were before a restart.
func (m *master) restoreMaintenance(schedule, status mesosBytes) error {
	var s maintenanceapi.Schedule
	var c maintenanceapi.ClusterStatus
	if err := s.Unmarshal(schedule); err != nil {
		return err
	}
	if err := c.Unmarshal(status); err != nil {
		return err
	}
	for _, w := range s.Windows {
		for _, id := range w.MachineIDs {
			m.machines[machineOf(id)] = &machine{unavailability: w.Unavailability, answers: map[string]allocatorapi.InverseOfferStatus{}}
		}
	}
	for _, id := range c.DownMachines {
		if known := m.machines[machineOf(id)]; known != nil {
			known.down = true
		}
	}
	return nil
}
