package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/aosc/aosc/internal/mysql"
)

// zeroDates is a sql_mode that takes zero dates, and otherwise what it was.
func zeroDates(sqlMode string) string {
	return without(sqlMode, "NO_ZERO_DATE", "NO_ZERO_IN_DATE", "TRADITIONAL")
}

// zeroDate is a date of which the year, or the month or day alone, is zero.
var zeroDate = regexp.MustCompile(`^'(0000-00-00|[0-9]{4}-(00-[0-9]{2}|[0-9]{2}-00))`)

// ZeroDefaults refuses defaults that a server of env would not take today, unless the table has the very same already: a zero date
// where sql_mode has NO_ZERO_DATE or NO_ZERO_IN_DATE. current is the zero Form for a table that is missing.
func ZeroDefaults(current, desired Form, env DBEnv) error {
	if zeroDates(env.SQLMode) == env.SQLMode {
		return nil
	}
	have := map[string]string{}
	if current.Text != "" {
		for _, c := range zeroDefaults(current) {
			have[c.column] = c.value
		}
	}
	for _, c := range zeroDefaults(desired) {
		if have[c.column] != c.value {
			return fmt.Errorf("invalid default value %s for column %s: the server's sql_mode (%s) takes no zero dates, and the table does not have it yet",
				c.value, mysql.QuoteIdent(c.column), env.SQLMode)
		}
	}
	return nil
}

type zeroDefault struct{ column, value string }

// zeroDefaults are the columns of a normal form whose default is a zero date.
func zeroDefaults(f Form) []zeroDefault {
	if !strings.Contains(f.Text, "-00") { // nearly always
		return nil
	}
	create, err := parseForm(f)
	if err != nil {
		return nil // no table, or one that Diff says something of
	}
	var out []zeroDefault
	for _, c := range create.TableSpec.Columns {
		if !slices.Contains([]string{"date", "datetime", "timestamp"}, strings.ToLower(c.Type.Type)) || c.Type.Options.Default == nil {
			continue
		}
		if value := sqlparser.CanonicalString(c.Type.Options.Default); zeroDate.MatchString(value) {
			out = append(out, zeroDefault{c.Name.Lowered(), value})
		}
	}
	return out
}

// parseForm reads a normal form as any supported server's.
func parseForm(f Form) (*sqlparser.CreateTable, error) {
	env, err := diffEnv("9.7.0")
	if err != nil {
		return nil, err
	}
	d := differ{env: env}
	return d.parse(f.Text)
}
