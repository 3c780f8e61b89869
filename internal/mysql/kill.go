package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// killLimit is how long a server may take to end one of our sessions.
const killLimit = 2 * time.Second

// Kill ends a session of ours, also when ctx has ended. Where that fails (it is gone, the privilege is missing, the server does not
// answer) the session runs to its own end.
func Kill(ctx context.Context, db *sql.DB, id uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killLimit)
	defer cancel()
	_, _ = db.ExecContext(ctx, fmt.Sprintf("KILL %d", id))
}

// KillOnCancel kills a connection of db when ctx ends: closing the socket alone lets the server finish the statement, which may wait for a
// lock, or be a RENAME. stop ends the watch and waits for it.
func KillOnCancel(ctx context.Context, db *sql.DB, conn *sql.Conn) (stop func(), err error) {
	var id uint64
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		return nil, fmt.Errorf("ask for the number of a connection: %w", err)
	}
	finished, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-finished:
		case <-ctx.Done():
			Kill(ctx, db, id)
		}
	}()
	return func() { close(finished); <-done }, nil
}
