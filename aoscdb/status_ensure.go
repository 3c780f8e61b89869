package aoscdb

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

//go:embed migrations/status.sql
var statusSQL string

// Ensure makes the status tables where they are missing; on an instance the database aosc and its guards too, unlogged. It
// may run any number of times, and at once; when all is there it is one query. There is no lock: any account could keep a named lock.
// An instance that is super_read_only is refused with ErrReadOnlyInstance, also when its tables exist: no row could be
// written to them.
func (s *StatusStore) Ensure(ctx context.Context) error {
	what := "make the status tables in database " + s.database
	if !s.instance {
		return wrap(s.ensureTables(ctx, s.db), "%s", what)
	}
	complete, err := s.complete(ctx)
	if err != nil || complete {
		return wrap(err, "%s", what)
	}
	err = s.unlogged(ctx, func(ctx context.Context, q querier) error {
		if err := s.ensureDatabase(ctx, q); err != nil {
			return err
		}
		if err := s.ensureTables(ctx, q); err != nil {
			return err
		}
		return s.ensureGuards(ctx, q)
	})
	return wrap(err, "%s", what)
}

// complete tells whether an instance has all that Ensure makes.
func (s *StatusStore) complete(ctx context.Context) (bool, error) {
	var columns []string
	args := []any{s.database, s.database}
	for table, names := range statusColumns {
		for _, name := range names {
			columns = append(columns, "(?, ?)")
			args = append(args, table, name)
		}
	}
	var superReadOnly bool
	var guards, found int
	err := s.db.QueryRowContext(ctx, "SELECT @@GLOBAL.super_read_only, "+
		"(SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = ? AND trigger_name LIKE '"+guardPrefix+"%'), "+
		"(SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = ? AND (table_name, column_name) IN ("+
		strings.Join(columns, ", ")+"))", args...).Scan(&superReadOnly, &guards, &found)
	if err == nil && superReadOnly {
		err = fmt.Errorf("super_read_only is on: %w", ErrReadOnlyInstance)
	}
	return guards == len(guarded) && found == len(columns), err
}

func (s *StatusStore) ensureDatabase(ctx context.Context, q querier) error {
	var there int
	err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = ?", s.database).Scan(&there)
	if err != nil || there > 0 {
		return err
	}
	_, err = exec(ctx, q, "CREATE DATABASE IF NOT EXISTS "+mysql.QuoteIdent(s.database)+" DEFAULT CHARACTER SET utf8mb4")
	return err
}

// ensureTables makes the missing tables, adds the columns that an earlier release did not have, and refuses tables that lack others.
func (s *StatusStore) ensureTables(ctx context.Context, q querier) error {
	for _, statement := range splitSQL(statusSQL) {
		table := createdTable(statement)
		columns, err := columnNames(ctx, q, s.database, table)
		if err != nil {
			return err
		}
		if len(columns) == 0 {
			statement = strings.Replace(statement, table, mysql.QuoteIdents(s.database, table), 1)
			if _, err := exec(ctx, q, statement); err != nil && !mysql.IsNumber(err, errTableExists) { // another was quicker
				return wrap(err, "create %s", table)
			}
			continue
		}
		for _, c := range statusColumns[table] {
			if slices.Contains(columns, c) {
				continue
			}
			if !slices.Contains(statusLater, c) {
				return fmt.Errorf("table %s.%s exists, but has no column %s: it is not of this software. Rename or drop it",
					s.database, table, c)
			}
			_, err := exec(ctx, q, "ALTER TABLE "+mysql.QuoteIdents(s.database, table)+" ADD COLUMN "+definitionOf(c, statement))
			if err != nil && !mysql.IsNumber(err, mysql.ErrDupFieldname) { // added by another just now
				return wrap(err, "add column %s to %s", c, table)
			}
		}
	}
	return nil
}

// columnNames are the columns of a table, in order; none when there is no such table.
func columnNames(ctx context.Context, q querier, database, table string) ([]string, error) {
	return list(ctx, q, func(c *string) []any { return []any{c} }, "SELECT column_name FROM information_schema.columns "+
		"WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position", database, table)
}

// statusColumns are the columns this package uses, without quotes.
var statusColumns = map[string][]string{
	"aosc_local_status": splitColumns(localColumns),
	"aosc_osc_ww": splitColumns("host, port, table_name, osc_priv, status, percentage, last_update, `try`, priority, " +
		"start_time, `group`, error, detail, desired_blob, commit_sha, owner, final, cut_over"),
}

// statusLater are the columns that tables of an earlier release lack.
var statusLater = []string{"cut_over"}

// definitionOf is the line that defines a column in a statement of ours.
func definitionOf(column, statement string) string {
	for line := range strings.Lines(statement) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, column+" ") {
			return strings.TrimSuffix(line, ",")
		}
	}
	panic("aoscdb: no column " + column + " in: " + firstLine(statement))
}

func splitColumns(columns string) []string {
	return strings.Split(strings.ReplaceAll(columns, "`", ""), ", ")
}

// guard is a trigger that refuses a logged change of a status table.
type guard struct{ Table, Event string }

// guarded are the changes that must not be logged. The rows of an instance exist on that instance only: a logged UPDATE
// of one by hand, on a primary, would reach replicas that have no such row, and stop replication with error 1032
// (HA_ERR_KEY_NOT_FOUND); on a replica it would be an errant transaction (I7). Row events fire no triggers, so a replica's
// applier never meets these.
var guarded = []guard{{"aosc_local_status", "UPDATE"}, {"aosc_local_status", "DELETE"}, {"aosc_osc_ww", "UPDATE"}, {"aosc_osc_ww", "DELETE"}}

// Guards is how many triggers guard the status tables of an instance.
var Guards = len(guarded)

const guardPrefix = "aosc_guard_"

func (g guard) name() string {
	return guardPrefix + strings.TrimPrefix(g.Table, "aosc_") + "_" + strings.ToLower(g.Event)
}

const (
	trustCreators  = "SET GLOBAL log_bin_trust_function_creators = "
	restoreTimeout = 10 * time.Second
)

const (
	errTableExists      uint16 = 1050 // ER_TABLE_EXISTS_ERROR
	errTriggerExists    uint16 = 1359 // ER_TRG_ALREADY_EXISTS
	errNoSuchDefiner    uint16 = 1449 // ER_NO_SUCH_USER: the account that made a trigger is gone
	errRoutineNeedSuper uint16 = 1419 // ER_BINLOG_CREATE_ROUTINE_NEED_SUPER
)

// ensureGuards makes the missing guards. With the binary log on, an account without SUPER makes triggers only while
// log_bin_trust_function_creators is on: where it has SYSTEM_VARIABLES_ADMIN it turns that on for the moment. Where it may not do that
// either the tables go without.
func (s *StatusStore) ensureGuards(ctx context.Context, q querier) (err error) {
	const tries = 20 // another that makes them at the same time may end the trust in between
	for range tries {
		err = s.createGuards(ctx, q)
		if mysql.IsNumber(err, errRoutineNeedSuper) {
			err = trusted(ctx, q, func() error { return s.createGuards(ctx, q) })
		}
		if !mysql.IsNumber(err, errRoutineNeedSuper) {
			break
		}
	}
	if mysql.IsNumber(err, errRoutineNeedSuper, mysql.ErrTableAccessDenied, mysql.ErrSpecificAccessDenied) {
		return nil
	}
	return err
}

// createGuards makes those that are missing.
func (s *StatusStore) createGuards(ctx context.Context, q querier) error {
	have, err := list(ctx, q, func(name *string) []any { return []any{name} },
		"SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = ?", s.database)
	if err != nil {
		return err
	}
	for _, g := range guarded {
		if slices.Contains(have, g.name()) {
			continue
		}
		_, err := exec(ctx, q, "CREATE TRIGGER "+mysql.QuoteIdents(s.database, g.name())+" BEFORE "+g.Event+" ON "+
			mysql.QuoteIdents(s.database, g.Table)+" FOR EACH ROW IF @@SESSION.sql_log_bin = 1 AND @@GLOBAL.log_bin = 1 THEN "+
			"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'these rows are this instance''s alone and must not be replicated: "+
			"SET sql_log_bin=0, then try again'; END IF")
		if err != nil && !mysql.IsNumber(err, errTriggerExists) { // another was quicker
			return wrap(err, "create trigger %s", g.name())
		}
	}
	return nil
}

// trusted calls fn while the server trusts makers of triggers. That is ended also when the caller has given up: others' triggers are not
// to be allowed by this.
func trusted(ctx context.Context, q querier, fn func() error) error {
	if _, err := exec(ctx, q, trustCreators+"ON"); err != nil {
		return err
	}
	err := fn()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTimeout)
	defer cancel()
	_, offErr := exec(ctx, q, trustCreators+"OFF")
	return errors.Join(wrap(offErr, "turn log_bin_trust_function_creators off again"), err)
}

// remakeGuards takes over the guards of an account that is gone: a trigger runs as its maker, so with them no row could
// be changed.
func (s *StatusStore) remakeGuards(ctx context.Context) error {
	err := s.unlogged(ctx, func(ctx context.Context, q querier) error {
		for _, g := range guarded {
			if _, err := exec(ctx, q, "DROP TRIGGER IF EXISTS "+mysql.QuoteIdents(s.database, g.name())); err != nil {
				return wrap(err, "drop trigger %s", g.name())
			}
		}
		return s.ensureGuards(ctx, q)
	})
	return wrap(err, "replace the triggers of an account that is gone, in database %s", s.database)
}
