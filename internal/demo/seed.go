package demo

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit/writer"
)

//go:embed ddl/v1.sql
var ddlV1 string

//go:embed ddl/v2.sql
var ddlV2 string

//go:embed ddl/v3.sql
var ddlV3 string

// seedKind is how a database of the demo starts.
type seedKind int

const (
	seedOld     seedKind = iota // the table as it was before the alter, with rows
	seedAlready                 // somebody altered it by hand: already the desired form, with rows
	seedMissing                 // a new database that lacks the table
)

// newWriter is the load on one table: it fills it, writes to it while it is altered, and can tell afterwards whether
// anything that the server acknowledged is missing.
func newWriter(db *sql.DB, database string) *writer.Writer {
	return writer.New(writer.Options{
		DB: func() *sql.DB { return db }, Database: database, Table: table,
		ID: "id", Version: "hits", Payload: "body", Workers: 2, Rate: 50,
	})
}

// seed creates one database of the demo, with the table in the given form.
func seed(ctx context.Context, db *sql.DB, database string, kind seedKind) error {
	if _, err := db.ExecContext(ctx, "CREATE DATABASE "+mysql.QuoteIdent(database)); err != nil {
		return fmt.Errorf("create database %s: %w", database, err)
	}
	ddl := ddlV1
	switch kind {
	case seedMissing:
		return nil
	case seedAlready:
		ddl = ddlV2
	}
	return execIn(ctx, db, database, strings.TrimSuffix(strings.TrimSpace(ddl), ";"))
}

// execIn runs one statement in a database, on a connection of its own: like a person's mysql client.
func execIn(ctx context.Context, db *sql.DB, database, statement string) error {
	return mysql.WithSession(ctx, db, mysql.Session{DB: database}, func(ctx context.Context, c *sql.Conn) error {
		if _, err := c.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%.80s: %w", statement, err)
		}
		return nil
	})
}
