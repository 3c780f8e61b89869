package keyed

import (
	"github.com/aosc/aosc/internal/osc/copy/preflight"
	"github.com/aosc/aosc/internal/osc/keyed"
)

// checkShape: rows of the new table are matched with their originals, and compared with them. The copy finds the same out when it is there;
// here it is known before anybody is asked for a permission that would not help.
var checkShape = preflight.Check{Name: "shape", Why: func(f preflight.Facts) string {
	if f.Copied == nil {
		return ""
	}
	if err := keyed.Copyable(f.Original, *f.Copied, f.Lossy, f.Zone.UTC()); err != nil {
		return err.Error()
	}
	return ""
}}
