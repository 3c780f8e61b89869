package schema

import (
	"strings"
	"testing"
)

func TestGeneratedKey(t *testing.T) {
	form := func(elements ...string) Form {
		t.Helper()
		f, err := Normalise("CREATE TABLE `t` (\n  " + strings.Join(elements, ",\n  ") +
			"\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci")
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	const a, b, c = "`a` int DEFAULT NULL", "`b` int DEFAULT NULL", "`c` int DEFAULT NULL"
	for _, tt := range []struct {
		name                   string
		desired, current, want Form
	}{
		{"kept", form(a, b), form(generatedColumn, a, generatedKey), form(generatedColumn, a, b, generatedKey)},
		{"a column before it", form(c, a), form(generatedColumn, a, generatedKey), form(generatedColumn, c, a, generatedKey)},
		{"in the middle", form(a, c, b), form(a, generatedColumn, b, generatedKey), form(a, generatedColumn, c, b, generatedKey)},
		{"what it stood behind is dropped", form(a, c), form(a, b, generatedColumn, c, generatedKey), form(a, generatedColumn, c, generatedKey)},
		{"a key of its own", form(a, "PRIMARY KEY (`a`)"), form(generatedColumn, a, generatedKey), form(a, "PRIMARY KEY (`a`)")},
		{"written out", form(generatedColumn, a, generatedKey), form(generatedColumn, a, generatedKey), form(generatedColumn, a, generatedKey)},
		{"written out and missing", form(generatedColumn, a, generatedKey), form(a), form(generatedColumn, a, generatedKey)},
		{"another counter", form("`i` int NOT NULL AUTO_INCREMENT", "KEY `i` (`i`)"), form(generatedColumn, a, generatedKey),
			form("`i` int NOT NULL AUTO_INCREMENT", "KEY `i` (`i`)")},
		{"the word in a comment", form("`a` int COMMENT 'AUTO_INCREMENT'"), form(generatedColumn, a, generatedKey),
			form(generatedColumn, "`a` int COMMENT 'AUTO_INCREMENT'", generatedKey)},
		{"made visible by somebody", form(a), form("`my_row_id` bigint unsigned NOT NULL AUTO_INCREMENT", a, generatedKey), form(a)},
		{"none", form(a, b), form(a), form(a, b)},
		{"no table at all", form(a), Form{Text: "CREATE VIEW `t` AS select 'PRIMARY KEY (`my_row_id`)'"}, form(a)},
	} {
		got := tt.desired.WithGeneratedKeyOf(tt.current)
		if got != tt.want {
			t.Errorf("%s: got %s", tt.name, got.Text)
		}
		if tt.desired.Keyless() && tt.current.Hash != "" {
			// Whoever compares hashes sees equal what would be planned as nothing, and only that.
			if equal, planned := tt.current.WithoutGeneratedKey().Hash == tt.desired.Hash, tt.current.Hash == got.Hash; equal != planned {
				t.Errorf("%s: equal %v, nothing to do %v", tt.name, equal, planned)
			}
		}
		if _, place := got.WithGeneratedKey(); place && !tt.desired.Keyless() {
			t.Errorf("%s: a key would be generated", tt.name)
		}
	}
	if f, ok := form(a).WithGeneratedKey(); !ok || f != form(generatedColumn, a, generatedKey) {
		t.Errorf("generated: %v %s", ok, f.Text)
	}
	if f := form(generatedColumn, a, generatedKey).WithoutGeneratedKey(); f != form(a) {
		t.Errorf("less the key: %s", f.Text)
	}
}
