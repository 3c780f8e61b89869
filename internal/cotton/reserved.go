package cotton

import "strings"

// ReservedUser says why a name is not that of a cluster's user, empty when it may be. The server tells names apart by case;
// people, and tools that compare names, do not.
func ReservedUser(name string) string {
	switch lower := strings.ToLower(strings.TrimSpace(name)); {
	case lower == "root", strings.HasPrefix(lower, "mysql."), lower == "event_scheduler", lower == "system user":
		return "is an account of the server itself"
	case strings.HasPrefix(lower, "cotton_"):
		return "begins as cotton's own accounts do (cotton_...)"
	}
	return ""
}
