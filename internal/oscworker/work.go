package oscworker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/status"
	"github.com/aosc/aosc/internal/wiring"
)

// scene is all that is known before the first table is touched.
type scene struct {
	tier     fleet.Tier
	desired  schema.Desired
	turn     turn
	db       *sql.DB // the instance
	settings osc.Settings
}

// work brings every database of the instance to the desired form of the table.
func (j *job) work(ctx context.Context) error {
	s, err := j.gather(ctx)
	if err != nil {
		return err
	}
	plans, err := j.plan(ctx, s)
	if err != nil {
		return err
	}
	if plans, err = j.inOrder(ctx, s, plans); err != nil {
		return err
	}
	if err := j.refuseHidingLoss(ctx, s, plans); err != nil {
		return err
	}
	if err := admit(plans, s.turn); err != nil {
		return err
	}
	j.progress.plan(plans)
	j.remember(plans)
	fault.Point(faultPlanned)
	for _, p := range plans {
		if err := j.alter(ctx, p, s.settings); err != nil {
			return err
		}
		fault.Point(faultDatabase)
	}
	if err := j.refresh(ctx, s); err != nil {
		return err
	}
	fault.Point(faultRefreshed)
	return nil
}

// gather reads permission, desired text and the roles in the cluster.
func (j *job) gather(ctx context.Context) (scene, error) {
	tier, cluster, err := j.d.cluster(ctx, j.inst)
	if err != nil {
		return scene{}, fmt.Errorf("%w: %w", errNotNow, err)
	}
	s := scene{tier: tier}
	if s.desired, err = j.d.Repo.Pinned(ctx, j.row.CommitSHA, j.inst.Tier, j.table, j.row.DesiredBlob); err != nil {
		if errors.Is(err, schema.ErrNoCommit) {
			err = refusal(fmt.Sprintf("%v: commit the table again, and the alter follows the new commit", err))
		}
		return s, err
	}
	if s.desired.Problem != nil {
		return s, refusal(s.desired.Problem.Error())
	}
	allowed, err := j.d.Store.AllowedOne(ctx, j.inst.Tier, j.table)
	if err != nil {
		return s, err
	}
	if s.turn, err = turnOf(j.tier.Ordering, fleet.Observe(ctx, j.d.Pool, cluster, j.d.cfg.Timeout), j.inst); err != nil {
		return s, err
	}
	if s.turn.Sealed {
		return s, j.sealed(ctx, s)
	}
	j.mu.Lock()
	j.primary = !s.turn.NoBinlog
	j.mu.Unlock()
	if s.db, err = j.d.Pool.DB(j.inst.Addr()); err != nil {
		return s, err
	}
	s.settings = j.settings(s.turn, allowed.AllowUnsafe)
	return s, nil
}

func (j *job) settings(t turn, allowUnsafe bool) osc.Settings {
	s, cfg := wiring.Settings(j.tier, allowUnsafe), j.d.cfg
	s.LockWaitTimeout, s.Retries = cfg.LockWaitTimeout, cfg.LockRetries
	s.MaxLag, s.ChunkSize, s.Retention = cfg.limits(j.tier).Lag, cfg.ChunkSize, cfg.Retention
	s.NoBinlog = t.NoBinlog
	for _, r := range t.Replicas {
		s.Replicas = append(s.Replicas, r.Addr())
	}
	return s
}

// plan plans every database that is not known to have the desired form, and returns those with something to do.
func (j *job) plan(ctx context.Context, s scene) ([]osc.Plan, error) {
	databases, err := j.databases(ctx, s, s.db, j.inst)
	if err != nil || len(databases) == 0 {
		return nil, err
	}
	target := osc.Target{Tier: j.inst.Tier, Cluster: j.inst.Cluster, Addr: j.inst.Addr(), Table: j.table}
	plans, err := j.d.planner.PlanMany(ctx, s.db, s.db, target, s.desired, s.settings, databases)
	if err != nil {
		return nil, err
	}
	var todo []osc.Plan
	for _, p := range plans {
		if p.Engine != osc.EngineNone {
			todo = append(todo, p)
		}
	}
	return todo, nil
}

// sealed says why a super_read_only replica is not altered. After a failover the alter is the new primary's, and this row
// goes back to the queue, where the scheduler withdraws it; a replica that alone differs is for a person.
func (j *job) sealed(ctx context.Context, s scene) error {
	primary := s.turn.Before[0]
	db, err := j.d.Pool.DB(primary.Addr())
	if err != nil {
		return err
	}
	lacking, err := j.databases(ctx, s, db, primary.Instance)
	switch {
	case err != nil:
		return fmt.Errorf("%w: look at what primary %s has: %w", errNotNow, primary, err)
	case len(lacking) > 0:
		return fmt.Errorf("%w: the primary is %s, which goes first and does not have the desired form of %s.%s yet", errNotNow, primary, lacking[0], j.table)
	}
	return sealed(j.inst)
}

// databases are those of the tier on an instance, less those whose status is OK for this very text. What the status
// says is only used to leave out work: planning compares again.
func (j *job) databases(ctx context.Context, s scene, db *sql.DB, inst fleet.Instance) ([]string, error) {
	there, err := fleet.Databases(ctx, db, s.tier.Databases)
	if err != nil {
		return nil, err
	}
	ok, err := j.rows.KnownOK(ctx, inst.Host, inst.Port, j.inst.Tier, j.table, j.row.DesiredBlob)
	if err != nil {
		return nil, err
	}
	var need []string
	for _, database := range there {
		if !ok[database] {
			need = append(need, database)
		}
	}
	return need, nil
}

// inOrder makes sure that the members that go before this instance have the form its plans lead to. A replica that
// drifted is planned again once it has applied all that its primary has done: replication may have brought the rest.
func (j *job) inOrder(ctx context.Context, s scene, plans []osc.Plan) ([]osc.Plan, error) {
	if len(plans) == 0 {
		return plans, nil
	}
	before, err := s.turn.before(plans)
	if err != nil {
		return nil, err
	}
	for _, member := range before {
		if err := j.hasForms(ctx, member, plans); err != nil {
			return nil, err
		}
	}
	if !s.turn.Drift {
		return plans, nil
	}
	if err := j.caughtUp(ctx, s, s.turn.Before[0]); err != nil {
		return nil, err
	}
	return j.plan(ctx, s)
}

// hasForms reads from a member whether it has the forms that the plans lead to.
func (j *job) hasForms(ctx context.Context, member fleet.Observed, plans []osc.Plan) error {
	db, err := j.d.Pool.DB(member.Addr())
	if err != nil {
		return err
	}
	refs := make([]schema.Ref, len(plans))
	for i, p := range plans {
		refs[i] = schema.Ref{Database: p.Database, Table: p.Table}
	}
	forms, err := schema.CurrentForms(ctx, db, refs)
	if err != nil {
		return fmt.Errorf("%w: read what %s %s has: %w", errNotNow, member.Role, member, err)
	}
	for i, p := range plans {
		if !p.Has(forms[refs[i]]) {
			return fmt.Errorf("%w: %s %s goes first and does not have the desired form of %s yet", errNotNow, member.Role, member, refs[i])
		}
	}
	return nil
}

// catchUp is how long a replica may take to apply what its primary has done, in seconds.
const catchUp = 10

// caughtUp waits until the instance has applied everything its primary has executed by now.
func (j *job) caughtUp(ctx context.Context, s scene, primary fleet.Observed) error {
	db, err := j.d.Pool.DB(primary.Addr())
	if err != nil {
		return err
	}
	server, err := mysql.ReadServer(ctx, db)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotNow, err)
	}
	var timedOut bool
	err = s.db.QueryRowContext(ctx, "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)", server.GTIDExecuted, catchUp).Scan(&timedOut)
	if err != nil {
		return fmt.Errorf("wait until %s has applied what its primary %s has done: %w", j.inst, primary, err)
	}
	if timedOut {
		return fmt.Errorf("%w: %s has not applied what its primary %s has done", errNotNow, j.inst, primary)
	}
	return nil
}

// admit refuses the whole alter when one of its databases may not be altered: half an instance helps nobody.
func admit(plans []osc.Plan, t turn) error {
	var final, passing []string
	asks := true // for a permission that is all that lacks
	for _, p := range plans {
		switch {
		case p.Refused == "":
		case p.Final:
			asks = asks && p.NeedsPermission()
			final = append(final, mysql.QuoteIdent(p.Database)+": "+p.Refused)
		default:
			passing = append(passing, mysql.QuoteIdent(p.Database)+": "+p.Refused)
		}
	}
	switch {
	case len(final) > 0 && t.Drift && asks:
		return refusal("only this replica differs from its primary. " + few(final))
	case len(final) > 0 && t.Drift:
		return refusal("only this replica differs from its primary, and it cannot be mended in place; clone it anew. " + few(final))
	case len(final) > 0:
		return refusal(few(final))
	case len(passing) > 0:
		return errors.New(few(passing))
	}
	return nil
}

// few names the first of many reasons: of two hundred databases most say the same.
func few(reasons []string) string {
	const most = 3
	if len(reasons) <= most {
		return strings.Join(reasons, "; ")
	}
	return fmt.Sprintf("%s; and %d databases more", strings.Join(reasons[:most], "; "), len(reasons)-most)
}

// remember keeps of the plans what the watch and the history need.
func (j *job) remember(plans []osc.Plan) {
	for _, p := range plans {
		if p.SQL != "" {
			j.sql[p.Database] = p.SQL
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.unsafe = losesData(plans); j.unsafe {
		j.word.at = time.Time{} // what was answered until now was not asked of a loss of data
	}
}

// alter runs one plan.
func (j *job) alter(ctx context.Context, p osc.Plan, s osc.Settings) error {
	if err := j.untilPermitted(ctx, p); err != nil {
		return err
	}
	begun := time.Now()
	outcome, err := j.d.runner.Run(ctx, p, s, j.control, j.progress.update)
	if err != nil {
		return err
	}
	j.progress.update(osc.Progress{Database: p.Database, Engine: outcome.Engine, State: osc.StateDone, Fraction: 1, RowsCopied: p.Rows, RowsTotal: p.Rows})
	j.d.metrics.tables.WithLabelValues(j.inst.Tier, string(outcome.Engine)).Inc()
	j.log.Debug("altered", "database", p.Database, "engine", string(outcome.Engine), "took", time.Since(begun))
	return nil
}

// untilPermitted waits while osc_priv is PAUSE, so that a pause holds between two databases too.
func (j *job) untilPermitted(ctx context.Context, p osc.Plan) error {
	for {
		changed := j.control.Changed()
		why := j.awaitWord()
		switch priv := j.control.Get(); {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case priv == osc.PrivOK && why == "":
			return nil
		case priv == osc.PrivStop:
			return osc.ErrStopped
		case priv == osc.PrivLeave:
			return osc.ErrLeft
		case priv == osc.PrivOK:
			j.progress.paused(why)
		}
		j.progress.update(osc.Progress{Database: p.Database, Engine: p.Engine, State: osc.StatePaused, RowsTotal: p.Rows})
		select {
		case <-ctx.Done():
		case <-changed:
		case <-time.After(judgeEvery):
		}
	}
}

// refresh computes the status of the table anew, in all databases, and does not believe that all is well until it says so.
func (j *job) refresh(ctx context.Context, s scene) error {
	snap := &schema.Snapshot{
		Commit: j.row.CommitSHA,
		Tiers:  map[string]map[string]schema.Desired{j.inst.Tier: {j.table: s.desired}},
	}
	var sum status.Summary
	err := patiently(ctx, time.Second, func() (err error) {
		sum, err = j.d.refresher.Refresh(ctx, j.inst, s.tier, snap, status.Options{Tables: []string{j.table}})
		return err
	})
	switch {
	case err != nil:
		return err
	case sum.NotOK > 0:
		return fmt.Errorf("%d of %d databases still do not have the desired form: they were changed, or made, meanwhile", sum.NotOK, sum.Databases)
	case sum.Problem() != "":
		return errors.New(sum.Problem())
	}
	return nil
}
