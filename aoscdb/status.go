package aoscdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// InstanceDatabase is the database on each instance that holds the status tables where the tier says
// status_store='instance'.
const InstanceDatabase = "aosc"

// ErrReadOnlyInstance means that an instance takes no writes, not even unlogged ones, so its status tables cannot live
// there.
var ErrReadOnlyInstance = errors.New("the instance takes no writes: its tier needs status_store='central' " +
	"(UPDATE tiers SET status_store='central', or aosc tier set --status-store central)")

// statusLockWait bounds the wait for a row of a status table.
const statusLockWait = 5 * time.Second

// StatusStore is the two status tables, on one instance or in the central database. The methods name host and port
// although an instance's own tables should hold nothing else: a clone brings its donor's rows along.
//
// On an instance every write runs with sql_log_bin=0 on a connection of its own: it is never replicated and makes no
// GTID (I7). It needs SESSION_VARIABLES_ADMIN (or SUPER).
type StatusStore struct {
	db       *sql.DB
	database string // InstanceDatabase, or the central one
	instance bool
}

// InstanceStatus is the status tables on one instance, in database aosc.
func InstanceStatus(db *sql.DB) *StatusStore {
	return &StatusStore{db: db, database: InstanceDatabase, instance: true}
}

// CentralStatus is the status tables in the central database, for every instance of the tiers with
// status_store='central'.
func (s *Store) CentralStatus() *StatusStore {
	return &StatusStore{db: s.db, database: s.database}
}

// Central tells whether the rows live in the central database.
func (s *StatusStore) Central() bool { return !s.instance }

func (s *StatusStore) local() string { return mysql.QuoteIdents(s.database, "aosc_local_status") }

func (s *StatusStore) osc() string { return mysql.QuoteIdents(s.database, "aosc_osc_ww") }

// write runs fn where writes are allowed and stay local. fn may run twice.
func (s *StatusStore) write(ctx context.Context, fn func(context.Context, querier) error) error {
	if !s.instance {
		return fn(ctx, s.db)
	}
	err := s.unlogged(ctx, fn)
	mend := s.remakeGuards
	switch {
	case mysql.IsNumber(err, mysql.ErrBadField): // a table of an earlier release
		mend = s.Ensure
	case !mysql.IsNumber(err, errNoSuchDefiner):
		return err
	}
	if err := mend(ctx); err != nil {
		return err
	}
	return s.unlogged(ctx, fn)
}

// unlogged runs fn on a connection of its own that neither replicates nor makes a GTID.
func (s *StatusStore) unlogged(ctx context.Context, fn func(context.Context, querier) error) error {
	mode := strictMode
	session := mysql.Session{NoBinlog: true, InnodbLockWaitTimeout: statusLockWait, LockWaitTimeout: ddlLockWait, SQLMode: &mode}
	return hint(mysql.WithSession(ctx, s.db, session, func(ctx context.Context, conn *sql.Conn) error { return fn(ctx, conn) }))
}

// exec is write of one statement; it returns the affected rows.
func (s *StatusStore) exec(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = s.write(ctx, func(ctx context.Context, q querier) error {
		n, err = exec(ctx, q, query, args...)
		return err
	})
	return n, err
}

// hint adds the way out to errors that an operator can do something about.
func hint(err error) error {
	switch {
	case mysql.IsReadOnly(err):
		return fmt.Errorf("%w: %w", err, ErrReadOnlyInstance)
	case mysql.IsNumber(err, mysql.ErrSpecificAccessDenied):
		return fmt.Errorf("%w (sql_log_bin=0 needs GRANT SESSION_VARIABLES_ADMIN ON *.* for this account)", err)
	}
	return err
}

// DropForeign removes the rows of every other host:port, as a clone or a restored backup brings them, and returns how
// many there were. It is for instances only: the central tables are everybody's.
func (s *StatusStore) DropForeign(ctx context.Context, host string, port int) (int64, error) {
	if !s.instance {
		return 0, errors.New("drop foreign status rows: the central tables hold the rows of every instance")
	}
	var removed int64
	err := s.write(ctx, func(ctx context.Context, q querier) error {
		removed = 0
		for _, table := range []string{s.local(), s.osc()} {
			n, err := exec(ctx, q, "DELETE FROM "+table+" WHERE host <> ? OR port <> ?", host, port)
			if err != nil {
				return err
			}
			removed += n
		}
		return nil
	})
	return removed, wrap(err, "remove status rows of other instances from %s:%d", host, port)
}
