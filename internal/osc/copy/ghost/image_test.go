package ghost

import (
	"testing"
)

func TestCheckImage(t *testing.T) {
	f := good()
	refuses(t, checkImage, f, "")
	f.Server.BinlogRowImage = "MINIMAL"
	refuses(t, checkImage, f, "binlog_row_image")
}
