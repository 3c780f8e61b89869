// Package aoscdb is the tables of the pipeline and the only Go code that reads or writes them.
//
// Two places hold tables. The central database (named by the DSN, usually aoscdb) holds tiers, permissions, alters,
// leases and history: Store. The status tables aosc_local_status and aosc_osc_ww live in database aosc on each
// instance, written unlogged, or in the central database where the tier says so: StatusStore.
//
// Every time in the tables is that of the server that holds the table, never of a daemon's machine. Sessions are in
// UTC. Affected rows decide who won; no statement here depends on whether the driver counts found or changed rows.
//
// Statements that hit a deadlock or a lock wait timeout are repeated a few times (see retry); an error that reaches the
// caller is worth reporting.
package aoscdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/aosc/aosc/internal/mysql"
)

// ErrNotFound is returned by functions that ask for one row when there is none.
var ErrNotFound = errors.New("no such row")

// Missing tells that a server has no such row, or not even the tables for it: of an instance that was never checked.
func Missing(err error) bool {
	return errors.Is(err, ErrNotFound) || mysql.IsNoSuchTable(err) || mysql.IsNoSuchDatabase(err)
}

const (
	// maxOpen bounds the connections of one daemon to aoscdb. A daemon streams rows on one while it writes on another.
	maxOpen = 16
	// rowLockWait bounds the wait for one row lock: transactions here last milliseconds, so a longer wait means somebody's
	// forgotten transaction, and the daemon's own retry with its metrics is a better place to wait.
	rowLockWait = 5 * time.Second
	// ddlLockWait bounds the wait for a metadata lock.
	ddlLockWait = 30 * time.Second
	// strictMode is the sql_mode of every session that writes here, whatever the server's is: a value that does not fit
	// must be an error, not something else.
	strictMode = "ONLY_FULL_GROUP_BY,STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
	// attempts is how often a statement or transaction is begun before its deadlock is given to the caller.
	attempts = 6
	// idleLimit is how long the server keeps a session that says nothing.
	idleLimit = time.Minute
)

// Store is the central database.
type Store struct {
	db       *sql.DB
	database string
	cfg      *driver.Config

	mu         sync.Mutex
	views      map[string]string // alter views this process made: name to statement
	lockSecret string            // once it was needed
}

// Open prepares access to the central database named by the DSN (github.com/go-sql-driver/mysql format). It does not
// touch the network. The DSN must name a database, which Init creates.
func Open(dsn string) (*Store, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("aoscdb-dsn: %w", err)
	}
	if cfg.DBName == "" {
		return nil, fmt.Errorf("aoscdb-dsn names no database on %s: end it with /aoscdb", cfg.Addr)
	}
	params := map[string]string{
		"innodb_lock_wait_timeout": fmt.Sprint(int(rowLockWait.Seconds())),
		// A leader that is frozen inside a transaction holds its lease's row until the server ends the session: that must
		// be a minute, not the default eight hours, or no standby could take over.
		"wait_timeout": fmt.Sprint(int(idleLimit.Seconds())),
		"sql_mode":     "'" + strictMode + "'",
	}
	maps.Copy(params, cfg.Params)
	cfg.Params = params
	// Whatever the DSN says: one statement at a time, and affected rows are those that changed.
	cfg.MultiStatements, cfg.ClientFoundRows = false, false
	db, err := mysql.OpenDSN(cfg.FormatDSN())
	if err != nil {
		return nil, fmt.Errorf("aoscdb-dsn: %w", err)
	}
	db.SetMaxOpenConns(maxOpen)
	db.SetConnMaxIdleTime(idleLimit / 2)
	return &Store{db: db, database: cfg.DBName, cfg: cfg, views: map[string]string{}}, nil
}

// DB is the connection pool, for files of this package and for tests.
func (s *Store) DB() *sql.DB { return s.db }

// Database is the name of the central database.
func (s *Store) Database() string { return s.database }

// String names the central database without the account.
func (s *Store) String() string { return s.database + " on " + s.cfg.Addr }

// Close closes the connections.
func (s *Store) Close() error { return s.db.Close() }

// Now is the clock of the central database, in UTC, to the microsecond. Compare times in the tables with this one.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := s.db.QueryRowContext(ctx, "SELECT NOW(6)").Scan(&now)
	return now, wrap(err, "read the clock of %s", s)
}

// querier is what *sql.DB, *sql.Conn and *sql.Tx have in common.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// inTx runs fn in one transaction and begins again after a deadlock or lock wait timeout, so fn must set what it
// returns rather than add to it. fn must return the errors of tx as they come (wrapped is fine): after a deadlock the
// server has ended the transaction, and whatever else fn sent would be committed on its own.
func (s *Store) inTx(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	return retry(ctx, func() error {
		tx, err := s.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() // after Commit it does nothing
		if err := fn(ctx, tx); err != nil {
			return err
		}
		return tx.Commit()
	})
}

// exec runs one statement, again after a deadlock or lock wait timeout, and returns the affected rows.
func exec(ctx context.Context, q querier, query string, args ...any) (int64, error) {
	var n int64
	err := retry(ctx, func() error {
		res, err := q.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}

// execTx is exec within a transaction: there a deadlock has undone what came before, so only the whole transaction may
// be repeated (by inTx).
func execTx(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// retry repeats fn while it fails by a deadlock or a lock wait timeout, up to `attempts` times, with a growing pause of
// 5 to some 100 ms. Never wrap a statement of an open transaction in it.
func retry(ctx context.Context, fn func() error) error {
	pause := 5 * time.Millisecond
	for n := 1; ; n++ {
		err := fn()
		if err == nil || n == attempts || !transient(err) {
			return err
		}
		timer := time.NewTimer(pause + rand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		pause *= 2
	}
}

// transient tells errors after which the same transaction may well succeed: InnoDB chose it as a deadlock's victim, or
// it waited too long for a row lock.
func transient(err error) bool {
	return mysql.IsNumber(err, mysql.ErrLockDeadlock) || mysql.IsLockWaitTimeout(err)
}

// list reads all rows of a query. fields gives the scan targets of one row, in the order of the columns.
func list[T any](ctx context.Context, q querier, fields func(*T) []any, query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var row T
		if err := rows.Scan(fields(&row)...); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, rows.Err()
}

// one is list for at most one row: ErrNotFound when there is none.
func one[T any](ctx context.Context, q querier, fields func(*T) []any, query string, args ...any) (T, error) {
	var row T
	err := q.QueryRowContext(ctx, query, args...).Scan(fields(&row)...)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return row, err
}

// wrap says what was being done when err came; nil stays nil.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// clip shortens text to what a column of so many characters takes, at a character's border.
func clip(s string, characters int) string {
	n := 0
	for i := range s {
		if n == characters {
			return s[:i]
		}
		n++
	}
	return s
}
