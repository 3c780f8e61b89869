package verify_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/testkit"
)

// follower applies changes of t to _t_gho a while after they were made and without reading t, as gh-ost does.
type follower struct {
	db    *sql.DB
	name  string
	delay time.Duration

	mu    sync.Mutex
	queue []int // values written and not yet applied; the row is 1 + value MOD 3
	busy  int   // taken from queue, being applied
	done  int   // applied
}

func (f *follower) health(context.Context) (verify.Health, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return verify.Health{Seen: time.Now(), Applied: f.done, Backlog: len(f.queue) + f.busy}, nil
}

// write changes rows without a pause until ctx ends.
func (f *follower) write(ctx context.Context) error {
	for i := 0; ctx.Err() == nil; i++ {
		if _, err := f.db.ExecContext(ctx, fmt.Sprintf("UPDATE %s.t SET v = %d WHERE id = %d", f.name, i, 1+i%3)); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		f.mu.Lock()
		f.queue = append(f.queue, i)
		f.mu.Unlock()
	}
	return nil
}

// apply brings queued rows over, in batches.
func (f *follower) apply(ctx context.Context) error {
	tick := time.NewTicker(f.delay)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		f.mu.Lock()
		batch := f.queue
		f.queue, f.busy = nil, len(batch)
		f.mu.Unlock()
		newest := map[int]int{}
		for _, v := range batch {
			newest[1+v%3] = v
		}
		for id, v := range newest {
			if _, err := f.db.ExecContext(ctx, fmt.Sprintf("UPDATE %s._t_gho SET v = %d WHERE id = %d", f.name, v, id)); err != nil && ctx.Err() == nil {
				return err
			}
		}
		f.mu.Lock()
		f.busy, f.done = 0, f.done+f.busy
		f.mu.Unlock()
	}
}

// prepared are t and _t_gho with ten equal rows.
func prepared(t *testing.T) (*mysqld.Server, string) {
	srv := testkit.Server(t)
	name := testkit.Database(t, srv)
	pairTables(t, srv.DB(), name, "id int PRIMARY KEY, v int", "id int PRIMARY KEY, v bigint")
	inSession(t, srv.DB(), fmt.Sprintf("INSERT INTO %s.t VALUES (1,0),(2,0),(3,0),(4,0),(5,0),(6,0),(7,0),(8,0),(9,0),(10,0)", name),
		fmt.Sprintf("INSERT INTO %[1]s._t_gho SELECT * FROM %[1]s.t", name))
	return srv, name
}

func comparison(t *testing.T, db *sql.DB, name string, health func(context.Context) (verify.Health, error)) *verify.Comparison {
	t.Helper()
	req := verify.Request{DB: db, ChunkSize: 100, Gate: open, Health: health, Key: verify.Key{Name: "PRIMARY", Columns: []string{"id"}}}
	var err error
	if req.Original, err = verify.ReadTable(t.Context(), db, name, "t"); err != nil {
		t.Fatal(err)
	}
	if req.Copy, err = verify.ReadTable(t.Context(), db, name, "_t_gho"); err != nil {
		t.Fatal(err)
	}
	c, err := verify.Prepare(req)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestChangesOnTheirWay: rows that are written without a pause, and always reach the copy late, are found equal under a
// lock; a row that is wrong among them is found.
func TestChangesOnTheirWay(t *testing.T) {
	srv, name := prepared(t)
	db := srv.DB()
	f := &follower{db: db, name: name, delay: 100 * time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, part := range []func(context.Context) error{f.write, f.apply} {
		group.Go(func() {
			if err := part(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	defer group.Wait()
	defer cancel()
	settled := 0
	for range 5 {
		result, err := comparison(t, db, name, f.health).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		settled += result.Settled
	}
	if settled == 0 {
		t.Error("no row was ever on its way: nothing is shown")
	}
	inSession(t, db, fmt.Sprintf("UPDATE %s._t_gho SET v = -1 WHERE id = 7", name))
	var differs *verify.Error
	if _, err := comparison(t, db, name, f.health).Run(t.Context()); !errors.As(err, &differs) || differs.Key != "`id`=7" {
		t.Errorf("got %v", err)
	}
}

// TestRestIsNoFault: while the copying process rests by its own decision, a row that differs says nothing about the copy.
func TestRestIsNoFault(t *testing.T) {
	srv, name := prepared(t)
	db := srv.DB()
	inSession(t, db, fmt.Sprintf("UPDATE %s.t SET v = 5 WHERE id = 2", name))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := comparison(t, db, name, func(context.Context) (verify.Health, error) {
		return verify.Health{Seen: time.Now(), Idle: true}, nil
	}).Run(ctx)
	var differs *verify.Error
	if err == nil || errors.As(err, &differs) || ctx.Err() == nil { // it waits to the end: the deadline shows as this or that
		t.Errorf("got %v", err)
	}
}

// TestCancelKillsQueries: a comparison that is given up leaves no query on the copy, which must be dropped next.
func TestCancelKillsQueries(t *testing.T) {
	srv, name := prepared(t)
	db := srv.DB()
	inSession(t, db, fmt.Sprintf("UPDATE %s.t SET v = 5 WHERE id = 2", name))
	ctx, cancel := context.WithCancel(t.Context())
	rests := make(chan struct{})
	var once sync.Once
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := comparison(t, db, name, func(context.Context) (verify.Health, error) {
			once.Do(func() { close(rests) })
			return verify.Health{}, nil // never catches up: the lock is held as long as may be
		}).Run(ctx)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}()
	<-rests
	cancel()
	<-ended
	watch := testkit.StartStopwatch(t, srv)
	inSession(t, db, "SET SESSION lock_wait_timeout = 5", fmt.Sprintf("DROP TABLE %s._t_gho", name),
		fmt.Sprintf("UPDATE %s.t SET v = 6 WHERE id = 2", name))
	watch.Within(t, 2*time.Second, "dropping the copy and changing the row")
}
