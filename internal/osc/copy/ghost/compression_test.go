package ghost

import (
	"testing"
)

func TestCheckCompression(t *testing.T) {
	f := good()
	refuses(t, checkCompression, f, "")
	f.Server.BinlogTransactionCompression = true
	refuses(t, checkCompression, f, "compression")
}
