package cotton

import "time"

// Refusal is why an agent does not serve a member that wants a place. It is kept for `cotton why`.
type Refusal struct {
	Cluster  string    `json:"cluster"`
	Member   int       `json:"member"`
	AgentID  string    `json:"agent_id"`
	Hostname string    `json:"hostname"`
	Offer    string    `json:"offer"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
}
