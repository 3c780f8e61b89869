package ghost

import (
	"fmt"
	"testing"

	"github.com/aosc/aosc/internal/osc/copy"
)

// What no other child would do better is final.
func TestFinal(t *testing.T) {
	for _, c := range []struct {
		name, said string
		want       bool
	}{
		{"1048 of gh-ost", "Error 1048 (23000): Column 'e' cannot be null; query=\n\t\t\treplace /* gh-ost */", true},
		{"1048 of gh-ost, no state", "Error 1048: Column 'e' cannot be null; query=", true},
		{"1197 of gh-ost", "Error 1197 (HY000): Multi-statement transaction required more than 'max_binlog_cache_size' bytes of storage", true},
		{"no shared key", "No shared unique key can be found after ALTER! Bailing out", true},
		{"warnings", "Warnings detected during DML event application: [Warning: Data truncated for column 'v' at row 1 (1265)]", true},
		{"warnings of a chunk", "ApplyIterationInsertQuery failed because of SQL warnings: [Warning: x (1265)]", true},
		{"lock wait of gh-ost", "Error 1205 (HY000): Lock wait timeout exceeded", false},
		{"killed", "Error 1317 (70100): Query execution was interrupted", false},
		{"gh-ost died", "it ended without saying why", false},
	} {
		if got := copy.Final(fmt.Errorf("udb 127.0.0.1:3306 `d`.`t`: %w", &endedError{c.said})); got != c.want {
			t.Errorf("%s: final %v, want %v", c.name, got, c.want)
		}
	}
}
