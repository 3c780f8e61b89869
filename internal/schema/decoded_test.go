package schema

import (
	"strings"
	"testing"

	"vitess.io/vitess/go/vt/sqlparser"
)

// What gh-ost does not carry over exactly; what it does is TestGhostIsExact of internal/osc.
func TestGhostable(t *testing.T) {
	for _, c := range []struct {
		name, from, to string // columns
		want           string // a part of the reason, "" = exact
	}{
		{"JSON that the change does not touch", "j json", "j json", "JSON"},
		{"text that becomes JSON", "j text", "j json", "JSON"},
		{"JSON that is dropped", "j json, a int", "a int", ""},
		{"JSON that is added", "a int", "a int, j json", ""},
		{"DECIMAL as text", "a decimal(10,2)", "a varchar(20)", "column a"},
		{"DOUBLE as text", "a double", "a text", "column a"},
		{"DECIMAL with more digits", "a decimal(10,2)", "a decimal(12,4)", ""},
		{"latin1 as utf8mb4", "a varchar(9) CHARACTER SET latin1", "a varchar(9) CHARACTER SET utf8mb4", "latin1"},
		{"latin1 as it was", "a varchar(9) CHARACTER SET latin1", "a text CHARACTER SET latin1", ""},
		{"ucs2", "a text CHARACTER SET ucs2", "a text CHARACTER SET utf8mb4", "ucs2"},
		{"utf8mb3 as utf8mb4", "a text CHARACTER SET utf8mb3", "a text CHARACTER SET utf8mb4", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			shape := func(columns string) *table {
				create, err := parseForm(Form{Text: "CREATE TABLE `t` (id int NOT NULL, " + columns +
					", PRIMARY KEY (id)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"})
				if err != nil {
					t.Fatal(err)
				}
				return newTable(create)
			}
			got := ""
			if err := ghostable(shape(c.from), shape(c.to), &Change{copied: &sqlparser.AlterTable{}}); err != nil {
				got = err.Error()
			}
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("%q; want one with %q", got, c.want)
			}
		})
	}
}
