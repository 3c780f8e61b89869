package preflight

import "fmt"

// Children are foreign keys of other tables.
var Children = Check{Name: "children", Shape: true, Why: func(f Facts) string {
	if f.Children == 0 {
		return ""
	}
	return fmt.Sprintf("%d foreign keys of other tables refer to the table: they would stay with the old one", f.Children)
}}
