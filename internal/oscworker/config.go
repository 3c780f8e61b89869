// Package oscworker is the daemon that alters tables. It takes what the scheduler queued in aosc_osc_ww of the instances
// it serves, works out which databases need it, runs internal/osc for each, obeys osc_priv while it works, and reports.
//
// What it must never do, and how it does not:
//
//   - begin what is not permitted, or is not counted in the tier's limits (I3, I6): it turns the row of running_alters from
//     READY to RUNNING before it touches a table, see aoscdb.Store.Claim;
//   - work beside another worker (I3): it holds a named lock on the instance for as long as it works, checked every
//     second, and gives up when that is lost;
//   - act on what a crashed worker left as if it were its own (I8): a row RUNNING whose lock is free is taken over with a
//     compare-and-swap, leftovers are cleaned first, and every plan is made anew from what the server says;
//   - alter out of order: what the order in the cluster demands of the other members is read from them, see turn.
package oscworker

import (
	"errors"
	"time"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/osc/pace"
)

// Config is the pace of the worker and how it alters.
type Config struct {
	Poll      time.Duration // between two looks at what is queued
	Control   time.Duration // between two looks at osc_priv while altering
	Report    time.Duration // between two reports of progress
	Clean     time.Duration // between two clean-ups
	Rest      time.Duration // for an instance whose alter could not be begun just now
	StopGrace time.Duration // for a copy to end cleanly when the daemon is stopped
	StopFile  string        // names instances the operator stopped at this machine
	Timeout   time.Duration // of one question to an instance
	FanOut    int

	Retention       time.Duration // of the old table of a copy
	MaxLag          time.Duration
	ChunkSize       int
	LockWaitTimeout time.Duration
	LockRetries     int
}

// limits are those of a tier; where it says nothing of lag, this worker's.
func (c Config) limits(t aoscdb.Tier) pace.Limits {
	l := pace.Limits{Lag: time.Duration(t.MaxLagMS) * time.Millisecond, Threads: t.MaxThreadsRunning,
		Commit: time.Duration(t.MaxCommitMS) * time.Millisecond, History: t.MaxHistoryList, RedoPct: t.MaxRedoAgePct}
	if l.Lag == 0 {
		l.Lag = c.MaxLag
	}
	return l
}

// Keys are the configuration keys of Config, besides those of wiring.
func Keys() []daemon.Key {
	return []daemon.Key{
		{Name: "oscworker.poll", Default: 500 * time.Millisecond, Check: daemon.AtLeast("oscworker.poll", 50*time.Millisecond),
			Help: "from one look at what is queued to the next"},
		// gh-ost itself looks once a second whether it was told to rest: half of the two seconds for obeying are gone then.
		{Name: "oscworker.control", Default: 250 * time.Millisecond, Check: daemon.AtLeast("oscworker.control", 50*time.Millisecond),
			Help: "from one look at osc_priv to the next while altering; at most 500ms"},
		{Name: "oscworker.report", Default: time.Second, Check: daemon.AtLeast("oscworker.report", 100*time.Millisecond),
			Help: "from one report of progress to the next"},
		{Name: "oscworker.clean-interval", Default: time.Minute, Check: daemon.AtLeast("oscworker.clean-interval", time.Second),
			Help: "from one clean-up of leftovers to the next"},
		{Name: "oscworker.rest", Default: 5 * time.Second, Check: daemon.AtLeast("oscworker.rest", 100*time.Millisecond),
			Help: "how long an instance is left alone whose alter could not be begun just now"},
		{Name: "oscworker.stop-grace", Default: 20 * time.Second, Check: daemon.AtLeast("oscworker.stop-grace", time.Second),
			Help: "how long a copy may take to end cleanly when this daemon is stopped; what is left after that is cleaned at the next start"},
		{Name: "oscworker.stop-file", Default: "/run/aosc/stop",
			Help: "a file of host:port lines (* = all): what runs there is stopped, and nothing is begun, also while aoscdb is away"},
		{Name: "oscworker.retention", Default: 24 * time.Hour, Check: daemon.AtLeast("oscworker.retention", time.Duration(0)),
			Help: "how long the old table of a copy is kept, as _<table>_del, before it is dropped in small steps; 0 = not at all"},
		{Name: "oscworker.max-lag", Default: osc.DefaultMaxLag, Check: daemon.AtLeast("oscworker.max-lag", 100*time.Millisecond),
			Help: "a copy pauses while a replica lags more, in tiers whose max_lag_ms is 0"},
		{Name: "oscworker.chunk-size", Default: osc.DefaultChunkSize, Unit: "rows", Check: daemon.AtLeast("oscworker.chunk-size", 10),
			Help: "rows per step of a copy and of its verification"},
		{Name: "oscworker.lock-wait-timeout", Default: osc.DefaultLockWaitTimeout, Check: daemon.AtLeast("oscworker.lock-wait-timeout", time.Second),
			Help: "how long one attempt at an ALTER may wait for its lock, with every query on the table waiting behind it; at most 3s"},
		{Name: "oscworker.lock-retries", Default: osc.DefaultRetries, Unit: "attempts", Check: daemon.AtLeast("oscworker.lock-retries", 1),
			Help: "attempts at getting that lock"},
	}
}

// CheckKeys relates the keys to each other.
func CheckKeys(v *viper.Viper) error {
	switch {
	case v.GetDuration("oscworker.control") > 500*time.Millisecond:
		return errors.New("oscworker.control is longer than 500ms: osc_priv must be obeyed within 2s, and gh-ost takes more than one of them")
	case v.GetDuration("oscworker.lock-wait-timeout") > 3*time.Second:
		return errors.New("oscworker.lock-wait-timeout is longer than 3s: for so long the application's queries would wait")
	}
	return nil
}

// NewConfig reads the keys, and connect-timeout and fanout of wiring.
func NewConfig(v *viper.Viper) Config {
	return Config{
		Poll:            v.GetDuration("oscworker.poll"),
		Control:         v.GetDuration("oscworker.control"),
		Report:          v.GetDuration("oscworker.report"),
		Clean:           v.GetDuration("oscworker.clean-interval"),
		Rest:            v.GetDuration("oscworker.rest"),
		StopGrace:       v.GetDuration("oscworker.stop-grace"),
		StopFile:        v.GetString("oscworker.stop-file"),
		Timeout:         v.GetDuration("connect-timeout"),
		FanOut:          v.GetInt("fanout"),
		Retention:       v.GetDuration("oscworker.retention"),
		MaxLag:          v.GetDuration("oscworker.max-lag"),
		ChunkSize:       v.GetInt("oscworker.chunk-size"),
		LockWaitTimeout: v.GetDuration("oscworker.lock-wait-timeout"),
		LockRetries:     v.GetInt("oscworker.lock-retries"),
	}
}
