package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	maxLockName = 64 // characters, GET_LOCK refuses longer ones (manual 14.14)

	// The holder's session is kept busy, and the server told to end it soon when it is not: after a power failure of
	// the holder's machine no FIN ever arrives, and a lock must not stay for wait_timeout's usual eight hours.
	lockWaitTimeout = time.Minute
	lockHeartbeat   = lockWaitTimeout / 4

	lockReleaseTimeout = 2 * time.Second
)

// ErrLockLost means that a named lock is not, or may be no longer, ours. Whatever it protected must stop.
var ErrLockLost = errors.New("named lock lost")

// Lock is a named lock of one server (GET_LOCK), held by a connection of its own: it is free again when the holder
// dies. Safe for concurrent use.
type Lock struct {
	name string
	conn *sql.Conn
	id   int64 // connection id

	// turn serialises use of the connection: a channel, so that waiting for it ends with the context.
	turn     chan struct{}
	stop     context.CancelFunc
	stopping chan struct{}
	beating  sync.WaitGroup
	once     sync.Once
}

// TryLock takes the named lock without waiting: false means that another session has it. A name longer than 64
// characters is shortened with a hash. The server compares names without case, so two names that differ only in case
// share one lock. The lock keeps one connection of db until Release: a db limited to N connections can hold at most
// N-1 locks and still do work.
func TryLock(ctx context.Context, db *sql.DB, name string) (*Lock, bool, error) {
	name = lockName(name)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("take the named lock %s: %w", name, err)
	}
	id, got, err := getLock(ctx, conn, name)
	if err != nil || !got {
		Discard(conn)
		return nil, false, err
	}
	l := &Lock{name: name, conn: conn, id: id, turn: make(chan struct{}, 1), stopping: make(chan struct{})}
	beatCtx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.beating.Go(func() { l.beat(beatCtx) })
	return l, true, nil
}

func getLock(ctx context.Context, conn *sql.Conn, name string) (id int64, got bool, err error) {
	set := fmt.Sprintf("SET SESSION wait_timeout = %d", int(lockWaitTimeout.Seconds()))
	if _, err := conn.ExecContext(ctx, set); err != nil {
		return 0, false, fmt.Errorf("take the named lock %s: %w", name, err)
	}
	var ok sql.NullBool
	row := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 0), CONNECTION_ID()", name)
	if err := row.Scan(&ok, &id); err != nil {
		return 0, false, fmt.Errorf("take the named lock %s: %w", name, err)
	}
	if !ok.Valid {
		return 0, false, fmt.Errorf("take the named lock %s: the server failed to (out of memory, or the session was killed)", name)
	}
	return id, ok.Bool, nil
}

// lockName keeps a short name readable in performance_schema.metadata_locks and makes a long one unique by a hash.
func lockName(name string) string {
	if utf8.RuneCountInString(name) <= maxLockName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	hash := hex.EncodeToString(sum[:16])
	return string([]rune(name)[:maxLockName-1-len(hash)]) + "." + hash
}

// Name is the name as the server knows it.
func (l *Lock) Name() string { return l.name }

// Check asks the server whether the lock is still ours. Any error wraps ErrLockLost: when ctx ends first, the
// connection, and with it the lock, is given up.
func (l *Lock) Check(ctx context.Context) error {
	if err := l.take(ctx); err != nil {
		return err
	}
	defer l.give()
	var holder sql.NullInt64
	if err := l.conn.QueryRowContext(ctx, "SELECT IS_USED_LOCK(?)", l.name).Scan(&holder); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrLockLost, l.name, err)
	}
	if !holder.Valid || holder.Int64 != l.id {
		return fmt.Errorf("%w: %s is held by connection %d, not by ours (%d)", ErrLockLost, l.name, holder.Int64, l.id)
	}
	return nil
}

// Release gives the lock up and closes its connection; when it returns, another session can have the lock (or the
// server did not answer for two seconds, and frees it when it notices the closed connection). It may be called twice.
func (l *Lock) Release() {
	l.once.Do(func() {
		close(l.stopping)
		ctx, cancel := context.WithTimeout(context.Background(), lockReleaseTimeout)
		defer cancel()
		if l.take(ctx) == nil {
			// An error leaves closing the connection, which frees the lock as well.
			_, _ = l.conn.ExecContext(ctx, "DO RELEASE_LOCK(?)", l.name)
			l.give()
		}
		l.stop()
		l.beating.Wait()
		Discard(l.conn)
	})
}

// beat keeps the session from looking idle to the server. A failure shows at the next Check.
func (l *Lock) beat(ctx context.Context) {
	tick := time.NewTicker(lockHeartbeat)
	defer tick.Stop()
	for {
		select {
		case <-l.stopping:
			return
		case <-tick.C:
			if l.take(ctx) != nil {
				return
			}
			_, err := l.conn.ExecContext(ctx, "DO 1")
			l.give()
			if err != nil {
				return
			}
		}
	}
}

func (l *Lock) take(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %s: %w", ErrLockLost, l.name, ctx.Err())
	}
}

func (l *Lock) give() { <-l.turn }
