package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// killAgain is how often clients that hold up CloseForWrites are ended: new ones come.
const killAgain = 100 * time.Millisecond

// CloseForWrites sets super_read_only in good order. The server waits for commits under way and for LOCK TABLES ... WRITE;
// what still holds it up after patience is ended, but for sessions of the
// accounts in keep. When ctx ends first the attempt is called off: the server stays open, and the error says so. Once it
// returns nil no transaction commits any more but those of replication.
func CloseForWrites(ctx context.Context, db *sql.DB, patience time.Duration, keep ...string) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("close the server for writes: %w", err)
	}
	defer conn.Close()
	var id uint64
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		return fmt.Errorf("close the server for writes: %w", err)
	}
	done := make(chan error, 1)
	setting, hangUp := context.WithCancel(context.WithoutCancel(ctx)) // only callOff breaks it off
	defer hangUp()
	go func() { // ended by callOff at the latest
		_, err := conn.ExecContext(setting, "SET GLOBAL super_read_only = ON")
		done <- err
	}()
	wait := time.NewTimer(patience)
	defer wait.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("close the server for writes: %w", err)
			}
			return nil
		case <-wait.C:
			if _, err := KillClients(ctx, db, keep...); err != nil && ctx.Err() == nil {
				return errors.Join(err, callOff(db, id, hangUp, done))
			}
			wait.Reset(killAgain)
		case <-ctx.Done():
			return callOff(db, id, hangUp, done)
		}
	}
}

// callOffLimit bounds how long a server that no longer answers is waited for.
const callOffLimit = 2 * time.Second

// callOff ends the statement that waits to close the server, so that it does not close it later on. It may have
// been done at the last moment.
func callOff(db *sql.DB, id uint64, hangUp func(), done <-chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), callOffLimit)
	defer cancel()
	_, killErr := db.ExecContext(ctx, fmt.Sprintf("KILL QUERY %d", id))
	if killErr != nil && !IsNumber(killErr, ErrNoSuchThread) {
		// Without an answer: the connection is broken off, which the server notices when it comes to it.
		hangUp()
	}
	select {
	case err := <-done:
		if err == nil {
			return nil
		}
		return fmt.Errorf("close the server for writes: not done in time, it is open still: a transaction or a lock holds it up: %w", err)
	case <-ctx.Done():
		return fmt.Errorf("close the server for writes: not done in time, and calling it off was not answered: %w", errors.Join(killErr, ctx.Err()))
	}
}

// querier is a server, or a session on it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// KillClients ends the sessions of all clients but of the accounts in keep and our own, and the events that run, and tells how many
// there were. Replication's are no clients.
func KillClients(ctx context.Context, db querier, keep ...string) (int, error) {
	ids, err := clientSessions(ctx, db, keep...)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if _, err := db.ExecContext(ctx, "KILL "+id); err != nil && !IsNumber(err, ErrNoSuchThread) {
			return 0, fmt.Errorf("end client session %s: %w", id, err)
		}
	}
	return len(ids), nil
}

// endLook is how often it is looked whether sessions that were ended are gone.
const endLook = 10 * time.Millisecond

// EndClients is KillClients that returns once these sessions are gone: what they had begun is committed, prepared or rolled back by
// then. Of a server that is closed nothing comes of it any more. Sessions that began meanwhile are left.
func EndClients(ctx context.Context, db querier, keep ...string) error {
	ids, err := clientSessions(ctx, db, keep...)
	if err != nil {
		return err
	}
	tick := time.NewTicker(endLook)
	defer tick.Stop()
	for len(ids) > 0 {
		for _, id := range ids {
			if _, err := db.ExecContext(ctx, "KILL "+id); err != nil && !IsNumber(err, ErrNoSuchThread) {
				return fmt.Errorf("end client session %s: %w", id, err)
			}
		}
		now, err := clientSessions(ctx, db, keep...)
		if err != nil {
			return err
		}
		if ids = slices.DeleteFunc(ids, func(id string) bool { return !slices.Contains(now, id) }); len(ids) == 0 {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("end client sessions: %d are not gone yet: %w", len(ids), ctx.Err())
		}
	}
	return nil
}

// clientSessions are the sessions, by number, of all clients but of the accounts in keep and our own, and the events that run.
func clientSessions(ctx context.Context, db querier, keep ...string) (ids []string, err error) {
	query := `SELECT processlist_id, processlist_user FROM performance_schema.threads
		WHERE name IN ('thread/sql/one_connection', 'thread/sql/event_worker') AND processlist_id <> CONNECTION_ID()
		AND processlist_command NOT LIKE 'Binlog Dump%'`
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("list client sessions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var user sql.NullString
		if err := rows.Scan(&id, &user); err != nil {
			return nil, fmt.Errorf("list client sessions: %w", err)
		}
		if !slices.Contains(keep, user.String) {
			ids = append(ids, id)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list client sessions: %w", err)
	}
	return ids, nil
}
