package osc

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/ghost"
	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/wait"
)

// Fault points of a copy's parent.
var (
	faultRecorded      = fault.Register("osc.ghost.recorded", "leftovers are recorded, the child is not started")
	faultStarted       = fault.Register("osc.ghost.started", "the child is started")
	faultCopying       = fault.Register("osc.ghost.copying", "passed at each status of a child that copies rows")
	faultVerifyBefore  = fault.Register("osc.verify.before", "all rows are copied, nothing is compared yet")
	faultVerifyAfter   = fault.Register("osc.verify.after", "original and copy are found equal")
	faultCutoverBefore = fault.Register("osc.cutover.before", "about to command the cut-over")
	faultCutoverAfter  = fault.Register("osc.cutover.after", "the child has ended after the cut-over, its outcome is not read yet")
	faultConcludeDone  = fault.Register("osc.ghost.concluded", "the outcome is read, the leftovers are not settled yet")
)

const (
	startLimit = 2 * time.Minute // from the start of a child to its first row: longer is a hang
	stuckLimit = 2 * time.Minute // without any sign of life from a child
	// concludeLimit bounds what a copy does after its end, when the caller's context may be over already.
	concludeLimit = time.Minute
	// cutOverLock is gh-ost's cut-over-lock-timeout. An attempt in vain holds up the application for twice as long; below 2 s
	// a good one would lose against gh-ost's own one-second sleeps.
	cutOverLock = 2 * time.Second
	// cutOverLimit is far more than an attempt can take: 2x cutOverLock for the lock, 1x for events, 1x for the rename.
	cutOverLimit = 60 * time.Second
	// verifyFactor makes chunks of the comparison larger than those of the copy: they lock nothing.
	verifyFactor = 5
	// copyConnections are enough for the workers of a copy and its supervision.
	copyConnections = 24
)

// copyRun is one copy, by gh-ost or by the package keyed.
type copyRun struct {
	*run
	db     *sql.DB // of this run: the supervision needs more connections than a shared pool may have left
	server mysql.Server
	names  ghost.Names
	child  *child // of gh-ost
	keyed  *keyedRun
	made   string // the state of the table that is copied, see madeOf

	comparison *verify.Comparison

	mu    sync.Mutex // guards what publish reads
	phase string     // a State constant
	why   string     // Detail
	rows  uint64     // compared so far
}

// copy runs the plan by a copy: supervise copies, verifies and swaps.
func (r *run) copy(ctx context.Context, supervise func(*copyRun, context.Context) error) (Outcome, error) {
	db, err := mysql.Open(r.plan.Addr, r.writer().Credentials(), mysql.Options{MaxOpen: copyConnections})
	if err != nil {
		return Outcome{}, err
	}
	defer db.Close()
	c := &copyRun{run: r, db: db, names: ghost.NamesFor(r.plan.Table), phase: StatePlanning}
	if done, err := c.prepare(ctx); err != nil || done {
		return Outcome{Engine: EngineNone, Form: r.plan.Desired}, err
	}
	if err := c.record(ctx); err != nil {
		return Outcome{}, fmt.Errorf("record what the copy may leave behind: %w", err)
	}
	fault.Point(faultRecorded)
	err = supervise(c, ctx)
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
	recorded, err := c.clearWay(ctx, c.db, c.plan.Target)
	if err != nil {
		return false, err
	}
	facts, err := readCopyFacts(ctx, c.db, c.plan.Target, c.plan.Engine, c.plan.Bytes)
	if err != nil {
		return false, err
	}
	if c.made, err = madeOf(ctx, c.db, c.plan.Target); err != nil {
		return false, err
	}
	c.server = facts.Server
	if passes := passesReadOnly(facts.Grants); passes != "" {
		c.logger.Warn("the account that copies passes read_only: a switchover by others during the copy may leave transactions of it on the former primary "+
			"alone; give the worker another one (mysql-write-user)", "account", facts.User, "privilege", passes)
	}
	reason, final := facts.refusal(c.plan.Database, c.plan.Table, recorded)
	if reason == "" { // the server's time zone may be another since the plan
		reason = facts.changeRefusal(c.plan.Change)
		final = reason != ""
	}
	if reason == "" { // and rows may have been written
		if reason, err = copiedValues(ctx, c.db, c.plan, facts); err != nil {
			return false, err
		}
		final = reason != ""
	}
	switch {
	case final:
		return false, c.refuse("%s", reason)
	case reason != "":
		return false, errors.New(reason)
	}
	return false, nil
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

// spec are the child's orders.
func (c *copyRun) spec(ctx context.Context, socket string) (ghost.Spec, error) {
	cred := c.writer().Credentials()
	s := ghost.Spec{
		Addr: c.plan.Addr, User: cred.User, Password: cred.Password,
		TLS: cred.TLS != "", TLSUnverified: cred.TLS != "required",
		Database: c.plan.Database, Table: c.plan.Table, Clauses: c.plan.Change.CopyClauses(c.names.Ghost),
		SocketFile: socket, ChunkSize: c.settings.ChunkSize, MaxLag: c.settings.MaxLag, Replicas: c.settings.Replicas,
		SkipPortValidation: c.server.Port != c.plan.Addr.Port, CutOverLockTimeout: cutOverLock,
		PanicOnWarnings: c.mayNotFit(),
	}
	if cred.TLS == "required" && cred.Authority != nil {
		by, err := cred.Authority(c.plan.Addr)
		if err != nil {
			return s, err
		}
		s.CA, s.TLSUnverified = by.PEM, by.Unproven
	}
	if s.Clauses == "" {
		return s, c.refuse("the change cannot be made in one ALTER of a copy")
	}
	if strings.Contains(cred.User, ":") {
		return s, c.refuse("gh-ost cannot use an account with a colon in its name (%s)", cred.User)
	}
	var cipher, unused string
	if err := c.db.QueryRowContext(ctx, "SHOW SESSION STATUS LIKE 'Ssl_cipher'").Scan(&unused, &cipher); err != nil {
		return s, fmt.Errorf("find out whether connections are encrypted: %w", err)
	}
	s.TLS = s.TLS && cipher != "" // 'preferred' on a server that cannot
	// Where performance_schema is off or closed to us, gh-ost has to do without it.
	var enabled string
	err := c.db.QueryRowContext(ctx, "SELECT enabled FROM performance_schema.setup_instruments WHERE name = 'wait/lock/metadata/sql/mdl'").Scan(&enabled)
	s.SkipMetadataLockCheck = err != nil || enabled != "YES"
	list, err := processlist(ctx, c.db)
	if err != nil {
		return s, err
	}
	s.ReadableProcesslist = list == performanceProcesslist
	if !s.ReadableProcesslist {
		if err := c.refuseBlindCutOver(ctx); err != nil {
			return s, err
		}
	}
	s.ServerID, err = freeServerID(c.server.ServerID)
	return s, err
}

// refuseBlindCutOver refuses a copy on a server where gh-ost could not see its own RENAME wait (see the package ghost), and
// where that cannot be corrected: it would hold up the application in one cut-over after the other, in vain.
func (c *copyRun) refuseBlindCutOver(ctx context.Context) error {
	blind, err := processlistBreaks(ctx, c.db)
	if err != nil || !blind {
		return err
	}
	return c.refuse("information_schema.processlist of this server cannot be read while a session runs a statement with a character " +
		"outside of utf8mb3, and gh-ost reads it during its cut-over; start the server with performance_schema, which can take its place")
}

// processlistBreaks tries it: a session that runs such a statement, and another that reads the list.
func processlistBreaks(ctx context.Context, db *sql.DB) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sleeping := make(chan struct{})
	go func() {
		defer close(sleeping)
		// It ends by itself soon; its result is of no interest.
		_, _ = db.ExecContext(ctx, "DO SLEEP(0.3) /* \U0001F600 */")
	}()
	defer func() { <-sleeping }()
	for {
		var n int
		err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%no such statement%'").Scan(&n)
		if mysql.IsNumber(err, mysql.ErrCannotConvert) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		select {
		case <-sleeping:
			return false, nil
		default:
		}
	}
}

// freeServerID is a random id in the upper half, where nobody numbers servers by hand.
func freeServerID(own uint32) (uint32, error) {
	var b [4]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, err
		}
		if id := binary.BigEndian.Uint32(b[:]) | 1<<31; id != own {
			return id, nil
		}
	}
}

// errChildEnded is the cause with which everything ends when the child does.
var errChildEnded = errors.New("gh-ost ended")

// supervise runs the child from its start to its end. nil means that it ended by itself after its cut-over was
// commanded; what it achieved the server has to tell.
func (c *copyRun) supervise(ctx context.Context) error {
	socket, remove, err := ghost.SocketDir()
	if err != nil {
		return err
	}
	defer remove() // a directory left in TMPDIR does no harm
	spec, err := c.spec(ctx, socket)
	if err != nil {
		return err
	}
	if c.child, err = startChild(c.Child, spec); err != nil {
		return err
	}
	fault.Point(faultStarted)
	ctx, cancel := context.WithCancelCause(ctx)
	var watchers sync.WaitGroup
	for _, watch := range []func(context.Context) error{c.watchChild, c.watchLock, c.watchRole, c.obey} {
		watchers.Go(func() { cancel(watch(ctx)) })
	}
	err = c.phases(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !Final(err) {
		err = cause // what broke is a consequence
	}
	cancel(err)
	c.child.stop()
	watchers.Wait()
	return err
}

// phases are what a copy goes through, in order.
func (c *copyRun) phases(ctx context.Context) error {
	if err := c.awaitCopy(ctx); err != nil {
		return err
	}
	fault.Point(faultVerifyBefore)
	if err := c.unchanged(ctx); err != nil {
		return err
	}
	if err := c.verify(ctx); err != nil {
		return err
	}
	fault.Point(faultVerifyAfter)
	return c.cutOver(ctx)
}

// awaitCopy waits until all rows are copied. As soon as the copy exists it prepares the comparison: what cannot be verified
// must be refused before hours are spent on it.
func (c *copyRun) awaitCopy(ctx context.Context) error {
	c.enter(StateCopying, "")
	began := time.Now()
	return c.child.await(ctx, func(s ghost.Status) (bool, error) {
		switch s.Phase {
		case "", ghost.PhaseStarting:
			if time.Since(began) > startLimit {
				return false, fmt.Errorf("gh-ost has not begun to copy within %v: it may not see its own changes in the binary log "+
					"(binlog-do-db, binlog-ignore-db), or wait for a lock; it said: %s", startLimit, c.child.failure())
			}
			return false, nil
		case ghost.PhaseFailed:
			return false, c.childEnded()
		}
		if c.comparison == nil {
			if err := c.prepareComparison(ctx); err != nil {
				return false, err
			}
		}
		return s.Phase == ghost.PhasePostponed, nil
	})
}

// childEnded is the error of a child that ended on its own.
func (c *copyRun) childEnded() error { return fmt.Errorf("%w: %s", errChildEnded, c.child.failure()) }

// prepareComparison reads both tables as they are now.
func (c *copyRun) prepareComparison(ctx context.Context) error {
	original, err := verify.ReadTable(ctx, c.db, c.plan.Database, c.plan.Table)
	if err != nil {
		return err
	}
	copied, err := verify.ReadTable(ctx, c.db, c.plan.Database, c.names.Ghost)
	if err != nil {
		return err
	}
	key, err := ghostKey(original, &copied)
	if err != nil {
		return c.refuse("%v", err)
	}
	zone, err := readTimeZone(ctx, c.db)
	if err != nil {
		return err
	}
	if reason := followed(original, copied, zone); reason != "" {
		return c.refuse("%s", reason)
	}
	c.comparison, err = verify.Prepare(verify.Request{
		DB: c.db, Original: original, Copy: copied, Key: key, Lossy: c.lossy(),
		ChunkSize: c.settings.ChunkSize * verifyFactor, RowsEstimate: c.plan.Rows,
		Gate: c.gate, Health: c.health, Progress: func(rows uint64) { c.set(func() { c.rows = rows }) },
	})
	if err != nil {
		return c.refuse("the copy could not be verified: %v", err)
	}
	return nil
}

// lossy are the columns in which the plan loses data, with permission.
func (c *copyRun) lossy() map[string]bool { return lossyColumns(c.plan.Findings) }

// mayNotFit tells whether a value that is written during the copy may not fit the new definition, although none in the table
// is so and no loss was permitted. The comparison finds what was written before it; for what is written between it
// and the swap, gh-ost must look out itself.
func (c *copyRun) mayNotFit() bool {
	return len(c.plan.Change.Findings) > 0 && len(c.plan.Findings) == 0
}

// verify compares original and copy.
func (c *copyRun) verify(ctx context.Context) error {
	c.enter(StateVerifying, "")
	result, err := c.comparison.Run(ctx)
	if err != nil {
		return err
	}
	c.logger.Info("copy verified", "rows", result.Rows, "chunks", result.Chunks, "settled", result.Settled)
	return nil
}

// gate holds the comparison, and the cut-over, while the operator or gh-ost rests.
func (c *copyRun) gate(ctx context.Context) error {
	for {
		changed := c.control.Changed()
		status, news := c.child.latest()
		if c.control.Get() == PrivOK && !status.Throttled {
			return nil
		}
		select {
		case <-changed:
		case <-news:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// health tells the comparison how far gh-ost is.
func (c *copyRun) health(ctx context.Context) (verify.Health, error) {
	h, err := c.backlog(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	status, _ := c.child.latest()
	h.Seen, h.Idle = status.Seen, status.Throttled || c.control.Get() != PrivOK
	return h, err
}

// backlog bounds what gh-ost has read and not applied. It does not count the batch that it is applying: that shows as a
// statement under way, or as progress between two looks.
func (c *copyRun) backlog(ctx context.Context) (verify.Health, error) {
	before, _, err := ghost.Backlog(ctx, c.child.socket)
	if err != nil {
		return verify.Health{}, err
	}
	applying, err := ghostSessions(ctx, c.db, c.plan.Database, c.names.Ghost)
	if err != nil {
		return verify.Health{}, err
	}
	applied, waiting, err := ghost.Backlog(ctx, c.child.socket)
	if err != nil {
		return verify.Health{}, err
	}
	if applied != before || len(applying) > 0 {
		waiting += applied - before + ghost.BatchSize
	}
	return verify.Health{Applied: applied, Backlog: waiting}, nil
}

// cutOver commands the swap until gh-ost has ended. Each attempt holds up queries on the table for some seconds at most; one
// that fails lets them through and goes back to postponing.
func (c *copyRun) cutOver(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		if err := c.awaitOpportunity(ctx); err != nil {
			return err
		}
		if err := c.unchanged(ctx); err != nil {
			return err
		}
		if err := c.keepCounter(ctx); err != nil {
			return err
		}
		c.enter(StateCuttingOver, fmt.Sprintf("attempt %d of %d", attempt, c.settings.Retries))
		fault.Point(faultCutoverBefore)
		ended, err := c.tryCutOver(ctx)
		if err != nil || ended {
			fault.Point(faultCutoverAfter)
			return err
		}
		if attempt >= c.settings.Retries {
			return fmt.Errorf("%d attempts at the cut-over failed: %s%s", attempt, c.child.log.lastError(), c.heldBy(ctx, c.db))
		}
		c.enter(StateCopying, fmt.Sprintf("cut-over attempt %d of %d failed: %s%s", attempt, c.settings.Retries,
			c.child.log.lastError(), c.heldBy(ctx, c.db)))
		if err := wait.For(ctx, min(time.Second<<min(attempt, 5), 30*time.Second)); err != nil {
			return err
		}
	}
}

// unchanged makes sure that the table still is what was copied. Nothing keeps anybody from altering it during the hours of a
// copy, and the swap would undo that without a word: a new column with all its values, an index, a trigger. Also what
// shows in no definition: gh-ost follows rows, and TRUNCATE TABLE or a partition exchanged tell it of none.
func (c *copyRun) unchanged(ctx context.Context) error {
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
	facts, err := readCopyFacts(ctx, c.db, c.plan.Target, c.plan.Engine, c.plan.Bytes)
	if err != nil {
		return err
	}
	if reason := facts.shapeRefusal(); reason != "" {
		return c.refuse("since the copy began: %s", reason)
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

// tryCutOver commands one attempt; ended when gh-ost has gone, false when it postpones again.
func (c *copyRun) tryCutOver(ctx context.Context) (ended bool, err error) {
	began, left := time.Now(), false
	if ok, err := ghost.Unpostpone(ctx, c.child.socket); err != nil || !ok {
		if c.gone(ctx) {
			return true, nil
		}
		return false, err
	}
	err = c.child.await(ctx, func(s ghost.Status) (bool, error) {
		left = left || s.Phase != ghost.PhasePostponed
		if time.Since(began) > cutOverLimit {
			return false, fmt.Errorf("gh-ost neither finished nor gave up its cut-over within %v (phase %q): it is taken for stuck", cutOverLimit, s.Phase)
		}
		return left && s.Phase == ghost.PhasePostponed, nil
	})
	if errors.Is(err, errChildEnded) {
		return true, nil // well or badly: the server knows
	}
	return false, err
}

// gone tells whether the child has ended.
func (c *copyRun) gone(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), errChildEnded)
}

// openFor is how long a transaction must have been open on the table to be waited for: an attempt would outlast a
// shorter one, and fail against a longer one after holding up everybody.
const openFor = time.Second

// awaitOpportunity waits until an attempt has a chance: nobody said PAUSE, gh-ost is at work, no long transaction has the
// table, no session writes in a way gh-ost does not see.
func (c *copyRun) awaitOpportunity(ctx context.Context) error {
	for {
		if err := c.gate(ctx); err != nil {
			return err
		}
		if odd, err := oddSessions(ctx, c.db, c.plan.Engine); err != nil {
			return err
		} else if odd != "" {
			return errors.New(odd)
		}
		status, _ := c.child.latest()
		who := holder(ctx, c.db, c.plan.Database, c.plan.Table, openFor)
		if who == "" && status.Phase == ghost.PhasePostponed {
			return nil
		}
		if who != "" {
			c.enter(StateCuttingOver, "waits: "+who)
		}
		if err := wait.For(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}
