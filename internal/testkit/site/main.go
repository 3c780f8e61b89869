package site

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/aosc/aosc/internal/testkit"
)

// bin is the directory of the programs under test.
var bin = os.Getenv("AOSC_BIN")

// Main is testkit.Main for a package with sites: it builds the programs into a directory of this run, unless AOSC_BIN names
// one with built programs.
func Main(m *testing.M) {
	if bin != "" {
		testkit.Main(m)
	}
	dir, err := build()
	if err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
	bin = dir
	testkit.Main(m, func() error { return os.RemoveAll(dir) })
}

func build() (string, error) {
	dir, err := os.MkdirTemp("", "aosc-test-bin-") // swept by a later run, should this one be killed
	if err != nil {
		return "", err
	}
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	for _, name := range append([]string{"aosc", "cotton"}, Names...) {
		args = append(args, "github.com/aosc/aosc/cmd/"+name)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return dir, nil
}
