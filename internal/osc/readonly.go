package osc

import (
	"slices"
	"strings"
)

// passesReadOnly names a privilege among grants with which an account writes to a server that is read_only, "" when it has none.
// Privileges of roles do not show; SHOW GRANTS lists those that a grant of ALL stands for.
func passesReadOnly(grants []string) string {
	for _, g := range grants {
		if !strings.Contains(g, " ON *.*") {
			continue
		}
		for _, privilege := range []string{"SUPER", "CONNECTION_ADMIN", "ALL PRIVILEGES"} {
			if strings.HasPrefix(g, "GRANT ") && slices.ContainsFunc(strings.Split(strings.TrimPrefix(g[:strings.Index(g, " ON *.*")], "GRANT "),
				","),
				func(has string) bool { return strings.TrimSpace(has) == privilege }) {
				return privilege
			}
		}
	}
	return ""
}
