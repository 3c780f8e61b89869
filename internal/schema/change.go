package schema

import (
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/aosc/aosc/internal/mysql"
)

// AlterSQLMode is the sql_mode that every ALTER of a Change must run under, whatever the server's: values that do not fit
// are errors (never silently cut), while dates and zeros that a table already holds are left alone.
const AlterSQLMode = "STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION"

// AlterMode is AlterSQLMode with those modes of the server's own sql_mode that decide values. The others decide how a text is read, and
// ours are written for none of them, or which of the values that a table holds already are errors.
func AlterMode(server string) string {
	mode := AlterSQLMode
	for _, m := range strings.Split(server, ",") {
		switch m {
		case "TIME_TRUNCATE_FRACTIONAL", "NO_UNSIGNED_SUBTRACTION", "PAD_CHAR_TO_FULL_LENGTH":
			mode += "," + m
		}
	}
	return mode
}

// Change is what leads from one definition of a table to another.
type Change struct {
	// Empty holds exactly when the hashes of both definitions are equal; the rest is then empty too.
	Empty bool
	// Clauses are the whole change on one line, for people and as one ALTER where it takes one (len(Steps) == 1). A copy
	// engine wants CopyClauses.
	Clauses string
	// Statement is the ALTER TABLE of a table. A change of several steps gives several statements, separated by "; ":
	// run Statements instead.
	Statement func(database, table string) string
	// Findings are what may lose data or needs a person's word.
	Findings []Finding
	// Copyable says why no copy engine can do it safely, nil when it can.
	Copyable error
	// Ghost says why gh-ost in particular cannot do it, nil when it can.
	Ghost error
	// UTC says why rows that are written in a session in UTC come out differently, nil when they do not: gh-ost applies changes so.
	UTC error

	// Steps are the clauses of each ALTER in order, each on one line. Most changes are one step: MySQL wants some
	// partition changes, foreign keys that are replaced and second FULLTEXT keys in statements of their own.
	Steps []string

	alters []*sqlparser.AlterTable // of Steps
	copied *sqlparser.AlterTable   // the same change as one ALTER, for a copy; nil when there is none
	checks []string                // names of the CHECK constraints before the change, as LIKE counts them
}

// Statements are the ALTER TABLEs of the change, in order. modifiers is what goes before the clauses, such as
// "ALGORITHM=INPLACE, LOCK=NONE", or empty.
func (c Change) Statements(database, table, modifiers string) []string {
	out := make([]string, len(c.Steps))
	for i, clauses := range c.Steps {
		out[i] = AlterStatement(database, table, modifiers, clauses)
	}
	return out
}

// AlterStatement puts one ALTER TABLE together. PARTITION BY and REMOVE PARTITIONING are no clauses in MySQL's grammar:
// no comma goes before them.
func AlterStatement(database, table, modifiers, clauses string) string {
	var b strings.Builder
	b.WriteString("ALTER TABLE ")
	if database != "" {
		b.WriteString(mysql.QuoteIdent(database) + ".")
	}
	b.WriteString(mysql.QuoteIdent(table) + " ")
	if modifiers != "" {
		b.WriteString(modifiers)
		if !strings.HasPrefix(clauses, "PARTITION BY ") && clauses != "REMOVE PARTITIONING" {
			b.WriteByte(',')
		}
		b.WriteByte(' ')
	}
	b.WriteString(clauses)
	return b.String()
}

func (c Change) statement(database, table string) string {
	return strings.Join(c.Statements(database, table, ""), "; ")
}

// CopyClauses are the clauses, on one line, that turn copyTable, made by CREATE TABLE copyTable LIKE the original, into
// the desired table. They differ from Clauses where the table has CHECK constraints: LIKE gives those new names, and
// the original's names are taken as long as it is there. Empty when no single ALTER does it (see Copyable).
func (c Change) CopyClauses(copyTable string) string {
	if c.copied == nil {
		return ""
	}
	renamed := map[string]string{}
	for i, name := range c.checks {
		renamed[strings.ToLower(name)] = copyTable + "_chk_" + itoa(i+1)
	}
	alter := anonymous(c.copied)
	for _, opt := range alter.AlterOptions {
		switch opt := opt.(type) {
		case *sqlparser.DropKey:
			if opt.Type == sqlparser.CheckKeyType {
				opt.Name = sqlparser.NewIdentifierCI(renamed[opt.Name.Lowered()])
			}
		case *sqlparser.AlterCheck:
			opt.Name = sqlparser.NewIdentifierCI(renamed[opt.Name.Lowered()])
		}
	}
	return render(alter)
}

// anonymous is a copy of an ALTER whose new CHECK constraints have no names: the server gives them some.
func anonymous(alter *sqlparser.AlterTable) *sqlparser.AlterTable {
	alter = sqlparser.Clone(alter)
	for _, opt := range alter.AlterOptions {
		if add, ok := opt.(*sqlparser.AddConstraintDefinition); ok && checkOf(add.ConstraintDefinition) != nil {
			add.ConstraintDefinition.Name = sqlparser.NewIdentifierCI("")
		}
	}
	return alter
}

// UnnamedChecks is the change with new CHECK constraints left to the server to name. It ends in the same form. It is for
// when the server says ER_CHECK_CONSTRAINT_DUP_NAME (3822): names of checks are unique in a schema, and the old table that a copy
// left for a while still has them.
func (c Change) UnnamedChecks() Change {
	if c.Empty {
		return c
	}
	steps, alters := make([]string, len(c.alters)), make([]*sqlparser.AlterTable, len(c.alters))
	for i, a := range c.alters {
		alters[i] = anonymous(a)
		steps[i] = render(alters[i])
	}
	c.Steps, c.alters, c.Clauses = steps, alters, strings.Join(steps, ", ")
	c.Statement = c.statement
	return c
}

// render is the clauses of an ALTER TABLE on one line.
func render(alter *sqlparser.AlterTable) string {
	prefix := sqlparser.CanonicalString(&sqlparser.AlterTable{Table: alter.Table})
	return oneLine(strings.TrimSpace(strings.TrimPrefix(sqlparser.CanonicalString(alter), prefix)))
}

// oneLine joins the tokens of a statement with the spaces they had, line breaks as one space. In strings, where line
// breaks are escapes already, a quote is doubled instead of escaped: gh-ost counts quotes to find the end of a clause.
func oneLine(sql string) string {
	toks, err := lex(sql)
	if err != nil {
		return sql // our own rendering; the proof refuses what cannot be read
	}
	c := &cursor{text: sql, toks: toks}
	var b strings.Builder
	for i, t := range toks {
		if i > 0 && toks[i-1].end < t.start {
			b.WriteByte(' ')
		}
		if raw := c.at(i); t.kind == str {
			b.WriteString(doubleQuotes(raw))
		} else {
			b.WriteString(raw)
		}
	}
	return b.String()
}

// doubleQuotes rewrites the escapes of a '...' literal so that it has no backslash before a quote and no line break.
func doubleQuotes(raw string) string {
	if raw[0] != '\'' {
		return raw
	}
	var b strings.Builder
	body := raw[1 : len(raw)-1]
	for i := 0; i < len(body); i++ {
		switch {
		case body[i] == '\\' && i+1 < len(body):
			i++
			switch body[i] {
			case '\'':
				b.WriteString("''")
			case '"':
				b.WriteByte('"')
			default:
				b.WriteString(body[i-1 : i+1])
			}
		case body[i] == '\n':
			b.WriteString(`\n`)
		case body[i] == '\r':
			b.WriteString(`\r`)
		default:
			b.WriteByte(body[i])
		}
	}
	return "'" + b.String() + "'"
}
