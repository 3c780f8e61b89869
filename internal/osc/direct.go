package osc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/wait"
)

var (
	faultDirectBefore = fault.Register("osc.direct.before", "about to run CREATE TABLE or a direct ALTER TABLE")
	faultDirectAfter  = fault.Register("osc.direct.after", "the direct statement is done, nothing has been reported")
)

// statements is what a direct engine runs.
func statements(p Plan) []string {
	switch p.Engine {
	case EngineCreate:
		return []string{p.Create.SQL}
	case EngineInstant:
		return p.Change.Statements(p.Database, p.Table, "ALGORITHM=INSTANT")
	case EngineInplace:
		return p.Change.Statements(p.Database, p.Table, "ALGORITHM=INPLACE, LOCK=NONE")
	}
	return p.Change.Statements(p.Database, p.Table, "")
}

// direct creates or alters with the server's own means: one connection, short waits for the table's lock, many attempts.
func (r *run) direct(ctx context.Context, db *sql.DB) (Outcome, error) {
	r.say(StateAltering, "")
	for attempt := 1; ; attempt++ {
		form, err := r.attempt(ctx, db)
		switch {
		case err == nil:
			return Outcome{Engine: r.plan.Engine, Form: form}, nil
		case ctx.Err() != nil:
			return Outcome{}, context.Cause(ctx)
		case mysql.IsLockWaitTimeout(err) && attempt < r.settings.Retries:
			if err := r.backOff(ctx, db, attempt); err != nil {
				return Outcome{}, err
			}
		case mysql.IsLockWaitTimeout(err):
			return Outcome{}, fmt.Errorf("the table's lock could not be taken in %d attempts of %v%s: %w", attempt,
				r.settings.LockWaitTimeout, r.heldBy(ctx, db), err)
		case copy.RowsRefused(err):
			return Outcome{}, r.refuse("the rows do not fit the new definition: %v", err)
		default:
			return Outcome{}, err
		}
	}
}

// attempt runs the statements once and reads what the table is then.
func (r *run) attempt(ctx context.Context, db *sql.DB) (form schema.Form, err error) {
	session := mysql.Session{NoBinlog: r.settings.NoBinlog, LockWaitTimeout: r.settings.LockWaitTimeout, ServerValues: true,
		DB: r.plan.Database}
	var connection uint64
	err = mysql.WithSession(ctx, db, session, func(ctx context.Context, conn *sql.Conn) error {
		if err := checkRole(ctx, db, r.settings); err != nil {
			return err
		}
		if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&connection); err != nil {
			return err
		}
		done, err := r.asPlanned(ctx, conn)
		if err != nil || done {
			form = r.plan.Desired
			return err
		}
		if err := r.execute(ctx, conn); err != nil {
			return err
		}
		form, err = r.arrived(ctx, conn)
		return err
	})
	if err != nil && (mysql.IsConnection(err) || ctx.Err() != nil) {
		return r.afterBreak(ctx, db, connection, err)
	}
	return form, err
}

// asPlanned makes sure that the table still is what the plan was made for; done when it has the desired form already.
func (r *run) asPlanned(ctx context.Context, conn *sql.Conn) (done bool, err error) {
	if err := schema.ShowSession(ctx, conn); err != nil {
		return false, err
	}
	form, exists, err := definition(ctx, conn, r.plan.Database, r.plan.Table)
	switch {
	case err != nil:
		return false, err
	case exists && form.Hash == r.plan.Desired.Hash:
		return true, nil
	case exists == r.plan.Facts.Missing, form.Hash != r.plan.Current.Hash:
		return false, errors.New("the table is no longer what the plan was made for: plan again")
	}
	return false, nil
}

// execute runs the statements.
func (r *run) execute(ctx context.Context, conn *sql.Conn) error {
	var server string
	if err := conn.QueryRowContext(ctx, "SELECT @@GLOBAL.sql_mode").Scan(&server); err != nil {
		return err
	}
	mode := r.sqlMode(server)
	if _, err := conn.ExecContext(ctx, "SET SESSION sql_mode = "+mysql.QuoteString(mode)); err != nil {
		return err
	}
	if r.plan.withoutKey {
		if err := schema.CreateSession(ctx, conn, mode); err != nil {
			return err
		}
	}
	alter := func() error {
		fault.Point(faultDirectBefore)
		for _, statement := range statements(r.plan) {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s: %w", copy.Abridged(statement), err)
			}
		}
		fault.Point(faultDirectAfter)
		return nil
	}
	if partitions := r.plan.emptyPartitions(); len(partitions) > 0 {
		return r.underLock(ctx, conn, partitions, alter)
	}
	return alter()
}

// sqlMode is strict: a value that does not fit the new definition is an error. Only where the plan found such values, and
// they may be lost, the server is told to cut them, as a copy would. A new table is made under the server's own, as by hand.
func (r *run) sqlMode(server string) string {
	if r.plan.Engine == EngineCreate {
		return r.plan.Create.Mode // as by hand on that server
	}
	if r.settings.AllowUnsafe && slices.ContainsFunc(r.plan.Findings, cutsValues) {
		return strings.TrimPrefix(schema.AlterMode(server), "STRICT_ALL_TABLES,")
	}
	return schema.AlterMode(server)
}

// arrived reads what the table is after the statements.
func (r *run) arrived(ctx context.Context, conn *sql.Conn) (schema.Form, error) {
	if err := schema.ShowSession(ctx, conn); err != nil {
		return schema.Form{}, err
	}
	form, exists, err := definition(ctx, conn, r.plan.Database, r.plan.Table)
	switch {
	case err != nil:
		return schema.Form{}, err
	case !exists:
		return schema.Form{}, errors.New("the table is gone: somebody dropped it meanwhile")
	case form.Hash != r.plan.Desired.Hash:
		return schema.Form{}, fmt.Errorf("after %s the table is not what was desired: it is\n%s\nwanted\n%s",
			strings.Join(statements(r.plan), "; "), form.Text, r.plan.Desired.Text)
	}
	return form, nil
}

// afterBreakLimit is how long the outcome of a statement is waited for whose connection broke.
const afterBreakLimit = 30 * time.Second

// afterBreak finds out what became of a statement after its connection broke, or was ended with ctx: it waits until
// the session is gone from the server and reads the table (I11). cause is returned when the form is not the desired.
func (r *run) afterBreak(ctx context.Context, db *sql.DB, connection uint64, cause error) (schema.Form, error) {
	if connection == 0 {
		return schema.Form{}, cause // it broke before anything was done
	}
	// The truth is wanted even when the caller gives up: briefly then.
	limit := afterBreakLimit
	if ctx.Err() != nil {
		limit = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	mysql.Kill(ctx, db, connection)
	for {
		form, err := r.formAfter(ctx, db, connection)
		if err == nil {
			if form.Hash == r.plan.Desired.Hash {
				return form, nil
			}
			return schema.Form{}, cause
		}
		if wait.For(ctx, 100*time.Millisecond) != nil {
			return schema.Form{}, fmt.Errorf("%w; what became of the statement could not be found out: %w", cause, err)
		}
	}
}

var errStillThere = errors.New("the session is still there")

func (r *run) formAfter(ctx context.Context, db *sql.DB, connection uint64) (form schema.Form, err error) {
	list, err := mysql.Processlist(ctx, db)
	if err != nil {
		return form, err
	}
	var there int
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+list+" WHERE id = ?", connection).Scan(&there); err != nil {
		return form, err
	}
	if there > 0 {
		return form, errStillThere
	}
	form, _, err = schema.CurrentForm(ctx, db, r.plan.Database, r.plan.Table)
	return form, err
}

// backOff lets the queries through that waited behind the last attempt, longer each time.
func (r *run) backOff(ctx context.Context, db *sql.DB, attempt int) error {
	rest := min(r.settings.LockWaitTimeout<<min(attempt, 4), 15*time.Second)
	r.say(StateAltering, fmt.Sprintf("attempt %d of %d waited in vain for the table's lock%s; next in %v",
		attempt, r.settings.Retries, r.heldBy(ctx, db), rest))
	if err := wait.For(ctx, rest); err != nil {
		return err
	}
	for {
		changed := r.control.Changed()
		if r.control.Get() == PrivOK {
			return nil
		}
		r.say(StatePaused, "")
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// heldBy tells who holds the table, for a message; "" when it cannot be told.
func (r *run) heldBy(ctx context.Context, db *sql.DB) string {
	if who := holder(ctx, db, r.plan.Database, r.plan.Table, 0); who != "" {
		return " (" + who + ")"
	}
	return ""
}

// holder finds a session whose transaction has used the table and has been open for at least a time: an ALTER or a cut-over
// would wait for it, and every new query on the table behind that. "" when there is none, or performance_schema cannot
// tell. (information_schema.innodb_trx could, but is a cache that is not refreshed while others keep reading it, and in
// the time zone of the machine.)
func holder(ctx context.Context, db *sql.DB, database, table string, open time.Duration) string {
	var id, seconds uint64
	var user, host string
	const picoseconds = 1_000_000_000_000
	err := db.QueryRowContext(ctx, `
		SELECT t.processlist_id, COALESCE(t.processlist_user, ''), COALESCE(t.processlist_host, ''), x.timer_wait DIV ?
		  FROM performance_schema.metadata_locks m
		  JOIN performance_schema.threads t ON t.thread_id = m.owner_thread_id
		  JOIN performance_schema.events_transactions_current x ON x.thread_id = m.owner_thread_id
		 WHERE m.object_type = 'TABLE' AND m.object_schema = ? AND m.object_name = ? AND m.lock_status = 'GRANTED'
		   AND t.processlist_id <> CONNECTION_ID() AND x.state = 'ACTIVE' AND x.timer_wait >= ? * ?
		 ORDER BY x.timer_wait DESC LIMIT 1`, picoseconds, database, table, int(open.Seconds()), picoseconds).
		Scan(&id, &user, &host, &seconds)
	if err != nil {
		return "" // nobody, or the question is not allowed here: it only serves a message and good manners
	}
	return fmt.Sprintf("connection %d of %s@%s has had a transaction open on it for %d s", id, user, host, seconds)
}

// say reports a state of a direct engine.
func (r *run) say(state, detail string) {
	r.report(Progress{Database: r.plan.Database, Engine: r.plan.Engine, State: state, RowsTotal: r.plan.Rows, Detail: detail})
}
