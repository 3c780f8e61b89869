package osc

import (
	"context"
	"database/sql"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/schema"
)

// shapeOf is what the copy of a table will be, as the server describes an empty one; nil where it would not make one now.
func shapeOf(ctx context.Context, scratch *sql.DB, env schema.DBEnv, desired schema.Form) (*verify.Table, error) {
	var shape *verify.Table
	err := schema.WithTable(ctx, scratch, env, desired, func(ctx context.Context, conn *sql.Conn, schemaName, table string) error {
		read, err := verify.ReadTable(ctx, conn, schemaName, table)
		shape = &read
		return err
	})
	if err != nil && mysql.Number(err) != 0 && !mysql.IsConnection(err) && !mysql.IsAccessDenied(err) {
		return nil, nil // the copy itself will show it
	}
	return shape, err
}

// lossyColumns are the columns in which findings lose data.
func lossyColumns(findings []schema.Finding) map[string]bool {
	columns := map[string]bool{}
	for _, f := range findings {
		if cutsValues(f) { // the column of others is a key, or its values do not change
			columns[strings.ToLower(f.Column)] = true
		}
	}
	return columns
}

// refusedValues are the findings about values that strict SQL refuses in the new definition.
func refusedValues(findings []schema.Finding) []string {
	var out []string
	for _, f := range findings {
		if f.Strict {
			out = append(out, f.String())
		}
	}
	return out
}
