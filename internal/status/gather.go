package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

func (r *Refresher) log() *slog.Logger {
	if r.Log == nil {
		return slog.Default()
	}
	return r.Log
}

// openRows finds out where the tier keeps its status rows and makes sure that the tables are there.
func (p *pass) openRows(ctx context.Context) error {
	tier, err := p.Store.Tier(ctx, p.tier.Name)
	if errors.Is(err, aoscdb.ErrNotFound) {
		tier, err = aoscdb.NewTier(p.tier.Name), nil
	}
	if err != nil {
		return err
	}
	if tier.StatusStore == aoscdb.StoreCentral {
		p.rows = p.Store.CentralStatus()
		return nil // made by Init
	}
	p.rows = aoscdb.InstanceStatus(p.db)
	if _, done := p.ensured.Load(p.inst.Addr()); done {
		return nil
	}
	if err := p.rows.Ensure(ctx); err != nil {
		return err
	}
	p.ensured.Store(p.inst.Addr(), true)
	return nil
}

// stored reads the status rows of the instance that this pass is about.
func (p *pass) stored(ctx context.Context) (map[aoscdb.LocalKey]*aoscdb.LocalStatus, error) {
	if err := p.openRows(ctx); err != nil {
		return nil, err
	}
	stored, err := p.readRows(ctx)
	if mysql.IsNoSuchTable(err) || mysql.IsNoSuchDatabase(err) {
		// Another server, or an emptied one, has taken the place of the one we knew.
		p.ensured.Delete(p.inst.Addr())
		if err = p.openRows(ctx); err == nil {
			stored, err = p.readRows(ctx)
		}
	}
	return stored, err
}

func (p *pass) readRows(ctx context.Context) (map[aoscdb.LocalKey]*aoscdb.LocalStatus, error) {
	stored := map[aoscdb.LocalKey]*aoscdb.LocalStatus{}
	if p.opts.Tables != nil {
		rows, err := p.rows.LocalStatusOf(ctx, p.inst.Host, p.inst.Port, p.opts.Tables)
		for i := range rows {
			stored[aoscdb.LocalKey{Database: rows[i].Database, Table: rows[i].Table}] = &rows[i]
		}
		return stored, err
	}
	for row, err := range p.rows.LocalStatus(ctx, p.inst.Host, p.inst.Port) {
		if err != nil {
			return nil, err
		}
		stored[aoscdb.LocalKey{Database: row.Database, Table: row.Table}] = &row
	}
	return stored, nil
}

// databases lists the tier's databases on the instance, with what their tables' forms depend on, and sets the clock.
func (p *pass) databases(ctx context.Context) ([]string, map[string]schema.DBEnv, error) {
	var uptime int64
	err := p.db.QueryRowContext(ctx, "SELECT NOW(6), (SELECT variable_value FROM performance_schema.global_status "+
		"WHERE variable_name = 'Uptime')").Scan(&p.clock.Now, &uptime)
	if err != nil {
		return nil, nil, fmt.Errorf("read the clock: %w", err)
	}
	// Uptime and last_run are whole seconds: without the grain, what was read in a server's first second would seem read
	// before it started. No server is replaced by another within that time.
	p.clock.Up = p.clock.Now.Add(-time.Duration(uptime)*time.Second - grain)
	names, err := fleet.Databases(ctx, p.db, p.tier.Databases)
	if err != nil || len(names) == 0 {
		return nil, nil, err
	}
	envs, err := schema.ReadDBEnvs(ctx, p.db, names)
	if err != nil {
		return nil, nil, err
	}
	here := names[:0]
	for _, n := range names {
		if _, ok := envs[n]; ok { // not dropped in between
			here = append(here, n)
		}
	}
	return here, envs, nil
}

// listing is what the server lists: the cache keys of all tables of the pass.
type listing struct {
	tables map[aoscdb.LocalKey]*listed
	fold   bool // the server keeps table names in lower case, or compares them so
}

func (l listing) find(database, table string) *listed {
	if l.fold {
		table = strings.ToLower(table)
	}
	return l.tables[aoscdb.LocalKey{Database: database, Table: table}]
}

// list is the warm pass's one query.
func (p *pass) list(ctx context.Context, databases []string, desired []schema.Desired) (listing, error) {
	l := listing{tables: map[aoscdb.LocalKey]*listed{}, fold: p.server.LowerCaseTableNames != 0}
	if len(databases) == 0 || len(desired) == 0 {
		return l, nil
	}
	args := make([]any, 0, len(databases)+len(desired))
	names := map[string]string{} // one string for each name, however often it comes
	for _, d := range databases {
		args, names[d] = append(args, d), d
	}
	for _, d := range desired {
		args = append(args, d.Table)
		if l.fold {
			d.Table = strings.ToLower(d.Table)
		}
		names[d.Table] = d.Table
	}
	rows, err := p.db.QueryContext(ctx, "SELECT table_schema, table_name, create_time, COALESCE(table_rows, 0), "+
		"COALESCE(data_length + index_length, 0) FROM information_schema.tables WHERE table_type = 'BASE TABLE' "+
		"AND table_schema IN ("+placeholders(len(databases))+") AND table_name IN ("+placeholders(len(desired))+")", args...)
	if err != nil {
		return l, fmt.Errorf("list the tables: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var database, table string
		var t listed
		if err := rows.Scan(&database, &table, &t.CreateTime, &t.Rows, &t.Bytes); err != nil {
			return l, fmt.Errorf("list the tables: %w", err)
		}
		if l.fold {
			table = strings.ToLower(table)
		}
		l.tables[aoscdb.LocalKey{Database: names[database], Table: names[table]}] = &t
	}
	if err := rows.Err(); err != nil {
		return l, fmt.Errorf("list the tables: %w", err)
	}
	return l, nil
}

func placeholders(n int) string { return strings.Repeat("?, ", n-1) + "?" }
