// Package checksum is the daemon that keeps aosc_local_status and checksum_passes true: for every database of the
// instances it serves, which of the tier's tables have the desired form. What one pass over one instance does is
// internal/status; this package decides which instance is due, and when.
//
// An instance is due by its interval, for a new head commit, and when somebody asked (a row of wakeups for its tier or
// for itself). Each instance has its own pace: one that hangs delays nobody else.
package checksum

import (
	"errors"
	"time"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/internal/daemon"
)

// Config is the pace of the checksum.
type Config struct {
	Interval      time.Duration // from the end of a good pass over an instance to the next
	Retry         time.Duration // from the end of a failed one
	FreshInterval time.Duration // from the begin of a pass without cached hashes to the next such pass
	Timeout       time.Duration // of one pass over one instance
	Parallel      int           // instances at once
}

// Keys are the configuration keys of Config.
func Keys() []daemon.Key {
	return []daemon.Key{
		{Name: "checksum.interval", Default: time.Minute, Check: daemon.AtLeast("checksum.interval", time.Second),
			Help: "from one checksum of an instance to the next when nothing calls for one"},
		{Name: "checksum.retry", Default: 10 * time.Second, Check: daemon.AtLeast("checksum.retry", time.Second),
			Help: "from a failed checksum of an instance to the next try"},
		{Name: "checksum.fresh-interval", Default: 24 * time.Hour, Check: daemon.AtLeast("checksum.fresh-interval", time.Minute),
			Help: "how often every table of an instance is read, changed or not"},
		{Name: "checksum.timeout", Default: 10 * time.Minute, Check: daemon.AtLeast("checksum.timeout", 10*time.Second),
			Help: "until a checksum of one instance is given up"},
		{Name: "checksum.parallel", Default: 16, Unit: "instances", Check: daemon.AtLeast("checksum.parallel", 1),
			Help: "how many instances are checksummed at once"},
	}
}

// CheckKeys relates the keys to each other.
func CheckKeys(v *viper.Viper) error {
	if v.GetDuration("checksum.fresh-interval") < v.GetDuration("checksum.interval") {
		return errors.New("checksum.fresh-interval is shorter than checksum.interval: every checksum would read every table")
	}
	return nil
}

// NewConfig reads the keys.
func NewConfig(v *viper.Viper) Config {
	return Config{
		Interval:      v.GetDuration("checksum.interval"),
		Retry:         v.GetDuration("checksum.retry"),
		FreshInterval: v.GetDuration("checksum.fresh-interval"),
		Timeout:       v.GetDuration("checksum.timeout"),
		Parallel:      v.GetInt("checksum.parallel"),
	}
}
