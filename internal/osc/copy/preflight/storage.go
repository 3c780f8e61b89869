package preflight

import "strings"

// Storage asks for InnoDB.
var Storage = Check{Name: "storage", Shape: true, Why: func(f Facts) string {
	if strings.EqualFold(f.Engine, "InnoDB") {
		return ""
	}
	return "the table's engine is " + f.Engine + ": without InnoDB's locks and snapshots a copy cannot be verified"
}}
