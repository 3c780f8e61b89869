package preflight

import (
	"context"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/schema"
)

// Zone is what a server's times are in: its time_zone and, where that is SYSTEM, its system_time_zone.
type Zone struct{ Global, System string }

// ReadZone asks a server.
func ReadZone(ctx context.Context, q schema.Querier) (Zone, error) {
	var z Zone
	err := q.QueryRowContext(ctx, "SELECT @@global.time_zone, @@system_time_zone").Scan(&z.Global, &z.System)
	return z, err
}

// UTC is true only for zones that are UTC all year round.
func (z Zone) UTC() bool {
	name := z.Global
	if strings.EqualFold(name, "SYSTEM") {
		name = z.System
	}
	return slices.Contains([]string{"+00:00", "UTC", "ETC/UTC"}, strings.ToUpper(name))
}
