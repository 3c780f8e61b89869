package conformance

import (
	"os"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mesos/mini"
	"github.com/aosc/aosc/internal/mesos/mini/minitest"
)

func TestMain(m *testing.M) {
	minitest.MaybeExecutor()
	os.Exit(m.Run())
}

// replays are the excerpts and the times that each needs.
var replays = map[string]func(*mini.Config){
	"01-subscribe": nil,
	// What a negative time does must not end together with what 0 does.
	"03-decline":  func(c *mini.Config) { c.DefaultFilter = time.Second },
	"04-suppress": nil,
	// Offers must come after a task has taken its 0.3 s to end.
	"05-volume":             func(c *mini.Config) { c.AllocationInterval = time.Second },
	"12-launch":             nil,
	"18-invalid-launches":   nil,
	"19-invalid-operations": nil,
	"20-scheduler-http":     nil,
	"21-subscribe-errors":   nil,
	"22-failover":           func(c *mini.Config) { c.UpdateRetryInterval = time.Minute },
	"24-expired":            nil,
	"26-agent-killed":       func(c *mini.Config) { c.AgentPingTimeout = 300 * time.Millisecond },
	"28-maintenance":        nil,
	"29-agent-restart":      func(c *mini.Config) { c.AgentPingTimeout = time.Minute },
	"31-executor-dies":      func(c *mini.Config) { c.AgentPingTimeout = time.Minute },
	"32-teardown":           nil,
	"33-operator-reads":     nil,
	"35-operator-errors":    nil,
	"37-gone":               nil,
	"38-agent-leaves":       nil,
	"39-offer-timeout":      func(c *mini.Config) { c.OfferTimeout = 250 * time.Millisecond },
	"40-old-style":          func(c *mini.Config) { c.AllocationInterval = 500 * time.Millisecond },
	"41-update-framework":   nil,
	"42-executor-http":      nil,
	"43-executor-lost":      nil,
	"44-early":              func(c *mini.Config) { c.ExecutorRegistrationTimeout = 1500 * time.Millisecond },
	"47-redirect":           nil,
	// A task must come to run before the default ends.
	"48-accept-filter": func(c *mini.Config) { c.DefaultFilter = 3 * time.Second },
}

// TestConformance replays every excerpt and makes every check, and holds
// docs/mesos-conformance.md to what it found.
func TestConformance(t *testing.T) {
	var mu sync.Mutex
	passed := map[string]bool{}
	t.Run("all", func(t *testing.T) {
		run := func(name string, f func(*testing.T)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				t.Cleanup(func() {
					mu.Lock()
					defer mu.Unlock()
					passed[name] = !t.Failed()
				})
				f(t)
			})
		}
		for name, change := range replays {
			run(name, func(t *testing.T) { replay(t, name, change) })
		}
		for name, check := range checks {
			run(name, check)
		}
	})
	holdDocument(t, passed)
}
