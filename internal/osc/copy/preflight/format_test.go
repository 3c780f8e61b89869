package preflight

import (
	"testing"
)

func TestFormat(t *testing.T) {
	f := good()
	refuses(t, Format, f, "")
	f.Server.BinlogFormat = "STATEMENT"
	refuses(t, Format, f, "binlog_format is STATEMENT")
}
