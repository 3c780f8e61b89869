package preflight

import "fmt"

// Triggers would stay with the old table.
var Triggers = Check{Name: "triggers", Shape: true, Why: func(f Facts) string {
	if f.Triggers == 0 {
		return ""
	}
	return fmt.Sprintf("the table has %d triggers, which a copy would not carry over", f.Triggers)
}}
