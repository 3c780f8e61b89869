package mini

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/mesos/mini/resources"
	"github.com/aosc/aosc/internal/mesos/mini/wire"
)

// master holds what a Mesos master knows. All fields below actor are owned by
// its goroutine.
type master struct {
	*actor
	cfg     Config
	id      string
	addr    string
	started time.Time
	server  *server
	// standby is set while the master answers as one that does not lead.
	standby atomic.Pointer[string]
	// secrets are asked of schedulers and operators beside what cfg says.
	secrets atomic.Pointer[map[string]string]

	frameworks  map[string]*framework
	completed   map[string]*framework
	agents      map[string]*agentRecord // registered, connected or not
	unreachable map[string]*agentRecord
	gone        map[string]*agentRecord
	recovered   map[string]mesos.AgentInfo // known from before, not back yet
	offers      map[string]*offer
	inverse     map[string]*inverseOffer
	machines    map[machineID]*machine // of the maintenance schedule
	drains      map[string]*drain      // agents that are deactivated, by id
	allocateAt  *time.Timer
	operators   map[*stream]*time.Timer // subscribers of the operator API

	nextFramework, nextAgent, nextOffer int
	turn                                int
}

// masterState is what a master keeps over restarts.
type masterState struct {
	Port       int
	Agents     map[string]mesosBytes // agent id -> AgentInfo
	Frameworks map[string]mesosBytes // framework id -> FrameworkInfo
	Completed  []string              // framework ids that are never taken again
	Gone       []string              // agent ids that are never taken again
	// The maintenance schedule, and which of its machines are down.
	Schedule, Maintenance mesosBytes
	// The agents that are deactivated, and those among them that are drained.
	Drains map[string]drainState `json:",omitempty"`
}

func startMaster(cfg Config) (*master, error) {
	m := &master{
		cfg: cfg, id: uuidText(newUUID()), started: time.Now(),
		frameworks: map[string]*framework{}, completed: map[string]*framework{},
		agents: map[string]*agentRecord{}, unreachable: map[string]*agentRecord{}, gone: map[string]*agentRecord{},
		recovered: map[string]mesos.AgentInfo{}, offers: map[string]*offer{}, operators: map[*stream]*time.Timer{},
		inverse: map[string]*inverseOffer{}, machines: map[machineID]*machine{}, drains: map[string]*drain{},
	}
	var state masterState
	if _, err := load(m.statePath(), &state); err != nil {
		return nil, err
	}
	if err := m.restore(state); err != nil {
		return nil, err
	}
	listener, err := listen(cfg.Listen, state.Port)
	if err != nil {
		return nil, fmt.Errorf("master: %w", err)
	}
	m.addr = listener.Addr().String()
	m.actor = newActor()
	m.server = serve(listener, m.handler())
	if err := m.checkpoint(); err != nil {
		return nil, errors.Join(err, m.stop())
	}
	m.post(m.allocationCycle)
	return m, nil
}

func (m *master) stop() error {
	m.actor.stop()
	for _, f := range m.frameworks {
		f.stopTimers()
		if f.stream != nil {
			f.stream.abort()
		}
	}
	for _, a := range m.agents {
		stopTimer(a.pingTimer)
	}
	for s, t := range m.operators {
		stopTimer(t)
		s.abort()
	}
	for _, o := range m.offers {
		stopTimer(o.timer)
	}
	stopTimer(m.allocateAt)
	return m.server.stop()
}

func stopTimer(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}

func (m *master) statePath() string { return filepath.Join(m.cfg.Dir, "master", "state.json") }

func (m *master) restore(state masterState) error {
	for id, data := range state.Agents {
		var info mesos.AgentInfo
		if err := info.Unmarshal(data); err != nil {
			return fmt.Errorf("%s: agent %s: %w", m.statePath(), id, err)
		}
		m.recovered[id] = info
	}
	for id, data := range state.Frameworks {
		var info mesos.FrameworkInfo
		if err := info.Unmarshal(data); err != nil {
			return fmt.Errorf("%s: framework %s: %w", m.statePath(), id, err)
		}
		f := newFramework(id, info)
		f.recovered = true
		m.frameworks[id] = f
	}
	for _, id := range state.Completed {
		m.completed[id] = newFramework(id, mesos.FrameworkInfo{ID: &mesos.FrameworkID{Value: id}})
	}
	for _, id := range state.Gone {
		m.gone[id] = &agentRecord{id: id}
	}
	for id, d := range state.Drains {
		known, err := d.drain()
		if err != nil {
			return fmt.Errorf("%s: agent %s: %w", m.statePath(), id, err)
		}
		m.drains[id] = known
	}
	if err := m.restoreMaintenance(state.Schedule, state.Maintenance); err != nil {
		return fmt.Errorf("%s: maintenance: %w", m.statePath(), err)
	}
	return nil
}

// checkpoint keeps who is who over restarts. Tasks are not in it: agents hold
// them and tell a new master, as in Mesos.
func (m *master) checkpoint() error {
	state := masterState{Agents: map[string]mesosBytes{}, Frameworks: map[string]mesosBytes{}}
	_, port, err := net.SplitHostPort(m.addr)
	if err != nil {
		return err
	}
	if state.Port, err = strconv.Atoi(port); err != nil {
		return err
	}
	keep := func(to map[string]mesosBytes, id string, msg message) {
		data, marshalErr := msg.Marshal()
		err = errors.Join(err, marshalErr)
		to[id] = data
	}
	for id, info := range m.recovered {
		keep(state.Agents, id, &info)
	}
	for _, set := range []map[string]*agentRecord{m.agents, m.unreachable} {
		for id, a := range set {
			keep(state.Agents, id, &a.info)
		}
	}
	for id, f := range m.frameworks {
		keep(state.Frameworks, id, &f.info)
	}
	state.Completed = sortedKeys(m.completed)
	state.Gone = sortedKeys(m.gone)
	for id, d := range m.drains {
		if state.Drains == nil {
			state.Drains = map[string]drainState{}
		}
		kept, drainErr := d.state()
		err = errors.Join(err, drainErr)
		state.Drains[id] = kept
	}
	schedule, status := m.maintenanceSchedule(), m.maintenanceStatus()
	var scheduleErr, statusErr error
	state.Schedule, scheduleErr = schedule.Marshal()
	state.Maintenance, statusErr = status.Marshal()
	err = errors.Join(err, scheduleErr, statusErr)
	if err != nil {
		return err
	}
	return save(m.statePath(), state)
}

// mustCheckpoint keeps the state from within the actor. A disk that refuses is
// logged: like a real master without its registry this one cannot go on
// safely, but a demonstration is better served by one that does.
func (m *master) mustCheckpoint() {
	if err := m.checkpoint(); err != nil {
		slog.Error("mini: master state not kept; a restart will forget it", "error", err)
	}
}

// info is the master as it presents itself to frameworks.
func (m *master) info() *mesos.MasterInfo {
	host, port := splitAddr(m.addr)
	return &mesos.MasterInfo{
		ID: m.id, IP: ipNumber(host), Port: ptr(uint32(port)),
		PID: ptr("master@" + m.addr), Hostname: ptr("localhost"), Version: ptr(Version),
		Address: &mesos.Address{Hostname: ptr("localhost"), IP: ptr(host), Port: int32(port)},
		Capabilities: []mesos.MasterInfo_Capability{
			{Type: mesos.MasterInfo_Capability_AGENT_UPDATE}, {Type: mesos.MasterInfo_Capability_AGENT_DRAINING}, {Type: wire.QuotaV2}},
	}
}

func splitAddr(addr string) (host string, port int) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, 0
	}
	port, err = strconv.Atoi(text)
	if err != nil {
		return host, 0
	}
	return host, port
}

// ipNumber is an IPv4 address as MasterInfo.ip holds it: the bytes in network
// order, read by a little-endian machine.
func ipNumber(host string) uint32 {
	ip := net.ParseIP(host).To4()
	if ip == nil {
		return 0
	}
	return uint32(ip[0]) | uint32(ip[1])<<8 | uint32(ip[2])<<16 | uint32(ip[3])<<24
}

// agentRecord is an agent as the master knows it.
type agentRecord struct {
	id          string
	info        mesos.AgentInfo
	addr        string
	total       resources.List
	link        *agent // where messages to it go
	connected   bool
	tasks       map[taskKey]*task
	executors   map[executorKey]*executorRecord
	offers      map[string]*offer
	pingTimer   *time.Timer
	unreachable time.Time

	registered, reregistered time.Time
}

type taskKey struct{ framework, task string }

type executorKey struct{ framework, executor string }

type executorRecord struct {
	info mesos.ExecutorInfo
	used resources.List
	role string
}

// pid is how Mesos names the agent's process in messages.
func (a *agentRecord) pid() string { return "slave(1)@" + a.addr }

// place is the agent as operation messages name it.
func (a *agentRecord) place() string {
	return fmt.Sprintf("agent %s at %s (%s)", a.id, a.pid(), a.info.Hostname)
}

// send posts to the agent, unless it is cut off.
func (a *agentRecord) send(f func(*agent)) {
	if a.connected && a.link != nil {
		a.link.fromMaster(f)
	}
}

// free is what is neither used nor on offer.
func (a *agentRecord) free() resources.List {
	rest, _ := a.total.Minus(a.used()...)
	for _, o := range a.offers {
		if without, ok := rest.Minus(o.resources...); ok {
			rest = without
		}
	}
	return rest
}

// used is what tasks and executors hold.
func (a *agentRecord) used() resources.List {
	var sum resources.List
	for _, t := range a.tasks {
		if !t.freed {
			sum = sum.Plus(t.used...)
		}
	}
	for _, e := range a.executors {
		sum = sum.Plus(e.used...)
	}
	return sum
}

// executorIDs are those of one framework's executors on the agent.
func (a *agentRecord) executorIDs(framework string) []mesos.ExecutorID {
	ids := map[string]bool{}
	for k := range a.executors {
		if k.framework == framework {
			ids[k.executor] = true
		}
	}
	var out []mesos.ExecutorID
	for _, id := range sortedKeys(ids) {
		out = append(out, mesos.ExecutorID{Value: id})
	}
	return out
}

// server is an HTTP server with an owner who waits for it and its handlers.
type server struct {
	http *http.Server
	wg   sync.WaitGroup

	mu     sync.Mutex
	closed bool
}

// begin counts a handler in, unless the server has stopped.
func (s *server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.wg.Add(1)
	}
	return !s.closed
}

func serve(l net.Listener, h http.Handler) *server {
	s := &server{}
	counted := func(w http.ResponseWriter, r *http.Request) {
		if !s.begin() {
			panic(http.ErrAbortHandler)
		}
		defer s.wg.Done()
		h.ServeHTTP(w, r)
	}
	s.http = &http.Server{Handler: http.HandlerFunc(counted), ReadHeaderTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug)}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("mini: listener ended", "address", l.Addr().String(), "error", err)
		}
	}()
	return s
}

// stop breaks all connections, as the death of a process does.
func (s *server) stop() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	err := s.http.Close()
	s.wg.Wait()
	return err
}

// listen listens on addr; if its port is 0, on the last port when that is
// still free.
func listen(addr string, last int) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", addr, err)
	}
	if port == "0" && last != 0 {
		if l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(last))); err == nil {
			return l, nil
		}
		slog.Warn("mini: the port of the last run is taken; what looks for it there will not find it", "port", last)
	}
	return net.Listen("tcp", addr)
}
