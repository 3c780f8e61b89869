package keyed

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

// rowLocks bounds the wait of a session that moves rows for locks.
const rowLocks = 5 * time.Second

// withSession runs fn on a connection that moves rows, or makes the ghost: everything that decides values is as in a session that somebody
// opens by hand on this server, and strict. When ctx ends it is killed.
func withSession(ctx context.Context, db *sql.DB, fn func(context.Context, *sql.Conn) error) error {
	var global string
	if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL.sql_mode").Scan(&global); err != nil {
		return fmt.Errorf("prepare a session that moves rows: %w", err)
	}
	mode := schema.AlterMode(global)
	session := mysql.Session{LockWaitTimeout: rowLocks, InnodbLockWaitTimeout: rowLocks, SQLMode: &mode, Isolation: "READ-COMMITTED",
		ServerValues: true}
	err := mysql.WithSession(ctx, db, session, func(ctx context.Context, conn *sql.Conn) error {
		stop, err := mysql.KillOnCancel(ctx, db, conn)
		if err != nil {
			return err
		}
		defer stop()
		return fn(ctx, conn)
	})
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
