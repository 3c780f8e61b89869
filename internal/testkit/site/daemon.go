package site

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/process"
)

// Names are the daemons, in the order in which data flows through them.
var Names = []string{"checksum", "brain", "collector", "scheduler", "oscworker"}

// impatience are the settings in which a site does not wait as production does: short leases, small intervals, old
// tables dropped at once. A lease of two seconds is what a machine busy with other tests can keep.
var impatience = map[string][]string{
	"checksum":  {"--checksum-interval=3s", "--checksum-retry=1s"},
	"brain":     {"--brain-interval=2s", "--brain-lease-ttl=2s", "--brain-recheck-interval=2s"},
	"collector": {"--collector-interval=1s", "--collector-timeout=1s", "--collector-lease-ttl=2s"},
	"scheduler": {"--scheduler-interval=1s", "--scheduler-follow=200ms", "--scheduler-lease-ttl=2s", "--scheduler-rest=500ms",
		"--scheduler-retry-backoff=200ms", "--scheduler-retry-backoff-max=1s", "--scheduler-max-tries=100"},
	"oscworker": {"--oscworker-retention=0s", "--oscworker-clean-interval=1s"},
}

// Daemon is one daemon as a process.
type Daemon struct {
	*process.Process
	name string
	log  string // path
}

var daemonNumber atomic.Int64

// Daemon starts one daemon, with flags over the impatient ones and faults armed ("" for none). It is killed with the test,
// which shows the end of its log when it has failed.
func (s *Site) Daemon(name, faults string, flags ...string) *Daemon {
	s.T.Helper()
	d := &Daemon{name: name, log: filepath.Join(s.Dir, name+"."+strconv.FormatInt(daemonNumber.Add(1), 10)+".log")}
	log, err := os.Create(d.log)
	s.Do(err)
	defer log.Close()
	cmd := exec.Command(filepath.Join(bin, name), append(append([]string{}, impatience[name]...), flags...)...)
	cmd.Env = append(s.env(), fault.EnvVar+"="+faults)
	cmd.Stdout, cmd.Stderr = log, log
	d.Process, err = process.Start(cmd)
	s.Do(err)
	s.T.Cleanup(func() {
		if err := d.Kill(); err != nil {
			s.T.Errorf("kill %s: %v", name, err)
		}
		if s.T.Failed() {
			s.T.Logf("log of %s %s:\n%s", name, faults, tail(d.Text(), 6000))
		}
	})
	return d
}

// Daemons starts one of each.
func (s *Site) Daemons() map[string]*Daemon {
	s.T.Helper()
	all := map[string]*Daemon{}
	for _, name := range Names {
		all[name] = s.Daemon(name, "")
	}
	return all
}

// Alive fails the test for a daemon that has ended by itself.
func (s *Site) Alive(daemons map[string]*Daemon) {
	s.T.Helper()
	for name, d := range daemons {
		if d.Ended() {
			s.T.Errorf("%s has ended: %v", name, d.Wait())
		}
	}
}

// Terminate is SIGTERM to all, which must end well.
func (s *Site) Terminate(daemons map[string]*Daemon) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), Patience)
	defer cancel()
	for name, d := range daemons {
		if err := d.Stop(ctx); err != nil {
			s.T.Errorf("%s after SIGTERM: %v", name, err)
		}
	}
}

// Text is all the daemon has logged.
func (d *Daemon) Text() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Says tells whether the daemon has logged a text.
func (d *Daemon) Says(text string) bool { return strings.Contains(d.Text(), text) }

// Command runs the aosc command line, as an operator would, and returns what it prints.
func (s *Site) Command(args ...string) string {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), time.Minute)
	defer cancel()
	out, err := s.Program(ctx, args...).CombinedOutput()
	if err != nil {
		s.T.Fatalf("aosc %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Program is the aosc command line, not started yet; it ends with ctx.
func (s *Site) Program(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "aosc"), args...)
	cmd.Env = s.env()
	return cmd
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

// Eventually is testkit.Eventually at the pace of a pipeline.
func (s *Site) Eventually(limit time.Duration, what string, condition func() bool) {
	s.T.Helper()
	if !Until(s.T, limit, condition) {
		s.T.Fatalf("not within %v: %s", limit, what)
	}
}

// Until asks every 50 ms until a condition holds; false when it does not within the limit.
func Until(t testing.TB, limit time.Duration, condition func() bool) bool {
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

// ExitStatus is how the process ended; false when it ended well or was never reaped.
func (d *Daemon) ExitStatus() (syscall.WaitStatus, bool) {
	var exit *exec.ExitError
	if !errors.As(d.Wait(), &exit) {
		return 0, false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return status, ok
}
