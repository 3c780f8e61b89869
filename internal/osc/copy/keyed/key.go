package keyed

import (
	"github.com/aosc/aosc/internal/osc/copy/preflight"
	"github.com/aosc/aosc/internal/osc/keyed"
)

// checkKey: rows are told apart by a key.
var checkKey = preflight.Check{Name: "key", Shape: true, Why: func(f preflight.Facts) string {
	if err := keyed.Usable(f.Original, f.Zone.UTC()); err != nil {
		return err.Error()
	}
	return ""
}}
