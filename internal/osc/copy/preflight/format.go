package preflight

import "strings"

// Format asks for row events.
var Format = Check{Name: "format", Why: func(f Facts) string {
	if strings.EqualFold(f.Server.BinlogFormat, "ROW") {
		return ""
	}
	return followsLog + "binlog_format is " + f.Server.BinlogFormat + ", it must be ROW"
}}
