package ghost

import (
	"testing"
)

func TestCheckPartial(t *testing.T) {
	f := good()
	refuses(t, checkPartial, f, "")
	f.Server.BinlogRowValueOptions = "PARTIAL_JSON"
	refuses(t, checkPartial, f, "PARTIAL_JSON")
}
