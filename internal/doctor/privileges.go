package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// need is what an account has to have. The lists are those of docs/operations.md, which a test holds them against.
type need struct {
	tables  []string // on each database it works in
	on      string   // "" = on every database; else on these only
	global  []string
	without []string // what it must not have
}

// The keys that name accounts.
const (
	UseMain    = "mysql-user"
	UseWrite   = "mysql-write-user"
	UseScratch = "scratch-user"
)

const scratchDatabases = `aosc\_scratch\_%`

var needs = map[string]need{
	UseMain: {
		tables: []string{"ALTER", "CREATE", "CREATE VIEW", "DELETE", "DROP", "INDEX", "INSERT",
			"LOCK TABLES", "REFERENCES", "SELECT", "TRIGGER", "UPDATE"},
		global: []string{"PROCESS", "REPLICATION CLIENT", "REPLICATION SLAVE", "CONNECTION_ADMIN",
			"SESSION_VARIABLES_ADMIN", "SYSTEM_VARIABLES_ADMIN"},
	},
	UseWrite: {
		tables:  []string{"ALTER", "CREATE", "DELETE", "DROP", "INDEX", "INSERT", "LOCK TABLES", "REFERENCES", "SELECT", "TRIGGER", "UPDATE"},
		global:  []string{"PROCESS", "REPLICATION CLIENT", "REPLICATION SLAVE"},
		without: []string{"SUPER", "CONNECTION_ADMIN"},
	},
	UseScratch: {
		tables: []string{"ALTER", "CREATE", "DROP", "INDEX", "REFERENCES", "SELECT"}, on: scratchDatabases,
		global: []string{"CONNECTION_ADMIN", "SESSION_VARIABLES_ADMIN"},
	},
}

// grant is a line of SHOW GRANTS: privileges on *.* (database "") or on a pattern of databases.
type grant struct {
	privileges []string
	database   string
}

// parseGrant reads a line of SHOW GRANTS; false for what is none on whole databases (roles, tables, PROXY).
func parseGrant(line string) (grant, bool) {
	list, rest, ok := strings.Cut(strings.TrimPrefix(line, "GRANT "), " ON ")
	if !ok || !strings.HasPrefix(line, "GRANT ") {
		return grant{}, false
	}
	target, _, ok := strings.Cut(rest, " TO ")
	database, found := strings.CutSuffix(target, ".*")
	if !ok || !found {
		return grant{}, false
	}
	g := grant{database: strings.ReplaceAll(strings.Trim(database, "`"), "``", "`")}
	if database == "*" {
		g.database = ""
	}
	for _, p := range strings.Split(list, ",") {
		g.privileges = append(g.privileges, strings.ToUpper(strings.TrimSpace(p)))
	}
	return g, true
}

// holds tells whether the grants give a privilege on a database; "" = everywhere.
func holds(grants []grant, privilege, database string) bool {
	return slices.ContainsFunc(grants, func(g grant) bool {
		if g.database != "" && (database == "" || g.database != database && !matches(g.database, database)) {
			return false
		}
		if slices.Contains(superAlso, privilege) && slices.Contains(g.privileges, "SUPER") {
			return true
		}
		return slices.Contains(g.privileges, privilege) || slices.Contains(g.privileges, "ALL PRIVILEGES") || slices.Contains(g.privileges, "ALL")
	})
}

// superAlso are the privileges that SUPER stands for, too.
var superAlso = []string{"CONNECTION_ADMIN", "SESSION_VARIABLES_ADMIN", "SYSTEM_VARIABLES_ADMIN"}

// matches is LIKE as grants have it: an underscore is any character, a percent sign any number, a backslash takes that away.
func matches(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	switch {
	case len(p) == 0:
		return len(n) == 0
	case p[0] == '%':
		return slices.ContainsFunc(indexes(len(n)+1), func(i int) bool { return matches(string(p[1:]), string(n[i:])) })
	case len(n) == 0:
		return false
	case p[0] == '\\' && len(p) > 1:
		return p[1] == n[0] && matches(string(p[2:]), string(n[1:]))
	}
	return (p[0] == '_' || p[0] == n[0]) && matches(string(p[1:]), string(n[1:]))
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// privileges finds what an account lacks, and what it has too much. Privileges of a role do not show in SHOW GRANTS, and gh-ost does not
// see them either.
func privileges(a Account, databases []string, add func(what, mend string)) {
	if a.Err != nil {
		add(fmt.Sprintf("the account of %s cannot be used: %v", a.Use, a.Err), "see docs/operations.md, Privileges")
		return
	}
	want, ok := needs[a.Use]
	if !ok {
		return
	}
	var grants []grant
	for _, line := range a.Grants {
		if g, ok := parseGrant(line); ok {
			grants = append(grants, g)
		}
	}
	lacks := func(privileges []string, database string) []string {
		var missing []string
		for _, p := range privileges {
			if !holds(grants, p, database) {
				missing = append(missing, p)
			}
		}
		return missing
	}
	say := func(missing []string, on string) {
		list := strings.Join(missing, ", ")
		add(fmt.Sprintf("%s (%s) lacks %s on %s", a.Name, a.Use, list, on), "GRANT "+list+" ON "+on+" TO "+quoteAccount(a.Name)+";")
	}
	if missing := lacks(want.global, ""); missing != nil {
		say(missing, "*.*")
	}
	switch {
	case want.on != "":
		if missing := lacks(want.tables, want.on); missing != nil {
			say(missing, mysql.QuoteIdent(want.on)+".*")
		}
	case lacks(want.tables, "") != nil:
		for _, database := range databases {
			if missing := lacks(want.tables, database); missing != nil {
				say(missing, "*.*") // one statement for all
				break
			}
		}
	}
	for _, p := range want.without {
		if slices.ContainsFunc(grants, func(g grant) bool { return g.database == "" && slices.Contains(g.privileges, p) }) {
			add(fmt.Sprintf("%s (%s) has %s: what it writes is not stopped by read_only, and a switchover may leave errant transactions",
				a.Name, a.Use, p),
				"REVOKE "+p+" ON *.* FROM "+quoteAccount(a.Name)+";")
		}
	}
}

// centralNeeds is what ALL on aoscdb's database stands for, as far as it is used.
var centralNeeds = []string{"ALTER", "CREATE", "CREATE VIEW", "DELETE", "DROP", "INDEX", "INSERT", "SELECT", "SHOW VIEW", "UPDATE"}

// central finds what the account on aoscdb lacks.
func central(s Site) []Finding {
	a := s.Central
	if a.Err != nil {
		return []Finding{{Where: "aoscdb", What: a.Err.Error(), Mend: "see docs/operations.md, Privileges"}}
	}
	if a.Name == "" {
		return nil
	}
	var grants []grant
	for _, line := range a.Grants {
		if g, ok := parseGrant(line); ok {
			grants = append(grants, g)
		}
	}
	var missing []string
	for _, p := range centralNeeds {
		if !holds(grants, p, s.Database) {
			missing = append(missing, p)
		}
	}
	if missing == nil {
		return nil
	}
	return []Finding{{Where: "aoscdb", What: fmt.Sprintf("%s lacks %s on %s", a.Name, strings.Join(missing, ", "), s.Database),
		Mend: "GRANT ALL ON " + mysql.QuoteIdent(s.Database) + ".* TO " + quoteAccount(a.Name) + ";"}}
}

// quoteAccount makes 'user'@'host' of CURRENT_USER().
func quoteAccount(name string) string {
	user, host := name, "%"
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		user, host = name[:i], name[i+1:]
	}
	return mysql.QuoteString(user) + "@" + mysql.QuoteString(host)
}
