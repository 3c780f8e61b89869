package keyed

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/wait"
)

var (
	faultProgressNoted = fault.Register("osc.keyed.progress", "the position is noted; passed each time")
	faultResumed       = fault.Register("osc.keyed.resumed", "the progress of an earlier run is taken over, nothing is copied yet")
)

// keepEvery is how often the position is noted. What was applied since is applied again by a run that goes on.
const keepEvery = time.Second

// ErrTaken says that another run has taken the copy over.
var ErrTaken = errors.New("another run has taken this copy over")

// StaleError says that the progress of an earlier run could not be gone on from, although it was to be.
type StaleError struct{ Reason string }

func (e *StaleError) Error() string { return "the copy cannot go on from where it was: " + e.Reason }

// keeper notes in a table beside the ghost how far the copy is. What is copied is noted in the transaction that copies it, so that one
// is never there without the other, on this server or on any that it replicates to. The position of the stream is noted afterwards: it is
// never past what is applied. See docs/decisions/042.
type keeper struct {
	table string // quoted; "" = nothing is noted
	token string

	mu    sync.Mutex
	head  head
	done  map[value]done // by their beginning: those behind the prefix with a gap, or not yet taken into it
	ready chan struct{}  // closed once there is something to note
}

func newKeeper(req Request) (*keeper, error) {
	k := &keeper{done: map[value]done{}, ready: make(chan struct{})}
	if req.Progress == "" {
		return k, nil
	}
	k.table = mysql.QuoteIdents(req.Database, req.Progress)
	var token [16]byte
	if _, err := rand.Read(token[:]); err != nil {
		return nil, err
	}
	k.token = hex.EncodeToString(token[:])
	k.head = head{Format: progressFormat, From: req.From, To: req.To, Clauses: req.Clauses, Lossy: lossyList(req)}
	return k, nil
}

// create makes the table, in which this run alone may write.
func (k *keeper) create(ctx context.Context, conn *sql.Conn) error {
	if k.table == "" {
		return nil
	}
	statement := fmt.Sprintf("CREATE TABLE %s %s (id bigint unsigned NOT NULL, low text NOT NULL, high text NOT NULL, "+
		"moved bigint unsigned NOT NULL DEFAULT 0, value longtext NOT NULL, "+
		"last_update timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (id)) "+
		"ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin COMMENT=%s", k.table, Marker, mysql.QuoteString(ProgressComment))
	if _, err := conn.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("make the table of the progress: %w", err)
	}
	return nil
}

// begin notes what the copy is, and from where its changes are followed, before anything is copied.
func (k *keeper) begin(ctx context.Context, c *Copy, before mysql.GTIDSet) error {
	if k.table == "" {
		return nil
	}
	req := c.req
	k.head.Began, k.head.Key, k.head.Before = c.began, describeKey(c.key), before.String()
	var err error
	if k.head.Ghost, err = ghostDefinition(ctx, req); err != nil {
		return err
	}
	if k.head.Settings, err = valueSettings(ctx, req.DB); err != nil {
		return err
	}
	k.head.Position, k.head.Executed = c.from.String(), before.String()
	text, err := json.Marshal(k.head)
	if err != nil {
		return err
	}
	return withSession(ctx, req.DB, func(ctx context.Context, conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, fmt.Sprintf("INSERT %s INTO %s (id, low, high, value) VALUES (?, '', '', ?), (?, '', '', ?)", Marker,
			k.table),
			rowFence, k.token, rowHead, string(text))
		if err != nil {
			return fmt.Errorf("note that the copy begins: %w", err)
		}
		close(k.ready)
		return nil
	})
}

// takeOver makes an earlier run's progress this run's. Whoever of that run should still be at work, on a server that does not know
// yet that its worker is dead, is waited for, and can commit nothing afterwards. Only then is it final what the progress says.
func (k *keeper) takeOver(ctx context.Context, req Request) (*Saved, error) {
	var saved *Saved
	err := withSession(ctx, req.DB, func(ctx context.Context, conn *sql.Conn) error {
		r, err := conn.ExecContext(ctx, fmt.Sprintf("UPDATE %s %s SET value = ? WHERE id = ?", Marker, k.table), k.token, rowFence)
		if err != nil {
			return fmt.Errorf("take the progress of an earlier run over: %w", err)
		}
		if n, err := r.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, &StaleError{"its table has no token"})
		}
		saved, err = readSaved(ctx, conn, k.table)
		return err
	})
	if err != nil {
		return nil, err
	}
	reason, err := saved.Judge(ctx, req)
	if err != nil {
		return nil, err
	}
	if reason != "" {
		return nil, &StaleError{reason}
	}
	k.head = saved.head
	for _, c := range saved.chunks {
		k.done[c.span.low] = c
	}
	close(k.ready)
	return saved, nil
}

// chunk notes a chunk, in the transaction that has copied it.
func (k *keeper) chunk(ctx context.Context, conn session, c chunk, rows int64) error {
	if k.table == "" {
		return nil
	}
	statement := fmt.Sprintf("INSERT %s INTO %s (id, low, high, moved, value) SELECT ?, ?, ?, ?, '' FROM %s AS f WHERE f.id = ? AND "+
		"f.value = ? FOR SHARE",
		Marker, k.table, k.table)
	r, err := conn.ExecContext(ctx, statement, c.id+rowChunk, string(c.low), string(c.high), rows, rowFence, k.token)
	if err != nil {
		return fmt.Errorf("note what is copied: %w", err)
	}
	if n, err := r.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, ErrTaken)
	}
	return nil
}

// fence makes sure, until the end of the transaction, that the copy is still this run's.
func (k *keeper) fence(ctx context.Context, conn session) error {
	if k.table == "" {
		return nil
	}
	rows, err := conn.QueryContext(ctx, fmt.Sprintf("SELECT id FROM %s WHERE id = ? AND value = ? FOR SHARE", k.table), rowFence, k.token)
	if err != nil {
		return fmt.Errorf("find out whose the copy is: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return err
		}
		return ErrTaken
	}
	return rows.Close()
}

// committed is told of chunks after their transaction.
func (k *keeper) committed(c chunk, rows int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.done[c.low] = done{c.id, c.span, uint64(rows)}
}

// advance moves the prefix over the chunks that follow it without a gap.
func (k *keeper) advance() {
	for !k.head.Prefix.End {
		c, ok := k.done[k.head.Prefix.High]
		if !ok || c.id <= k.head.Prefix.ID {
			return
		}
		delete(k.done, k.head.Prefix.High)
		k.head.Prefix = mark{c.id, c.span.high, c.span.high == ""}
		k.head.Copied += c.rows
	}
}

// keep notes the position from time to time.
func (c *Copy) keep(ctx context.Context) error {
	if c.keeper.table == "" {
		return nil
	}
	return withSession(ctx, c.req.DB, func(ctx context.Context, conn *sql.Conn) error {
		select {
		case <-c.keeper.ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for {
			if err := wait.For(ctx, keepEvery); err != nil {
				return err
			}
			if err := c.note(ctx, conn); err != nil && !passing(err) {
				return err
			}
			fault.Point(faultProgressNoted)
		}
	})
}

// note writes how far the copy is. The order matters: first what is applied, then what the server has executed, which has all of that.
func (c *Copy) note(ctx context.Context, conn *sql.Conn) error {
	position := c.ledger.mark()
	if err := executedAll(ctx, conn, position); err != nil {
		return err
	}
	set, err := mysql.GTIDExecuted(ctx, c.req.DB)
	if err != nil {
		return err
	}
	k := c.keeper
	k.mu.Lock()
	k.advance()
	k.head.Position, k.head.Executed = position.String(), set.String()
	prefix := k.head.Prefix.ID
	text, err := json.Marshal(k.head)
	k.mu.Unlock()
	if err != nil {
		return err
	}
	return inTransaction(ctx, conn, func() error {
		if err := k.fence(ctx, conn); err != nil {
			return err
		}
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("UPDATE %s %s SET value = ? WHERE id = ?", Marker, k.table), string(text),
			rowHead); err != nil {
			return fmt.Errorf("note how far the copy is: %w", err)
		}
		_, err := conn.ExecContext(ctx, fmt.Sprintf("DELETE %s FROM %s WHERE id BETWEEN ? AND ?", Marker, k.table), rowChunk, rowChunk+prefix)
		return err
	})
}

// goOn sets a copy up as an earlier run left it: what is copied is not copied again, the ranges between that are not are the first to be
// copied.
func (c *Copy) goOn(saved *Saved) error {
	if own := describeKey(c.key); own != saved.Key {
		return &StaleError{fmt.Sprintf("rows were matched by %s, now by %s", saved.Key, own)}
	}
	holes, err := gaps(saved.Prefix, saved.chunks)
	if err != nil {
		return &StaleError{err.Error()}
	}
	at := reached(saved.Prefix, saved.chunks)
	c.tracker.restore(at, holes)
	c.chunks.low, c.chunks.last = at.High, at.End
	for _, h := range holes {
		c.chunks.holes = append(c.chunks.holes, chunk{h.id, h.span})
	}
	c.resumed = saved.Copied()
	c.copied.Store(c.resumed)
	return nil
}
