package preflight

import (
	"testing"
)

func TestLog(t *testing.T) {
	f := good()
	refuses(t, Log, f, "")
	f.Server.LogBin = false
	refuses(t, Log, f, "log_bin")
}
