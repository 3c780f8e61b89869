package ghost

import (
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/osc/verify"
)

func TestCheckKey(t *testing.T) {
	f := good()
	refuses(t, checkKey, f, "")
	f.Original.Keys = nil
	refuses(t, checkKey, f, "no usable unique key")
	f = good()
	f.Copied = &verify.Table{Columns: f.Original.Columns}
	refuses(t, checkKey, f, "no usable unique key")
}

func TestGhostKey(t *testing.T) {
	columns := []verify.Column{
		{Name: "id", DataType: "int", Type: "int"}, {Name: "big", DataType: "bigint", Type: "bigint"},
		{Name: "name", DataType: "varchar", Type: "varchar(20)", Charset: "utf8mb4"}, {Name: "f", DataType: "float", Type: "float"},
		{Name: "g", DataType: "int", Type: "int", Generated: true}, {Name: "n", DataType: "int", Type: "int", Nullable: true},
	}
	key := func(name string, columns ...string) verify.Key {
		return verify.Key{Name: name, Columns: columns, Visible: true}
	}
	invisible := key("hidden", "id")
	invisible.Visible = false
	nullable := key("nulls", "n")
	nullable.Nullable = true
	expression := verify.Key{Name: "expr", Columns: []string{"", "id"}, Visible: true, Functions: true}
	for _, c := range []struct {
		name          string
		keys, copied  []verify.Key // copied nil = not there yet
		want, refusal string
	}{
		{"the primary key", []verify.Key{key("a", "big"), key("PRIMARY", "name")}, nil, "PRIMARY", ""},
		{"integers before text", []verify.Key{key("text", "name"), key("number", "big")}, nil, "number", ""},
		{"small before large", []verify.Key{key("large", "big"), key("small", "id")}, nil, "small", ""},
		{"no NULLs before NULLs", []verify.Key{nullable, key("text", "name")}, nil, "text", ""},
		{"only NULLs", []verify.Key{nullable}, nil, "", "no usable unique key"},
		{"none", nil, nil, "", "no usable unique key"},
		{"a float", []verify.Key{key("PRIMARY", "f")}, nil, "", "no usable unique key"},
		{"a float is passed over", []verify.Key{key("PRIMARY", "f"), key("u", "id")}, nil, "u", ""},
		{"an expression that it does not see", []verify.Key{expression}, nil, "", "without its expressions"},
		{"beside a primary key it does not matter", []verify.Key{expression, key("PRIMARY", "id")}, nil, "PRIMARY", ""},
		{"invisible", []verify.Key{invisible}, nil, "", "INVISIBLE"},
		{"either of two that sort alike", []verify.Key{key("visible", "id"), invisible}, nil, "", "INVISIBLE"},
		{"generated", []verify.Key{key("PRIMARY", "g")}, nil, "", "generated"},
		{"another primary key in the copy", []verify.Key{key("PRIMARY", "id"), key("u", "big")}, []verify.Key{key("PRIMARY", "big")}, "u", ""},
		{"the copy's key has more columns", []verify.Key{key("PRIMARY", "id")}, []verify.Key{key("PRIMARY", "id", "big")}, "PRIMARY", ""},
		{"none in common", []verify.Key{key("PRIMARY", "id")}, []verify.Key{key("PRIMARY", "big")}, "", "no usable unique key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			original := verify.Table{Columns: columns, Keys: c.keys}
			var copied *verify.Table
			if c.copied != nil {
				copied = &verify.Table{Columns: columns, Keys: c.copied}
			}
			got, err := ghostKey(original, copied)
			if got.Name != c.want || (err != nil) != (c.refusal != "") || err != nil && !strings.Contains(err.Error(), c.refusal) {
				t.Errorf("key %q, %v; want %q, %q", got.Name, err, c.want, c.refusal)
			}
		})
	}
}
