package ghost

import "github.com/aosc/aosc/internal/osc/copy/preflight"

// Checks are all that speaks against a copy by gh-ost.
func (Engine) Checks() []preflight.Check {
	return []preflight.Check{preflight.Log, preflight.Format, checkImage, checkCompression, checkPartial,
		preflight.Storage, preflight.Triggers, preflight.Children, preflight.Parents, checkKey, checkNames, checkGrants, preflight.Taken,
		checkLike,
		checkDecoded, checkZone, checkEnum, checkFollowed, checkComparable, preflight.Strict, checkSessions, preflight.Space}
}
