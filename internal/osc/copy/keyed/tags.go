package keyed

import (
	"github.com/aosc/aosc/internal/osc/copy/preflight"
	"github.com/aosc/aosc/internal/osc/keyed"
)

// checkTags: the protocol in which a log is asked for has no place for tags here.
var checkTags = preflight.Check{Name: "tags", Why: func(f preflight.Facts) string {
	if !keyed.Tagged(f.Server.GTIDExecuted) {
		return ""
	}
	return "a copy follows the changes in the binary log: gtid_executed has GTIDs with tags, which the engine 'keyed' cannot ask for yet; " +
		"set the tier's copy_engine to 'ghost'"
}}
