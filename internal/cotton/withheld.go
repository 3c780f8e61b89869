package cotton

import (
	"fmt"
	"time"
)

// States of a Withheld agent.
const (
	WithheldDeactivated = "deactivated"
	WithheldDraining    = "draining"
	WithheldDrained     = "drained"
)

// Withheld is an agent that an operator keeps from being used, by DRAIN_AGENT or DEACTIVATE_AGENT at the Mesos master: it is not
// offered before REACTIVATE_AGENT, and what is drained is killed.
type Withheld struct {
	AgentID  string    `json:"agent_id"`
	Hostname string    `json:"hostname"`
	State    string    `json:"state"`          // WithheldDeactivated, WithheldDraining or WithheldDrained
	Gone     bool      `json:"gone,omitempty"` // the agent is gone for good once it is drained
	Since    time.Time `json:"since,omitzero"` // when it was told to drain; zero where that is not known
}

// Concerns tells whether a member has a place on that agent.
func (w Withheld) Concerns(m Member) bool {
	if m.ResourceID == "" {
		return false
	}
	return w.AgentID != "" && m.AgentID == w.AgentID || w.Hostname != "" && m.Hostname == w.Hostname
}

// Call is what the operator did.
func (w Withheld) Call() string {
	if w.State == WithheldDeactivated {
		return "DEACTIVATE_AGENT"
	}
	return "DRAIN_AGENT"
}

// String says it for people.
func (w Withheld) String() string {
	how := map[string]string{WithheldDraining: "is being drained", WithheldDrained: "is drained",
		WithheldDeactivated: "is deactivated"}[w.State]
	text := fmt.Sprintf("agent %s %s at Mesos (%s)", w.Hostname, how, w.Call())
	if !w.Since.IsZero() {
		text += " since " + w.Since.UTC().Format(time.DateTime) + " UTC"
	}
	return text
}

// Next is what ends it, as the other half of the sentence.
func (w Withheld) Next() string {
	if w.Gone {
		return "after that it is gone for good"
	}
	return "it is not offered before REACTIVATE_AGENT"
}
