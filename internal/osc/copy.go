package osc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy"
	"github.com/aosc/aosc/internal/osc/copy/preflight"
	"github.com/aosc/aosc/internal/osc/pace"
	"github.com/aosc/aosc/internal/schema"
)

// Fault points of a copy.
var (
	faultRecorded     = fault.Register("osc.copy.recorded", "leftovers are recorded, the copy is not begun")
	faultConcludeDone = fault.Register("osc.copy.concluded", "the outcome is read, the leftovers are not settled yet")
)

const (
	// concludeLimit bounds what a copy does after its end, when the caller's context may be over already.
	concludeLimit = time.Minute
	// copyConnections are enough for the workers of a copy and its supervision.
	copyConnections = 24
)

// copyRun is one copy, by one of the engines.
type copyRun struct {
	*run
	db     *sql.DB // of this run: the supervision needs more connections than a shared pool may have left
	server mysql.Server
	names  copy.Names
	engine copy.Engine
	copy   copy.Copy // nil until it is begun
	made   string    // the state of the table that is copied, see madeOf
	resume bool      // an earlier run's copy is gone on with
	note   string    // how the copy begins, for people

	mu      sync.Mutex // guards what publish reads
	phase   string     // a State constant
	why     string     // Detail
	pace    pace.Pace  // how fast it may go
	changed chan struct{}
}

// copyBy runs the plan by a copy.
func (r *run) copyBy(ctx context.Context, engine copy.Engine) (Outcome, error) {
	db, err := mysql.Open(r.plan.Addr, r.writer().Credentials(), mysql.Options{MaxOpen: copyConnections})
	if err != nil {
		return Outcome{}, err
	}
	defer db.Close()
	c := &copyRun{run: r, db: db, names: copy.NamesFor(r.plan.Table), engine: engine, phase: StatePlanning, changed: make(chan struct{})}
	if done, err := c.prepare(ctx); err != nil || done {
		return Outcome{Engine: EngineNone, Form: r.plan.Desired}, err
	}
	if err := c.record(ctx); err != nil {
		return Outcome{}, fmt.Errorf("record what the copy may leave behind: %w", err)
	}
	fault.Point(faultRecorded)
	err = c.supervise(ctx)
	return c.conclude(ctx, err)
}

// prepare checks everything that speaks against a copy at this moment and clears away what earlier ones left. done when
// the table has the desired form already.
func (c *copyRun) prepare(ctx context.Context) (done bool, err error) {
	if err := checkRole(ctx, c.db, c.settings); err != nil {
		return false, err
	}
	form, exists, err := schema.CurrentForm(ctx, c.db, c.plan.Database, c.plan.Table)
	switch {
	case err != nil:
		return false, err
	case exists && form.Hash == c.plan.Desired.Hash:
		return true, nil
	case !exists, form.Hash != c.plan.Current.Hash:
		return false, errors.New("the table is no longer what the plan was made for: plan again")
	}
	if err := c.lookForEarlier(ctx); err != nil {
		return false, err
	}
	recorded, err := c.clearWay(ctx, c.db, c.plan.Target, c.resume)
	if err != nil {
		return false, err
	}
	facts, err := readCopyFacts(ctx, c.db, c.plan)
	if err != nil {
		return false, err
	}
	facts.Recorded = recorded
	if c.resume { // what it has copied takes no more room
		sizes, err := readSizes(ctx, c.db, c.names.Ghost, []string{c.plan.Database})
		if err != nil {
			return false, fmt.Errorf("read the size of what an earlier run has copied: %w", err)
		}
		facts.Need -= min(facts.Need, sizes[c.plan.Database].file)
	}
	if c.made, err = madeOf(ctx, c.db, c.plan.Target); err != nil {
		return false, err
	}
	c.server = facts.Server
	if passes := passesReadOnly(facts.Grants); passes != "" {
		c.logger.Warn("the account that copies passes read_only: a switchover by others during the copy may leave transactions of it on the former primary "+
			"alone; give the worker another one (mysql-write-user)", "account", facts.User, "privilege", passes)
	}
	// The server may have been set otherwise since the plan, and rows may have been written.
	refusal, err := preflight.First(ctx, c.db, c.engine.Checks(), facts)
	switch {
	case err != nil:
		return false, err
	case refusal == nil:
		return false, nil
	case refusal.Passing:
		return false, errors.New(refusal.Reason)
	}
	return false, c.refuse("%s", refusal.Reason)
}

// record writes down every table the copy can leave behind, before it can.
func (c *copyRun) record(ctx context.Context) error {
	row := func(name, kind string) Leftover {
		l := Leftover{Target: c.plan.Target, Name: name, Kind: kind, State: LeftoverLive, Token: c.Token}
		if kind == LeftoverOld {
			// Should this process die right after the cut-over, whoever cleans up knows how long to keep the data.
			l.KeepUntil = time.Now().Add(c.settings.Retention)
		}
		return l
	}
	return c.Leftovers.Record(ctx, []Leftover{row(c.names.Ghost, LeftoverGhost),
		row(c.names.Changelog, LeftoverChangelog), row(c.names.Old, LeftoverOld)})
}

// Unchanged makes sure that the table still is what was copied. Nothing keeps anybody from altering it during the hours of a
// copy, and the swap would undo that without a word: a new column with all its values, an index, a trigger. Also what
// shows in no definition: copies follow rows, and TRUNCATE TABLE or a partition exchanged tell them of none.
func (c *copyRun) Unchanged(ctx context.Context) error {
	form, exists, err := schema.CurrentForm(ctx, c.db, c.plan.Database, c.plan.Table)
	switch {
	case err != nil:
		return err
	case !exists, form.Hash != c.plan.Current.Hash:
		return errors.New("somebody altered the table while it was copied, which the swap would undo: plan again")
	}
	made, err := madeOf(ctx, c.db, c.plan.Target)
	if err != nil {
		return err
	}
	if made != c.made {
		return errors.New("somebody truncated, rebuilt or altered the table while it was copied, which the swap would undo: copy it again")
	}
	facts, err := readCopyFacts(ctx, c.db, c.plan)
	if err != nil {
		return err
	}
	refusal, err := preflight.First(ctx, c.db, preflight.Shape(c.engine.Checks()), facts)
	if err != nil {
		return err
	}
	if refusal != nil {
		return c.refuse("since the copy began: %s", refusal.Reason)
	}
	return nil
}

// madeOf tells one state of a table from what DDL makes of it: when the server made it, and the tablespaces that hold its
// rows. TRUNCATE and partitions that are truncated or exchanged leave the time and replace tablespaces. (In the system
// tablespace that does not show.)
func madeOf(ctx context.Context, db *sql.DB, t Target) (string, error) {
	var made string
	spaces := t.Database + "/" + t.Table
	err := db.QueryRowContext(ctx, `
		SELECT CONCAT_WS(' ', CAST(t.create_time AS CHAR), COUNT(s.space), SUM(s.space), SUM(s.space * s.space))
		  FROM information_schema.tables t LEFT JOIN information_schema.innodb_tablespaces_brief s ON s.name = ? OR s.name LIKE ?
		 WHERE t.table_schema = ? AND t.table_name = ? GROUP BY t.create_time`,
		spaces, likeLiteral(spaces)+"#p#%", t.Database, t.Table).Scan(&made)
	if err != nil {
		return "", fmt.Errorf("find out since when the table is as it is: %w", err)
	}
	return made, nil
}

// likeLiteral is a text as a pattern of LIKE that matches nothing else.
func likeLiteral(text string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text)
}
