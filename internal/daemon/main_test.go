package daemon

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/testkit"
)

// TestMain lets the test binary be a daemon: Main ends the process it runs in.
func TestMain(m *testing.M) {
	switch os.Getenv("DAEMON_TEST") {
	case "":
		testkit.Main(m)
	case "leader":
		leaderProcess()
	case "waits":
		Main(spec(func(ctx context.Context, env *Env) error {
			env.Log.Info("working")
			<-ctx.Done()
			return nil
		}))
	case "fails":
		Main(spec(func(context.Context, *Env) error { return errors.Join(errors.New("no answer"), errors.New("twice")) }))
	case "deaf":
		Main(spec(func(ctx context.Context, env *Env) error {
			env.Log.Info("working")
			<-ctx.Done()
			env.Log.Info("will not stop")
			select {}
		}))
	}
}

func process(t *testing.T, kind string, args ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append(args, "--listen=off")...)
	cmd.Env = append(os.Environ(), "DAEMON_TEST="+kind)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() { watchdog.Stop(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, bufio.NewScanner(pipe)
}

func readUntil(t *testing.T, lines *bufio.Scanner, part string) {
	t.Helper()
	for lines.Scan() {
		if strings.Contains(lines.Text(), part) {
			return
		}
	}
	t.Fatalf("the process ended without saying %q", part)
}

func TestSIGTERM(t *testing.T) {
	cmd, lines := process(t, "waits")
	readUntil(t, lines, "working")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	readUntil(t, lines, "stopped")
	if err := cmd.Wait(); err != nil {
		t.Error("exit after SIGTERM:", err)
	}
}

// A daemon that does not come to its end can still be interrupted from the keyboard, by asking twice.
func TestSecondSignal(t *testing.T) {
	cmd, lines := process(t, "deaf")
	readUntil(t, lines, "working")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	readUntil(t, lines, "will not stop")
	// The default disposition is back at some moment after ctx ended: ask until the process has gone.
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-gone:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
				t.Errorf("ended by %v, want SIGINT", err)
			}
			return
		case <-tick.C:
			_ = cmd.Process.Signal(os.Interrupt)
		}
	}
}

func TestExitStatus(t *testing.T) {
	cmd, lines := process(t, "fails")
	var last string
	for lines.Scan() {
		last = lines.Text()
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("ended by %v, want exit status 1", err)
	}
	if last != "demo: no answer; twice" {
		t.Errorf("the reason is %q, want one line", last)
	}
}
