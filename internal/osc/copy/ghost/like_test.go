package ghost

import (
	"testing"

	"github.com/aosc/aosc/internal/osc/copy"
	"github.com/aosc/aosc/internal/osc/copy/preflight"
)

func TestCheckLike(t *testing.T) {
	for _, c := range []struct {
		table   string
		found   preflight.Beside
		ours    string
		refused string
	}{
		{"t", preflight.Beside{Name: "_t_gho", Kind: "BASE TABLE", Engine: "InnoDB"}, "_t_gho", ""},
		{"t", preflight.Beside{Name: "_t_gho", Kind: "BASE TABLE", Engine: "InnoDB"}, "", ""},    // preflight.Taken has it
		{"a_b", preflight.Beside{Name: "axb", Kind: "BASE TABLE", Engine: "InnoDB"}, "", ""},     // taken for the table, but it is alike
		{"a_b", preflight.Beside{Name: "axb", Kind: "VIEW"}, "", "(view)"},                       // gh-ost would call the table a view
		{"a_b", preflight.Beside{Name: "axb", Kind: "BASE TABLE", Engine: "MyISAM"}, "", "LIKE"}, // and copy without locks
		{"t", preflight.Beside{Name: "xt_gho", Kind: "BASE TABLE", Engine: "InnoDB"}, "", "rename it"},
	} {
		f := good()
		f.Table, f.Taken = c.table, copy.NamesFor(c.table).All()
		f.Beside, f.Recorded = []preflight.Beside{c.found}, map[string]bool{c.ours: true}
		refuses(t, checkLike, f, c.refused)
	}
}

func TestLike(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a_b", "a_b", true}, {"a_b", "axb", true}, {"a_b", "ab", false}, {"a_b", "A_B", true}, {"a%", "abc", true},
		{"a%c", "abc", true}, {"a%c", "abd", false}, {"", "", true}, {"", "a", false}, {"%", "", true}, {"\u00e9_", "\u00e9x", true},
	} {
		if got := like(c.pattern, c.name); got != c.want {
			t.Errorf("%q LIKE %q is %v", c.name, c.pattern, got)
		}
	}
}
