package aoscdb

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Permission is all that says whether one alter may go on, as of one moment.
type Permission struct {
	Now     time.Time     // by the database's clock
	Allowed *AllowedAlter // nil: revoked
	Alter   *CurrentAlter // nil: there is none
	Custom  []CustomServer
	Tiers   map[string]Tier
	Running []RunningAlter
}

// Permission reads it, for one table of one tier.
func (s *Store) Permission(ctx context.Context, group, table string) (Permission, error) {
	p := Permission{Tiers: map[string]Tier{}}
	err := s.snapshot(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, "SELECT NOW(6)").Scan(&p.Now); err != nil {
			return err
		}
		const where = " WHERE `group` = ? AND table_name = ?"
		allowed, err := one(ctx, tx, (*AllowedAlter).fields, "SELECT "+allowedColumns+" FROM allowed_alters"+where, group, table)
		if err == nil {
			p.Allowed = &allowed
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
		alter, err := one(ctx, tx, (*CurrentAlter).fields, "SELECT "+currentColumns+" FROM current_alters"+where, group, table)
		if err == nil {
			p.Alter = &alter
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
		tiers, err := list(ctx, tx, (*Tier).fields, "SELECT "+tierColumns+" FROM tiers")
		if err != nil {
			return err
		}
		for _, t := range tiers {
			p.Tiers[t.Group] = t
		}
		if p.Running, err = list(ctx, tx, (*RunningAlter).fields, "SELECT "+runningColumns+" FROM running_alters"); err != nil {
			return err
		}
		p.Custom, err = list(ctx, tx, func(c *CustomServer) []any { return []any{&c.Group, &c.Table, &c.Host, &c.Port} },
			"SELECT `group`, table_name, host, port FROM custom_servers"+where, group, table)
		return err
	})
	return p, wrap(err, "ask whether %s/%s may go on in %s", group, table, s)
}
