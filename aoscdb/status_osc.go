package aoscdb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

var (
	// ErrRunning is returned by PutWaiting when a worker is busy with the row.
	ErrRunning = errors.New("a worker is running it")
	// ErrNotOwner is returned to a worker whose row is no longer its own: deleted, or taken by another.
	ErrNotOwner = errors.New("the row is no longer this worker's")
)

const oscColumns = "host, port, table_name, osc_priv, status, percentage, last_update, `try`, priority, start_time, " +
	"`group`, COALESCE(error, ''), COALESCE(detail, ''), desired_blob, commit_sha, owner, final, cut_over, NOW(6)"

const oscKey = "host = ? AND port = ? AND `group` = ? AND table_name = ?"

func (r *OSCRow) fields() []any {
	return []any{&r.Host, &r.Port, &r.Table, &r.OSCPriv, &r.Status, &r.Percentage, &r.LastUpdate, &r.Try, &r.Priority,
		&r.StartTime, &r.Group, &r.Error, &r.Detail, &r.DesiredBlob, &r.CommitSHA, &r.Owner, &r.Final, &r.CutOver, &r.ReadAt}
}

func (r OSCRow) String() string {
	return fmt.Sprintf("%s/%s on %s:%d", r.Group, r.Table, r.Host, r.Port)
}

// OSCRows are the rows of one instance, the most urgent first.
func (s *StatusStore) OSCRows(ctx context.Context, host string, port int) ([]OSCRow, error) {
	rows, err := list(ctx, s.db, (*OSCRow).fields, "SELECT "+oscColumns+" FROM "+s.osc()+
		" WHERE host = ? AND port = ? ORDER BY priority DESC, `group`, table_name", host, port)
	return rows, wrap(err, "read aosc_osc_ww of %s:%d", host, port)
}

// OSCRow is one row. ErrNotFound when there is none.
func (s *StatusStore) OSCRow(ctx context.Context, host string, port int, group, table string) (OSCRow, error) {
	read := func(columns string) (OSCRow, error) {
		return one(ctx, s.db, (*OSCRow).fields, "SELECT "+columns+" FROM "+s.osc()+" WHERE "+oscKey, host, port, group, table)
	}
	row, err := read(oscColumns)
	if mysql.IsNumber(err, mysql.ErrBadField) { // a table of an earlier release: the first write mends it
		row, err = read(strings.Replace(oscColumns, "cut_over", "'AUTO'", 1))
	}
	return row, wrap(err, "read aosc_osc_ww for %s/%s on %s:%d", group, table, host, port)
}

// PutWaiting queues an alter: the row becomes WAITING with the caller's Try, Priority and desired schema. An operator's
// osc_priv stays on a row that is WAITING or FAILED; a new row, or one that was DONE, gets OSCPriv ("" = OK). A row that
// is RUNNING is left alone, and is ErrRunning unless it runs the same desired schema.
func (s *StatusStore) PutWaiting(ctx context.Context, r OSCRow) error {
	if r.OSCPriv == "" {
		r.OSCPriv = PrivOK
	}
	err := s.write(ctx, func(ctx context.Context, q querier) error {
		_, err := exec(ctx, q, "INSERT INTO "+s.osc()+" (host, port, table_name, osc_priv, status, `try`, priority, `group`, "+
			"desired_blob, commit_sha) VALUES (?, ?, ?, ?, 'WAITING', ?, ?, ?, ?, ?) AS new ON DUPLICATE KEY UPDATE "+requeue,
			r.Host, r.Port, r.Table, r.OSCPriv, r.Try, r.Priority, r.Group, r.DesiredBlob, r.CommitSHA)
		if err != nil {
			return err
		}
		// Affected rows do not tell whether the row was RUNNING: an equal row counts 0 as well.
		var status, blob string
		err = q.QueryRowContext(ctx, "SELECT status, desired_blob FROM "+s.osc()+" WHERE "+oscKey,
			r.Host, r.Port, r.Group, r.Table).Scan(&status, &blob)
		if err == nil && status == OSCRunning && blob != r.DesiredBlob {
			err = fmt.Errorf("it runs blob %s, wanted %s: %w", blob, r.DesiredBlob, ErrRunning)
		}
		return err
	})
	return wrap(err, "queue %s", r)
}

// requeue is what PutWaiting makes of a row that exists.
var requeue = func() string {
	// Assignments run from left to right and later ones see earlier ones: status, which all of them ask, comes last.
	assign := []string{"osc_priv = IF(aosc_osc_ww.status = 'DONE', new.osc_priv, aosc_osc_ww.osc_priv)",
		"cut_over = IF(aosc_osc_ww.status = 'DONE', 'AUTO', aosc_osc_ww.cut_over)"}
	for _, column := range [][2]string{
		{"percentage", "0"}, {"last_update", "NOW()"}, {"`try`", "new.`try`"}, {"priority", "new.priority"},
		{"start_time", "NULL"}, {"error", "NULL"}, {"detail", "NULL"}, {"desired_blob", "new.desired_blob"},
		{"commit_sha", "new.commit_sha"}, {"owner", "''"}, {"final", "0"}, {"status", "'WAITING'"},
	} {
		assign = append(assign, fmt.Sprintf("%[1]s = IF(aosc_osc_ww.status = 'RUNNING', aosc_osc_ww.%[1]s, %[2]s)", column[0], column[1]))
	}
	return strings.Join(assign, ", ")
}()

// Take makes the row the owner's and RUNNING. row is as it was read: a WAITING row with osc_priv OK, or the RUNNING row of
// a worker that is known to be dead (its lock is free). Of any number of workers one wins (true); the others changed
// nothing (I3). It raises Try: the caller's row is one behind.
func (s *StatusStore) Take(ctx context.Context, row OSCRow, owner string) (bool, error) {
	// `try` differs after every take, so the affected rows mean the same whether the driver counts found or changed
	// ones; with status and owner it makes this a compare-and-swap on what the caller read.
	n, err := s.exec(ctx, "UPDATE "+s.osc()+" SET status = 'RUNNING', owner = ?, `try` = `try` + 1, percentage = 0, "+
		"start_time = NOW(), last_update = NOW(), error = NULL, detail = NULL, final = 0 "+
		"WHERE "+oscKey+" AND status = ? AND owner = ? AND `try` = ? "+
		"AND (status = 'RUNNING' OR (status = 'WAITING' AND osc_priv = 'OK'))",
		owner, row.Host, row.Port, row.Group, row.Table, row.Status, row.Owner, row.Try)
	return n == 1, wrap(err, "take %s", row)
}

// Report is a running worker's heartbeat: last_update, the percentage (0 to 100) and the detail as JSON ("" keeps what is
// there). ErrNotOwner when the row is not the owner's any more: stop then.
func (s *StatusStore) Report(ctx context.Context, row OSCRow, owner string, percentage float64, detail string) error {
	return wrap(s.owned(ctx, row, owner, "percentage = ?, detail = COALESCE(NULLIF(?, ''), detail)",
		percent(percentage), detail), "report on %s", row)
}

// End is how a run ended.
type End struct {
	Status     string // OSCDone or OSCFailed
	Reason     string
	Final      bool    // another try cannot help
	Percentage float64 // of a run that failed, 0 to 100
	Detail     string  // JSON per database, "" keeps what is there
}

// Finish ends a run, with its detail as it is at the end. ErrNotOwner when the row is not the owner's any more.
func (s *StatusStore) Finish(ctx context.Context, row OSCRow, owner string, e End) error {
	if e.Status != OSCDone && e.Status != OSCFailed {
		return fmt.Errorf("finish %s: status must be DONE or FAILED, not %q", row, e.Status)
	}
	if e.Status == OSCDone {
		e.Percentage = 100
	}
	return wrap(s.owned(ctx, row, owner, "percentage = ?, detail = COALESCE(NULLIF(?, ''), detail), error = NULLIF(?, ''), final = ?, "+
		wentUsed+", status = ?",
		percent(e.Percentage), e.Detail, clip(e.Reason, maxDetail), e.Final, e.Status), "finish %s", row)
}

// PutBack returns a row that an operator stopped to the queue; osc_priv stays STOP until the operator says OK. The
// run does not count as a try. reason says why it was given back, "" = because an operator or the end of the worker wanted it so.
// ErrNotOwner when the row is not the owner's any more.
func (s *StatusStore) PutBack(ctx context.Context, row OSCRow, owner, reason string) error {
	return wrap(s.owned(ctx, row, owner, "percentage = 0, detail = NULL, start_time = NULL, `try` = GREATEST(`try`, 1) - 1, owner = '', "+
		"error = NULLIF(?, ''), "+wentUsed+", status = 'WAITING'", clip(reason, maxDetail)), "put back %s", row)
}

// wentUsed takes GO back when a run ends: said of one copy, verified and looked at, it is not meant for the next one.
const wentUsed = "cut_over = IF(cut_over = 'GO', 'AUTO', cut_over)"

// owned changes a row that is RUNNING and the owner's.
func (s *StatusStore) owned(ctx context.Context, row OSCRow, owner, set string, args ...any) error {
	args = append(args, row.Host, row.Port, row.Group, row.Table, owner)
	n, err := s.exec(ctx, "UPDATE "+s.osc()+" SET last_update = NOW(), "+set+" WHERE "+oscKey+
		" AND status = 'RUNNING' AND owner = ?", args...)
	if err != nil || n > 0 {
		return err
	}
	// Two equal reports within a second change nothing, and the driver counts changed rows.
	now, err := s.OSCRow(ctx, row.Host, row.Port, row.Group, row.Table)
	switch {
	case errors.Is(err, ErrNotFound):
		return fmt.Errorf("the row is gone: %w", ErrNotOwner)
	case err != nil:
		return err
	case now.Status != OSCRunning || now.Owner != owner:
		return fmt.Errorf("it is %s, owner %q: %w", now.Status, now.Owner, ErrNotOwner)
	}
	return nil
}

// SetPriv sets osc_priv of one row that is not DONE. true means that this call changed it: false when it was so
// already, or there is no such row.
func (s *StatusStore) SetPriv(ctx context.Context, host string, port int, group, table, priv string) (bool, error) {
	n, err := s.exec(ctx, "UPDATE "+s.osc()+" SET osc_priv = ? WHERE "+oscKey+" AND osc_priv <> ? AND status <> 'DONE'",
		priv, host, port, group, table, priv)
	return n == 1, wrap(err, "set osc_priv of %s/%s on %s:%d to %s", group, table, host, port, priv)
}

// SetCutOver sets cut_over of one row that is not DONE. true means that this call changed it.
func (s *StatusStore) SetCutOver(ctx context.Context, host string, port int, group, table, word string) (bool, error) {
	n, err := s.exec(ctx, "UPDATE "+s.osc()+" SET cut_over = ? WHERE "+oscKey+" AND cut_over <> ? AND status <> 'DONE'",
		word, host, port, group, table, word)
	return n == 1, wrap(err, "set cut_over of %s/%s on %s:%d to %s", group, table, host, port, word)
}

// Withdraw removes a row that no worker has begun. false when there is none, or a worker runs it.
func (s *StatusStore) Withdraw(ctx context.Context, host string, port int, group, table string) (bool, error) {
	n, err := s.exec(ctx, "DELETE FROM "+s.osc()+" WHERE "+oscKey+" AND status <> 'RUNNING'", host, port, group, table)
	return n == 1, wrap(err, "withdraw %s/%s on %s:%d", group, table, host, port)
}

// DeleteOSC removes a row whatever its state; a worker that runs it notices at its next report.
func (s *StatusStore) DeleteOSC(ctx context.Context, host string, port int, group, table string) error {
	_, err := s.exec(ctx, "DELETE FROM "+s.osc()+" WHERE "+oscKey, host, port, group, table)
	return wrap(err, "delete %s/%s on %s:%d", group, table, host, port)
}

// percent is p as the column takes it.
func percent(p float64) float64 {
	if math.IsNaN(p) {
		return 0
	}
	return math.Round(max(0, min(100, p))*100) / 100
}
