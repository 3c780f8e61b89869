package mysql

import "strings"

// QuoteIdent makes an identifier safe in any statement: any name the server accepts (spaces, quotes, reserved words,
// any letter of utf8mb4) survives unchanged.
func QuoteIdent(name string) string {
	return "`" + strings.ReplaceAll(name, "`", "``") + "`"
}

// QuoteIdents is QuoteIdent of each name, separated by dots: QuoteIdents(database, table).
func QuoteIdents(names ...string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = QuoteIdent(n)
	}
	return strings.Join(quoted, ".")
}

// stringEscapes is what the server reads back inside '...' (manual 11.1.1). A quote is doubled, which is right under
// every sql_mode; the backslash forms rely on NO_BACKSLASH_ESCAPES being off, which every connection of this package
// ensures (see sessionSQLMode).
var stringEscapes = strings.NewReplacer("'", "''", `\`, `\\`, "\x00", `\0`, "\n", `\n`, "\r", `\r`, "\x1a", `\Z`)

// QuoteString makes a string literal, quotes included, for statements that take no placeholders (DDL, CHANGE
// REPLICATION SOURCE). It is right on connections opened by this package.
func QuoteString(s string) string {
	return "'" + stringEscapes.Replace(s) + "'"
}
