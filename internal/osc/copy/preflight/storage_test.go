package preflight

import (
	"testing"
)

func TestStorage(t *testing.T) {
	f := good()
	refuses(t, Storage, f, "")
	f.Engine = "MyISAM"
	refuses(t, Storage, f, "MyISAM")
}
