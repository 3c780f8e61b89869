package ghost

import (
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/osc/verify"
)

// TestEnumErrorValue of package osc asks servers.
func TestErrorValues(t *testing.T) {
	table := verify.Table{Columns: []verify.Column{{Name: "id", DataType: "int"}, {Name: "E", DataType: "enum"}, {Name: "g",
		DataType: "enum", Generated: true},
		{Name: "gone", DataType: "enum"}, {Name: "f`", DataType: "enum"}}}
	columns := errorValues(table, []string{"id", "e", "g", "f`"})
	if got := strings.Join(columns, " "); got != "E f`" {
		t.Errorf("columns %s", got)
	}
	want := "SELECT CASE WHEN `E` + 0 = 0 THEN 'E' WHEN `f``` + 0 = 0 THEN 'f`' END FROM `d`.`t` WHERE `E` + 0 = 0 OR `f``` + 0 = 0 LIMIT 1"
	if got := errorValueQuery("d", "t", columns); got != want {
		t.Errorf("got %s", got)
	}
}
