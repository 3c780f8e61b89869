package status

import (
	"context"
	"fmt"

	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

// wants turns the desired texts into the forms that this server would give them, per kind of database. Texts the server
// refuses are added to the refusals, in any database: what one kind refuses is to be looked at, whatever the others do.
func (p *pass) wants(ctx context.Context, desired []schema.Desired, envs map[string]schema.DBEnv) (map[schema.DBEnv][]want, error) {
	wants := map[schema.DBEnv][]want{}
	refused := map[string]bool{}
	for _, env := range envs {
		if _, done := wants[env]; done || len(desired) == 0 {
			continue
		}
		forms, errs := p.forms(ctx, desired, env)
		ws := make([]want, 0, len(desired))
		for _, d := range desired {
			f, ok := forms[d.Table]
			if ok {
				ws = append(ws, newWant(d, f))
				continue
			}
			err := errs[d.Table]
			if !schema.OfText(err) {
				return nil, fmt.Errorf("canonical form of %s: %w", d.Table, err)
			}
			if !refused[d.Table] {
				refused[d.Table] = true
				p.sum.Refused = append(p.sum.Refused, Refusal{d.Table, err})
			}
		}
		wants[env] = ws
	}
	return wants, nil
}

// forms materialises desired texts on the instance itself, or on its cluster's primary those it refuses for being
// super_read_only: such a server takes not even unlogged DDL. Forms known from before need neither.
func (p *pass) forms(ctx context.Context, desired []schema.Desired, env schema.DBEnv) (map[string]schema.Form, map[string]error) {
	forms, errs := p.Materialiser.Forms(ctx, p.db, desired, env)
	var left []schema.Desired
	for _, d := range desired {
		if mysql.IsReadOnly(errs[d.Table]) {
			left = append(left, d)
		}
	}
	if len(left) == 0 {
		return forms, errs
	}
	more, moreErrs := p.formsOnPrimary(ctx, left, env)
	for _, d := range left {
		delete(errs, d.Table)
		if f, ok := more[d.Table]; ok {
			forms[d.Table] = f
		} else {
			errs[d.Table] = moreErrs[d.Table]
		}
	}
	return forms, errs
}

func (p *pass) formsOnPrimary(ctx context.Context, desired []schema.Desired, env schema.DBEnv) (map[string]schema.Form, map[string]error) {
	fail := func(err error) (map[string]schema.Form, map[string]error) {
		errs := map[string]error{}
		for _, d := range desired {
			errs[d.Table] = fmt.Errorf("the instance takes no writes, and its cluster's primary cannot stand in: %w", err)
		}
		return nil, errs
	}
	cluster, ok := p.tier.Cluster(p.inst.Cluster)
	if !ok {
		return fail(fmt.Errorf("cluster %q is not in the inventory", p.inst.Cluster))
	}
	primary, err := fleet.Observe(ctx, p.Pool, cluster, probeTimeout).Primary()
	if err != nil {
		return fail(err)
	}
	if theirs, ours := primary.Server.Version.Text, p.server.Version.Text; theirs != ours {
		return fail(fmt.Errorf("%s runs %s and this instance %s, whose canonical forms may differ", primary, theirs, ours))
	}
	db, err := p.Pool.DB(primary.Addr())
	if err != nil {
		return fail(err)
	}
	return p.Materialiser.Forms(ctx, db, desired, env)
}
