package status

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

const (
	// readChunk is how many tables one reader asks for before it hands its hashes on. Texts are dropped by then, so a pass
	// holds the texts of a few tables however many there are.
	readChunk = 64
	// writeChunk is how many rows are written at once.
	writeChunk = 1000
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

	mu    sync.Mutex // of what follows
	sum   Summary
	batch []aoscdb.LocalStatus
}

// reading is a table whose SHOW CREATE TABLE must be read.
type reading struct {
	database string
	want     *want
	listed   *listed
	old      *aoscdb.LocalStatus
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
	readings, err := p.decideAll(ctx, databases, envs, wants, there, stored)
	if err != nil {
		return err
	}
	if err := p.readAll(ctx, readings); err != nil {
		return err
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	return p.clean(ctx, stored)
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
func (p *pass) decideAll(ctx context.Context, databases []string, envs map[string]schema.DBEnv, wants map[schema.DBEnv][]want,
	there listing, stored map[aoscdb.LocalKey]*aoscdb.LocalStatus) ([]reading, error) {
	var readings []reading
	for _, database := range databases {
		ws := wants[envs[database]]
		for i := range ws {
			w := &ws[i]
			key := aoscdb.LocalKey{Database: database, Table: w.Table}
			old, l := stored[key], there.find(database, w.Table)
			delete(stored, key)
			var err error
			switch decide(*w, old, l, p.clock, p.opts.Fresh) {
			case needRead:
				readings = append(readings, reading{database, w, l, old})
			case needMissing:
				err = p.put(ctx, row(p.base(database), *w, nil, nil, p.clock.Now), old, false)
			case needNothing:
				err = p.put(ctx, row(p.base(database), *w, old.HashCurrent, l, old.LastRun), old, false)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return readings, nil
}

func (p *pass) base(database string) aoscdb.LocalStatus {
	return aoscdb.LocalStatus{Host: p.inst.Host, Port: p.inst.Port, Database: database, Group: p.tier.Name}
}

// readAll reads tables on a few connections at once and settles them.
func (p *pass) readAll(ctx context.Context, readings []reading) error {
	p.sum.Read = len(readings)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cmp.Or(p.Connections, defaultConnections))
	for chunk := range slices.Chunk(readings, readChunk) {
		group.Go(func() error { return p.readSome(ctx, chunk) })
	}
	return group.Wait()
}

func (p *pass) readSome(ctx context.Context, chunk []reading) error {
	refs := make([]schema.Ref, len(chunk))
	for i, r := range chunk {
		refs[i] = schema.Ref{Database: r.database, Table: r.want.Table}
	}
	hashes := make(map[schema.Ref]string, len(chunk))
	err := schema.EachCurrent(ctx, p.db, refs, func(ref schema.Ref, f schema.Form) error {
		hashes[ref] = f.Hash
		return nil
	})
	if err != nil {
		return err
	}
	for i, r := range chunk {
		var hash *string // stays nil when the table was dropped since it was listed
		if h, ok := hashes[refs[i]]; ok {
			hash = &h
		}
		if err := p.put(ctx, row(p.base(r.database), *r.want, hash, r.listed, p.clock.Now), r.old, true); err != nil {
			return err
		}
	}
	return nil
}

// put counts a row and writes it, together with others, when it differs from the stored one. A row that was read is
// written anyway: its last_run tells until when the table's changes are accounted for.
func (p *pass) put(ctx context.Context, r aoscdb.LocalStatus, old *aoscdb.LocalStatus, read bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sum.Tables++
	if r.Status != aoscdb.LocalOK {
		p.sum.NotOK++
	}
	if old == nil || !says(old, &r) {
		p.sum.Changed++
	}
	if !read && old != nil && stored(old, &r) {
		return nil
	}
	p.batch = append(p.batch, r)
	if len(p.batch) < writeChunk {
		return nil
	}
	return p.write(ctx)
}

func (p *pass) flush(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.write(ctx)
}

// write writes the batch. The caller holds mu.
func (p *pass) write(ctx context.Context) error {
	if len(p.batch) == 0 {
		return nil
	}
	if err := p.lock.Check(ctx); err != nil {
		return err
	}
	if err := p.rows.PutLocal(ctx, p.batch); err != nil {
		return err
	}
	p.sum.Written += len(p.batch)
	p.batch = p.batch[:0]
	return nil
}

// clean deletes the rows that no longer count: of databases that are gone, of tables no longer desired or without a
// usable text. With all tables it also removes what a clone brought of other instances.
func (p *pass) clean(ctx context.Context, left map[aoscdb.LocalKey]*aoscdb.LocalStatus) error {
	keys := make([]aoscdb.LocalKey, 0, len(left))
	for k := range left {
		keys = append(keys, k)
	}
	p.sum.Changed += len(keys)
	if err := p.rows.DeleteLocal(ctx, p.inst.Host, p.inst.Port, keys); err != nil {
		return err
	}
	if p.opts.Tables != nil || p.rows.Central() {
		return nil
	}
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
