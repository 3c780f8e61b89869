package preflight

import (
	"testing"
)

func TestTriggers(t *testing.T) {
	f := good()
	refuses(t, Triggers, f, "")
	f.Triggers = 1
	refuses(t, Triggers, f, "triggers")
}
