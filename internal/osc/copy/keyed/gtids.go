package keyed

import (
	"strings"

	"github.com/aosc/aosc/internal/osc/copy/preflight"
)

// checkGTIDs: what is read from the log is asked for, and waited for, by GTID.
var checkGTIDs = preflight.Check{Name: "gtids", Why: func(f preflight.Facts) string {
	if strings.EqualFold(f.Server.GTIDMode, "ON") {
		return ""
	}
	return "a copy follows the changes in the binary log: gtid_mode is " + f.Server.GTIDMode + ", it must be ON"
}}
