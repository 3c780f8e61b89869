package schema

import (
	"context"
	"database/sql"
)

// WithTable runs fn beside an empty table of that form, in a scratch schema of its own. See WithScratch.
func WithTable(ctx context.Context, db *sql.DB, env DBEnv, form Form, fn func(ctx context.Context, conn *sql.Conn, schemaName,
	table string) error) error {
	env.SQLMode = tolerantSQLMode
	return WithScratch(ctx, db, env, func(ctx context.Context, conn *sql.Conn, schemaName string) error {
		p := prover{conn: conn, schema: schemaName, current: form}
		var err error
		if p.table, err = tableName(form.Text); err != nil {
			return err
		}
		if err := p.create(ctx); err != nil {
			return err
		}
		return fn(ctx, conn, schemaName, p.table)
	})
}
