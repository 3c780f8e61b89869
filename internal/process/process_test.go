package process_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/process"
)

// start runs a shell script and returns once its first part has run.
func start(t *testing.T, first, then string) *process.Process {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("sh", "-c", first+"; echo ready; "+then)
	cmd.Stdout = in
	p, err := process.Start(cmd)
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestStop: a process that obeys ends by itself, also out of a freeze; one that does not is killed.
func TestStop(t *testing.T) {
	obeys := start(t, "trap 'exit 0' TERM", "while :; do sleep 0.01; done")
	if err := obeys.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := obeys.Stop(t.Context()); err != nil {
		t.Errorf("a process that obeys: %v", err)
	}
	if err := obeys.Freeze(); err == nil {
		t.Error("a process that has ended could be frozen")
	}
	if err := errors.Join(obeys.Kill(), obeys.Stop(t.Context())); err != nil {
		t.Errorf("ending what has ended: %v", err)
	}

	ignores := start(t, "trap '' TERM", "while :; do sleep 0.01; done")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := ignores.Stop(ctx); !errors.Is(err, process.ErrKilled) {
		t.Errorf("a process that ignores SIGTERM: %v", err)
	}
	if !ignores.Ended() {
		t.Error("it is still there")
	}
}

// TestFreeze: a frozen process stands still until it is thawed.
func TestFreeze(t *testing.T) {
	p := start(t, ":", "exec sleep 2")
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	if _, rest, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(rest, "T") {
		t.Errorf("its state is %q, want T", rest[:1])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := p.WaitFor(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a frozen process ended: %v", err)
	}
	if err := p.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// TestRun: the end of the context ends the command; a failure is told.
func TestRun(t *testing.T) {
	if err := process.Run(t.Context(), exec.Command("false")); err == nil {
		t.Error("a command that fails reports success")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := process.Run(ctx, exec.Command("sleep", "60")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command that takes too long: %v", err)
	}
	if _, err := process.Start(exec.Command("/no/such/program")); err == nil {
		t.Error("a program that is not there was started")
	}
}
