package ghost

import (
	"strings"

	"github.com/aosc/aosc/internal/osc/copy/preflight"
)

// checkImage: gh-ost renders whole rows. It checks this itself, and stops.
var checkImage = preflight.Check{Name: "image", Why: func(f preflight.Facts) string {
	if strings.EqualFold(f.Server.BinlogRowImage, "FULL") {
		return ""
	}
	return "gh-ost needs whole rows in the binary log: binlog_row_image is " + f.Server.BinlogRowImage + ", it must be FULL"
}}
