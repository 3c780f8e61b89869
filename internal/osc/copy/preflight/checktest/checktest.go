// Package checktest holds checks against what is said of them.
package checktest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/osc/copy/preflight"
)

// Refuses holds the reason of a check that asks no server against words, "" = there is no reason.
func Refuses(t *testing.T, c preflight.Check, f preflight.Facts, words string) {
	t.Helper()
	if got := c.Why(f); (got == "") != (words == "") || !strings.Contains(got, words) {
		t.Errorf("%s: %q, want one with %q", c.Name, got, words)
	}
}

// All holds what is true of the checks of every engine: their names differ, each has a file of its name and a test beside it, here or among
// those that engines share, and none refuses good facts.
func All(t *testing.T, checks []preflight.Check, good preflight.Facts) {
	seen := map[string]bool{}
	for _, c := range checks {
		if seen[c.Name] {
			t.Errorf("two checks are called %s", c.Name)
		}
		seen[c.Name] = true
		found := false
		for _, dir := range []string{".", "../preflight"} {
			text, err := os.ReadFile(filepath.Join(dir, c.Name+".go"))
			_, untested := os.Stat(filepath.Join(dir, c.Name+"_test.go"))
			found = found || err == nil && untested == nil && strings.Contains(string(text), `Name: "`+c.Name+`"`)
		}
		if !found {
			t.Errorf("check %s is not in a file %s.go with a test %s_test.go", c.Name, c.Name, c.Name)
		}
		if (c.Why == nil) == (c.Ask == nil) {
			t.Errorf("check %s: exactly one of Why and Ask is to be set", c.Name)
		}
		if c.Why != nil {
			Refuses(t, c, good, "")
		}
	}
}
