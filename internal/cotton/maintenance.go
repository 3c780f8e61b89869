package cotton

import "time"

// Maintenance is a planned absence of an agent's machine, as an operator has told the Mesos master. Members there are to
// be moved before Start.
type Maintenance struct {
	AgentID  string        `json:"agent_id"`
	Hostname string        `json:"hostname"`
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"duration_ns,omitempty"` // 0 = the machine may never be back
	// Begun: the master has removed the agent. What lives there is out of reach until it returns.
	Begun bool `json:"begun,omitempty"`
}

// Concerns tells whether a member has a place on that machine. An agent that came back with another id is still there.
func (w Maintenance) Concerns(m Member) bool {
	if m.ResourceID == "" {
		return false
	}
	return w.AgentID != "" && m.AgentID == w.AgentID || w.Hostname != "" && m.Hostname == w.Hostname
}

// Over tells whether the window has passed.
func (w Maintenance) Over(now time.Time) bool {
	return w.Duration > 0 && now.After(w.Start.Add(w.Duration))
}
