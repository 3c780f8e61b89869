package demo

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit/writer"
)

//go:embed ddl/v1.sql
var ddlV1 string

//go:embed ddl/v2.sql
var ddlV2 string

//go:embed ddl/v3.sql
var ddlV3 string

//go:embed ddl/v4.sql
var ddlV4 string

// columnsOf what was committed last, as the servers must have it in the end.
const (
	columnsV3 = "id bigint unsigned,owner int unsigned,name varchar(64),email varchar(128),hits bigint unsigned,body varchar(255),created_at timestamp,note varchar(64)"
	columnsV4 = "id bigint unsigned,owner bigint unsigned,name varchar(64),email varchar(128),hits bigint unsigned,body varchar(255),created_at timestamp,note varchar(64)"
)

// seedKind is how a database of the demo starts.
type seedKind int

const (
	seedOld     seedKind = iota // the table as it was before the alter, with rows
	seedAlready                 // somebody altered it by hand: already the desired form, with rows
	seedMissing                 // a new database that lacks the table
)

// place is one database of the demo.
type place struct {
	name    string
	cluster *cluster
	kind    seedKind
}

// places are the databases and how each starts.
func (r *room) places() []place {
	kinds := []seedKind{seedOld, seedOld, seedMissing, seedOld, seedAlready, seedOld}
	out := make([]place, len(kinds))
	for i, kind := range kinds {
		out[i] = place{fmt.Sprintf("dbid%d", i+1), r.clusters[i/3], kind}
	}
	return out
}

// seed makes the databases, fills their tables and waits until the replicas have it all. It returns the writers that own
// the rows, by database.
func (r *room) seed(ctx context.Context, rows int) (map[string]*writer.Writer, error) {
	writers := map[string]*writer.Writer{}
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range r.clusters {
		var mine []*writer.Writer
		for _, p := range r.places() {
			if p.cluster != c {
				continue
			}
			if err := seed(ctx, c.db, p.name, p.kind); err != nil {
				return nil, errors.Join(err, group.Wait())
			}
			if p.kind != seedMissing {
				writers[p.name] = newWriter(c.db, p.name)
				mine = append(mine, writers[p.name])
			}
		}
		group.Go(func() error {
			for _, w := range mine {
				if err := w.Seed(ctx, rows); err != nil {
					return err
				}
			}
			_, err := c.sync(ctx)
			return err
		})
	}
	return writers, group.Wait()
}

// newWriter is the load on one table: it fills it, writes to it while it is altered, and can tell afterwards whether
// anything that the server acknowledged is missing. It writes to whoever is published as the primary.
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
