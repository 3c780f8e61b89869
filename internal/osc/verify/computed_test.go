package verify

import "testing"

func TestComparedStored(t *testing.T) {
	for name, c := range map[string]struct {
		expression string
		want       bool
	}{
		"text":                    {"concat(`v`,_utf8mb4'-\\'x`y(',upper(`v`))", true},
		"numbers":                 {"((`n` * 2) + 1)", true},
		"a column that grows":     {"(`w` + 1)", false},
		"a timestamp":             {"cast(`ts` as date)", false},
		"a division":              {"(`n` / 3)", false},
		"a name of a day":         {"dayname(`d`)", false},
		"a function nobody knows": {"soundex_of_mine(`v`)", false},
		"another generated":       {"(`g` + 1)", false},
		"a document":              {"json_unquote(json_extract(`j`,_utf8mb4'$.a'))", true},
	} {
		t.Run(name, func(t *testing.T) {
			table := func(wide string) Table {
				return Table{Columns: []Column{{Name: "v", DataType: "varchar", Type: "varchar(20)"}, {Name: "n", DataType: "int", Type: "int"},
					{Name: "w", DataType: wide, Type: wide}, {Name: "ts", DataType: "timestamp", Type: "timestamp"}, {Name: "d", DataType: "date",
						Type: "date"},
					{Name: "j", DataType: "json", Type: "json"}, {Name: "g", DataType: "int", Type: "int", Generated: true}}}
			}
			column := Column{Name: "s", Type: "varchar(90)", Generated: true, Stored: true, Expression: c.expression}
			if got := comparedStored(table("int"), table("bigint"), column, column); got != c.want {
				t.Errorf("compared: %v", got)
			}
		})
	}
	if got := unescaped(`concat(_utf8mb4\'-\\\'"\\\\n\')`); got != `concat(_utf8mb4'-\'"\\n')` {
		t.Error(got)
	}
}
