package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/process"
)

// daemonNames in the order in which data flows through them.
var daemonNames = []string{"checksum", "brain", "collector", "scheduler", "oscworker"}

// impatience are the settings in which these tests do not wait as production does: short leases, small intervals, old
// tables dropped at once. A lease of two seconds is what a machine busy with other tests can keep.
var impatience = map[string][]string{
	"checksum":  {"--checksum-interval=3s", "--checksum-retry=1s"},
	"brain":     {"--brain-interval=2s", "--brain-lease-ttl=2s", "--brain-recheck-interval=2s"},
	"collector": {"--collector-interval=1s", "--collector-timeout=1s", "--collector-lease-ttl=2s"},
	"scheduler": {"--scheduler-interval=1s", "--scheduler-follow=200ms", "--scheduler-lease-ttl=2s", "--scheduler-rest=500ms",
		"--scheduler-retry-backoff=200ms", "--scheduler-max-tries=100"},
	"oscworker": {"--oscworker-retention=0s", "--oscworker-clean-interval=1s"},
}

// daemon is one daemon as a process.
type daemon struct {
	*process.Process
	name string
	log  string // path
}

var daemonNumber atomic.Int64

// daemon starts one daemon, with flags over the impatient ones and faults armed ("" for none). It is killed with the test,
// which shows the end of its log when it has failed.
func (s *site) daemon(name, faults string, flags ...string) *daemon {
	s.t.Helper()
	d := &daemon{name: name, log: filepath.Join(s.dir, name+"."+digits(daemonNumber.Add(1))+".log")}
	log, err := os.Create(d.log)
	s.do(err)
	defer log.Close()
	cmd := exec.Command(filepath.Join(bin, name), append(append([]string{}, impatience[name]...), flags...)...)
	cmd.Env = append(s.env(), fault.EnvVar+"="+faults)
	cmd.Stdout, cmd.Stderr = log, log
	d.Process, err = process.Start(cmd)
	s.do(err)
	s.t.Cleanup(func() {
		if err := d.Kill(); err != nil {
			s.t.Errorf("kill %s: %v", name, err)
		}
		if s.t.Failed() {
			s.t.Logf("log of %s %s:\n%s", name, faults, tail(d.text(), 6000))
		}
	})
	return d
}

// daemons starts one of each.
func (s *site) daemons() map[string]*daemon {
	s.t.Helper()
	all := map[string]*daemon{}
	for _, name := range daemonNames {
		all[name] = s.daemon(name, "")
	}
	return all
}

// alive fails the test for a daemon that has ended by itself.
func (s *site) alive(daemons map[string]*daemon) {
	s.t.Helper()
	for name, d := range daemons {
		if d.Ended() {
			s.t.Errorf("%s has ended: %v", name, d.Wait())
		}
	}
}

// terminate is SIGTERM to all, which must end well.
func (s *site) terminate(daemons map[string]*daemon) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for name, d := range daemons {
		if err := d.Stop(ctx); err != nil {
			s.t.Errorf("%s after SIGTERM: %v", name, err)
		}
	}
}

// text is all the daemon has logged.
func (d *daemon) text() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (d *daemon) says(text string) bool { return strings.Contains(d.text(), text) }

// command runs the aosc command line, as an operator would, and returns what it prints.
func (s *site) command(args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "aosc"), args...)
	cmd.Env = s.env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("aosc %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

// eventually is testkit.Eventually at the pace of a pipeline.
func (s *site) eventually(limit time.Duration, what string, condition func() bool) {
	s.t.Helper()
	if !until(s.t, limit, condition) {
		s.t.Fatalf("not within %v: %s", limit, what)
	}
}

// until asks every 50 ms until a condition holds; false when it does not within the limit.
func until(t *testing.T, limit time.Duration, condition func() bool) bool {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// exitStatus is how the process ended; false when it ended well or was never reaped.
func (d *daemon) exitStatus() (syscall.WaitStatus, bool) {
	var exit *exec.ExitError
	if !errors.As(d.Wait(), &exit) {
		return 0, false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return status, ok
}
