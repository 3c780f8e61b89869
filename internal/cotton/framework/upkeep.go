package framework

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
)

var faultUpkeep = fault.Register("cotton.upkeep.before", "what is amiss at an open primary beside replication was found, nothing is mended yet")

// upkeepEvery is how often an open primary is looked at for what replication does not show.
const upkeepEvery = time.Second

// upkeep is what an open primary is kept in, beside replication: who may do what, who acknowledges, and which events run.
type upkeep struct {
	busy     bool
	last     time.Time
	problems []string
}

// keepUp looks after an open primary in the background, so that it holds nothing up, and returns what was wrong when it last
// did. All of it is refused by a server that is no longer open.
func (d *driver) keepUp(ctx context.Context, r cotton.Record, decision cotton.Decision) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := r.Member(decision.Primary)
	if !ok || r.Change != nil {
		return d.upkeep.problems
	}
	if d.upkeep.busy || time.Since(d.upkeep.last) < upkeepEvery {
		return d.upkeep.problems
	}
	d.upkeep.busy = true
	d.running.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, d.f.cfg.ActTimeout)
		defer cancel()
		problems := d.look(ctx, r, *m)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.upkeep = upkeep{last: time.Now(), problems: problems}
	})
	return d.upkeep.problems
}

func (d *driver) look(ctx context.Context, r cotton.Record, primary cotton.Member) []string {
	db, err := d.db(primary)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for _, chore := range []func(context.Context, cotton.Record, *sql.DB) ([]string, error){d.keepAccounts, d.keepEvents} {
		found, err := chore(ctx, r, db)
		problems = append(problems, found...)
		if err != nil && !mysql.IsReadOnly(err) && !mysql.IsConnection(err) {
			problems = append(problems, fmt.Sprintf("%s: %v", r.MemberName(primary.ID), err))
			d.f.cfg.Log.Warn("the primary is not as it should be", "cluster", r.Spec.Name, "error", err)
		}
	}
	return problems
}

// keepAccounts sees to it that the cluster's user has no more than it needs, and that nobody takes the place of cotton's own
// accounts.
func (d *driver) keepAccounts(ctx context.Context, r cotton.Record, db *sql.DB) (problems []string, err error) {
	foreign, locked, err := shadows(ctx, db)
	if err != nil {
		return nil, err
	}
	for _, a := range append(foreign, locked...) {
		problems = append(problems, fmt.Sprintf("the account %s can lock cotton out, or be taken for cotton: it is removed, or unlocked where it is cotton's own", a))
	}
	if len(problems) > 0 {
		fault.Point(faultUpkeep)
		d.f.cfg.Log.Warn("accounts that take the place of cotton's", "cluster", r.Spec.Name, "foreign", foreign, "locked", locked)
		if err := endShadows(ctx, db, foreign, locked); err != nil {
			return problems, err
		}
	}
	// Where it was dropped, that was its own wish; it comes back only by an operator.
	has, err := readGrants(ctx, db, r.Spec.User)
	if err != nil || has.equal(r.Spec) || len(has.global) == 0 {
		return problems, err
	}
	fault.Point(faultUpkeep)
	d.f.cfg.Log.Warn("the cluster's user has other privileges than it is to have: they are set", "cluster", r.Spec.Name, "user", r.Spec.User, "had", has.global)
	return problems, narrowUser(ctx, db, r.Spec)
}
