package ghost

import "github.com/aosc/aosc/internal/osc/copy/preflight"

// checkPartial: gh-ost cannot read the difference of two JSON documents.
var checkPartial = preflight.Check{Name: "partial", Why: func(f preflight.Facts) string {
	if f.Server.BinlogRowValueOptions == "" {
		return ""
	}
	return "gh-ost needs whole rows in the binary log: binlog_row_value_options is " + f.Server.BinlogRowValueOptions + ", it must be empty"
}}
