package mini

import (
	"fmt"
	"math"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/aosc/aosc/internal/mesos/mini/resources"
	"github.com/aosc/aosc/internal/mesos/mini/wire"
)

// framework is a framework as the master knows it.
type framework struct {
	id         string
	info       mesos.FrameworkInfo
	streamID   string
	stream     *stream // nil while no scheduler is connected
	recovered  bool    // known from before a restart, not subscribed since
	suppressed map[string]bool
	filters    []filter
	answered   map[string]time.Time // agent -> until when its inverse offers are answered
	offers     map[string]*offer
	tasks      map[string]*task
	lost       map[string]*task // on unreachable agents
	finished   []*task
	operations map[string]*operation // by the text of their uuid

	heartbeat, failover                    *time.Timer
	registered, reregistered, unregistered time.Time
}

// operation is one that asked for feedback. Once it is acknowledged it only
// waits for its agent to know that too.
type operation struct {
	agentID      string
	status       mesos.OperationStatus
	acknowledged bool
}

// filter keeps resources of one agent from being offered again. A filter
// covers only what is contained in what was refused (rule 14).
type filter struct {
	agent, role string
	refused     resources.List
	until       time.Time
}

func newFramework(id string, info mesos.FrameworkInfo) *framework {
	info.ID = &mesos.FrameworkID{Value: id}
	return &framework{id: id, info: info, suppressed: map[string]bool{}, offers: map[string]*offer{},
		tasks: map[string]*task{}, lost: map[string]*task{}, operations: map[string]*operation{}, answered: map[string]time.Time{}}
}

func (f *framework) has(c mesos.FrameworkInfo_Capability_Type) bool {
	for _, have := range f.info.Capabilities {
		if have.Type == c {
			return true
		}
	}
	return false
}

func (f *framework) partitionAware() bool {
	return f.has(mesos.FrameworkInfo_Capability_PARTITION_AWARE)
}

// aware gives state to a framework that knows partitions and TASK_LOST to one
// that does not.
func (f *framework) aware(state mesos.TaskState) mesos.TaskState {
	if f.partitionAware() {
		return state
	}
	return mesos.TASK_LOST
}

// format is how resources are written for the framework.
func (f *framework) format() resources.Format {
	if f.has(mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT) {
		return resources.Refined
	}
	return resources.PreRefinement
}

// roles are what the framework is subscribed to.
func (f *framework) roles() []string {
	if f.has(mesos.FrameworkInfo_Capability_MULTI_ROLE) {
		return f.info.Roles
	}
	if f.info.Role != nil {
		return []string{*f.info.Role}
	}
	return []string{"*"}
}

// send passes an event to the scheduler, if one is connected: events are
// never kept for one that is not.
func (f *framework) send(e *scheduler.Event) {
	if f.stream != nil {
		f.stream.send(e)
	}
}

func (f *framework) sendStatus(status mesos.TaskStatus) {
	f.send(&scheduler.Event{Type: scheduler.Event_UPDATE, Update: &scheduler.Event_Update{Status: status}})
}

func (f *framework) stopTimers() {
	stopTimer(f.heartbeat)
	stopTimer(f.failover)
}

func errorEvent(message string) *scheduler.Event {
	return &scheduler.Event{Type: scheduler.Event_ERROR, Error: &scheduler.Event_Error{Message: message}}
}

// subscribe connects a scheduler. The stream is always to be served: a refusal
// is an ERROR event on it (rule 8).
func (m *master) subscribe(call *scheduler.Call_Subscribe, media wire.Media) (s *stream, streamID string) {
	s, streamID = newStream(media), uuidText(newUUID())
	refuse := func(problem string) (*stream, string) {
		s.send(errorEvent(problem))
		s.end()
		return s, streamID
	}
	info := *call.FrameworkInfo
	if problem := invalidFramework(info, call.SuppressedRoles); problem != "" {
		return refuse(problem)
	}
	id := info.GetID().GetValue()
	f := m.frameworks[id]
	switch {
	case id == "":
		f = newFramework(fmt.Sprintf("%s-%04d", m.id, m.nextFramework), info)
		m.nextFramework++
	case m.completed[id] != nil:
		return refuse("Framework has been removed")
	case f == nil:
		// One that this master never heard of: taken as it is.
		f = newFramework(id, info)
	case f.info.GetPrincipal() != info.GetPrincipal():
		return refuse("Changing framework's principal is not allowed.")
	default:
		m.failOver(f, info)
	}
	m.connect(f, s, streamID, call.SuppressedRoles)
	return s, streamID
}

// failOver takes the framework from the scheduler that had it. Its offers die
// without a word (rule 15).
func (m *master) failOver(f *framework, info mesos.FrameworkInfo) {
	if f.stream != nil {
		f.stream.send(errorEvent("Framework failed over"))
		f.stream.end()
	}
	f.stopTimers()
	for _, o := range f.offers {
		m.dropOffer(o)
	}
	m.dropInverse(f)
	// What may not change stays (recording 41).
	info.User, info.Checkpoint = f.info.User, f.info.Checkpoint
	f.info = info
	f.info.ID = &mesos.FrameworkID{Value: f.id}
}

func (m *master) connect(f *framework, s *stream, streamID string, suppressed []string) {
	now := time.Now()
	if f.registered.IsZero() {
		f.registered = now
	}
	f.reregistered = now
	f.recovered = false
	f.stream, f.streamID = s, streamID
	f.filters = nil
	f.suppressed = map[string]bool{}
	for _, role := range suppressed {
		f.suppressed[role] = true
	}
	m.frameworks[f.id] = f
	m.mustCheckpoint()
	f.send(&scheduler.Event{Type: scheduler.Event_SUBSCRIBED, Subscribed: &scheduler.Event_Subscribed{
		FrameworkID: f.info.ID, HeartbeatIntervalSeconds: ptr(m.cfg.HeartbeatInterval.Seconds()), MasterInfo: m.info()}})
	m.beat(f, s)
	m.tellOperatorsFramework(f, false)
	for _, a := range m.agents {
		info := f.info
		a.send(func(a *agent) { a.frameworkSubscribed(info) })
	}
	m.allocate()
}

// beat sends a heartbeat now and at each interval for as long as s is the
// framework's stream.
func (m *master) beat(f *framework, s *stream) {
	if f.stream != s {
		return
	}
	f.send(&scheduler.Event{Type: scheduler.Event_HEARTBEAT})
	f.heartbeat = m.after(m.cfg.HeartbeatInterval, func() { m.beat(f, s) })
}

// disconnected is told when the connection of s is gone.
func (m *master) disconnected(id string, s *stream) {
	f := m.frameworks[id]
	if f == nil || f.stream != s {
		return
	}
	f.stopTimers()
	f.stream = nil
	for _, o := range f.offers {
		m.dropOffer(o)
	}
	m.dropInverse(f)
	wait := time.Duration(min(max(f.info.GetFailoverTimeout(), 0)*float64(time.Second), math.MaxInt64/2))
	f.failover = m.after(wait, func() {
		if m.frameworks[id] == f && f.stream == nil {
			m.removeFramework(f)
		}
	})
}

// removeFramework ends a framework for good: its executors are shut down, its
// tasks are over, and its id is never taken again. What it reserved and
// created stays (rule 20).
func (m *master) removeFramework(f *framework) {
	f.stopTimers()
	for _, o := range f.offers {
		m.dropOffer(o)
	}
	m.dropInverse(f)
	for _, a := range m.agents {
		a.send(func(a *agent) { a.shutdownFramework(f.id) })
		for k := range a.executors {
			if k.framework == f.id {
				delete(a.executors, k)
			}
		}
	}
	for _, t := range f.tasks {
		t.setState(mesos.TASK_KILLED)
		m.finish(f, t)
	}
	if f.stream != nil {
		f.stream.end()
		f.stream = nil
	}
	f.unregistered = time.Now()
	delete(m.frameworks, f.id)
	m.completed[f.id] = f
	m.mustCheckpoint()
	m.tellOperatorsFramework(f, true)
}

// maxDuration is the longest failover_timeout, in seconds: Mesos holds
// durations in 64 bits of nanoseconds.
const maxDuration = float64(math.MaxInt64) / 1e9

// invalidFramework says what is wrong with a FrameworkInfo, in Mesos' words.
func invalidFramework(info mesos.FrameworkInfo, suppressed []string) string {
	multi := false
	for _, c := range info.Capabilities {
		multi = multi || c.Type == mesos.FrameworkInfo_Capability_MULTI_ROLE
	}
	switch {
	case multi && info.Role != nil:
		return "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
	case !multi && len(info.Roles) > 0:
		return "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
	}
	roles, field := info.Roles, "roles"
	if !multi && info.Role != nil {
		roles, field = []string{*info.Role}, "role"
	}
	seen := map[string]bool{}
	for _, role := range roles {
		if seen[role] {
			return fmt.Sprintf("'FrameworkInfo.roles' contains duplicate items: { %s }", role)
		}
		seen[role] = true
	}
	for _, role := range roles {
		if problem := invalidRole(role); problem != "" {
			if field == "role" {
				return "'FrameworkInfo.role' is not a valid role: " + problem
			}
			return "'FrameworkInfo.roles' contains invalid role: " + problem
		}
	}
	if id := info.GetID().GetValue(); id != "" {
		if problem := invalidID(id); problem != "" {
			return problem
		}
	}
	if t := info.GetFailoverTimeout(); t > maxDuration {
		return fmt.Sprintf("The framework failover_timeout (%s) is invalid", formatDouble(t))
	}
	for _, role := range suppressed {
		if !seen[role] {
			return fmt.Sprintf("Suppressed roles { %s } are not contained in the set of roles", strings.Join(suppressed, ", "))
		}
	}
	return ""
}

// formatDouble writes a double as C++ streams do by default.
func formatDouble(f float64) string { return fmt.Sprintf("%g", f) }

func invalidRole(role string) string {
	switch {
	case role == "*":
		return ""
	case role == "":
		return "Empty role name is invalid"
	case strings.HasPrefix(role, "/"):
		return fmt.Sprintf("Role '%s' cannot start with a slash", role)
	case strings.HasSuffix(role, "/"):
		return fmt.Sprintf("Role '%s' cannot end with a slash", role)
	}
	for _, part := range strings.Split(role, "/") {
		switch {
		case part == "":
			return fmt.Sprintf("Role '%s' cannot contain two adjacent slashes", role)
		case part == "." || part == "..":
			return fmt.Sprintf("Role '%s' cannot include '%s' as a component", role, part)
		case part == "*":
			return fmt.Sprintf("Role '%s' cannot include '*' as a component", role)
		case strings.HasPrefix(part, "-"):
			return fmt.Sprintf("Role component '%s' is invalid because it begins with a dash", part)
		case strings.ContainsAny(part, "\t\n\v\f\r \x7f"):
			return fmt.Sprintf("Role component '%s' is invalid because it contains backspace or whitespace", part)
		}
	}
	return ""
}

// invalidID says what is wrong with an id, in Mesos' words; ids become
// directories.
func invalidID(id string) string {
	switch {
	case id == "":
		return "ID must not be empty"
	case len(id) > 255:
		return "ID must not be greater than 255 characters"
	case id == "." || id == "..":
		return fmt.Sprintf("'%s' is disallowed", id)
	}
	for _, c := range id {
		if c < 0x20 || c == 0x7f || c == '/' || c == '\\' {
			return fmt.Sprintf("'%s' contains invalid characters", id)
		}
	}
	return ""
}
