package keyed

import (
	"testing"

	"github.com/aosc/aosc/internal/osc/copy/preflight/checktest"
)

func TestCheckKey(t *testing.T) {
	f := good()
	checktest.Refuses(t, checkKey, f, "")
	f.Original.Keys = nil
	checktest.Refuses(t, checkKey, f, "key")
}
