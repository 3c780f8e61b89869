package ghost

import (
	"fmt"

	"github.com/aosc/aosc/internal/osc/copy/preflight"
)

// checkZone: gh-ost applies changes in UTC.
var checkZone = preflight.Check{Name: "zone", Why: func(f preflight.Facts) string {
	if f.Change.UTC == nil || f.Zone.UTC() {
		return ""
	}
	return fmt.Sprintf("%v, and the server's is not UTC, in which gh-ost applies the changes that are made during a copy: rows "+
		"would come out differently; let MySQL itself make the change, which blocks writes (direct_max_rows at least the table's rows)",
		f.Change.UTC)
}}
