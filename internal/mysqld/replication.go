package mysqld

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/aosc/aosc/internal/mysql"
)

// ReplicaOptions say how a replica follows. It holds after a Restart, too.
type ReplicaOptions struct {
	// SemiSync makes the primary wait for this replica to have received a commit before it tells the client.
	SemiSync bool
	// SemiSyncTimeout is how long the primary waits before it goes on without; 0 = as good as for ever.
	SemiSyncTimeout time.Duration
	// SuperReadOnly refuses writes of everyone; without it the replica is read_only, which root may pass.
	SuperReadOnly bool
}

// SetupReplica makes a server follow another by GTID auto-position, read-only, and returns when it is connected. What
// the replica holds already must be part of what the primary has, as it is of two new servers.
func SetupReplica(ctx context.Context, replica, primary *Server, o ReplicaOptions) error {
	if err := setupReplica(ctx, replica, primary, o); err != nil {
		return fmt.Errorf("make %s a replica of %s: %w", replica.addr, primary.addr, err)
	}
	return nil
}

func setupReplica(ctx context.Context, replica, primary *Server, o ReplicaOptions) error {
	if o.SemiSync {
		err := mysql.SetSemiSyncSource(ctx, primary.db, primary.Version(), mysql.SemiSyncSource{Enabled: true, Timeout: o.SemiSyncTimeout})
		if err != nil {
			return err
		}
		if err := mysql.SetSemiSyncReplica(ctx, replica.db, replica.Version(), true); err != nil {
			return err
		}
	}
	err := mysql.ChangeSource(ctx, replica.db, mysql.SourceOptions{
		Addr: primary.addr, User: primary.Credentials().User, ConnectRetry: time.Second, RetryCount: 1_000_000,
	})
	if err != nil {
		return err
	}
	if err := mysql.StartReplica(ctx, replica.db); err != nil {
		return err
	}
	setReadOnly := mysql.SetReadOnly
	if o.SuperReadOnly {
		setReadOnly = mysql.SetSuperReadOnly
	}
	if err := setReadOnly(ctx, replica.db, true); err != nil {
		return err
	}
	o.persist(replica, primary)
	return awaitReceiving(ctx, replica)
}

// persist writes the settings to both servers' my.cnf, for their next starts. Semi-synchronous replication has other
// names before 8.0.26; loose_ makes a server pass over those it does not know.
func (o ReplicaOptions) persist(replica, primary *Server) {
	replica.Configure("read_only", "ON")
	if o.SuperReadOnly {
		replica.Configure("super_read_only", "ON")
	}
	if !o.SemiSync {
		return
	}
	timeout := "4294967295" // the longest there is, as SetSemiSyncSource has it
	if o.SemiSyncTimeout > 0 {
		timeout = strconv.FormatInt(o.SemiSyncTimeout.Milliseconds(), 10)
	}
	for _, prefix := range []string{"loose_rpl_semi_sync_source_", "loose_rpl_semi_sync_master_"} {
		primary.Configure(prefix+"enabled", "ON")
		primary.Configure(prefix+"timeout", timeout)
	}
	for _, prefix := range []string{"loose_rpl_semi_sync_replica_", "loose_rpl_semi_sync_slave_"} {
		replica.Configure(prefix+"enabled", "ON")
	}
}

func awaitReceiving(ctx context.Context, replica *Server) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := mysql.ReadReplicaStatus(ctx, replica.db)
		if err != nil {
			return err
		}
		if status == nil {
			return errors.New("the server says that it is no replica")
		}
		if status.Receiving() && status.SQLRunning == "Yes" {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("replication does not run: %w; receiver %s %s, applier %s %s", context.Cause(ctx),
				status.IORunning, status.IOError, status.SQLRunning, status.SQLError)
		}
	}
}

// Cluster is a primary and its replicas.
type Cluster struct {
	Primary  *Server
	Replicas []*Server
}

// ClusterOptions say what cluster to start.
type ClusterOptions struct {
	Replicas int
	Replica  ReplicaOptions
	// Server gives the options of each member, 0 being the primary; nil = the zero Options.
	Server func(member int) Options
}

// StartCluster starts a primary and replicas that follow it. On failure all are removed.
func StartCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	members := make([]*Server, o.Replicas+1)
	starts, startCtx := errgroup.WithContext(ctx)
	for i := range members {
		starts.Go(func() (err error) {
			options := Options{}
			if o.Server != nil {
				options = o.Server(i)
			}
			members[i], err = Start(startCtx, options)
			return err
		})
	}
	err := starts.Wait()
	if err == nil {
		for _, replica := range members[1:] {
			err = errors.Join(err, SetupReplica(ctx, replica, members[0], o.Replica))
		}
	}
	if err != nil {
		for _, s := range members {
			if s != nil {
				err = errors.Join(err, s.Remove())
			}
		}
		return nil, err
	}
	return &Cluster{Primary: members[0], Replicas: members[1:]}, nil
}

// Servers are all members, the primary first.
func (c *Cluster) Servers() []*Server { return append([]*Server{c.Primary}, c.Replicas...) }

// Stop stops the replicas, then the primary, in good order.
func (c *Cluster) Stop(ctx context.Context) error {
	var stops errgroup.Group
	for _, s := range c.Replicas {
		stops.Go(func() error { return s.Stop(ctx) })
	}
	return errors.Join(stops.Wait(), c.Primary.Stop(ctx))
}

// Remove removes every member, see Server.Remove.
func (c *Cluster) Remove() error {
	var errs []error
	for _, s := range c.Servers() {
		errs = append(errs, s.Remove())
	}
	return errors.Join(errs...)
}

// Sync returns when every replica has applied all that the primary had committed at the time of the call.
func (c *Cluster) Sync(ctx context.Context) error {
	for _, replica := range c.Replicas {
		if err := mysql.CatchUp(ctx, replica.db, c.Primary.db, startLimit); err != nil {
			return fmt.Errorf("wait for %s to catch up with %s: %w", replica.addr, c.Primary.addr, err)
		}
	}
	return nil
}

// ErrantGTIDs are those of each replica, see mysql.ErrantGTIDs; replicas without any are left out (I7).
func (c *Cluster) ErrantGTIDs(ctx context.Context) (map[mysql.Addr]string, error) {
	errant := map[mysql.Addr]string{}
	for _, replica := range c.Replicas {
		set, err := mysql.ErrantGTIDs(ctx, replica.db, c.Primary.db)
		if err != nil {
			return nil, fmt.Errorf("compare GTIDs of %s with %s: %w", replica.addr, c.Primary.addr, err)
		}
		if !set.Empty() {
			errant[replica.addr] = set.String()
		}
	}
	return errant, nil
}
