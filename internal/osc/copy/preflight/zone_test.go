package preflight

import (
	"testing"
)

func TestUTC(t *testing.T) {
	for zone, want := range map[Zone]bool{{"SYSTEM", "UTC"}: true, {"+00:00", "CET"}: true, {"utc", ""}: true, {"SYSTEM", "CET"}: false,
		{"Europe/London", "UTC"}: false, {}: false} {
		if zone.UTC() != want {
			t.Errorf("%v is UTC: %v", zone, !want)
		}
	}
}
