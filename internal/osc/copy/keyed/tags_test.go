package keyed

import (
	"testing"

	"github.com/aosc/aosc/internal/osc/copy/preflight/checktest"
)

func TestCheckTags(t *testing.T) {
	f := good()
	checktest.Refuses(t, checkTags, f, "")
	f.Server.GTIDExecuted += ",3e11fa47-71ca-11e1-9e33-c80aa9429562:tag:1"
	checktest.Refuses(t, checkTags, f, "tags")
}
