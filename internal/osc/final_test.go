package osc

import (
	"errors"
	"fmt"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/aosc/aosc/internal/schema"
)

// What no retry can mend ends at the first try; what is not known to be so is tried again.
func TestFinal(t *testing.T) {
	server := func(n uint16) error { return fmt.Errorf("wrapped: %w", &driver.MySQLError{Number: n, Message: "x"}) }
	child := func(text string) error { return fmt.Errorf("udb 127.0.0.1:3306 `d`.`t`: %w: %s", errChildEnded, text) }
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"refused", &RefusedError{Reason: "x"}, true},
		{"the copy differs", fmt.Errorf("a: %w", &VerifyError{}), true},
		{"text the server refuses", &schema.DDLError{Err: errors.New("x")}, true},
		{"no ALTER", &schema.DiffError{Err: errors.New("x")}, true},
		{"proof failed", &schema.ProofError{}, true},
		{"1048 of the server", server(1048), true},
		{"duplicate", server(1062), true},
		{"1197", server(1197), true},
		{"does not fit", server(1406), true},
		{"1048 of gh-ost", child("Error 1048 (23000): Column 'e' cannot be null; query=\n\t\t\treplace /* gh-ost */"), true},
		{"1048 of gh-ost, no state", child("Error 1048: Column 'e' cannot be null; query="), true},
		{"1197 of gh-ost", child("Error 1197 (HY000): Multi-statement transaction required more than 'max_binlog_cache_size' bytes of storage"), true},
		{"no shared key", child("No shared unique key can be found after ALTER! Bailing out"), true},
		{"warnings", child("Warnings detected during DML event application: [Warning: Data truncated for column 'v' at row 1 (1265)]"), true},
		{"warnings of a chunk", child("ApplyIterationInsertQuery failed because of SQL warnings: [Warning: x (1265)]"), true},

		{"lock wait", server(1205), false},
		{"deadlock", server(1213), false},
		{"read only", server(1290), false},
		{"disk full", server(1114), false},
		{"lock wait of gh-ost", child("Error 1205 (HY000): Lock wait timeout exceeded"), false},
		{"killed", child("Error 1317 (70100): Query execution was interrupted"), false},
		{"gh-ost died", child("it ended without saying why"), false},
		{"a number that is not gh-ost's", errors.New("Error 1048 (23000): x"), false},
		{"stopped", ErrStopped, false},
		{"busy", ErrBusy, false},
	} {
		if got := Final(c.err); got != c.want {
			t.Errorf("%s: Final is %v, want %v", c.name, got, c.want)
		}
	}
}
