package keyed

import (
	"fmt"
	"regexp"
	"strings"
)

// Marker is in every statement of this package that changes anything, so that they are told from those of others, in the binary
// log and among the sessions of a server.
const Marker = "/* aosc keyed */"

// verdict is what a statement that stands in the binary log as text means for a copy.
type verdict int

const (
	verdictNothing verdict = iota
	verdictXAStart
	verdictXACommit
	verdictXARollback
	verdictLost // the copy cannot follow it
)

// about names the table that is followed.
type about struct {
	database, table string
	fold            bool // names do not depend on case on this server
}

// is compares names as the server does.
func (a about) is(database, table string) bool {
	if a.fold {
		return strings.EqualFold(database, a.database) && strings.EqualFold(table, a.table)
	}
	return database == a.database && table == a.table
}

// token is a quoted identifier, a word, a string or a comment.
var token = regexp.MustCompile("(?s)/\\*.*?\\*/|--[ \\t][^\\n]*|#[^\\n]*|" +
	"`(?:[^`]|``)*`|'(?:[^'\\\\]|\\\\.|'')*'|\"(?:[^\"\\\\]|\\\\.|\"\")*\"|[\\p{L}\\p{N}_$]+|.")

var word = regexp.MustCompile("^[\\p{L}\\p{N}_$]+$")

// words are the identifiers and words of a statement, unquoted. What is in comments that the server executes (/*!) counts as words.
func words(statement string, limit int) []string {
	var out []string
	for _, t := range token.FindAllString(statement, -1) {
		switch {
		case strings.HasPrefix(t, "/*!"):
			out = append(out, words(strings.TrimLeft(strings.TrimSuffix(t[3:], "*/"), "0123456789"), 0)...)
		case strings.HasPrefix(t, "/*"), strings.HasPrefix(t, "--"), t[0] == '#', t[0] == '\'':
		case t[0] == '`', t[0] == '"':
			out = append(out, strings.ReplaceAll(t[1:len(t)-1], t[:1]+t[:1], t[:1]))
		case word.MatchString(t):
			out = append(out, t)
		}
		if limit > 0 && len(out) >= limit {
			return out
		}
	}
	return out
}

// xid is the name of an XA transaction as the server logs it: X'67',X'62',1.
var xid = regexp.MustCompile(`(?i)^XA\s+(START|END|COMMIT|ROLLBACK)\s+(X'[0-9a-f]*',X'[0-9a-f]*',-?[0-9]+)`)

// harmless begin statements that change neither rows nor the definition of a table, or only make new tables.
var harmless = map[string]bool{"BEGIN": true, "COMMIT": true, "ROLLBACK": true, "SAVEPOINT": true, "RELEASE": true, "XA": true,
	"FLUSH": true, "ANALYZE": true, "OPTIMIZE": true, "REPAIR": true, "CHECK": true, "GRANT": true, "REVOKE": true, "SET": true,
	"INSTALL": true, "UNINSTALL": true, "START": true, "USE": true, "DO": true, "KILL": true}

// rewriting begin statements that change rows: in the log as text, nobody knows which.
var rewriting = map[string]bool{"INSERT": true, "UPDATE": true, "DELETE": true, "REPLACE": true, "LOAD": true, "CALL": true, "WITH": true,
	"IMPORT": true}

// otherThings follow CREATE, ALTER and DROP where these are about something else than a table.
var otherThings = map[string]bool{"USER": true, "ROLE": true, "FUNCTION": true, "PROCEDURE": true, "EVENT": true, "VIEW": true,
	"SERVER": true, "TABLESPACE": true, "UNDO": true, "LOGFILE": true, "INSTANCE": true, "RESOURCE": true, "SPATIAL": true, "LIBRARY": true}

// judge tells what a statement in the binary log means for the table. used is the default database it ran with. lost says why
// the copy cannot go on.
func judge(a about, used, statement string) (v verdict, id, lost string) {
	if m := xid.FindStringSubmatch(strings.TrimSpace(statement)); m != nil {
		return map[string]verdict{"START": verdictXAStart, "END": verdictNothing, "COMMIT": verdictXACommit,
			"ROLLBACK": verdictXARollback}[strings.ToUpper(m[1])], strings.ToLower(m[2]), ""
	}
	first := words(statement, 2)
	if len(first) == 0 {
		return verdictNothing, "", ""
	}
	verb := strings.ToUpper(first[0])
	switch {
	case harmless[verb]:
		return verdictNothing, "", ""
	case rewriting[verb]:
		return verdictLost, "", fmt.Sprintf("somebody writes with binlog_format=STATEMENT, whose rows nobody can tell: %s", abridged(statement))
	}
	second := ""
	if len(first) > 1 {
		second = strings.ToUpper(first[1])
	}
	newTable := verb == "CREATE" && (second == "TABLE" || second == "DATABASE" || second == "SCHEMA")
	if strings.Contains(statement, Marker) || newTable || otherThings[second] {
		return verdictNothing, "", ""
	}
	if mentions(a, used, statement, second) {
		return verdictLost, "", fmt.Sprintf("somebody changes the table while it is copied: %s", abridged(statement))
	}
	return verdictNothing, "", ""
}

// mentions tells whether a statement may be about the table. It is right to be wrong: another copy begins, and loses nothing.
func mentions(a about, used, statement, second string) bool {
	inDatabase := strings.EqualFold(used, a.database)
	table := false
	for _, w := range words(statement, 0) {
		inDatabase = inDatabase || strings.EqualFold(w, a.database)
		table = table || strings.EqualFold(w, a.table)
	}
	return inDatabase && (table || second == "DATABASE" || second == "SCHEMA")
}

// abridged keeps a statement readable within an error.
func abridged(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 160 {
		return string(r[:160]) + "..."
	}
	return text
}
