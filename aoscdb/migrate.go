package aoscdb

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Migrations are named <number>_<what>.sql. An applied one is never edited: what it lacks goes into the next.
//
//go:embed migrations/0*.sql
var migrationFiles embed.FS

// migration is one numbered file.
type migration struct {
	number     int
	statements []string
}

// migrations are the embedded ones, numbered 1, 2, 3, ...
var migrations = mustMigrations(migrationFiles)

// Version is the schema version that this software reads and writes.
func Version() int { return len(migrations) }

// VersionError means that the central database is older or newer than this software.
type VersionError struct {
	Database string // of which server
	Have     int    // 0 = not initialised
	Want     int
}

func (e *VersionError) Error() string {
	switch {
	case e.Have == 0:
		return fmt.Sprintf("%s is not initialised (this software needs version %d): run `aosc init`", e.Database, e.Want)
	case e.Have < e.Want:
		return fmt.Sprintf("%s has version %d, this software needs %d: run `aosc init` to upgrade it", e.Database, e.Have, e.Want)
	}
	return fmt.Sprintf("%s has version %d, made by a newer release; this software knows %d: upgrade the binaries",
		e.Database, e.Have, e.Want)
}

// schemaVersion records what was applied. DDL commits by itself, so a crash can come between any two statements of a
// migration: statements counts those that are done, and in_doubt is set while one is under way.
const schemaVersion = "CREATE TABLE IF NOT EXISTS schema_version (" +
	"version int unsigned NOT NULL, " +
	"statements int unsigned NOT NULL DEFAULT 0 COMMENT 'statements of the migration that are done', " +
	"in_doubt tinyint(1) NOT NULL DEFAULT 0 COMMENT '1 = the next statement was begun and may be done', " +
	"applied_at timestamp(6) NULL DEFAULT NULL COMMENT 'NULL = not finished: run aosc init again', " +
	"PRIMARY KEY (version)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"

// CheckVersion returns a *VersionError unless the central database has exactly the version of this software.
func (s *Store) CheckVersion(ctx context.Context) error {
	have, err := recordedVersion(ctx, s.db)
	if err != nil && !mysql.IsNoSuchTable(err) && !mysql.IsNoSuchDatabase(err) {
		return wrap(err, "read the version of %s", s)
	}
	return s.compare(have)
}

// compare returns a *VersionError unless have is what this software needs.
func (s *Store) compare(have int) error {
	if have == Version() {
		return nil
	}
	return &VersionError{Database: s.String(), Have: have, Want: Version()}
}

// recordedVersion is the highest version that was applied, or even begun where this software does not know it.
func recordedVersion(ctx context.Context, q querier) (int, error) {
	var have int
	err := q.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_version WHERE applied_at IS NOT NULL OR version > ?",
		Version()).Scan(&have)
	return have, err
}

// Init creates the central database where it is missing, and applies the migrations it lacks; it returns their
// numbers. It may be run again at any time, by several at once (they take turns by a named lock), and after a crash
// between any two statements: it carries on with the one that was interrupted. A database of a newer release is
// refused with a *VersionError.
func (s *Store) Init(ctx context.Context) (applied []int, err error) {
	if err := s.createDatabase(ctx); err != nil {
		return nil, err
	}
	lock, err := waitLock(ctx, s.db, "aosc.init."+s.database, initPatience)
	if err != nil {
		return nil, wrap(err, "initialise %s", s)
	}
	defer lock.Release()
	session := mysql.Session{LockWaitTimeout: ddlLockWait}
	err = mysql.WithSession(ctx, s.db, session, func(ctx context.Context, conn *sql.Conn) error {
		if _, err := conn.ExecContext(ctx, schemaVersion); err != nil {
			return wrap(err, "create schema_version")
		}
		have, err := recordedVersion(ctx, conn)
		if err != nil {
			return wrap(err, "read schema_version")
		}
		if have > Version() {
			return s.compare(have)
		}
		for _, m := range migrations {
			done, err := m.apply(ctx, conn, lock)
			if err != nil {
				return wrap(err, "migration %d", m.number)
			}
			if done {
				applied = append(applied, m.number)
			}
		}
		return s.CentralStatus().ensureTables(ctx, conn)
	})
	return applied, wrap(err, "initialise %s", s)
}

// createDatabase makes the database through a connection that does not need it. The account may lack CREATE on a
// database that exists, so it looks first.
func (s *Store) createDatabase(ctx context.Context) error {
	cfg := s.cfg.Clone()
	cfg.DBName = ""
	db, err := mysql.OpenDSN(cfg.FormatDSN())
	if err != nil {
		return fmt.Errorf("aoscdb-dsn: %w", err)
	}
	defer db.Close()
	if _, err := mysql.ReadServer(ctx, db); err != nil {
		return wrap(err, "initialise %s", s)
	}
	var there int
	err = db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = ?", s.database).Scan(&there)
	if err == nil && there == 0 {
		_, err = db.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS "+mysql.QuoteIdent(s.database)+" DEFAULT CHARACTER SET utf8mb4")
	}
	return wrap(err, "create database %s", s)
}

// initPatience is for how long an Init waits for another: migrations take seconds. The lock's name can be guessed, and any account can take
// it, so the wait has an end that names who has it.
const initPatience = time.Minute

// waitLock takes a named lock, waiting for whoever has it, at most for the given time.
func waitLock(ctx context.Context, db *sql.DB, name string, patience time.Duration) (*mysql.Lock, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		lock, ok, err := mysql.TryLock(limited, db, name)
		if err == nil && ok {
			return lock, nil
		}
		if err != nil && limited.Err() == nil {
			return nil, err
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return nil, fmt.Errorf("wait for the named lock %s: %w", name, context.Cause(ctx))
			}
			return nil, fmt.Errorf("%s has held the named lock %s for %v: if it is no `aosc init`, end it (KILL), and try again",
				lockHolder(ctx, db, name), name, patience)
		case <-tick.C:
		}
	}
}

// lockHolder names the session that has a named lock.
func lockHolder(ctx context.Context, db *sql.DB, name string) string {
	var id sql.NullInt64
	var account sql.NullString
	err := db.QueryRowContext(ctx, "SELECT l.id, CONCAT(t.processlist_user, '@', t.processlist_host) "+
		"FROM (SELECT IS_USED_LOCK(?) AS id) AS l LEFT JOIN performance_schema.threads AS t ON t.processlist_id = l.id", name).Scan(&id, &account)
	switch {
	case err != nil || !id.Valid:
		return "another session"
	case !account.Valid:
		return fmt.Sprintf("session %d", id.Int64)
	}
	return fmt.Sprintf("session %d of %s", id.Int64, account.String)
}

// apply runs the statements of a migration that are not recorded as done; false when there were none.
func (m migration) apply(ctx context.Context, conn *sql.Conn, lock *mysql.Lock) (bool, error) {
	done, inDoubt, applied, err := m.progress(ctx, conn)
	if err != nil || applied {
		return false, err
	}
	for ; done < len(m.statements); done++ {
		if err := lock.Check(ctx); err != nil {
			return false, err
		}
		if _, err := conn.ExecContext(ctx, "UPDATE schema_version SET in_doubt = 1 WHERE version = ?", m.number); err != nil {
			return false, err
		}
		if err := m.run(ctx, conn, m.statements[done], inDoubt); err != nil {
			return false, fmt.Errorf("statement %d (%s): %w", done+1, firstLine(m.statements[done]), err)
		}
		inDoubt = false
		_, err := conn.ExecContext(ctx, "UPDATE schema_version SET statements = ?, in_doubt = 0 WHERE version = ?", done+1, m.number)
		if err != nil {
			return false, err
		}
	}
	_, err = conn.ExecContext(ctx, "UPDATE schema_version SET applied_at = NOW(6) WHERE version = ?", m.number)
	return err == nil, err
}

// progress reads how far a migration came, and notes that it has begun.
func (m migration) progress(ctx context.Context, conn *sql.Conn) (done int, inDoubt, applied bool, err error) {
	read := "SELECT statements, in_doubt, applied_at IS NOT NULL FROM schema_version WHERE version = ?"
	err = conn.QueryRowContext(ctx, read, m.number).Scan(&done, &inDoubt, &applied)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = conn.ExecContext(ctx, "INSERT INTO schema_version (version) VALUES (?)", m.number)
	}
	return done, inDoubt, applied, err
}

// run executes one statement. One that a crashed run had begun may be done already, and then says so; the same answer
// to a statement begun for the first time means that somebody else's table is in the way. A server that answers with
// an error has not done the statement (DDL is atomic), so it is no longer in doubt.
func (m migration) run(ctx context.Context, conn *sql.Conn, statement string, inDoubt bool) error {
	_, err := conn.ExecContext(ctx, statement)
	if err == nil || inDoubt && mysql.IsNumber(err, alreadyDone...) {
		return nil
	}
	if mysql.Number(err) != 0 && !mysql.IsConnection(err) && !inDoubt {
		_, clearErr := conn.ExecContext(ctx, "UPDATE schema_version SET in_doubt = 0 WHERE version = ?", m.number)
		err = errors.Join(err, clearErr)
	}
	return err
}

// alreadyDone are the server's answers to a DDL statement whose effect is there.
var alreadyDone = []uint16{mysql.ErrTableExists, mysql.ErrDupFieldname, mysql.ErrDupKeyname, mysql.ErrCantDropField,
	mysql.ErrBadTable}

// mustMigrations reads the embedded files. They are part of the program: anything wrong with them is a bug that every
// test finds.
func mustMigrations(files fs.FS) []migration {
	names, err := fs.Glob(files, "migrations/0*.sql")
	if err != nil {
		panic(err)
	}
	slices.Sort(names)
	var out []migration
	for i, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			panic(err)
		}
		number, err := strconv.Atoi(strings.SplitN(strings.TrimPrefix(name, "migrations/"), "_", 2)[0])
		if err != nil || number != i+1 {
			panic(fmt.Sprintf("aoscdb: %s must be number %d", name, i+1))
		}
		out = append(out, migration{number: number, statements: splitSQL(string(text))})
	}
	return out
}

// splitSQL cuts a file of ours into statements: they end with a semicolon at the end of a line; lines that begin with --
// are comments.
func splitSQL(text string) []string {
	var out []string
	var statement strings.Builder
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "--") {
			continue
		}
		end := strings.HasSuffix(trimmed, ";")
		statement.WriteString(strings.TrimSuffix(strings.TrimRight(line, " \t\n"), ";"))
		if !end {
			statement.WriteByte('\n')
			continue
		}
		out = append(out, statement.String())
		statement.Reset()
	}
	if statement.Len() > 0 {
		panic("aoscdb: a migration ends without a semicolon: " + statement.String())
	}
	return out
}

var createTable = regexp.MustCompile(`^CREATE TABLE (?:IF NOT EXISTS )?(\w+) `)

// createdTable is the name of the table that a statement of ours creates.
func createdTable(statement string) string {
	m := createTable.FindStringSubmatch(statement)
	if m == nil {
		panic("aoscdb: not a CREATE TABLE: " + firstLine(statement))
	}
	return m[1]
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
