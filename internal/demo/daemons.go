package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// daemons are the five processes of the pipeline.
type daemons struct {
	env     []string
	running []*exec.Cmd
	waiters sync.WaitGroup
	// died gets the first daemon that ended before stop.
	died     chan error
	mu       sync.Mutex
	stopping bool
}

// daemonNames in the order in which data flows through them.
var daemonNames = []string{"checksum", "brain", "collector", "scheduler", "oscworker"}

// startDaemons starts the five as an operator would: one configuration in the environment, a log file each.
func startDaemons(bin, dir string, fleet *servers, repo string) (*daemons, error) {
	d := &daemons{
		died: make(chan error, 1),
		env: []string{
			"AOSC_AOSCDB_DSN=" + fleet.aoscdbDSN(),
			"AOSC_SCHEMAS_REPO=" + repo,
			"AOSC_INVENTORY=" + fleet.inventoryPath(),
			"AOSC_MYSQL_USER=root",
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
		return []string{"--oscworker-retention=0s"}
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
	cmd.Env = append(os.Environ(), d.env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A Ctrl-C on the terminal is the demo's to handle: it stops them in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	d.running = append(d.running, cmd)
	d.waiters.Go(func() {
		err := cmd.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.stopping {
			select {
			case d.died <- fmt.Errorf("%s ended: %v; its log is %s", filepath.Base(path), err, logPath):
			default:
			}
		}
	})
	return nil
}

func (d *daemons) environment() []string { return d.env }

// stop asks the daemons to end and waits for them; those that do not by the end of ctx are killed.
func (d *daemons) stop(ctx context.Context) error {
	d.mu.Lock()
	d.stopping = true
	d.mu.Unlock()
	for _, cmd := range d.running {
		// The only error is that it has ended already.
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	ended := make(chan struct{})
	go func() { d.waiters.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		for _, cmd := range d.running {
			_ = cmd.Process.Kill()
		}
		<-ended
		return errors.New("the daemons did not end on SIGTERM and were killed")
	}
}
