// Package mini is a Mesos on a single machine: a master and agents in one
// process, speaking the v1 scheduler, executor and operator APIs over HTTP in
// JSON and protobuf, and running executors as processes. It is held against
// recordings of Apache Mesos 1.12 by the conformance test beside it.
//
// The master and each agent are actors: one goroutine owns the state of each,
// and they send messages to one another as a real master and its agents do, so
// that an agent can be killed, lost and returned on its own.
package mini

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Mini is a running single-machine Mesos.
type Mini struct {
	cfg    Config
	master *master
	procs  *processes
	lock   *os.File // of cfg.Dir, for as long as this runs

	mu      sync.Mutex
	agents  map[string]*agent // the agents that run
	stopped bool
}

// Start starts the master and all agents of cfg, and returns once the master
// answers. State under cfg.Dir is taken up again: framework ids, reservations,
// volumes, and executors that still run.
func Start(ctx context.Context, cfg Config) (*Mini, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("single-machine Mesos: %w", err)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	cfg.Dir = dir
	m := &Mini{cfg: cfg, agents: map[string]*agent{}}
	if err := closeDir(dir); err != nil {
		return nil, fmt.Errorf("single-machine Mesos: %w", err)
	}
	if m.lock, err = lockDir(dir); err != nil {
		return nil, fmt.Errorf("single-machine Mesos: %w", err)
	}
	if m.master, err = startMaster(cfg); err != nil {
		m.lock.Close()
		return nil, fmt.Errorf("single-machine Mesos: %w", err)
	}
	m.procs = newProcesses()
	for _, a := range cfg.Agents {
		if err := m.StartAgent(a.Name); err != nil {
			return nil, errors.Join(err, m.Stop(ctx))
		}
	}
	return m, nil
}

// URL is where the master listens, such as http://127.0.0.1:5050.
func (m *Mini) URL() string { return "http://" + m.master.addr }

// AgentURL is where a running agent listens, empty when it does not run or has
// ended by itself.
func (m *Mini) AgentURL(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a := m.agents[name]; a != nil && !a.ended.Load() {
		return "http://" + a.addr
	}
	return ""
}

// AgentDir is the work_dir of an agent: its sandboxes and volumes.
func (m *Mini) AgentDir(name string) string {
	return filepath.Join(m.cfg.Dir, "agents", name)
}

// StartAgent starts an agent that does not run, with its state, executors and
// volumes it had; or it ends the loss of one that was lost.
func (m *Mini) StartAgent(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a := m.agents[name]; a != nil {
		switch {
		case a.ended.Load(): // by itself
			delete(m.agents, name)
			if err := a.stop(true); err != nil {
				return err
			}
		case a.leaving.Load():
			return fmt.Errorf("agent %s has not ended its executors yet", name)
		case a.restoreLink():
			return nil
		default:
			return fmt.Errorf("agent %s runs already", name)
		}
	}
	for _, cfg := range m.cfg.Agents {
		if cfg.Name != name {
			continue
		}
		a, err := startAgent(m.cfg, cfg, m.AgentDir(name), m.master, m.procs)
		if err != nil {
			return fmt.Errorf("start agent %s: %w", name, err)
		}
		m.agents[name] = a
		return nil
	}
	return fmt.Errorf("there is no agent %q", name)
}

// StopAgent ends an agent's process in order (SIGTERM). Executors of
// frameworks that checkpoint live on; the others are killed.
func (m *Mini) StopAgent(name string) error { return m.endAgent(name, true) }

// KillAgent ends an agent's process as SIGKILL does: connections break, and
// every executor is left to itself.
func (m *Mini) KillAgent(name string) error { return m.endAgent(name, false) }

func (m *Mini) endAgent(name string, orderly bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.agents[name]
	if a == nil {
		return fmt.Errorf("agent %q does not run", name)
	}
	delete(m.agents, name)
	return a.stop(orderly)
}

// UnregisterAgent has an agent leave in good order (SIGUSR1): it ends its
// executors, whose tasks are lost, and then itself. StartAgent starts it again
// once it has ended, that is once AgentURL is empty.
func (m *Mini) UnregisterAgent(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.agents[name]
	if a == nil || a.ended.Load() {
		return fmt.Errorf("agent %q does not run", name)
	}
	a.post(a.unregister)
	return nil
}

// LoseAgent cuts an agent off from the master and leaves it and its executors
// running: the master finds it unreachable once its pings have timed out.
// StartAgent ends the loss.
func (m *Mini) LoseAgent(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.agents[name]
	if a == nil {
		return fmt.Errorf("agent %q does not run", name)
	}
	a.cutLink()
	return nil
}

// ForgetAgent has an agent that does not run forget who it was: what an operator
// does who removes meta/slaves/latest, for an agent whose recovery failed to
// start at all. StartAgent then ends its former executors, which the agent
// does not know, and registers it under another id, with its reservations and
// volumes.
func (m *Mini) ForgetAgent(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.agents[name] != nil {
		return fmt.Errorf("agent %s runs", name)
	}
	if err := forget(m.AgentDir(name)); err != nil {
		return fmt.Errorf("forget agent %s: %w", name, err)
	}
	return nil
}

// Standby has the master answer as one that does not lead: with 307 to leader
// (host:port), or with 503 when leader is empty. Lead ends it.
func (m *Mini) Standby(leader string) { m.master.standby.Store(&leader) }

// Lead has the master lead again after Standby.
func (m *Mini) Lead() { m.master.standby.Store(nil) }

// RequireSecrets has the master ask schedulers and operators for HTTP basic authentication from now on, as one that was restarted with
// it: what is subscribed is cut off. It maps principals to secrets; nil = as configured.
func (m *Mini) RequireSecrets(secrets map[string]string) {
	if secrets == nil {
		m.master.secrets.Store(nil)
		return
	}
	m.master.secrets.Store(&secrets)
	m.master.post(m.master.cutOff)
}

// Stop ends the master and all agents. Executors of frameworks that checkpoint
// live on and are found again by the next Start; the others are killed. A
// second Stop does nothing.
func (m *Mini) Stop(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil
	}
	m.stopped = true
	var errs []error
	// The master first, so that it does not hear of agents going.
	errs = append(errs, m.master.stop())
	for name, a := range m.agents {
		errs = append(errs, a.stop(true))
		delete(m.agents, name)
	}
	if m.procs != nil {
		m.procs.stop()
	}
	errs = append(errs, m.lock.Close())
	return errors.Join(errs...)
}

// StopAll is Stop that leaves no executor running, whatever its framework
// asked for: the end of a test or of a demonstration.
func (m *Mini) StopAll(ctx context.Context) error {
	err := m.Stop(ctx)
	for _, a := range m.cfg.Agents {
		err = errors.Join(err, killExecutors(m.AgentDir(a.Name)))
	}
	return err
}
