package ghost

import "github.com/aosc/aosc/internal/osc/copy/preflight"

// checkDecoded: values that come out of gh-ost's hands as others.
var checkDecoded = preflight.Check{Name: "decoded", Why: func(f preflight.Facts) string {
	if f.Change.Ghost == nil {
		return ""
	}
	return f.Change.Ghost.Error()
}}
