package ghost

import (
	"errors"
	"testing"

	"github.com/aosc/aosc/internal/osc/copy/preflight"
)

func TestCheckZone(t *testing.T) {
	f := good()
	f.Zone = preflight.Zone{Global: "CET"}
	refuses(t, checkZone, f, "")
	f.Change.UTC = errors.New("a default depends on the time zone")
	refuses(t, checkZone, f, "a default depends on the time zone")
	f.Zone.Global = "UTC"
	refuses(t, checkZone, f, "")
}
