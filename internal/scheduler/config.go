// Package scheduler is the daemon that decides which instance is altered next. It meets the others in the tables: it
// reads alter_targets, writes running_alters and the rows of aosc_osc_ww that workers take, and follows them to their end.
//
// Decide is pure: all rules (limits, replication order, what a failover or a crash left) are in it and in its tests.
// gather reads what it needs, actor carries out what it wants.
//
// Two rules keep limits true whatever crashes or hangs (I3, I8, I11). A row of running_alters exists before the
// instance is told anything, and stays until the instance is known to do nothing. And a worker begins only after it has
// turned the row from READY to RUNNING (aoscdb.Store.Claim), while the scheduler takes back only what is READY: so
// withdrawing needs no answer from the instance.
package scheduler

import (
	"errors"
	"time"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/internal/daemon"
)

// Config is the pace and patience of the scheduler.
type Config struct {
	Rules
	Interval time.Duration // between two passes when nothing calls for one and nothing runs
	Follow   time.Duration // between two looks at what runs
	LeaseTTL time.Duration
	Timeout  time.Duration // until an instance that does not answer counts as unknown
	Rest     time.Duration // for an instance on which a start failed
	FanOut   int           // instances asked at once
}

// Keys are the configuration keys of Config, besides those of wiring.
func Keys() []daemon.Key {
	return []daemon.Key{
		{Name: "scheduler.interval", Default: 10 * time.Second, Check: daemon.AtLeast("scheduler.interval", 100*time.Millisecond),
			Help: "from one pass to the next when nothing calls for one and nothing runs"},
		{Name: "scheduler.follow", Default: time.Second, Check: daemon.AtLeast("scheduler.follow", 100*time.Millisecond),
			Help: "from one look at the running alters to the next"},
		{Name: "scheduler.lease-ttl", Default: 10 * time.Second, Check: daemon.AtLeast("scheduler.lease-ttl", time.Second),
			Help: "how long a scheduler that died keeps others from taking over"},
		{Name: "scheduler.start-timeout", Default: 5 * time.Minute, Check: daemon.AtLeast("scheduler.start-timeout", time.Second),
			Help: "until an alter that no worker begins is withdrawn from its instance"},
		{Name: "scheduler.heartbeat-timeout", Default: 2 * time.Minute, Check: daemon.AtLeast("scheduler.heartbeat-timeout", 10*time.Second),
			Help: "until an alter without a sign of life is reported"},
		{Name: "scheduler.max-run-time", Default: 7 * 24 * time.Hour, Check: daemon.AtLeast("scheduler.max-run-time", time.Duration(0)),
			Help: "until an alter that is still running puts its table on HOLD; 0 = never"},
		{Name: "scheduler.retry-backoff", Default: 10 * time.Second, Check: daemon.AtLeast("scheduler.retry-backoff", 100*time.Millisecond),
			Help: "from a failed run to the second try, doubled for each further one"},
		{Name: "scheduler.retry-backoff-max", Default: 10 * time.Minute, Check: daemon.AtLeast("scheduler.retry-backoff-max", time.Second),
			Help: "the longest wait between two tries"},
		{Name: "scheduler.max-tries", Default: 5, Unit: "runs", Check: daemon.AtLeast("scheduler.max-tries", 1),
			Help: "runs on one instance until its table goes on HOLD"},
		{Name: "scheduler.rest", Default: 15 * time.Second, Check: daemon.AtLeast("scheduler.rest", 100*time.Millisecond),
			Help: "how long an instance is left alone after a start there failed or was withdrawn"},
	}
}

// CheckKeys relates the keys to each other.
func CheckKeys(v *viper.Viper) error {
	c := NewConfig(v)
	switch {
	case c.RetryBackoffMax < c.RetryBackoff:
		return errors.New("scheduler.retry-backoff-max is shorter than scheduler.retry-backoff")
	case c.HeartbeatTimeout < 5*c.Follow:
		return errors.New("scheduler.heartbeat-timeout is less than five times scheduler.follow: living workers would be reported as dead")
	}
	return nil
}

// NewConfig reads the keys, and connect-timeout and fanout of wiring.
func NewConfig(v *viper.Viper) Config {
	return Config{
		Rules: Rules{
			StartTimeout:     v.GetDuration("scheduler.start-timeout"),
			HeartbeatTimeout: v.GetDuration("scheduler.heartbeat-timeout"),
			MaxRunTime:       v.GetDuration("scheduler.max-run-time"),
			RetryBackoff:     v.GetDuration("scheduler.retry-backoff"),
			RetryBackoffMax:  v.GetDuration("scheduler.retry-backoff-max"),
			MaxTries:         v.GetInt("scheduler.max-tries"),
		},
		Interval: v.GetDuration("scheduler.interval"),
		Follow:   v.GetDuration("scheduler.follow"),
		LeaseTTL: v.GetDuration("scheduler.lease-ttl"),
		Timeout:  v.GetDuration("connect-timeout"),
		Rest:     v.GetDuration("scheduler.rest"),
		FanOut:   v.GetInt("fanout"),
	}
}
