package preflight

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
)

// good are facts that speak for a copy of table t.
func good() Facts {
	return Facts{
		Database: "db", Table: "t",
		Server: mysql.Server{LogBin: true, BinlogFormat: "ROW", BinlogRowImage: "FULL", Datadir: "/data"},
		Engine: "InnoDB",
		Original: verify.Table{Columns: []verify.Column{{Name: "id", DataType: "int", Type: "int"}},
			Keys: []verify.Key{{Name: "PRIMARY", Columns: []string{"id"}, Visible: true}}},
		Beside: []Beside{{Name: "t", Kind: "BASE TABLE", Engine: "InnoDB"}},
		Need:   10 << 30, Free: 11 << 30, FreeSeen: true,
	}
}

func refuses(t *testing.T, c Check, f Facts, words string) {
	t.Helper()
	if got := c.Why(f); (got == "") != (words == "") || !strings.Contains(got, words) {
		t.Errorf("%s: %q, want one with %q", c.Name, got, words)
	}
}

// What passes by itself is said last, and a check that cannot be asked ends it all.
func TestFirst(t *testing.T) {
	says := func(name, reason string, passing bool) Check {
		return Check{Name: name, Passing: passing, Why: func(Facts) string { return reason }}
	}
	broken := Check{Name: "broken", Ask: func(context.Context, *sql.DB, Facts) (string, error) { return "", errors.New("gone") }}
	for _, c := range []struct {
		name   string
		checks []Check
		want   Refusal
	}{
		{"none", []Check{says("a", "", false), says("b", "", true)}, Refusal{}},
		{"in order", []Check{says("a", "", false), says("b", "x", false), says("c", "y", false)}, Refusal{"b", "x", false}},
		{"passing ones last", []Check{says("a", "x", true), says("b", "y", false)}, Refusal{"b", "y", false}},
		{"a passing one", []Check{says("a", "x", true), says("b", "", false)}, Refusal{"a", "x", true}},
	} {
		got, err := First(t.Context(), nil, c.checks, Facts{})
		if got == nil {
			got = &Refusal{}
		}
		if err != nil || *got != c.want {
			t.Errorf("%s: %v, %v, want %v", c.name, *got, err, c.want)
		}
	}
	if _, err := First(t.Context(), nil, []Check{says("a", "x", true), broken}, Facts{}); err == nil {
		t.Error("the question failed, and nobody said so")
	}
}
