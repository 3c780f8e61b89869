package ghost

import (
	"github.com/aosc/aosc/internal/osc/copy/preflight"
	"github.com/aosc/aosc/internal/osc/verify"
)

// checkComparable: what cannot be verified is not copied. The copy finds the same out when it is there; here it is known before anybody is
// asked for a permission that would not help.
var checkComparable = preflight.Check{Name: "comparable", Why: func(f preflight.Facts) string {
	if f.Copied == nil {
		return ""
	}
	if err := verify.Comparable(f.Original, *f.Copied, f.Lossy); err != nil {
		return "the copy could not be verified: " + err.Error()
	}
	return ""
}}
