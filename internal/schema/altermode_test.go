package schema

import "testing"

func TestAlterMode(t *testing.T) {
	got := AlterMode("ANSI_QUOTES,NO_ZERO_DATE,TIME_TRUNCATE_FRACTIONAL,NO_BACKSLASH_ESCAPES")
	if want := "STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,TIME_TRUNCATE_FRACTIONAL"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
