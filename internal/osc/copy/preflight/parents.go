package preflight

import "fmt"

// Parents are what foreign keys of the table refer to.
var Parents = Check{Name: "parents", Shape: true, Why: func(f Facts) string {
	if f.Parents == 0 {
		return ""
	}
	return fmt.Sprintf("the table has %d foreign keys, which a copy would not carry over", f.Parents)
}}
