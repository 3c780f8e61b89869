package testkit

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
)

// CopyDatabase fills the database to, which must exist, with the tables, rows and views of the database from, on one server. It takes a
// statement per table, where the migrations that made the first take hundreds. Tables with foreign keys or generated columns are
// not supported, and a view may name only its own database.
func CopyDatabase(t testing.TB, db *sql.DB, from, to string) {
	t.Helper()
	err := mysql.WithSession(t.Context(), db, mysql.Session{}, func(ctx context.Context, conn *sql.Conn) error {
		return copyDatabase(ctx, conn, from, to)
	})
	if err != nil {
		t.Fatalf("copy database %s to %s: %v", from, to, err)
	}
}

// CopyCentral fills an empty database with what `aosc init` made in another one, with a secret of its own: the names of its locks are made
// from that.
func CopyCentral(t testing.TB, db *sql.DB, from, to string) {
	t.Helper()
	CopyDatabase(t, db, from, to)
	secret := "UPDATE " + mysql.QuoteIdents(to, "secrets") + " SET value = HEX(RANDOM_BYTES(32)) WHERE name = 'locks'"
	if _, err := db.ExecContext(t.Context(), secret); err != nil {
		t.Fatalf("%s: %v", secret, err)
	}
}

func copyDatabase(ctx context.Context, conn *sql.Conn, from, to string) error {
	tables, views, err := tablesAndViews(ctx, conn, from)
	if err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "USE "+mysql.QuoteIdent(to)); err != nil {
		return err
	}
	source := mysql.QuoteIdent(from) + "."
	for _, table := range tables {
		name := mysql.QuoteIdent(table)
		for _, statement := range []string{
			"CREATE TABLE " + name + " LIKE " + source + name,
			"INSERT INTO " + name + " SELECT * FROM " + source + name,
		} {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
	}
	for _, view := range views {
		var name, definition, charset, collation string
		row := conn.QueryRowContext(ctx, "SHOW CREATE VIEW "+source+mysql.QuoteIdent(view))
		if err := row.Scan(&name, &definition, &charset, &collation); err != nil {
			return fmt.Errorf("SHOW CREATE VIEW %s: %w", view, err)
		}
		if _, err := conn.ExecContext(ctx, strings.ReplaceAll(definition, source, mysql.QuoteIdent(to)+".")); err != nil {
			return fmt.Errorf("%s: %w", definition, err)
		}
	}
	return nil
}

func tablesAndViews(ctx context.Context, conn *sql.Conn, database string) (tables, views []string, err error) {
	rows, err := conn.QueryContext(ctx,
		"SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = ? ORDER BY 1", database)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name, kind string
		if err := rows.Scan(&name, &kind); err != nil {
			return nil, nil, err
		}
		if kind == "VIEW" {
			views = append(views, name)
		} else {
			tables = append(tables, name)
		}
	}
	return tables, views, rows.Err()
}
