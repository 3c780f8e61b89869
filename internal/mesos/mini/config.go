package mini

import (
	"cmp"
	"errors"
	"fmt"
	"sort"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/mesos/mini/resources"
)

// Version is the version of Mesos whose behaviour this package copies.
const Version = "1.12.0"

// AgentConfig is one agent of the machine.
type AgentConfig struct {
	// Name is what StopAgent and the others call the agent, and the name of
	// its directory. Required, and different for each.
	Name string
	// Hostname is what offers say; Name when empty.
	Hostname string
	CPUs     float64
	MemMB    float64
	DiskMB   float64
	// Ports are ranges such as "31000-31999"; none when empty.
	Ports string
	// Attributes are text attributes such as rack and zone.
	Attributes map[string]string
	// Scalars are further resources that are counted, such as gpus.
	Scalars map[string]float64
}

// Config says what a Mini is. Durations that are zero are those of Apache
// Mesos.
type Config struct {
	// Dir holds everything that outlives the process. Required.
	Dir string
	// Listen is the master's address. With port 0 the port of the last run is
	// taken again when it is still free.
	Listen string
	// Agents are started with the Mini. They listen on 127.0.0.1, on a port
	// that stays theirs, since executors look for them there.
	Agents []AgentConfig

	HeartbeatInterval  time.Duration // 15 s; events to schedulers
	AllocationInterval time.Duration // 1 s; between rounds of offers
	OfferTimeout       time.Duration // none; when set, offers are rescinded after it
	DefaultFilter      time.Duration // 5 s; refuse_seconds when it is not given

	AgentPingTimeout     time.Duration // 15 s
	MaxAgentPingTimeouts int           // 5; after so many the agent is unreachable

	UpdateRetryInterval    time.Duration // 10 s, doubled at each repetition
	UpdateRetryIntervalMax time.Duration // 10 min

	ExecutorRegistrationTimeout   time.Duration // 1 min
	ExecutorReregistrationTimeout time.Duration // 2 s, after an agent's start
	ExecutorShutdownGracePeriod   time.Duration // 5 s
	ExecutorHeartbeatInterval     time.Duration // 30 min; events to executors
	RecoveryTimeout               time.Duration // 15 min; told to executors
	SubscriptionBackoffMax        time.Duration // 2 s; told to executors

	// Secret is asked of everybody who calls the master or an agent, by HTTP basic
	// authentication under any name; executors are given tokens made from it. See
	// the function Secret. Nobody is asked when it is empty.
	Secret string
	// FrameworkAuth asks schedulers for HTTP basic authentication; it maps
	// principals to their secrets. Nobody is asked when it is nil.
	FrameworkAuth map[string]string
	// OperatorAuth does the same for the operator API of the master.
	OperatorAuth map[string]string
}

func (c Config) withDefaults() Config {
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:0")
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, 15*time.Second)
	c.AllocationInterval = cmp.Or(c.AllocationInterval, time.Second)
	c.DefaultFilter = cmp.Or(c.DefaultFilter, 5*time.Second)
	c.AgentPingTimeout = cmp.Or(c.AgentPingTimeout, 15*time.Second)
	c.MaxAgentPingTimeouts = cmp.Or(c.MaxAgentPingTimeouts, 5)
	c.UpdateRetryInterval = cmp.Or(c.UpdateRetryInterval, 10*time.Second)
	c.UpdateRetryIntervalMax = cmp.Or(c.UpdateRetryIntervalMax, 10*time.Minute)
	c.ExecutorRegistrationTimeout = cmp.Or(c.ExecutorRegistrationTimeout, time.Minute)
	c.ExecutorReregistrationTimeout = cmp.Or(c.ExecutorReregistrationTimeout, 2*time.Second)
	c.ExecutorShutdownGracePeriod = cmp.Or(c.ExecutorShutdownGracePeriod, 5*time.Second)
	c.ExecutorHeartbeatInterval = cmp.Or(c.ExecutorHeartbeatInterval, 30*time.Minute)
	c.RecoveryTimeout = cmp.Or(c.RecoveryTimeout, 15*time.Minute)
	c.SubscriptionBackoffMax = cmp.Or(c.SubscriptionBackoffMax, 2*time.Second)
	return c
}

func (c Config) validate() error {
	if c.Dir == "" {
		return errors.New("Dir is not set: it must name the directory for state and sandboxes")
	}
	names := map[string]bool{}
	for _, a := range c.Agents {
		if problem := invalidID(a.Name); problem != "" {
			return fmt.Errorf("agent name: %s", problem)
		}
		if names[a.Name] {
			return fmt.Errorf("two agents are called %q", a.Name)
		}
		names[a.Name] = true
		if _, err := a.resources(); err != nil {
			return fmt.Errorf("agent %s: %w", a.Name, err)
		}
	}
	return nil
}

func (a AgentConfig) hostname() string { return cmp.Or(a.Hostname, a.Name) }

// resources are what the agent has when nothing is reserved.
func (a AgentConfig) resources() (resources.List, error) {
	list := resources.List{}.Plus(
		resources.NewScalar("cpus", a.CPUs), resources.NewScalar("mem", a.MemMB), resources.NewScalar("disk", a.DiskMB))
	if a.Ports != "" {
		ports, err := resources.ParsePorts(a.Ports)
		if err != nil {
			return nil, err
		}
		list = list.Plus(resources.NewRanges("ports", ports...))
	}
	for _, name := range sortedKeys(a.Scalars) {
		list = list.Plus(resources.NewScalar(name, a.Scalars[name]))
	}
	return list, nil
}

func (a AgentConfig) attributes() []mesos.Attribute {
	var out []mesos.Attribute
	for _, name := range sortedKeys(a.Attributes) {
		out = append(out, mesos.Attribute{Name: name, Type: mesos.TEXT, Text: &mesos.Value_Text{Value: a.Attributes[name]}})
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
