package keyed

import (
	"testing"

	"github.com/aosc/aosc/internal/osc/copy/preflight/checktest"
)

func TestCheckGTIDs(t *testing.T) {
	f := good()
	checktest.Refuses(t, checkGTIDs, f, "")
	f.Server.GTIDMode = "ON_PERMISSIVE"
	checktest.Refuses(t, checkGTIDs, f, "gtid_mode is ON_PERMISSIVE")
}
