package preflight

import (
	"slices"

	"github.com/aosc/aosc/internal/mysql"
)

// Taken: a table of somebody else's has a name that the copy needs.
var Taken = Check{Name: "taken", Why: func(f Facts) string {
	for _, b := range f.Beside {
		if b.Name != f.Table && !f.Recorded[b.Name] && slices.Contains(f.Taken, b.Name) {
			return "table " + mysql.QuoteIdent(b.Name) + " is in the way and none of ours (no run recorded it): find out whose it is, then " +
				"drop or rename it"
		}
	}
	return ""
}}
