package schema

import (
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// dialect is how a server reads a text: by its sql_mode and its version. The zero value reads what servers print, in a
// session of ShowSession.
type dialect struct {
	ansiQuotes  bool // "x" is a name
	noBackslash bool // a backslash in a string is a backslash
	version     int  // 80036; 0 keeps version comments as tokens
}

// nominalVersion is that by which files are judged before any server is known: newer than every server, older than the numbers of
// MariaDB.
const nominalVersion = 99999

// dialectOf is the dialect of a server that has this sql_mode and @@version.
func dialectOf(sqlMode, version string) dialect {
	modes := strings.Split(strings.ToUpper(sqlMode), ",")
	d := dialect{
		ansiQuotes:  slices.Contains(modes, "ANSI_QUOTES") || slices.Contains(modes, "ANSI"),
		noBackslash: slices.Contains(modes, "NO_BACKSLASH_ESCAPES"),
		version:     nominalVersion,
	}
	if v, err := mysql.ParseVersion(version); err == nil {
		d.version = v.Major*10000 + v.Minor*100 + v.Patch
	}
	return d
}

// Statement is the CREATE TABLE of a desired text, as it is given to a server: rendered from the tokens of the one statement that
// the text was found to be. No comment of the text is in it, a version comment least of all: whether a server of env runs what
// one holds is decided here, and that is then part of the statement, or it is not. Names and strings are written so that
// they mean under Mode what they mean to a server of env.
type Statement struct {
	Table string
	SQL   string
	Mode  string // the sql_mode of env, less what decides about quotes
}

// Render reads a desired text as a server of env would. The error says why it is not one plain CREATE TABLE.
func Render(text string, env DBEnv) (Statement, error) {
	c, table, err := readText(text, dialectOf(env.SQLMode, env.Version))
	if err != nil {
		return Statement{}, err
	}
	return Statement{Table: table, SQL: c.render(), Mode: unquoting(env.SQLMode)}, nil
}

// unquoting is a sql_mode less the modes that change how quotes are read. (The combinations that imply them are spelled out by
// the server, and go too, for they would bring them back.)
func unquoting(sqlMode string) string {
	return without(sqlMode, "ANSI", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES")
}

// without is a sql_mode less some modes.
func without(sqlMode string, modes ...string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(sqlMode, ","), func(m string) bool {
		return slices.Contains(modes, strings.ToUpper(strings.TrimSpace(m)))
	}), ",")
}

// render writes the tokens of the statement, all of them, in their order. Where the text has a space, a line break or a
// comment between two tokens there is one space, elsewhere there is none: the server joins tokens by that.
func (c *cursor) render() string {
	var b strings.Builder
	for i, t := range c.toks {
		if i > 0 && (c.toks[i-1].end < t.start || c.clash(i)) {
			b.WriteByte(' ')
		}
		switch raw := c.at(i); t.kind {
		case ident:
			b.WriteString(mysql.QuoteIdent(unquote(raw)))
		case str:
			b.WriteString(quoteAgain(raw, c.dialect))
		default:
			b.WriteString(raw)
		}
	}
	return b.String()
}

// clash tells whether token i must be kept apart from the one before, although the text does not: two quoted things whose quotes
// become the same, and two symbols that would begin a comment.
func (c *cursor) clash(i int) bool {
	a, b := c.toks[i-1], c.toks[i]
	if a.kind == symbol && b.kind == symbol {
		two := c.at(i-1) + c.at(i)
		return two == "--" || two == "/*" || two == "*/"
	}
	return a.kind == b.kind && (a.kind == str || a.kind == ident)
}

// quoteAgain writes a string literal as '...' with backslash escapes, whatever its quotes and its dialect.
func quoteAgain(raw string, d dialect) string {
	quote, body := raw[0], raw[1:len(raw)-1]
	var b strings.Builder
	b.WriteByte('\'')
	for i := 0; i < len(body); i++ {
		switch ch := body[i]; {
		case ch == '\\' && d.noBackslash:
			b.WriteString(`\\`)
		case ch == '\\' && i+1 < len(body):
			i++
			b.WriteString(body[i-1 : i+1])
		case ch == quote: // doubled
			i++
			if quote == '\'' {
				b.WriteByte(quote)
			}
			b.WriteByte(quote)
		case ch == '\'':
			b.WriteString(`''`)
		default:
			b.WriteByte(ch)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
