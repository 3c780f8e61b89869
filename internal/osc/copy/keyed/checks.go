package keyed

import "github.com/aosc/aosc/internal/osc/copy/preflight"

// Checks are all that speaks against a copy by this engine: whole transactions of row events are enough, however they are written.
func (Engine) Checks() []preflight.Check {
	return []preflight.Check{preflight.Log, preflight.Format, checkGTIDs, preflight.Storage, preflight.Triggers, preflight.Children,
		preflight.Parents, checkKey, checkShape, preflight.Strict, preflight.Taken, preflight.Statements, preflight.Space}
}
