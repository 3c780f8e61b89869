package ghost

import (
	"strings"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy/preflight"
)

// checkGrants: gh-ost judges for itself, and stops.
var checkGrants = preflight.Check{Name: "grants", Why: func(f preflight.Facts) string {
	return grantsRefusal(f.Grants, f.Database, f.User)
}}

// ghostPrivileges must stand in one line of SHOW GRANTS, for gh-ost reads that text.
var ghostPrivileges = []string{"ALTER", "CREATE", "DELETE", "DROP", "INDEX", "INSERT", "LOCK TABLES", "SELECT", "TRIGGER", "UPDATE"}

// grantsRefusal judges as gh-ost does: by the text of SHOW GRANTS, in which privileges that come with a role do not
// stand.
func grantsRefusal(grants []string, database, user string) string {
	var super, client, replica, tables bool
	escaped := strings.ReplaceAll(database, "_", `\_`)
	for _, g := range grants {
		if strings.Contains(g, "GRANT ALL PRIVILEGES ON *.*") {
			return ""
		}
		global := strings.Contains(g, " ON *.*")
		super = super || global && strings.Contains(g, "SUPER")
		client = client || global && strings.Contains(g, "REPLICATION CLIENT")
		replica = replica || global && strings.Contains(g, "REPLICATION SLAVE")
		on := global || strings.Contains(g, " ON `"+database+"`.*")
		tables = tables || on && containsAll(g, ghostPrivileges) ||
			strings.Contains(g, "GRANT ALL PRIVILEGES ON `"+database+"`.*") || strings.Contains(g, "GRANT ALL PRIVILEGES ON `"+escaped+"`.*")
	}
	var missing []string
	for _, m := range []struct {
		has  bool
		what string
	}{
		{super || client, "REPLICATION CLIENT ON *.*"},
		{replica, "REPLICATION SLAVE ON *.*"},
		{tables, strings.Join(ghostPrivileges, ", ") + " ON " + mysql.QuoteIdent(database) + ".* or *.*, all in one grant"},
	} {
		if !m.has {
			missing = append(missing, m.what)
		}
	}
	if missing == nil {
		return ""
	}
	return "account " + user + " lacks what gh-ost asks for (granted directly, it does not see roles): " + strings.Join(missing, "; ")
}

func containsAll(s string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}
