package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit/cottonkit"
	"github.com/aosc/aosc/internal/testkit/writer"
)

// The load: clients that give up on a statement after a second, and ask the API again and again where to write.
const (
	clientDeadline = time.Second
	loadRate       = 200 // operations a second
	resolveEvery   = 50 * time.Millisecond
)

// load writes to whatever is published as the primary, and keeps when what was acknowledged.
type load struct {
	s    *cottonkit.Site
	name string // of the cluster
	at   string // the table
	w    *writer.Writer
	pool *mysql.Pool
	stop context.CancelFunc
	over sync.WaitGroup

	mu    sync.Mutex
	db    *sql.DB
	acked []time.Time
}

var tables int // of all loads of this process: each has its own

func startLoad(s *cottonkit.Site, cluster string) (*load, error) {
	tables++
	l := &load{s: s, name: cluster, at: fmt.Sprintf("t%d", tables), pool: mysql.NewPool(cottonkit.App, mysql.Options{ConnectTimeout: clientDeadline, MaxOpen: 8})}
	l.w = writer.New(writer.Options{DB: l.primary, Database: "load_db", Table: l.at, Rate: loadRate, Timeout: clientDeadline, Seen: l.seen})
	if err := l.resolve(s.T.Context()); err != nil {
		return nil, errors.Join(err, l.close())
	}
	for _, statement := range []string{"CREATE DATABASE IF NOT EXISTS load_db", l.w.CreateTable()} {
		ctx, cancel := context.WithTimeout(s.T.Context(), 10*time.Second)
		_, err := l.primary().ExecContext(ctx, statement)
		cancel()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", statement, err), l.close())
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	l.over.Go(func() { l.follow(ctx) })
	l.w.Start(ctx)
	return l, nil
}

// table is the name of what is written to.
func (l *load) table() string { return "load_db." + l.at }

func (l *load) primary() *sql.DB {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.db
}

// follow asks the API where the primary is; while that does not answer, clients stay where they are.
func (l *load) follow(ctx context.Context) {
	tick := time.NewTicker(resolveEvery)
	defer tick.Stop()
	for {
		_ = l.resolve(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (l *load) resolve(ctx context.Context) error {
	e, err := l.s.Client.Endpoints(ctx, l.name)
	if err != nil {
		return err
	}
	if e.Primary == nil {
		return fmt.Errorf("no primary of %s is published", l.name)
	}
	db, err := l.pool.DB(mysql.Addr{Host: e.Primary.Host, Port: e.Primary.Port})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.db = db
	return nil
}

func (l *load) seen(o writer.Outcome) {
	if o.Err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, o.Ended)
}

// acknowledged is how many operations were since a time.
func (l *load) acknowledged(since time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for i := len(l.acked) - 1; i >= 0 && l.acked[i].After(since); i-- {
		n++
	}
	return n
}

// gap is the longest time without an acknowledgement between the last one before a fault and the end.
func (l *load) gap(since, end time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, longest := since, time.Duration(0)
	for _, at := range l.acked {
		if at.Before(since) {
			last = at
			continue
		}
		longest = max(longest, at.Sub(last))
		last = maxTime(last, at)
	}
	return max(longest, end.Sub(last))
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// end stops writing.
func (l *load) end() {
	l.w.Stop()
	l.stop()
	l.over.Wait()
}

func (l *load) close() error { return l.pool.Close() }
