package aoscdb

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

//go:embed migrations/status.sql
var statusSQL string

// Ensure makes the status tables where they are missing; on an instance the database aosc and the guard triggers too. All
// of it is unlogged there. It may run any number of times, and at once (a named lock makes them take turns). An instance that is super_read_only is refused
// with ErrReadOnlyInstance, also when its tables exist: no row could be written to them.
func (s *StatusStore) Ensure(ctx context.Context) error {
	if !s.instance {
		return wrap(s.ensureTables(ctx, s.db), "make the status tables in %s", s.database)
	}
	var superReadOnly bool
	if err := s.db.QueryRowContext(ctx, "SELECT @@GLOBAL.super_read_only").Scan(&superReadOnly); err != nil {
		return wrap(err, "make the status tables")
	}
	if superReadOnly {
		return fmt.Errorf("make the status tables: super_read_only is on: %w", ErrReadOnlyInstance)
	}
	lock, err := waitLock(ctx, s.db, "aosc.ensure")
	if err != nil {
		return wrap(err, "make the status tables in database %s", s.database)
	}
	defer lock.Release()
	session := mysql.Session{NoBinlog: true, LockWaitTimeout: ddlLockWait}
	err = mysql.WithSession(ctx, s.db, session, func(ctx context.Context, conn *sql.Conn) error {
		if err := s.ensureDatabase(ctx, conn); err != nil {
			return err
		}
		if err := s.ensureTables(ctx, conn); err != nil {
			return err
		}
		return s.ensureGuards(ctx, conn)
	})
	return wrap(hint(err), "make the status tables in database %s", s.database)
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

// ensureTables makes the missing tables, and refuses ones that lack columns.
func (s *StatusStore) ensureTables(ctx context.Context, q querier) error {
	for _, statement := range splitSQL(statusSQL) {
		table := createdTable(statement)
		columns, err := columnNames(ctx, q, s.database, table)
		if err != nil {
			return err
		}
		if len(columns) == 0 {
			statement = strings.Replace(statement, table, mysql.QuoteIdents(s.database, table), 1)
			if _, err := exec(ctx, q, statement); err != nil {
				return wrap(err, "create %s", table)
			}
			continue
		}
		for _, c := range statusColumns[table] {
			if !slices.Contains(columns, c) {
				return fmt.Errorf("table %s.%s exists, but has no column %s: it is not of this software. Rename or drop it",
					s.database, table, c)
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
		"start_time, `group`, error, detail, desired_blob, commit_sha, owner, final"),
}

func splitColumns(columns string) []string {
	return strings.Split(strings.ReplaceAll(columns, "`", ""), ", ")
}

// ensureGuards makes triggers that refuse a logged UPDATE or DELETE of a status table.
//
// The rows of an instance exist on that instance only. A logged UPDATE of one by hand, on a primary, would reach
// replicas that have no such row, and stop replication with error 1032 (HA_ERR_KEY_NOT_FOUND); on a replica it would
// be an errant transaction (I7). Row events of other servers fire no triggers, so a replica's applier never meets these.
// Where the account may not create triggers while the binary log is on (no SUPER, log_bin_trust_function_creators=0)
// the tables go without.
func (s *StatusStore) ensureGuards(ctx context.Context, q querier) error {
	type trigger struct{ Name, Definer, Account string }
	have, err := list(ctx, q, func(t *trigger) []any { return []any{&t.Name, &t.Definer, &t.Account} },
		"SELECT trigger_name, definer, CURRENT_USER() FROM information_schema.triggers WHERE trigger_schema = ?", s.database)
	if err != nil {
		return err
	}
	definers := map[string]string{}
	for _, t := range have {
		definers[t.Name] = t.Definer
		if t.Definer != t.Account && strings.HasPrefix(t.Name, guardPrefix) {
			// The account that made it may be gone, and then every write would fail (1449).
			definers[t.Name] = ""
		}
	}
	for _, table := range []string{"aosc_local_status", "aosc_osc_ww"} {
		for _, event := range []string{"UPDATE", "DELETE"} {
			name := guardPrefix + strings.TrimPrefix(table, "aosc_") + "_" + strings.ToLower(event)
			if definers[name] != "" {
				continue
			}
			if err := s.makeGuard(ctx, q, name, table, event); err != nil {
				return wrap(err, "create trigger %s", name)
			}
		}
	}
	return nil
}

const guardPrefix = "aosc_guard_"

// errRoutineNeedSuper is ER_BINLOG_CREATE_ROUTINE_NEED_SUPER.
const errRoutineNeedSuper uint16 = 1419

func (s *StatusStore) makeGuard(ctx context.Context, q querier, name, table, event string) error {
	trigger := mysql.QuoteIdents(s.database, name)
	if _, err := exec(ctx, q, "DROP TRIGGER IF EXISTS "+trigger); err != nil {
		return ignore(err, errRoutineNeedSuper, mysql.ErrTableAccessDenied)
	}
	_, err := exec(ctx, q, "CREATE TRIGGER "+trigger+" BEFORE "+event+" ON "+mysql.QuoteIdents(s.database, table)+
		" FOR EACH ROW IF @@SESSION.sql_log_bin = 1 AND @@GLOBAL.log_bin = 1 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = "+
		"'these rows are this instance''s alone and must not be replicated: SET sql_log_bin=0, then try again'; END IF")
	return ignore(err, errRoutineNeedSuper, mysql.ErrTableAccessDenied)
}

// ignore drops errors with one of the numbers.
func ignore(err error, numbers ...uint16) error {
	if mysql.IsNumber(err, numbers...) {
		return nil
	}
	return err
}
