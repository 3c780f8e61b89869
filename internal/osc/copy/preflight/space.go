package preflight

import "fmt"

// Space asks for room on the disk.
var Space = Check{Name: "space", Passing: true, Why: func(f Facts) string {
	if !f.FreeSeen || f.Free >= f.Need {
		return ""
	}
	return fmt.Sprintf("disk space: the copy and its binary log need about %s, %s are free in %s",
		Size(f.Need), Size(f.Free), f.Server.Datadir)
}}

// Size is a number of bytes for people.
func Size(n uint64) string {
	const unit = 1024
	value, name := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < unit {
			break
		}
		value, name = value/unit, next
	}
	return fmt.Sprintf("%.1f %s", value, name)
}
