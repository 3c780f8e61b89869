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
	"github.com/aosc/aosc/internal/cotton/backup"
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

	Keys *cotton.Keyring // the scheduler's admin keys
	// Backups is where backups are kept, in the same place for the scheduler and all agents; nil = there are none.
	Backups backup.Store
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
	Cooldown      time.Duration // 30 s; after a failover, in which there is no other. Negative: none
	// Timing is what the executors go by, too; cotton.DefaultTiming.
	Timing cotton.Timing
	// ReplaceAfter is how long a member may be down, or out of sight, before another takes its place; 10 min. Negative: never
	// by itself.
	ReplaceAfter time.Duration
	CloneMB      int64 // 256; see cotton.Limits. Negative: only when the primary has purged

	Log     *slog.Logger          // slog's
	Metrics prometheus.Registerer // none
}

// Command is how an agent starts an executor.
type Command struct {
	// Value is run by the shell, in the sandbox.
	Value string
	URIs  []string // fetched into the sandbox first: archives are unpacked there, anything else is made executable
	// Env is added to the environment; nothing secret: Mesos shows it to everybody.
	Env map[string]string
}

func (c *Config) complete() error {
	for what, missing := range map[string]bool{
		"a store": c.Store == nil, "a publisher": c.Publisher == nil, "a Mesos master": c.Master == nil, "an admin key": c.Keys == nil,
		"the path of the admin key on agents": c.AdminKeyfile == "", "an executor command": c.Executor.Value == "", "a user": c.User == "",
	} {
		if missing {
			return fmt.Errorf("cotton framework: %s is needed", what)
		}
	}
	c.ReplaceAfter = max(cmp.Or(c.ReplaceAfter, 10*time.Minute), -1)
	c.Cooldown = max(cmp.Or(c.Cooldown, 30*time.Second), -1)
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
	c.Timing = cmp.Or(c.Timing, cotton.DefaultTiming())
	if err := c.Timing.Validate(); err != nil {
		return fmt.Errorf("cotton framework: %w", err)
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
	faultFailover  = fault.Register("cotton.failover.stored", "a failover is stored, nothing is stopped yet")
	faultFreeze    = fault.Register("cotton.failover.freeze", "a replica's receiver is about to be stopped")
	faultFenced    = fault.Register("cotton.failover.fenced", "the executor of a member that must not be open was told to close it")
	faultElected   = fault.Register("cotton.failover.elected", "the next primary is elected and stored, it has not applied all yet")
	faultDrained   = fault.Register("cotton.failover.drained", "the elected one has applied all that it received, which is not stored")
	faultSwitch    = fault.Register("cotton.switchover.stored", "a switchover is stored, the primary is still open")
	faultDemoted   = fault.Register("cotton.switchover.demoted", "the primary is closed for its successor")
	faultCaughtUp  = fault.Register("cotton.switchover.caughtup", "the target has all of the closed primary, which is not stored")
	faultPromoted  = fault.Register("cotton.promote.stored", "the new primary is stored, it is closed still")
	faultReset     = fault.Register("cotton.promote.reset", "the new primary is no replica any more, and closed still")
	faultOpen      = fault.Register("cotton.open.before", "the primary is about to be opened")
	faultOpened    = fault.Register("cotton.open.after", "the primary is open, clients are not told yet")
	faultFollow    = fault.Register("cotton.follow.before", "a member's receiver is stopped, it has no new source yet")
	faultTakenBack = fault.Register("cotton.change.takenback", "a change of primary is taken back, the old one is closed still")
	faultFinished  = fault.Register("cotton.change.finished", "a change of primary is over and stored")
	faultRelieved  = fault.Register("cotton.relieve.stored", "a member is relieved, its data are not replaced yet")
	faultClone     = fault.Register("cotton.clone.before", "a member's data are about to be replaced")
	faultCloned    = fault.Register("cotton.clone.copied", "CLONE has returned, the member's server is not back yet")
	faultRestarted = fault.Register("cotton.clone.restarted", "a cloned server is back, with the replication settings of its donor")
	faultReclaimed = fault.Register("cotton.delete.reclaimed", "DESTROY and UNRESERVE of a member are sent, nothing is known of them")
	faultForgotten = fault.Register("cotton.delete.forget", "all members are forgotten, the cluster is not yet")
	faultHidden    = fault.Register("cotton.delete.unpublished", "clients know nothing of the cluster any more, its record is still there")
)
