package executor

import (
	"testing"

	"github.com/aosc/aosc/internal/cotton/golden"
)

// TestGoldenMemory: the next executor on a volume may be of another release.
func TestGoldenMemory(t *testing.T) {
	golden.Check(t, golden.Form{Name: "memory", Version: 1}, golden.Fill[memory]())
}
