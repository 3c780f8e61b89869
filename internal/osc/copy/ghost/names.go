package ghost

import "github.com/aosc/aosc/internal/osc/copy/preflight"

// checkNames: gh-ost does not quote all names.
var checkNames = preflight.Check{Name: "names", Why: func(f preflight.Facts) string {
	key, err := ghostKey(f.Original, nil)
	if err != nil {
		return "" // checkKey says so
	}
	names := make([]string, len(f.Original.Columns))
	for i, c := range f.Original.Columns {
		names[i] = c.Name
	}
	return NameProblem(f.Database, f.Table, names, key.Name)
}}
