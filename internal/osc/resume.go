package osc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy"
	"github.com/aosc/aosc/internal/schema"
)

// lookForEarlier finds out whether the copy can go on from where an earlier run was, and says why not.
func (c *copyRun) lookForEarlier(ctx context.Context) error {
	job, err := c.job()
	if err != nil {
		return err
	}
	left, err := c.engine.Left(ctx, job)
	switch {
	case err != nil:
		return fmt.Errorf("look for what an earlier run has copied: %w", err)
	case !left.Found:
		return nil
	case left.Unusable != "":
		c.note = "begins anew, not from what an earlier run has copied: " + left.Unusable
		c.logger.Warn("what an earlier run has copied is thrown away", "rows", left.Rows, "reason", left.Unusable)
		return nil
	}
	c.resume = true
	c.note = fmt.Sprintf("goes on after %d rows that an earlier run has copied", left.Rows)
	c.logger.Info("the copy goes on from where an earlier run was", "rows", left.Rows)
	return nil
}

// leaves tells whether a copy that ended with cause is left for another run to go on with: nothing is wrong with the copy, this run alone
// must not go on. What it is decided to be worth then, whoever comes next decides.
func (c *copyRun) leaves(cause error) bool {
	if c.engine.Trace().Source == nil || c.copy == nil || c.copy.Foreign() || errors.Is(cause, ErrStopped) || Final(cause) {
		return false
	}
	return errors.Is(cause, ErrLeft) || errors.Is(cause, mysql.ErrLockLost) || errors.Is(cause, errNotPrimary) || mysql.IsConnection(cause)
}

// kept tells whether what a dead run has copied is left where it is: its alter is still wanted, and its table still is what was copied.
func (r *Runner) kept(ctx context.Context, db *sql.DB, rows []Leftover) (bool, error) {
	live := slices.IndexFunc(rows, func(l Leftover) bool { return l.State == LeftoverLive && l.Kind == LeftoverChangelog })
	if r.Wanted == nil || live < 0 {
		return false, nil
	}
	l := rows[live]
	from := ""
	for _, e := range copiers {
		find := e.Trace().Source
		if find == nil {
			continue
		}
		var err error
		if from, err = find(ctx, db, l.Database, copy.NamesFor(l.Table)); err != nil {
			return false, err
		}
		if from != "" {
			break
		}
	}
	if from == "" {
		return false, nil
	}
	form, exists, err := schema.CurrentForm(ctx, db, l.Database, l.Table)
	if err != nil {
		return false, fmt.Errorf("find out whether what a dead run has copied is worth anything: %w", err)
	}
	if !exists || form.Hash != from {
		return false, nil
	}
	return r.Wanted(ctx, l)
}
