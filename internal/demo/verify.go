package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

// verify reads every table back from every instance: its form (I4), every acknowledged operation (I1), errant
// transactions (I7) and tables left behind (I5).
func (d *demo) verify(ctx context.Context) error {
	var errs []error
	hashes := map[string]bool{}
	d.say("Reading every table back from every instance:")
	w := tabwriter.NewWriter(d.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "    CLUSTER\tINSTANCE\tROLE\tDATABASE\tROWS\tACKNOWLEDGED\tFOUND\tDIFFERENCE\tLONGEST GAP\tFORM")
	for _, p := range d.room.places() {
		members, err := p.cluster.sync(ctx)
		if err != nil {
			return err
		}
		for _, m := range members {
			hash, err := d.verifyTable(ctx, w, p, m)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s.%s on %s: %w", p.name, table, m, err))
			}
			hashes[hash] = true
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

// verifyTable reads one table back, prints its line and returns the hash of its form.
func (d *demo) verifyTable(ctx context.Context, w io.Writer, p place, m member) (string, error) {
	text, err := schema.ShowCreate(ctx, m.db, p.name, table)
	if err != nil {
		return "", err
	}
	form, err := schema.Normalise(text)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(w, "    %s\t%s\t%s\t%s\t", p.cluster.name, m, m.role, p.name)
	ledger, written := d.writers[p.name]
	if !written {
		fmt.Fprintf(w, "0\t\t\t\t\t%.12s\n", form.Hash)
		return form.Hash, nil
	}
	report, err := ledger.Check(ctx, m.db)
	if err != nil {
		return form.Hash, err
	}
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%.2fs\t%.12s\n", report.Rows, report.Acknowledged, report.Found, report.Difference(), ledger.Stats().LongestGap.Seconds(), form.Hash)
	return form.Hash, report.Err()
}

// verifyRefused: a writer must not have seen an error because of an alter.
func (d *demo) verifyRefused() error {
	for _, p := range d.room.places() {
		w, written := d.writers[p.name]
		if !written || p.cluster == d.struck {
			continue
		}
		if s := w.Stats(); s.Refused+s.Unknown > 0 {
			return fmt.Errorf("%d writes to %s failed during the alters, the last with: %s", s.Refused+s.Unknown, p.name, s.LastError)
		}
	}
	where := ""
	if d.struck != nil {
		where = " of the other cluster"
	}
	d.say("No write%s failed.", where)
	return nil
}

// verifyColumns makes sure that the one form everywhere is the one that was asked for: all could be equally wrong.
func (d *demo) verifyColumns(ctx context.Context) error {
	err := d.each(ctx, func(m member) error {
		return eachText(ctx, m.db, func(columns string) error {
			if columns != d.columns {
				return fmt.Errorf("%s on %s has columns %s, want %s", table, m, columns, d.columns)
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
// over, however slow the machine.
const cleanLimit = 10 * time.Minute

// verifyLeftovers looks for tables that a copy left behind, once the worker had its time to drop the old ones.
func (d *demo) verifyLeftovers(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, cleanLimit)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		left := d.leftovers(ctx) // whole, also past the limit: what it finds is what is told
		if left == nil {
			d.say("No table was left behind.")
			return nil
		}
		select {
		case <-ticker.C:
		case <-limited.Done():
			return fmt.Errorf("after %v: %w", cleanLimit, left)
		}
	}
}

func (d *demo) leftovers(ctx context.Context) error {
	return d.each(ctx, func(m member) error {
		return eachText(ctx, m.db, func(name string) error {
			return fmt.Errorf("left behind on %s: %s", m, name)
		}, "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables WHERE table_schema LIKE 'dbid%' AND table_name <> ?", table)
	})
}

func (d *demo) verifyGTIDs(ctx context.Context) error {
	for _, c := range d.room.clusters {
		all, err := c.members(ctx)
		if err != nil {
			return err
		}
		for _, replica := range all[1:] {
			errant, err := mysql.ErrantGTIDs(ctx, replica.db, all[0].db)
			if err != nil {
				return fmt.Errorf("look for errant transactions on %s: %w", replica, err)
			}
			if !errant.Empty() {
				return fmt.Errorf("errant transactions on %s: %s", replica, errant)
			}
		}
	}
	d.say("No replica has an errant transaction.")
	return nil
}

// each runs a check on every instance of the clusters under load.
func (d *demo) each(ctx context.Context, check func(member) error) error {
	var errs []error
	for _, c := range d.room.clusters {
		all, err := c.members(ctx)
		if err != nil {
			errs = append(errs, err)
		}
		for _, m := range all {
			errs = append(errs, check(m))
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
