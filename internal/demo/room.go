package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
	"github.com/aosc/aosc/internal/fleet/cottonapi"
	"github.com/aosc/aosc/internal/loopback"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/process"
)

const (
	// account is the user of all clusters, for the pipeline and the writers.
	account = "aosc"
	// agents of the embedded Mesos, in racks a, b and c: as many as a cluster has nodes, so each has a rack of its own.
	agents = 3
	// portsPerAgent: one instance of either cluster, aoscdb, and room for a relaunch elsewhere.
	portsPerAgent = 8
	// launchLimit is how long cotton and its clusters may take to come up, however slow the machine.
	launchLimit = 10 * time.Minute
)

// size of one instance; the demo's tables fit into its buffer pool.
var size = v1.Resources{CPUs: 0.5, MemMB: 768, DiskMB: 4096}

// config of the clusters under load. Durability is not for sale: cotton keeps it whatever this says.
var config = map[string]string{"innodb_redo_log_capacity": "256M"}

// room is the demo's machine room: cotton with an embedded Mesos, and the clusters that it launched.
type room struct {
	dir       string
	url       string // of cotton's API
	api       *client.Client
	scheduler *process.Process
	ports     []*loopback.Port // the API's and those of the agents
	pool      *mysql.Pool
	aoscdb    mysql.Addr
	clients   *cottonapi.Inventory // by which clients verify the servers
	clusters  []*cluster
}

// startRoom starts cotton as a process and launches the clusters through its API. What was started is in the room also
// when it fails.
func startRoom(ctx context.Context, bin, dir string) (r *room, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, launchLimit, fmt.Errorf("not up within %v", launchLimit))
	defer cancel()
	r = &room{dir: dir}
	if err := os.WriteFile(r.passwordPath(), []byte(rand.Text()+"\n"), 0o600); err != nil {
		return r, err
	}
	if err := r.startScheduler(ctx, bin); err != nil {
		return r, fmt.Errorf("start cotton: %w; its log is %s", err, r.logPath())
	}
	return r, r.launch(ctx)
}

func (r *room) logPath() string      { return filepath.Join(r.dir, "cotton.log") }
func (r *room) workDir() string      { return filepath.Join(r.dir, "cotton") }
func (r *room) mesosPath() string    { return filepath.Join(r.workDir(), "mesos") }
func (r *room) passwordPath() string { return filepath.Join(r.dir, "password") }
func (r *room) caPath() string       { return filepath.Join(r.dir, "aoscdb-ca.pem") }

// startScheduler starts `cotton scheduler` and waits until it takes requests.
func (r *room) startScheduler(ctx context.Context, bin string) error {
	port, err := loopback.Reserve()
	if err != nil {
		return err
	}
	r.ports = append(r.ports, port)
	block, err := loopback.ReserveBlock(agents * portsPerAgent)
	if err != nil {
		return err
	}
	r.ports = append(r.ports, block...)
	r.url = fmt.Sprintf("http://127.0.0.1:%d", port.Number)
	if r.api, err = client.New(client.Config{URLs: []string{r.url}, WorkDir: r.workDir()}); err != nil {
		return err
	}
	log, err := os.Create(r.logPath())
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(bin, "cotton"), "scheduler", fmt.Sprintf("--mesos=mini:%d", agents), "--mini-stop-tasks",
		"--kill-grace=30s", "--work-dir="+r.workDir(), fmt.Sprintf("--listen=127.0.0.1:%d", port.Number),
		fmt.Sprintf("--mini-ports=%d-%d", block[0].Number, block[len(block)-1].Number))
	cmd.Env, cmd.Stdout, cmd.Stderr = environment(), log, log
	if r.scheduler, err = process.Start(cmd); err != nil {
		return fmt.Errorf("%w (is it built? `make build`)", err)
	}
	return r.awaitReady(ctx)
}

// environment is ours without what would configure another fleet: a demo must not end up in somebody's ZooKeeper.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "COTTON_") || strings.HasPrefix(variable, "AOSC_") && !strings.HasPrefix(variable, "AOSC_TOOLS=")
	})
}

func (r *room) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		health, err := r.api.Health(ctx)
		if err == nil && health.Ready {
			return nil
		}
		select {
		case <-tick.C:
		case <-r.scheduler.Done():
			return fmt.Errorf("it ended: %w", r.scheduler.Wait())
		case <-ctx.Done():
			return fmt.Errorf("it is not ready: %w: %s %w", context.Cause(ctx), health.Problem, err)
		}
	}
}

// launch creates the three clusters at once and waits until each is whole.
func (r *room) launch(ctx context.Context) error {
	password, err := client.ReadSecret(r.passwordPath())
	if err != nil {
		return err
	}
	if r.clients, err = cottonapi.Open(r.inventory()); err != nil {
		return err
	}
	account := mysql.Credentials{User: account, Password: password, TLS: "required", Authority: r.clients.Authority}
	r.pool = mysql.NewPool(account, mysql.Options{})
	for _, name := range []string{"udb-1", "udb-2"} {
		c, err := newCluster(r, name, account)
		if err != nil {
			return err
		}
		r.clusters = append(r.clusters, c)
	}
	central := v1.Create{User: account.User, Password: password, Size: &v1.Size{Resources: size}}
	loaded := central
	loaded.Nodes, loaded.Config, loaded.Labels = agents, config, map[string]string{cottonapi.TierLabel: tierName}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		c, err := r.create(ctx, "aoscdb", central)
		if err == nil {
			r.aoscdb = mysql.Addr{Host: c.Endpoints.Primary.Host, Port: c.Endpoints.Primary.Port}
			err = os.WriteFile(r.caPath(), []byte(c.Endpoints.CA), 0o600)
		}
		return err
	})
	for _, c := range r.clusters {
		group.Go(func() error {
			_, err := r.create(ctx, c.name, loaded)
			return err
		})
	}
	return group.Wait()
}

func (r *room) create(ctx context.Context, name string, ask v1.Create) (v1.Cluster, error) {
	if _, err := r.api.Create(ctx, name, ask); err != nil {
		return v1.Cluster{}, fmt.Errorf("create cluster %s: %w", name, err)
	}
	return r.api.WaitRunning(ctx, name)
}

// inventory is the name under which the pipeline knows cotton's clusters.
func (r *room) inventory() string { return cottonapi.Prefix + r.url + "?databases=dbid%25" }

// dsn of the central tables.
func (r *room) dsn() string {
	c := r.pool.Credentials()
	return fmt.Sprintf("%s:%s@tcp(%s)/aoscdb", c.User, c.Password, r.aoscdb)
}

// stop ends cotton and all that runs on its Mesos. What does not end in good order is killed: nothing stays behind.
func (r *room) stop(ctx context.Context) error {
	var errs []error
	for _, c := range r.clusters {
		errs = append(errs, c.db.Close())
	}
	if r.pool != nil {
		errs = append(errs, r.pool.Close())
	}
	if r.scheduler != nil {
		errs = append(errs, r.scheduler.Stop(ctx), r.sweep())
	}
	if r.api != nil {
		r.api.Close()
	}
	for _, p := range r.ports {
		errs = append(errs, p.Release())
	}
	return errors.Join(errs...)
}
