package preflight

import "strings"

// Strict: a copy is made in strict SQL, whatever loss is permitted.
var Strict = Check{Name: "strict", Why: func(f Facts) string {
	if len(f.Strict) == 0 {
		return ""
	}
	return "rows hold values that strict SQL refuses in the new definition, and a copy is made in it whatever loss is permitted: " +
		strings.Join(f.Strict, "; ") + ". Correct these rows first"
}}
