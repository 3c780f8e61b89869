// Package cottonkit is cotton as an operator has it, for tests and benchmarks: a Mesos with agents, schedulers and executors
// as processes of their own, clusters made through the API, and hands on every part of it: agents, executors, mysqlds and
// schedulers can be killed, frozen and cut off. A package that uses it hands its TestMain to Main.
package cottonkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/aosc/aosc/internal/testkit"
)

// bin is the directory of the program under test.
var bin = os.Getenv("AOSC_BIN")

// netEnv marks a process that has namespaces of its own.
const netEnv = "COTTONKIT_OWN_NAMESPACES"

// Main is testkit.Main for a package with sites. It builds the program unless AOSC_BIN names a directory that has it. Where
// the kernel allows it the tests run in namespaces of their own, of the network and of mounts, in which ports can be cut off
// and disks be full: see Cut and FillDisk.
func Main(m *testing.M) {
	if code, done := ownNamespaces(); done {
		os.Exit(code)
	}
	if bin != "" {
		testkit.Main(m)
	}
	dir, err := build()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cottonkit:", err)
		os.Exit(1)
	}
	bin = dir
	testkit.Main(m, func() error { return os.RemoveAll(dir) })
}

func build() (string, error) {
	dir, err := os.MkdirTemp("", "aosc-test-bin-")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "github.com/aosc/aosc/cmd/cotton").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build cotton: %w\n%s", err, out)
	}
	return dir, nil
}

// ownNamespaces runs this program again in namespaces of its own; done is false in there, and where that cannot be
// had.
func ownNamespaces() (code int, done bool) {
	if os.Getenv(netEnv) != "" {
		cutting = setUpNetwork()
		mounting = syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
		return 0, false
	}
	self, err := os.Executable()
	if err != nil {
		cutting, mounting = err, err
		return 0, false
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), netEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil { // not root, or no namespaces
		cutting = fmt.Errorf("make namespaces: %w", err)
		mounting = cutting
		return 0, false
	}
	var exit *exec.ExitError
	switch err := cmd.Wait(); {
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1), true
	case err != nil:
		return 1, true
	}
	return 0, true
}
