package fault

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const helperEnv = "AOSC_FAULT_TEST_PASSES"

// TestMain turns the test binary into a victim: it passes the point "test.point" a number of times, counting aloud.
func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) == "" {
		os.Exit(m.Run())
	}
	fmt.Println("active", Active())
	for i := range 3 {
		Point("test.other")
		Point("test.point")
		fmt.Println("passed", i+1)
	}
	os.Exit(0)
}

func victim(t *testing.T, spec string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"=1", EnvVar+"="+spec)
	return cmd
}

func TestPoint(t *testing.T) {
	for _, c := range []struct {
		spec   string
		passed int
		signal syscall.Signal
		exit   int
	}{
		{spec: "", passed: 3},
		{spec: "test.elsewhere=kill", passed: 3},
		{spec: "test.point=kill", passed: 0, signal: syscall.SIGKILL, exit: -1},
		{spec: "test.point=kill@3", passed: 2, signal: syscall.SIGKILL, exit: -1},
		{spec: "test.point=kill@4", passed: 3},
		{spec: "test.point=exit@2", passed: 1, exit: 1},
		{spec: "nothing=hang, test.other=exit@3", passed: 2, exit: 1},
		{spec: "test.point=explode", exit: 2},
	} {
		t.Run(c.spec, func(t *testing.T) {
			out, err := victim(t, c.spec).Output()
			if passed := strings.Count(string(out), "passed"); passed != c.passed {
				t.Errorf("passed the point %d times, want %d", passed, c.passed)
			}
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				status := exit.Sys().(syscall.WaitStatus)
				if exit.ExitCode() != c.exit || status.Signaled() && status.Signal() != c.signal {
					t.Errorf("ended with %v, want exit %d signal %v", err, c.exit, c.signal)
				}
			} else if err != nil || c.exit != 0 {
				t.Errorf("ended with %v, want exit %d", err, c.exit)
			}
			if c.exit != 2 && !strings.Contains(string(out), "active "+c.spec+"\n") {
				t.Errorf("Active() did not say %q: %s", c.spec, out)
			}
		})
	}
}

// A hang says so on stderr and lasts until the process is killed, also when no other goroutine is left to run.
func TestPointHang(t *testing.T) {
	cmd := victim(t, "test.point=hang@2")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil || line != "fault point test.point: hang\n" {
		t.Errorf("stderr %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the process does not hang but ended: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("ended with %v, want to have been killed while hanging", err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, spec := range []string{"x", "=kill", "x=", "x=kil", "x=kill@", "x=kill@0", "x=kill@two", "a=kill,b"} {
		if list, err := parse(spec); err == nil {
			t.Errorf("%q gave %v, want an error", spec, list)
		}
	}
}

func TestRegister(t *testing.T) {
	if got := Register("test.b", "second"); got != "test.b" {
		t.Errorf("Register returned %q", got)
	}
	Register("test.a", "first")
	if got := Names(); !slices.Equal(got, []string{"test.a", "test.b"}) {
		t.Errorf("Names() = %v", got)
	}
	if got := Explanation("test.a"); got != "first" {
		t.Errorf("Explanation = %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a name was registered twice without a panic")
		}
	}()
	Register("test.a", "again")
}
