package demo

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/aosc/aosc/internal/schema"
)

// verify reads every table back from every instance: its form (I4), the rows that were seeded, the operations that were
// acknowledged (I1), errant transactions (I7) and tables left behind (I5).
func (d *demo) verify(ctx context.Context) error {
	for _, c := range d.fleet.clusters {
		if err := c.Sync(ctx); err != nil {
			return err
		}
	}
	var errs []error
	var want string
	d.say("Reading every table back from every instance:")
	w := tabwriter.NewWriter(d.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "    INSTANCE\tDATABASE\tROWS\tACKNOWLEDGED\tMISSING\tWRONG\tUNEXPECTED\tFORM")
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
			if want == "" {
				want = form.Hash
			}
			if form.Hash != want {
				errs = append(errs, fmt.Errorf("%s.%s on %s has another form:\n%s", p.name, table, server.Addr(), form.Text))
			}
			var seeded int
			if err := server.DB().QueryRowContext(ctx, "SELECT COUNT(*) FROM "+p.name+"."+table+" WHERE id < ?", uint64(firstWriterID)).Scan(&seeded); err != nil {
				return err
			}
			if p.kind != seedMissing && seeded != d.Rows {
				errs = append(errs, fmt.Errorf("%s.%s on %s has %d of the %d seeded rows", p.name, table, server.Addr(), seeded, d.Rows))
			}
			var v verdict
			if wr := d.writer(p.name); wr != nil {
				if v, err = wr.check(ctx, server.DB()); err != nil {
					return err
				}
				if !v.ok() {
					errs = append(errs, fmt.Errorf("%s.%s on %s: acknowledged writes are missing", p.name, table, server.Addr()))
				}
			}
			fmt.Fprintf(w, "    %s\t%s\t%d\t%d\t%d\t%d\t%d\t%.12s\n", server.Addr(), p.name, seeded+v.rows, v.acked, v.missing, v.wrong, v.ghosts, form.Hash)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	errs = append(errs, d.verifyLeftovers(ctx), d.verifyGTIDs(ctx), d.verifyForm(want))
	return errors.Join(errs...)
}

func (d *demo) writer(database string) *writer {
	for _, w := range d.writers {
		if w.database == database {
			return w
		}
	}
	return nil
}

// verifyLeftovers looks for tables that a copy left behind.
func (d *demo) verifyLeftovers(ctx context.Context) error {
	var errs []error
	for _, c := range d.fleet.clusters {
		for _, server := range c.Servers() {
			rows, err := server.DB().QueryContext(ctx, "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema LIKE 'dbid%' AND table_name <> ?", table)
			if err != nil {
				return err
			}
			for rows.Next() {
				var database, name string
				if err := rows.Scan(&database, &name); err != nil {
					return errors.Join(err, rows.Close())
				}
				errs = append(errs, fmt.Errorf("left behind on %s: %s.%s", server.Addr(), database, name))
			}
			errs = append(errs, rows.Err(), rows.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	d.say("No table was left behind.")
	return nil
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

// verifyForm makes sure that the one form everywhere is the one that was asked for: all could be equally wrong.
func (d *demo) verifyForm(hash string) error {
	for _, c := range d.fleet.clusters {
		var columns string
		err := c.Primary.DB().QueryRow(`SELECT GROUP_CONCAT(column_name, ' ', column_type ORDER BY ordinal_position) FROM information_schema.columns
			WHERE table_schema LIKE 'dbid%' AND table_name = ? GROUP BY table_schema LIMIT 1`, table).Scan(&columns)
		if err != nil {
			return err
		}
		const want = "id bigint unsigned,owner int unsigned,name varchar(64),email varchar(128),hits bigint unsigned,body varchar(255),created_at timestamp,note varchar(64)"
		if columns != want {
			return fmt.Errorf("%s on %s has columns %s, want %s", table, c.Primary.Addr(), columns, want)
		}
	}
	d.say("Every table has the committed form, hash %.12s.", hash)
	return nil
}
