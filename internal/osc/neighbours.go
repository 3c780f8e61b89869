package osc

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy"
)

// neighbours are the other tables whose leftovers bear a name that a copy of t needs: the names
// of long tables are cut, and those of two may be equal by then.
func neighbours(all []Leftover, t Target) []Target {
	names := copy.NamesFor(t.Table)
	seen := map[string]bool{}
	var out []Target
	for _, l := range all {
		taken := l.Name == names.Ghost || l.Name == names.Changelog || l.Name == names.Old
		if l.Database != t.Database || l.Table == t.Table || !taken || seen[l.Table] {
			continue
		}
		seen[l.Table] = true
		out = append(out, l.Target)
	}
	return out
}

// clearNeighbours makes room for a copy of t beside those of tables with almost the same name: what a dead run of theirs left is settled,
// and an old table moves to another name. One that is being copied keeps its names; ErrBusy says so.
func (r *Runner) clearNeighbours(ctx context.Context, db *sql.DB, t Target) error {
	all, err := r.Leftovers.List(ctx, t.Cluster)
	if err != nil {
		return fmt.Errorf("read the recorded leftovers of cluster %s: %w", t.Cluster, err)
	}
	for _, other := range neighbours(all, t) {
		if err := r.clearNeighbour(ctx, db, other, copy.NamesFor(t.Table).Old); err != nil {
			return fmt.Errorf("make room beside %s, whose copies have the same names: %w", mysql.QuoteIdents(other.Database, other.Table), err)
		}
	}
	return nil
}

// clearNeighbour does it for one of them, under its lock.
func (r *Runner) clearNeighbour(ctx context.Context, db *sql.DB, other Target, old string) error {
	lock, err := r.takeTableLock(ctx, db, other)
	if err != nil {
		return err
	}
	defer lock.Release()
	rows, err := r.recordsOf(ctx, other)
	if err != nil {
		return err
	}
	if _, err := r.cleanDead(ctx, db, rows); err != nil {
		return err
	}
	if rows, err = r.recordsOf(ctx, other); err != nil {
		return err
	}
	if anyLive(rows) {
		return ErrBusy
	}
	for _, l := range rows {
		if l.Name != old {
			continue
		}
		if err := r.moveAside(ctx, db, l); err != nil {
			return fmt.Errorf("move its old table %s aside: %w", mysql.QuoteIdents(l.Database, l.Name), err)
		}
	}
	return nil
}
