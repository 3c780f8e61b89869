package ghost

import (
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy/preflight"
)

// checkLike: gh-ost looks its tables up with LIKE, where an underscore is any character, and takes what it finds for its own.
var checkLike = preflight.Check{Name: "like", Why: func(f preflight.Facts) string {
	for _, b := range f.Beside {
		quoted := mysql.QuoteIdent(b.Name)
		switch {
		case b.Name == f.Table, f.Recorded[b.Name], slices.Contains(f.Taken, b.Name):
		case !like(f.Table, b.Name):
			return "table " + quoted + " would be taken for one of gh-ost's own: it looks tables up with LIKE; rename it"
		case b.Kind != "BASE TABLE" || !strings.EqualFold(b.Engine, "InnoDB"):
			return quoted + " (" + strings.ToLower(b.Kind) + ") would be taken for the table: gh-ost looks tables up with LIKE"
		}
	}
	return ""
}}

// like is LIKE without wildcards other than those of names: an underscore is any one character, a percent sign any number.
func like(pattern, name string) bool {
	p, n := []rune(strings.ToLower(pattern)), []rune(strings.ToLower(name))
	if len(p) == 0 {
		return len(n) == 0
	}
	if p[0] == '%' {
		for i := range len(n) + 1 {
			if like(string(p[1:]), string(n[i:])) {
				return true
			}
		}
		return false
	}
	return len(n) > 0 && (p[0] == '_' || p[0] == n[0]) && like(string(p[1:]), string(n[1:]))
}
