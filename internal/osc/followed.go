package osc

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/schema"
)

// timeZone is what a server's times are in: its time_zone and, where that is SYSTEM, its system_time_zone.
type timeZone struct{ global, system string }

func readTimeZone(ctx context.Context, q schema.Querier) (timeZone, error) {
	var z timeZone
	err := q.QueryRowContext(ctx, "SELECT @@global.time_zone, @@system_time_zone").Scan(&z.global, &z.system)
	return z, err
}

// utc is true only for zones that are UTC all year round.
func (z timeZone) utc() bool {
	name := z.global
	if strings.EqualFold(name, "SYSTEM") {
		name = z.system
	}
	return slices.Contains([]string{"+00:00", "UTC", "ETC/UTC"}, strings.ToUpper(name))
}

// followed says which change of a column gh-ost v1.1.8 copies well and then spoils when it applies changes from the binary
// log, "" when there is none. The comparison would find it out, but only after all rows are copied, and only on the
// rows that were changed meanwhile.
func followed(original, copied verify.Table, zone timeZone) string {
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
		case o.DataType == "timestamp" && n.DataType != "timestamp" && !zone.utc():
			// Rows are copied in the server's time zone, changes applied in UTC.
			return fmt.Sprintf("column %s changes from timestamp to %s, and the server's time_zone is not UTC: gh-ost would convert "+
				"copied rows and changed rows differently", o.Name, n.DataType)
		case n.DataType == "timestamp" && o.DataType != "timestamp" && o.DataType != "datetime" && !zone.utc(): // it sees to datetime
			return fmt.Sprintf("column %s changes from %s to timestamp, and the server's time_zone is not UTC: gh-ost would convert "+
				"copied rows and changed rows differently", o.Name, o.DataType)
		case o.DataType == "time" && (n.DataType == "date" || n.DataType == "datetime" || n.DataType == "timestamp"):
			return fmt.Sprintf("column %s changes from time to %s, which takes the date of the day in a session's time zone: rows would get that "+
				"of when each was copied or changed", o.Name, n.DataType)
		}
	}
	return ""
}
