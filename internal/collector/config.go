// Package collector is the daemon that asks every instance of a tier which tables are not as desired, and keeps
// alter_targets, the view of each alter and the verdict in current_alters.
//
// It gathers a snapshot (gather.go), decides (judge.go, decide.go, pure) and records what it found in one transaction as
// the leader. An instance that does not answer, or was not checksummed since the alter was pinned, is unknown: it
// is never counted as OK (I11).
package collector

import (
	"fmt"
	"time"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/internal/daemon"
)

// LeaseName is the lease of which one collector at a time acts.
const LeaseName = "collector"

// Config is the pace of the collector.
type Config struct {
	Interval time.Duration // from one look to the next when nothing calls for one
	Timeout  time.Duration // until an instance that does not answer is unknown to a look
	LeaseTTL time.Duration
	FanOut   int // instances asked at once
}

// Keys are the configuration keys of Config; fanout is one of wiring's.
func Keys() []daemon.Key {
	return []daemon.Key{
		{Name: "collector.interval", Default: 5 * time.Second, Check: daemon.AtLeast("collector.interval", 100*time.Millisecond),
			Help: "from one look at the instances to the next when nothing calls for one"},
		{Name: "collector.timeout", Default: 3 * time.Second, Check: daemon.AtLeast("collector.timeout", 100*time.Millisecond),
			Help: "until an instance that does not answer is unknown to this look"},
		{Name: "collector.lease-ttl", Default: 15 * time.Second, Check: daemon.AtLeast("collector.lease-ttl", time.Second),
			Help: "a standby takes over this long after the leader died"},
	}
}

// CheckKeys relates the keys to each other.
func CheckKeys(v *viper.Viper) error {
	timeout, ttl := v.GetDuration("collector.timeout"), v.GetDuration("collector.lease-ttl")
	if timeout > ttl {
		return fmt.Errorf("collector.timeout (%s) is longer than collector.lease-ttl (%s): one hung instance would outlast the lease", timeout, ttl)
	}
	return nil
}

// NewConfig reads the keys.
func NewConfig(v *viper.Viper) Config {
	return Config{
		Interval: v.GetDuration("collector.interval"),
		Timeout:  v.GetDuration("collector.timeout"),
		LeaseTTL: v.GetDuration("collector.lease-ttl"),
		FanOut:   v.GetInt("fanout"),
	}
}
