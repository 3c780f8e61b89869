package mysql

import "strings"

// valueVariables are the session variables that decide which values a statement makes of others: in generated columns, in conversions
// between types, in defaults and CHECK constraints. Sessions of this package set some of them for themselves (time_zone), others come from
// the client's handshake (collation_connection). What a session may change only with a privilege (sql_require_primary_key,
// auto_increment_increment) is not here: no session of ours changes it, so that it has the server's value.
var valueVariables = []string{
	"time_zone", "lc_time_names", "explicit_defaults_for_timestamp", "div_precision_increment", "default_week_format", "block_encryption_mode",
}

// serverCollation is by what literals are compared. A server whose own is of another character set than utf8mb4 would convert the literals
// of our statements to that, and lose letters: then it is that of utf8mb4, as in a session of a client that speaks utf8mb4.
const serverCollation = "IF(@@GLOBAL.collation_connection LIKE 'utf8mb4\\_%', " +
	"@@GLOBAL.collation_connection, @@GLOBAL.default_collation_for_utf8mb4)"

// ServerValues is the SET that gives a session the server's own value of everything that decides which values a statement makes, except for
// sql_mode: what an ALTER by hand on that server has. It is the one place that says which these are.
func ServerValues() string {
	set := make([]string, len(valueVariables), len(valueVariables)+1)
	for i, name := range valueVariables {
		set[i] = "SESSION " + name + " = @@GLOBAL." + name
	}
	return "SET " + strings.Join(append(set, "SESSION collation_connection = "+serverCollation), ", ")
}

// ValueSettings is an expression for everything of a session that decides which values a statement makes, as one text: values made under
// another text may differ.
func ValueSettings() string {
	parts := []string{"'version'", "SUBSTRING_INDEX(@@version, '.', 2)"}
	for _, name := range append([]string{"sql_mode", "collation_connection"}, valueVariables...) {
		value := "@@SESSION." + name
		if name == "time_zone" {
			value = "IF(" + value + " = 'SYSTEM', @@system_time_zone, " + value + ")"
		}
		parts = append(parts, "'"+name+"'", value)
	}
	texts := make([]string, 0, len(parts)/2)
	for i := 0; i < len(parts); i += 2 {
		texts = append(texts, "CONCAT("+parts[i]+", '=', "+parts[i+1]+")")
	}
	return "CONCAT_WS('; ', " + strings.Join(texts, ", ") + ")"
}
