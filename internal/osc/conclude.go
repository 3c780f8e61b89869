package osc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/wait"
)

// conclude finds out from the server how a copy ended whose child is gone, and settles what it left. cause is what the
// supervision says; it only counts when the table does not have the desired form.
func (c *copyRun) conclude(ctx context.Context, cause error) (Outcome, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), concludeLimit)
	defer cancel()
	if err := endSessions(ctx, c.db, c.plan.Database, c.names); err != nil {
		return Outcome{}, errors.Join(cause, fmt.Errorf("end what the copy left running: %w", err))
	}
	form, exists, err := schema.CurrentForm(ctx, c.db, c.plan.Database, c.plan.Table)
	if err != nil {
		return Outcome{}, errors.Join(cause, fmt.Errorf("read the outcome of the copy: %w", err))
	}
	fault.Point(faultConcludeDone)
	if !exists || form.Hash != c.plan.Desired.Hash {
		return Outcome{}, c.failed(ctx, cause)
	}
	mine, err := c.recordsOf(ctx, c.plan.Target)
	if cause != nil {
		c.logger.Info("the copy ended with an error after a good cut-over", "error", cause)
	}
	if err := c.undid(ctx, mine); err != nil {
		return Outcome{}, err
	}
	if err == nil {
		err = c.settle(ctx, c.db, mine, c.settings.Retention)
	}
	if err != nil {
		// The alter is done, whatever became of its records (aoscdb may be away): they stay, and the next clean-up goes on.
		c.logger.Warn("the copy is done, its leftovers are not settled yet", "error", err)
	}
	return Outcome{Engine: c.plan.Engine, Form: form}, nil
}

// keepEvidence is how long an old table is kept whose definition was not what was copied.
const keepEvidence = 30 * 24 * time.Hour

// undid finds out whether the swap took a change with it that somebody made in the second between the last look at the
// table and the swap. The old table has it still: it is kept, and a person is told.
func (c *copyRun) undid(ctx context.Context, mine []Leftover) error {
	old, exists, err := schema.CurrentForm(ctx, c.db, c.plan.Database, c.names.Old)
	if err != nil || !exists {
		return nil // dropped by somebody already, or not to be read now: nothing can be told
	}
	if comment, _, err := commentOf(ctx, c.db, c.plan.Database, c.names.Old); err != nil || placeholder(comment) {
		return nil
	}
	was, err := schema.Normalise(strings.Replace(old.Text, mysql.QuoteIdent(c.names.Old), mysql.QuoteIdent(c.plan.Table), 1))
	if err != nil || was.Hash == c.plan.Current.Hash {
		return nil
	}
	err = c.refuse("the table has the desired definition, but somebody altered it in the moment before the swap, which undid that: "+
		"the table before is kept as %s, take from it what is missing", mysql.QuoteIdents(c.plan.Database, c.names.Old))
	for _, l := range mine {
		if l.Kind == LeftoverOld && l.State == LeftoverLive {
			err = errors.Join(err, c.Leftovers.SetState(ctx, l.ID, LeftoverKeep, time.Now().Add(max(keepEvidence, c.settings.Retention))))
		}
	}
	return errors.Join(err, c.dropBeside(ctx, mine))
}

// dropBeside drops what a run left besides the old table.
func (c *copyRun) dropBeside(ctx context.Context, mine []Leftover) error {
	var rest []Leftover
	for _, l := range mine {
		if l.Kind != LeftoverOld {
			rest = append(rest, l)
		}
	}
	return c.settle(ctx, c.db, rest, 0)
}

// recordsPatience is how long the end of a copy that did not replace the table waits for its records: an operator who has said STOP
// while aoscdb is away waits for it, too. What is not settled then the next clean-up settles.
const recordsPatience = time.Second

// failed cleans up after a copy that did not replace the table. What the run itself has made goes also while the records cannot be read.
func (c *copyRun) failed(ctx context.Context, cause error) error {
	if cause == nil && c.copy != nil {
		cause = c.copy.Failure()
	}
	if cause == nil {
		cause = errors.New("the tables were swapped, and the table is not what was desired: somebody altered it at that moment")
	}
	if c.leaves(cause) {
		c.logger.Info("the copy is left as it is, another run goes on from there", "reason", cause)
		return cause
	}
	patience, cancel := context.WithTimeout(ctx, recordsPatience)
	defer cancel()
	mine, err := c.recordsOf(patience, c.plan.Target)
	if err != nil {
		c.logger.Warn("the records of what the copy made cannot be read, the next clean-up settles them", "error", err)
		return errors.Join(cause, c.dropOwn(ctx, cause))
	}
	if c.copy != nil && c.copy.Foreign() {
		return errors.Join(c.forget(ctx, mine), c.refuse("%s: a table of that name appeared beside it, which is none of ours", cause))
	}
	if err := c.settle(ctx, c.db, mine, c.settings.Retention); err != nil {
		return errors.Join(cause, fmt.Errorf("clean up after the copy (the next clean-up tries again): %w", err))
	}
	return cause
}

// dropOwn drops the copy and the changelog of a run that has the table's lock still: nobody else can have made them since it recorded
// them. The records stay.
func (c *copyRun) dropOwn(ctx context.Context, cause error) error {
	if c.copy == nil || errors.Is(cause, mysql.ErrLockLost) || c.copy.Foreign() {
		return nil
	}
	if err := checkRole(ctx, c.db, Settings{}); err != nil {
		return err
	}
	return errors.Join(dropTable(ctx, c.db, c.plan.Database, c.names.Ghost), dropTable(ctx, c.db, c.plan.Database, c.names.Changelog))
}

// recordsOf are the leftovers recorded for a table. A row that names a table which no copy makes is refused: what is recorded is dropped,
// and whoever may write to aoscdb may have written the row.
func (r *Runner) recordsOf(ctx context.Context, t Target) ([]Leftover, error) {
	all, err := r.Leftovers.List(ctx, t.Cluster)
	if err != nil {
		return nil, fmt.Errorf("read the recorded leftovers of cluster %s: %w", t.Cluster, err)
	}
	var mine []Leftover
	for _, l := range all {
		if l.Database != t.Database || l.Table != t.Table {
			continue
		}
		if !l.ofACopy() {
			return nil, fmt.Errorf("leftovers of aoscdb has row %d for %s.%s of cluster %s, which names the table %s: no copy makes a table of "+
				"that name, and nothing is dropped; correct or delete the row", l.ID, l.Database, l.Table, t.Cluster, l.Name)
		}
		mine = append(mine, l)
	}
	return mine, nil
}

func (r *Runner) forget(ctx context.Context, rows []Leftover) error {
	var errs []error
	for _, l := range rows {
		errs = append(errs, r.Leftovers.Forget(ctx, l.ID))
	}
	return errors.Join(errs...)
}

// settle deals with the live leftovers of a run that is over: copy, changelog and the sentinel of a cut-over are dropped; an
// old table with a user's data is kept for the retention, or dropped. A server that is a primary no more is left alone: a DROP
// there, which an account with SUPER may do, would be an errant transaction (I7). Clean goes on at the new primary.
func (r *Runner) settle(ctx context.Context, db *sql.DB, rows []Leftover, retention time.Duration) error {
	if err := checkRole(ctx, db, Settings{}); err != nil {
		return err
	}
	var errs []error
	for _, l := range rows {
		if l.State == LeftoverLive {
			if err := r.settleOne(ctx, db, l, retention); err != nil {
				errs = append(errs, fmt.Errorf("%s %s: %w", l.Kind, mysql.QuoteIdents(l.Database, l.Name), err))
			}
		}
	}
	return errors.Join(errs...)
}

func (r *Runner) settleOne(ctx context.Context, db *sql.DB, l Leftover, retention time.Duration) error {
	if l.Kind == LeftoverOld {
		comment, exists, err := commentOf(ctx, db, l.Database, l.Name)
		switch {
		case err != nil:
			return err
		case exists && !placeholder(comment) && retention > 0:
			return r.Leftovers.SetState(ctx, l.ID, LeftoverKeep, time.Now().Add(retention))
		case exists && !placeholder(comment):
			if err := r.Leftovers.SetState(ctx, l.ID, LeftoverDrop, time.Time{}); err != nil {
				return err
			}
			_, err := r.dropSlowly(ctx, db, l)
			return err
		}
	}
	if err := dropTable(ctx, db, l.Database, l.Name); err != nil {
		return err
	}
	return r.Leftovers.Forget(ctx, l.ID)
}

// commentOf reads a table's comment; false when the table does not exist.
func commentOf(ctx context.Context, db *sql.DB, database, table string) (string, bool, error) {
	var comment string
	err := db.QueryRowContext(ctx, "SELECT COALESCE(table_comment, '') FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
		database, table).Scan(&comment)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return comment, err == nil, err
}

// dropTable drops a table if it exists, waiting briefly for its lock.
func dropTable(ctx context.Context, db *sql.DB, database, table string) error {
	session := mysql.Session{LockWaitTimeout: 3 * time.Second}
	return mysql.WithSession(ctx, db, session, func(ctx context.Context, conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, "DROP TABLE IF EXISTS "+mysql.QuoteIdents(database, table))
		return err
	})
}

// endSessions kills the statements of a copy whose process is gone and waits until they are. A RENAME of its cut-over
// may still wait for the table; it must end, either way, before the table is looked at.
func endSessions(ctx context.Context, db *sql.DB, database string, names copy.Names) error {
	for {
		ids, err := copy.Sessions(ctx, db, markers(), database, names.All()...)
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if _, err := db.ExecContext(ctx, fmt.Sprintf("KILL %d", id)); err != nil && !mysql.IsNumber(err, mysql.ErrNoSuchThread) {
				return err
			}
		}
		if err := wait.For(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}
