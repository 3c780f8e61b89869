package ghost

import (
	"testing"

	"github.com/aosc/aosc/internal/osc/copy/preflight"
)

func TestCheckSessions(t *testing.T) {
	f := good()
	refuses(t, checkSessions, f, "")
	f.Sessions = []preflight.Setting{{Connection: 7, Name: "binlog_row_image", Value: "MINIMAL"}}
	refuses(t, checkSessions, f, "connection 7 has set binlog_row_image=MINIMAL")
}
