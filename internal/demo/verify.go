package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/schema"
)

// verify reads every table back from every instance: its form (I4), every acknowledged operation (I1), errant
// transactions (I7) and tables left behind (I5).
func (d *demo) verify(ctx context.Context) error {
	for _, c := range d.fleet.clusters {
		if err := c.Sync(ctx); err != nil {
			return err
		}
	}
	var errs []error
	hashes := map[string]bool{}
	d.say("Reading every table back from every instance:")
	w := tabwriter.NewWriter(d.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "    INSTANCE\tDATABASE\tROWS\tACKNOWLEDGED\tFOUND\tDIFFERENCE\tLONGEST GAP\tFORM")
	for _, p := range d.fleet.places() {
		for _, server := range d.fleet.clusters[p.cluster].Servers() {
			text, err := schema.ShowCreate(ctx, server.DB(), p.name, table)
			if err != nil {
				return fmt.Errorf("read %s.%s on %s: %w", p.name, table, server.Addr(), err)
			}
			form, err := schema.Normalise(text)
			if err != nil {
				return err
			}
			hashes[form.Hash] = true
			fmt.Fprintf(w, "    %s\t%s\t", server.Addr(), p.name)
			ledger, written := d.writers[p.name]
			if !written {
				fmt.Fprintf(w, "0\t\t\t\t\t%.12s\n", form.Hash)
				continue
			}
			report, err := ledger.Check(ctx, server.DB())
			if err != nil {
				return err
			}
			if err := report.Err(); err != nil {
				errs = append(errs, fmt.Errorf("%s.%s on %s: %w", p.name, table, server.Addr(), err))
			}
			fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%.2fs\t%.12s\n", report.Rows, report.Acknowledged, report.Found, report.Difference(), ledger.Stats().LongestGap.Seconds(), form.Hash)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(hashes) != 1 {
		errs = append(errs, fmt.Errorf("the tables have %d different forms", len(hashes)))
	}
	errs = append(errs, d.verifyColumns(ctx), d.verifyLeftovers(ctx), d.verifyGTIDs(ctx), d.verifyRefused())
	return errors.Join(errs...)
}

// verifyRefused: a writer must not have seen an error because of an alter.
func (d *demo) verifyRefused() error {
	for database, w := range d.writers {
		if s := w.Stats(); s.Refused+s.Unknown > 0 {
			return fmt.Errorf("%d writes to %s failed during the alters, the last with: %s", s.Refused+s.Unknown, database, s.LastError)
		}
	}
	d.say("No write failed.")
	return nil
}

// verifyColumns makes sure that the one form everywhere is the one that was asked for: all could be equally wrong.
func (d *demo) verifyColumns(ctx context.Context) error {
	const want = "id bigint unsigned,owner int unsigned,name varchar(64),email varchar(128),hits bigint unsigned,body varchar(255),created_at timestamp,note varchar(64)"
	err := d.each(func(server *mysqld.Server) error {
		return eachText(ctx, server.DB(), func(columns string) error {
			if columns != want {
				return fmt.Errorf("%s on %s has columns %s, want %s", table, server.Addr(), columns, want)
			}
			return nil
		}, `SELECT GROUP_CONCAT(column_name, ' ', column_type ORDER BY ordinal_position) FROM information_schema.columns
			WHERE table_schema LIKE 'dbid%' AND table_name = ? GROUP BY table_schema`, table)
	})
	if err == nil {
		d.say("Every table has the committed columns.")
	}
	return err
}

// cleanLimit is how long the worker may take to drop the old tables, in small steps, once their retention (none here) is
// over.
const cleanLimit = time.Minute

// verifyLeftovers looks for tables that a copy left behind, once the worker had its time to drop the old ones.
func (d *demo) verifyLeftovers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanLimit)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		left := d.leftovers(ctx)
		if left == nil {
			d.say("No table was left behind.")
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return left
		}
	}
}

func (d *demo) leftovers(ctx context.Context) error {
	return d.each(func(server *mysqld.Server) error {
		return eachText(ctx, server.DB(), func(name string) error {
			return fmt.Errorf("left behind on %s: %s", server.Addr(), name)
		}, "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables WHERE table_schema LIKE 'dbid%' AND table_name <> ?", table)
	})
}

func (d *demo) verifyGTIDs(ctx context.Context) error {
	for _, c := range d.fleet.clusters {
		errant, err := c.ErrantGTIDs(ctx)
		if err != nil {
			return err
		}
		if len(errant) > 0 {
			return fmt.Errorf("errant transactions: %v", errant)
		}
	}
	d.say("No replica has an errant transaction.")
	return nil
}

// each runs a check on every server.
func (d *demo) each(check func(*mysqld.Server) error) error {
	var errs []error
	for _, c := range d.fleet.clusters {
		for _, server := range c.Servers() {
			errs = append(errs, check(server))
		}
	}
	return errors.Join(errs...)
}

func eachText(ctx context.Context, db *sql.DB, fn func(string) error, query string, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var errs []error
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		errs = append(errs, fn(text))
	}
	return errors.Join(append(errs, rows.Err())...)
}
