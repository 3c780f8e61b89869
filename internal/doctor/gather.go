package doctor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy/preflight"
	"github.com/aosc/aosc/internal/why"
)

// Doctor holds what is asked: the central tables, the inventory and connections to the instances, by each account.
type Doctor struct {
	Store     *aoscdb.Store
	Inventory fleet.Inventory
	Pools     []Pool // the first is that of mysql-user
	FanOut    int
	Timeout   time.Duration // per instance
}

// Pool is an account on the instances.
type Pool struct {
	Use  string
	Pool *mysql.Pool
}

// Look gathers and judges. tier restricts it to one; "" = all. The error is one of aoscdb, or of the inventory.
func (d *Doctor) Look(ctx context.Context, tier string) ([]Finding, error) {
	all, err := d.Inventory.Tiers(ctx)
	if err != nil {
		return nil, err
	}
	var site Site
	if site.Tiers, err = d.Store.Tiers(ctx); err != nil {
		return nil, err
	}
	t, err := d.Store.WhyTables(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range why.Daemons(t) {
		found := Daemon{Name: l.Name}
		if l.Bad() {
			found.Trouble = l.String()
		}
		site.Daemons = append(site.Daemons, found)
	}
	if site.Database, site.Central, err = d.central(ctx); err != nil {
		return nil, err
	}
	if tier != "" {
		site.Tiers = only(site.Tiers, tier)
	}
	for _, i := range all {
		if tier != "" && i.Name != tier {
			continue
		}
		for _, v := range fleet.ObserveTier(ctx, d.Pools[0].Pool, i, d.FanOut, d.Timeout) {
			results := mysql.FanOut(ctx, v.Members, d.FanOut, d.Timeout, func(ctx context.Context, m fleet.Observed) (Instance, error) {
				return d.instance(ctx, m, i.Databases)
			})
			for _, r := range results {
				if r.Err != nil {
					r.Value = Instance{Observed: r.Item}
					r.Value.Err = errors.Join(r.Item.Err, r.Err)
				}
				site.Instances = append(site.Instances, r.Value)
			}
		}
	}
	return Judge(site), nil
}

func only(tiers []aoscdb.Tier, name string) []aoscdb.Tier {
	for _, t := range tiers {
		if t.Group == name {
			return []aoscdb.Tier{t}
		}
	}
	return nil
}

// central asks aoscdb what its account may do.
func (d *Doctor) central(ctx context.Context) (database string, a Account, err error) {
	database = d.Store.Database()
	a = readAccount(ctx, d.Store.DB(), "aoscdb-dsn")
	return database, a, ctx.Err()
}

// instance asks one instance.
func (d *Doctor) instance(ctx context.Context, m fleet.Observed, pattern string) (Instance, error) {
	i := Instance{Observed: m}
	for _, p := range d.Pools {
		if m.Err != nil {
			i.Accounts = append(i.Accounts, Account{Use: p.Use})
			continue
		}
		db, err := p.Pool.DB(m.Addr())
		if err != nil {
			return i, err
		}
		i.Accounts = append(i.Accounts, readAccount(ctx, db, p.Use))
	}
	if m.Err != nil {
		return i, nil
	}
	db, err := d.Pools[0].Pool.DB(m.Addr())
	if err != nil {
		return i, err
	}
	if i.Databases, err = fleet.Databases(ctx, db, pattern); err != nil {
		return i, fmt.Errorf("list its databases: %w", err)
	}
	if i.Extras, err = readExtras(ctx, db); err != nil {
		return i, err
	}
	if i.ClockOff, i.ClockKnown, err = d.clockOff(ctx, db); err != nil {
		return i, err
	}
	var largest sql.Null[uint64]
	const files = "SELECT MAX(file_size) FROM information_schema.innodb_tablespaces WHERE space_type = 'Single'"
	err = db.QueryRowContext(ctx, files).Scan(&largest)
	if err != nil && !mysql.IsAccessDenied(err) { // that is found among the privileges
		return i, fmt.Errorf("look for its largest table: %w", err)
	}
	i.LargestTable = largest.V
	i.Free, i.FreeSeen = preflight.FreeSpace(m.Server)
	return i, nil
}

func readAccount(ctx context.Context, db *sql.DB, use string) Account {
	a := Account{Use: use}
	if a.Err = db.QueryRowContext(ctx, "SELECT CURRENT_USER()").Scan(&a.Name); a.Err == nil {
		a.Grants, a.Err = preflight.Grants(ctx, db)
	}
	return a
}

// readExtras asks for what ReadServer does not.
func readExtras(ctx context.Context, db *sql.DB) (Extras, error) {
	var e Extras
	err := db.QueryRowContext(ctx, "SELECT @@GLOBAL.performance_schema, @@GLOBAL.time_zone, "+
		"COALESCE(TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@GLOBAL.time_zone)), 0), "+
		"CONVERT_TZ('2020-01-01 00:00:00', @@GLOBAL.time_zone, '+00:00') IS NULL, "+
		"(SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'aosc' AND table_name IN ('aosc_local_status', 'aosc_osc_ww')), "+
		"(SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = 'aosc' AND trigger_name LIKE 'aosc\\_guard\\_%')").
		Scan(&e.PerformanceSchema, &e.TimeZone, &e.ZoneOffset, &e.ZoneUnknown, &e.StatusTables, &e.Guards)
	if err != nil {
		return e, fmt.Errorf("read its settings: %w", err)
	}
	if !e.PerformanceSchema {
		return e, nil
	}
	var enabled string
	const instrument = "SELECT enabled FROM performance_schema.setup_instruments WHERE name = 'wait/lock/metadata/sql/mdl'"
	err = db.QueryRowContext(ctx, instrument).Scan(&enabled)
	if err != nil && !mysql.IsAccessDenied(err) && !errors.Is(err, sql.ErrNoRows) {
		return e, fmt.Errorf("read what performance_schema instruments: %w", err)
	}
	e.MetadataLocks = enabled == "YES" || mysql.IsAccessDenied(err)
	return e, nil
}

// clockOff is by how much an instance's clock is ahead of aoscdb's. It is known only as far as the answers were quick.
func (d *Doctor) clockOff(ctx context.Context, db *sql.DB) (off time.Duration, known bool, err error) {
	before, err := d.Store.Now(ctx)
	if err != nil {
		return 0, false, err
	}
	var there time.Time
	if err := db.QueryRowContext(ctx, "SELECT UTC_TIMESTAMP(6)").Scan(&there); err != nil {
		return 0, false, fmt.Errorf("read its clock: %w", err)
	}
	after, err := d.Store.Now(ctx)
	switch {
	case err != nil:
		return 0, false, err
	case there.Before(before):
		return there.Sub(before), true, nil
	case there.After(after):
		return there.Sub(after), true, nil
	}
	return 0, true, nil
}
