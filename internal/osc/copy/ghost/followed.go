package ghost

import (
	"fmt"
	"strings"

	"github.com/aosc/aosc/internal/osc/copy/preflight"
	"github.com/aosc/aosc/internal/osc/verify"
)

// followed says which change of a column gh-ost v1.1.8 copies well and then spoils when it applies changes from the binary
// log, "" when there is none. The comparison would find it out, but only after all rows are copied, and only on the
// rows that were changed meanwhile.
func followed(original, copied verify.Table, zone preflight.Zone) string {
	for _, o := range original.Columns {
		n, ok := copied.Column(o.Name)
		if !ok || n.Generated {
			continue
		}
		switch {
		case o.Generated:
			// It leaves generated columns out of what it copies: the new column would hold its default.
			return fmt.Sprintf("column %s is generated and becomes a column of its own: gh-ost would not copy its values", o.Name)
		case o.DataType == "set" && !strings.HasPrefix(n.Type, strings.TrimSuffix(o.Type, ")")):
			// The binary log has the bits of a SET, which it writes as a number.
			return fmt.Sprintf("column %s changes from %s to %s: gh-ost would carry over the numbers of the members, not their names",
				o.Name, o.Type, n.Type)
		case o.DataType == "timestamp" && n.DataType != "timestamp" && !zone.UTC():
			// Rows are copied in the server's time zone, changes applied in UTC.
			return fmt.Sprintf("column %s changes from timestamp to %s, and the server's time_zone is not UTC: gh-ost would convert "+
				"copied rows and changed rows differently", o.Name, n.DataType)
		case n.DataType == "timestamp" && o.DataType != "timestamp" && o.DataType != "datetime" && !zone.UTC(): // it sees to datetime
			return fmt.Sprintf("column %s changes from %s to timestamp, and the server's time_zone is not UTC: gh-ost would convert "+
				"copied rows and changed rows differently", o.Name, o.DataType)
		case o.DataType == "time" && (n.DataType == "date" || n.DataType == "datetime" || n.DataType == "timestamp"):
			return fmt.Sprintf("column %s changes from time to %s, which takes the date of the day in a session's time zone: rows would get that "+
				"of when each was copied or changed", o.Name, n.DataType)
		}
	}
	return ""
}

// checkFollowed is followed, where it is known what the copy will be.
var checkFollowed = preflight.Check{Name: "followed", Why: func(f preflight.Facts) string {
	if f.Copied == nil {
		return ""
	}
	return followed(f.Original, *f.Copied, f.Zone)
}}
