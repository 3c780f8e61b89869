package status

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

var (
	faultWriteBefore = fault.Register("status.write.before", "the status of an instance is known, nothing of it is written")
	faultWriteAfter  = fault.Register("status.write.after", "the status rows of an instance are written")
)

// pass is one Refresh.
type pass struct {
	*Refresher
	inst   fleet.Instance
	tier   fleet.Tier
	opts   Options
	db     *sql.DB
	server mysql.Server
	lock   *mysql.Lock
	rows   *aoscdb.StatusStore
	clock  clock
	first  bool // this process has not finished a pass over the instance yet

	sum Summary
	put []aoscdb.LocalStatus // rows to write
}

// reading is a table whose SHOW CREATE TABLE must be read.
type reading struct {
	want   *want
	listed *listed
	old    *aoscdb.LocalStatus
}

// run gathers, decides, reads what must be read and writes what changed.
func (p *pass) run(ctx context.Context, all map[string]schema.Desired) error {
	desired := p.choose(all)
	stored, err := p.stored(ctx)
	if err != nil {
		return err
	}
	databases, envs, err := p.databases(ctx)
	if err != nil {
		return err
	}
	wants, err := p.wants(ctx, desired, envs)
	if err != nil {
		return err
	}
	there, err := p.list(ctx, databases, desired)
	if err != nil {
		return err
	}
	p.sum.Databases = len(databases)
	if err := p.readAll(ctx, p.decideAll(databases, envs, wants, there, stored)); err != nil {
		return err
	}
	return p.write(ctx, stored)
}

// choose returns the desired tables this pass is about, by name, less those without a usable text.
func (p *pass) choose(all map[string]schema.Desired) []schema.Desired {
	var out []schema.Desired
	for name, d := range all {
		if p.opts.Tables != nil && !slices.Contains(p.opts.Tables, name) {
			continue
		}
		if d.Problem != nil {
			p.sum.Refused = append(p.sum.Refused, Refusal{name, d.Problem})
			continue
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b schema.Desired) int { return cmp.Compare(a.Table, b.Table) })
	slices.SortFunc(p.sum.Refused, func(a, b Refusal) int { return cmp.Compare(a.Table, b.Table) })
	return out
}

// decideAll settles every table that needs no reading, and returns the others. What it finds in stored it takes out:
// what remains there no longer counts.
func (p *pass) decideAll(databases []string, envs map[string]schema.DBEnv, wants map[schema.DBEnv][]want, there listing,
	stored map[aoscdb.LocalKey]*aoscdb.LocalStatus) map[schema.Ref]reading {
	trusted := p.trust()
	readings := map[schema.Ref]reading{}
	for _, database := range databases {
		ws := wants[envs[database]]
		for i := range ws {
			w := &ws[i]
			key := aoscdb.LocalKey{Database: database, Table: w.Table}
			old, l := stored[key], there.find(database, w.Table)
			delete(stored, key)
			switch decide(*w, old, l, p.clock, trusted) {
			case needRead:
				readings[schema.Ref{Database: database, Table: w.Table}] = reading{w, l, old}
			case needMissing:
				p.settle(row(p.base(database), *w, nil, nil, p.clock.Now), old, false)
			case needNothing:
				p.settle(row(p.base(database), *w, old.HashCurrent, l, old.LastRun), old, false)
			}
		}
	}
	return readings
}

// trust says how far the stored rows are believed. What says INC is read again by who has just altered the table, and by
// a process that is new here: another release may see equal what its predecessor saw differ (schema.FormVersion).
// What says OK stays true whatever the normal form is: equal texts have equal forms.
func (p *pass) trust() trust {
	switch {
	case p.opts.Fresh:
		return trustNothing
	case p.opts.Tables != nil || p.first:
		return trustOK
	}
	return trustRows
}

func (p *pass) base(database string) aoscdb.LocalStatus {
	return aoscdb.LocalStatus{Host: p.inst.Host, Port: p.inst.Port, Database: database, Group: p.tier.Name}
}

// readAll reads tables and settles them. Of each only the hash is kept.
func (p *pass) readAll(ctx context.Context, readings map[schema.Ref]reading) error {
	p.sum.Read = len(readings)
	refs := slices.SortedFunc(maps.Keys(readings), func(a, b schema.Ref) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.Table, b.Table))
	})
	// Nothing is written from here: the readers hold connections, and a pool that has no other left would wait for ever.
	err := schema.EachCurrent(ctx, p.db, refs, func(ref schema.Ref, f schema.Form) error {
		r := readings[ref]
		delete(readings, ref)
		if r.want.Keyless {
			f = f.WithoutGeneratedKey()
		}
		hash := f.Hash // a pointer into f would keep its text
		p.settle(row(p.base(ref.Database), *r.want, &hash, r.listed, p.clock.Now), r.old, true)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the tables: %w", err)
	}
	for ref, r := range readings { // dropped since they were listed
		p.settle(row(p.base(ref.Database), *r.want, nil, nil, p.clock.Now), r.old, true)
	}
	return nil
}

// settle counts a row, and marks it to be written when it differs from the stored one. A row that was read is written
// anyway: its last_run tells until when the table's changes are accounted for.
func (p *pass) settle(r aoscdb.LocalStatus, old *aoscdb.LocalStatus, read bool) {
	p.sum.Tables++
	if r.Status != aoscdb.LocalOK {
		p.sum.NotOK++
	}
	if old == nil || !says(old, &r) {
		p.sum.Changed++
	}
	if read || old == nil || !stored(old, &r) {
		p.put = append(p.put, r)
	}
}

// write stores what was found: it puts the rows that changed and deletes those that no longer count, of databases that
// are gone and of tables no longer desired or without a usable text.
func (p *pass) write(ctx context.Context, left map[aoscdb.LocalKey]*aoscdb.LocalStatus) error {
	gone := slices.Collect(maps.Keys(left))
	if len(p.put)+len(gone) > 0 {
		// Whoever took the lock from us may have written newer findings.
		if err := p.lock.Check(ctx); err != nil {
			return err
		}
	}
	fault.Point(faultWriteBefore)
	if err := p.rows.PutLocal(ctx, p.put); err != nil {
		return err
	}
	if err := p.rows.DeleteLocal(ctx, p.inst.Host, p.inst.Port, gone); err != nil {
		return err
	}
	fault.Point(faultWriteAfter)
	p.sum.Written, p.sum.Changed = len(p.put), p.sum.Changed+len(gone)
	if p.opts.Tables != nil || p.rows.Central() {
		return nil
	}
	return p.dropForeign(ctx)
}

// dropForeign removes the rows of other instances, as a clone brings them.
func (p *pass) dropForeign(ctx context.Context) error {
	foreign, err := p.rows.Foreign(ctx, p.inst.Host, p.inst.Port)
	if err != nil || !foreign {
		return err
	}
	removed, err := p.rows.DropForeign(ctx, p.inst.Host, p.inst.Port)
	if err == nil {
		p.log().Info("removed status rows of other instances, as a clone brings them", "instance", p.inst.String(), "rows", removed)
	}
	return err
}
