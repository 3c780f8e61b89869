package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/aosc/aosc/internal/process"
)

// daemons are the five processes of the pipeline. They die with the demo, however it ends.
type daemons struct {
	env      []string
	running  []*process.Process
	watchers sync.WaitGroup
	stopping chan struct{}
	// died gets the first daemon that ended before stop.
	died chan error
}

// daemonNames in the order in which data flows through them.
var daemonNames = []string{"checksum", "brain", "collector", "scheduler", "oscworker"}

// startDaemons starts the five as an operator would: one configuration in the environment, a log file each.
func startDaemons(bin, dir string, r *room, repo string) (*daemons, error) {
	d := &daemons{
		died:     make(chan error, len(daemonNames)),
		stopping: make(chan struct{}),
		env: []string{
			"AOSC_AOSCDB_DSN=" + r.dsn(),
			"AOSC_SCHEMAS_REPO=" + repo,
			"AOSC_INVENTORY=" + r.inventory(),
			"AOSC_MYSQL_USER=" + account,
			"AOSC_MYSQL_PASSWORD_FILE=" + r.passwordPath(),
			"AOSC_MYSQL_TLS=required", // by what cotton says
			"AOSC_AOSCDB_CA_FILE=" + r.caPath(),
		},
	}
	for _, name := range daemonNames {
		if err := d.start(filepath.Join(bin, name), filepath.Join(dir, name+".log"), daemonFlags(name)...); err != nil {
			return nil, errors.Join(fmt.Errorf("start %s: %w (is it built? `make build`)", name, err), d.stop(context.Background()))
		}
	}
	return d, nil
}

// daemonFlags are the settings in which the demo is less patient than production.
func daemonFlags(name string) []string {
	if name == "oscworker" {
		// Small chunks: a copy lasts long enough to be watched, and to have its primary killed.
		return []string{"--oscworker-retention=0s", "--oscworker-clean-interval=1s", "--oscworker-chunk-size=100"}
	}
	return nil
}

func (d *daemons) start(path, logPath string, args ...string) error {
	log, err := os.Create(logPath)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(path, args...)
	cmd.Env = append(environment(), d.env...)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := process.Start(cmd)
	if err != nil {
		return err
	}
	d.running = append(d.running, p)
	d.watchers.Go(func() {
		select {
		case <-d.stopping:
		case <-p.Done():
			d.died <- fmt.Errorf("%s ended: %v; its log is %s", filepath.Base(path), p.Wait(), logPath)
		}
	})
	return nil
}

func (d *daemons) environment() []string { return d.env }

// stop asks the daemons to end, in reverse order, and waits for each; one that does not by the end of ctx is killed.
func (d *daemons) stop(ctx context.Context) error {
	close(d.stopping)
	d.watchers.Wait()
	var errs []error
	for i := len(d.running) - 1; i >= 0; i-- {
		errs = append(errs, d.running[i].Stop(ctx))
	}
	return errors.Join(errs...)
}
