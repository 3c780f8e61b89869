package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Session is what a piece of work needs set on its connection. The zero value sets nothing.
type Session struct {
	// NoBinlog sets sql_log_bin=0: nothing done in the session is replicated, and no GTID is made (I7).
	NoBinlog bool
	// LockWaitTimeout bounds the wait for metadata locks; whole seconds, rounded up. 0 = the server's (a year).
	LockWaitTimeout time.Duration
	// InnodbLockWaitTimeout bounds the wait for row locks; whole seconds, rounded up. 0 = the server's.
	InnodbLockWaitTimeout time.Duration
	SQLMode               *string // nil = as the connection has it
	Isolation             string  // READ-COMMITTED ..., "" = as the connection has it
	NoForeignKeyChecks    bool
	// ServerValues makes statements give the values that they would give by hand on that server, see the function. All DDL on tables of
	// users, all reading of definitions and all moving of rows needs it.
	ServerValues bool
	DB           string // default database, "" = as the connection has it
}

// setStatement is the one SET that applies s, "" when there is nothing to set.
func (s Session) setStatement() string {
	var set []string
	add := func(name, value string) { set = append(set, name+" = "+value) }
	if s.NoBinlog {
		add("sql_log_bin", "0")
	}
	if s.LockWaitTimeout > 0 {
		add("lock_wait_timeout", wholeSeconds(s.LockWaitTimeout))
	}
	if s.InnodbLockWaitTimeout > 0 {
		add("innodb_lock_wait_timeout", wholeSeconds(s.InnodbLockWaitTimeout))
	}
	if s.SQLMode != nil {
		add("sql_mode", QuoteString(*s.SQLMode))
	}
	if s.Isolation != "" {
		add("transaction_isolation", QuoteString(s.Isolation))
	}
	if s.NoForeignKeyChecks {
		add("foreign_key_checks", "0")
	}
	if len(set) == 0 {
		return ""
	}
	return "SET SESSION " + strings.Join(set, ", SESSION ")
}

// wholeSeconds rounds up: the server takes seconds, and rounding down would make half a second mean 0.
func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// WithSession runs fn on a connection of its own with s applied. Where anything was set, the connection is closed
// afterwards instead of going back to the pool, so no later user inherits sql_log_bin=0. The connection belongs to fn
// only until it returns.
func WithSession(ctx context.Context, db *sql.DB, s Session, fn func(context.Context, *sql.Conn) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var sets []string
	if set := s.setStatement(); set != "" {
		sets = append(sets, set)
	}
	if s.ServerValues {
		sets = append(sets, ServerValues())
	}
	for i, set := range sets {
		if i == 0 {
			defer Discard(conn)
		}
		if _, err := conn.ExecContext(ctx, set); err != nil {
			return fmt.Errorf("prepare a session (%s): %w", set, err)
		}
	}
	if s.DB != "" {
		defer Discard(conn)
		if _, err := conn.ExecContext(ctx, "USE "+QuoteIdent(s.DB)); err != nil {
			return fmt.Errorf("use database %s: %w", s.DB, err)
		}
	}
	return fn(ctx, conn)
}

// Discard makes the pool close the connection instead of keeping it, with whatever was set on it. What Raw returns says only that it is
// gone.
func Discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return sqldriver.ErrBadConn })
}
