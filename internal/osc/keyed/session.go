package keyed

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// movingModes are the sql_modes under which rows are moved, besides those of the server that decide values: strict, so that what does not
// fit is an error; dates and the number 0 in an AUTO_INCREMENT column as the table has them, for they are there already.
var movingModes = []string{"STRICT_ALL_TABLES", "ALLOW_INVALID_DATES", "NO_AUTO_VALUE_ON_ZERO", "NO_ENGINE_SUBSTITUTION"}

// decidingModes are those of the server's own that change what a conversion or an expression gives. ALTER by hand runs under them.
var decidingModes = []string{"TIME_TRUNCATE_FRACTIONAL", "PAD_CHAR_TO_FULL_LENGTH", "NO_UNSIGNED_SUBTRACTION", "ERROR_FOR_DIVISION_BY_ZERO",
	"HIGH_NOT_PRECEDENCE", "REAL_AS_FLOAT"}

// sqlMode is the mode under which rows are moved on a server.
func sqlMode(global string) string {
	modes := append([]string(nil), movingModes...)
	for _, own := range strings.Split(global, ",") {
		for _, m := range decidingModes {
			if strings.EqualFold(own, m) {
				modes = append(modes, m)
			}
		}
	}
	return strings.Join(modes, ",")
}

// open takes a connection for moving rows and for the DDL of the ghost: everything that decides values is as in a session that
// somebody opens by hand on this server. Other variables a new session has from the server anyway.
func open(ctx context.Context, db *sql.DB) (*sql.Conn, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	var global string
	if err := conn.QueryRowContext(ctx, "SELECT @@GLOBAL.sql_mode").Scan(&global); err != nil {
		shut(conn)
		return nil, fmt.Errorf("prepare a session that moves rows: %w", err)
	}
	set := "SET SESSION time_zone = @@GLOBAL.time_zone, SESSION transaction_isolation = 'READ-COMMITTED', SESSION sql_mode = " +
		mysql.QuoteString(sqlMode(global)) + ", SESSION lock_wait_timeout = 5, SESSION innodb_lock_wait_timeout = 5"
	if _, err := conn.ExecContext(ctx, set); err != nil {
		shut(conn)
		return nil, fmt.Errorf("prepare a session that moves rows (%s): %w", set, err)
	}
	return conn, nil
}

// shut closes a connection, so that nobody inherits its settings.
func shut(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return sqldriver.ErrBadConn }) // tells the pool to drop it
	_ = conn.Close()
}

// killLimit is how long a server may take to end one of our sessions.
const killLimit = 2 * time.Second

// withSession runs fn on a connection that moves rows. When ctx ends it is killed: closing the socket alone lets the server finish the
// statement, which may wait for a lock or be a RENAME.
func withSession(ctx context.Context, db *sql.DB, fn func(context.Context, *sql.Conn) error) error {
	conn, err := open(ctx, db)
	if err != nil {
		return err
	}
	defer shut(conn)
	var id uint64
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		return err
	}
	finished, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-finished:
		case <-ctx.Done():
			kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), killLimit)
			defer cancel()
			_, _ = db.ExecContext(kill, fmt.Sprintf("KILL %d", id)) // gone already, or it ends by itself
		}
	}()
	err = fn(ctx, conn)
	close(finished)
	<-done
	if ctx.Err() != nil && err != nil {
		return context.Cause(ctx)
	}
	return err
}

// session is a connection that moves rows.
type session interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// locked is a connection with LOCK TABLES and autocommit off. There START TRANSACTION would give up the locks.
type locked struct{ *sql.Conn }

// inTransaction runs fn in a transaction; an error rolls it back.
func inTransaction(ctx context.Context, conn session, fn func() error) error {
	if _, ok := conn.(locked); !ok {
		if _, err := conn.ExecContext(ctx, "START TRANSACTION"); err != nil {
			return err
		}
	}
	if err := fn(); err != nil {
		// A failing ROLLBACK is a broken connection, and ends the transaction, too.
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return err
	}
	_, err := conn.ExecContext(ctx, "COMMIT")
	return err
}
