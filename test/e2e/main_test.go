// Package e2e tests the pipeline as an operator has it: the real programs as processes, real MySQL clusters, a real git
// repository, and SQL. What one package promises is tested there; here is what only all of them together can keep.
//
// AOSC_BIN names a directory with built programs; without it they are built once per run. AOSC_E2E=full runs every
// fault point, and outages as long as the invariants speak of, where the ordinary run takes a selection (`make faults`).
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/aosc/aosc/internal/testkit"
)

// full: everything, however long it takes.
var full = os.Getenv("AOSC_E2E") == "full"

// bin is the directory of the programs under test.
var bin = os.Getenv("AOSC_BIN")

func TestMain(m *testing.M) {
	if bin != "" {
		testkit.Main(m)
	}
	dir, err := build()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	bin = dir
	testkit.Main(m, func() error { return os.RemoveAll(dir) })
}

// build builds the programs into a new directory.
func build() (string, error) {
	dir, err := os.MkdirTemp("", "aosc-e2e-bin-")
	if err != nil {
		return "", err
	}
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	for _, name := range append([]string{"aosc"}, daemonNames...) {
		args = append(args, "github.com/aosc/aosc/cmd/"+name)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return dir, nil
}
