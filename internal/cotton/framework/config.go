package framework

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/discovery"
	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/fault"
	client "github.com/aosc/aosc/internal/mesos"
)

// Config of a framework. Durations that are zero are as said.
type Config struct {
	Store     store.Store
	Publisher discovery.Publisher
	Master    *client.Detector
	// Holder names this process in the store's lock.
	Holder string

	User      string // that executors run as; required
	Name      string // of the framework; cotton
	Role      string // cotton. All reservations are made for it.
	Principal string // cotton
	Secret    string // of the principal; no authentication when empty
	// FailoverTimeout is how long Mesos keeps everything running without a scheduler; 14 days.
	FailoverTimeout time.Duration

	Key cotton.AdminKey
	// AdminKeyfile is where the key lies on every agent.
	AdminKeyfile string
	Executor     Command

	Tick          time.Duration // 1 s; between two looks at a cluster
	ProbeTimeout  time.Duration // 1 s; for the answers of one server
	ActTimeout    time.Duration // 5 s; for one step at a server
	LaunchTimeout time.Duration // 1 min without any status after a launch: ask what became of it
	KillEvery     time.Duration // 5 s; kills are repeated until the task is over
	KillGrace     time.Duration // 1 min; for mysqld to stop in good order
	Refuse        time.Duration // 5 s; for how long an offer that does not serve is declined
	Quarantine    time.Duration // 10 min; for which reservations that nobody claims are left alone
	CloneMB       int64         // 256; see cotton.Limits. Negative: only when the primary has purged

	Log     *slog.Logger          // slog's
	Metrics prometheus.Registerer // none
}

// Command is how an agent starts an executor.
type Command struct {
	// Value is run by the shell, in the sandbox.
	Value string
	URIs  []string // fetched into the sandbox first; executable
	// Env is added to the environment; nothing secret: Mesos shows it to everybody.
	Env map[string]string
}

func (c *Config) complete() error {
	for what, missing := range map[string]bool{
		"a store": c.Store == nil, "a publisher": c.Publisher == nil, "a Mesos master": c.Master == nil, "an admin key": len(c.Key) == 0,
		"the path of the admin key on agents": c.AdminKeyfile == "", "an executor command": c.Executor.Value == "", "a user": c.User == "",
	} {
		if missing {
			return fmt.Errorf("cotton framework: %s is needed", what)
		}
	}
	for d, least := range map[*time.Duration]time.Duration{
		&c.FailoverTimeout: 14 * 24 * time.Hour, &c.Tick: time.Second, &c.ProbeTimeout: time.Second, &c.ActTimeout: 5 * time.Second,
		&c.LaunchTimeout: time.Minute, &c.KillEvery: 5 * time.Second, &c.KillGrace: time.Minute, &c.Refuse: 5 * time.Second,
		&c.Quarantine: 10 * time.Minute,
	} {
		if *d < 0 {
			return errors.New("cotton framework: a duration is negative")
		}
		*d = cmp.Or(*d, least)
	}
	c.CloneMB = cmp.Or(c.CloneMB, 256)
	c.Name, c.Role, c.Principal = cmp.Or(c.Name, "cotton"), cmp.Or(c.Role, "cotton"), cmp.Or(c.Principal, "cotton")
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return nil
}

// info is how the framework is known to Mesos (R3). The id comes from the store.
func (c *Config) info(id string) mesos.FrameworkInfo {
	info := mesos.FrameworkInfo{
		User: c.User, Name: c.Name, Roles: []string{c.Role}, Principal: ptr(c.Principal),
		Checkpoint: ptr(true), FailoverTimeout: ptr(c.FailoverTimeout.Seconds()),
	}
	for _, t := range []mesos.FrameworkInfo_Capability_Type{
		mesos.FrameworkInfo_Capability_MULTI_ROLE, mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT,
		mesos.FrameworkInfo_Capability_PARTITION_AWARE, mesos.FrameworkInfo_Capability_TASK_KILLING_STATE,
	} {
		info.Capabilities = append(info.Capabilities, mesos.FrameworkInfo_Capability{Type: t})
	}
	if id != "" {
		info.ID = &mesos.FrameworkID{Value: id}
	}
	return info
}

func ptr[T any](v T) *T { return &v }

// Fault points: between any two steps that must not be torn apart.
var (
	faultStored    = fault.Register("cotton.store.written", "a launch is stored, ACCEPT is not sent yet (I9)")
	faultAccepted  = fault.Register("cotton.accept.sent", "ACCEPT is sent, no status has come")
	faultStatus    = fault.Register("cotton.status.stored", "a status is stored, not acknowledged yet (I9)")
	faultPrimary   = fault.Register("cotton.primary.stored", "a primary is chosen and stored, still closed for writes")
	faultPublish   = fault.Register("cotton.publish.before", "what clients are told changed, and is not published yet (I10)")
	faultDelete    = fault.Register("cotton.delete.stored", "a cluster is marked as being deleted, nothing is killed yet")
	faultKilled    = fault.Register("cotton.delete.killed", "a task of a cluster being deleted was asked to end")
	faultReleased  = fault.Register("cotton.delete.released", "volume and reservation of a member were given back, the member is not forgotten yet")
	faultForgotten = fault.Register("cotton.delete.forget", "all members are forgotten, the cluster is not yet")
)
