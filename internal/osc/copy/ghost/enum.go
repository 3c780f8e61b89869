package ghost

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy/preflight"
	"github.com/aosc/aosc/internal/osc/verify"
)

// errorValues are the ENUM columns of a table that the new definition keeps: what is in others is not carried over.
func errorValues(original verify.Table, kept []string) []string {
	var out []string
	for _, c := range original.Columns {
		if c.DataType == "enum" && !c.Generated && slices.ContainsFunc(kept, func(k string) bool { return strings.EqualFold(k, c.Name) }) {
			out = append(out, c.Name)
		}
	}
	return out
}

// errorValueQuery selects the name of a column in which some row holds the error value: number 0, which reads as an empty text, and which
// the server stores for what is no member where sql_mode is not strict. A member that is itself empty has another number.
func errorValueQuery(database, table string, columns []string) string {
	var names, conditions []string
	for _, c := range columns {
		holds := mysql.QuoteIdent(c) + " + 0 = 0"
		names = append(names, "WHEN "+holds+" THEN "+mysql.QuoteString(c))
		conditions = append(conditions, holds)
	}
	return "SELECT CASE " + strings.Join(names, " ") + " END FROM " + mysql.QuoteIdents(database, table) +
		" WHERE " + strings.Join(conditions, " OR ") + " LIMIT 1"
}

// checkEnum looks for values that gh-ost v1.1.8 applies from the binary log as others: it takes the error value of an ENUM for NULL. A
// nullable column would get NULLs in rows that are written during the copy, without a word; for one that is NOT NULL each such row is error
// 1048, after minutes.
var checkEnum = preflight.Check{Name: "enum", Ask: func(ctx context.Context, db *sql.DB, f preflight.Facts) (string, error) {
	columns := errorValues(f.Original, f.Columns)
	if len(columns) == 0 {
		return "", nil
	}
	var column string
	err := db.QueryRowContext(ctx, errorValueQuery(f.Database, f.Table, columns)).Scan(&column)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for values that gh-ost cannot carry over: %w", err)
	}
	return fmt.Sprintf("column %s is an ENUM and rows hold its error value (SELECT * FROM %s WHERE %s + 0 = 0), "+
		"which gh-ost would turn into NULL: give these rows a member, or let MySQL itself make the change, which blocks writes "+
		"(direct_max_rows at least the table's rows)",
		column, mysql.QuoteIdents(f.Database, f.Table), mysql.QuoteIdent(column)), nil
}}
