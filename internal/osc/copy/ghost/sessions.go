package ghost

import "github.com/aosc/aosc/internal/osc/copy/preflight"

// checkSessions: what a session sets for itself concerns gh-ost as much as what the server has set.
var checkSessions = preflight.Check{Name: "sessions", Passing: true, Session: true, Why: func(f preflight.Facts) string {
	for _, s := range f.Sessions {
		return s.Refusal("gh-ost")
	}
	return ""
}}
