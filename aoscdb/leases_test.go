package aoscdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const long = time.Minute

// acquire takes a lease or fails the test.
func acquire(t *testing.T, s *Store, name, holder string, ttl time.Duration) Lease {
	t.Helper()
	epoch, taken, err := s.Acquire(t.Context(), name, holder, ttl)
	ok(t, err)
	if !taken {
		t.Fatalf("%s could not take lease %s", holder, name)
	}
	return Lease{Name: name, Holder: holder, Epoch: epoch}
}

func expired(t *testing.T, s *Store, name string) bool {
	t.Helper()
	for _, l := range must(s.Leases(t.Context()))(t) {
		if l.Name == name {
			return l.Expired
		}
	}
	return false
}

func TestLease(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	if _, _, err := s.LeaseHolder(ctx, "brain"); !errors.Is(err, ErrNotFound) {
		t.Errorf("holder of a lease never taken: %v", err)
	}
	a := acquire(t, s, "brain", "a", long)
	if _, taken, err := s.Acquire(ctx, "brain", "b", long); err != nil || taken {
		t.Fatalf("a held lease was taken by another: %v %v", taken, err)
	}
	holder, until, err := s.LeaseHolder(ctx, "brain")
	ok(t, err)
	if left := until.Sub(must(s.Now(ctx))(t)); holder != "a" || left > long || left < long/2 {
		t.Errorf("held by %s for %v, want a for %v", holder, left, long)
	}
	if renewed := must(s.Renew(ctx, "brain", "a", a.Epoch, long))(t); !renewed {
		t.Error("the holder could not renew")
	}
	if renewed := must(s.Renew(ctx, "brain", "b", a.Epoch, long))(t); renewed {
		t.Error("somebody else renewed")
	}
	if renewed := must(s.Renew(ctx, "brain", "a", a.Epoch+1, long))(t); renewed {
		t.Error("another epoch was renewed")
	}
	// The same holder again is a new leader: what its old self still does must fail.
	again := acquire(t, s, "brain", "a", long)
	if again.Epoch <= a.Epoch {
		t.Errorf("epoch %d after %d", again.Epoch, a.Epoch)
	}
	ok(t, s.Release(ctx, "brain", "a", a.Epoch)) // the old self's: no effect
	if expired(t, s, "brain") {
		t.Error("a release with an old epoch freed the lease")
	}
	ok(t, s.Release(ctx, "brain", "a", again.Epoch))
	if renewed := must(s.Renew(ctx, "brain", "a", again.Epoch, long))(t); renewed {
		t.Error("a released lease was renewed")
	}
	if b := acquire(t, s, "brain", "b", long); b.Epoch <= again.Epoch {
		t.Errorf("epoch %d after %d", b.Epoch, again.Epoch)
	}
	acquire(t, s, "collector", "a", long) // another name is another lease
}

// TestHoldersDifferByCase: holders end in random letters, so they are compared letter by letter.
func TestHoldersDifferByCase(t *testing.T) {
	s := newStore(t)
	acquire(t, s, "brain", "host:1:ab", long)
	if _, taken, err := s.Acquire(t.Context(), "brain", "host:1:AB", long); err != nil || taken {
		t.Errorf("taken: %v %v", taken, err)
	}
}

// TestStaleLeaderWritesNothing: I8. A leader that was stopped past its lease and wakes up again finds its write refused,
// before and after somebody else took over.
func TestStaleLeaderWritesNothing(t *testing.T) {
	s := newStore(t)
	write := func(l Lease) error {
		return s.AsLeader(t.Context(), l, func(ctx context.Context, tx *sql.Tx) error {
			return addEvent(ctx, tx, Event{Actor: l.Holder, What: "wrote"})
		})
	}
	a := acquire(t, s, "brain", "a", 50*time.Millisecond)
	eventually(t, "the lease expires", func() bool { return expired(t, s, "brain") })
	if err := write(a); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("a write under an expired lease: %v", err)
	}
	if renewed := must(s.Renew(t.Context(), "brain", "a", a.Epoch, long))(t); renewed {
		t.Error("an expired lease was renewed")
	}
	b := acquire(t, s, "brain", "b", long)
	if b.Epoch <= a.Epoch {
		t.Errorf("taken over with epoch %d after %d", b.Epoch, a.Epoch)
	}
	for _, stale := range []Lease{a, {"brain", "b", a.Epoch}, {"brain", "a", b.Epoch}, {"never", "b", b.Epoch}} {
		if err := write(stale); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("a write under %+v: %v", stale, err)
		}
	}
	if events := must(s.History(t.Context(), "", "", 10))(t); len(events) != 0 {
		t.Errorf("refused writes left %+v", events)
	}
	ok(t, write(b))
	if events := must(s.History(t.Context(), "", "", 10))(t); len(events) != 1 || events[0].Actor != "b" {
		t.Errorf("the leader's write left %+v", events)
	}
}

// TestNoTakeoverDuringAWrite: I8. A transaction that began under a valid lease and outlasts it is over before anybody
// else leads.
func TestNoTakeoverDuringAWrite(t *testing.T) {
	s := newStore(t)
	a := acquire(t, s, "brain", "a", 2*time.Second) // long enough to begin under, short enough to outlast
	inside, goOn := make(chan struct{}), make(chan struct{})
	var wrote error
	var wg sync.WaitGroup
	wg.Go(func() {
		wrote = s.AsLeader(t.Context(), a, func(ctx context.Context, tx *sql.Tx) error {
			close(inside)
			<-goOn
			return addEvent(ctx, tx, Event{Actor: "a", What: "wrote"})
		})
	})
	<-inside
	eventually(t, "the lease expires", func() bool { return expired(t, s, "brain") })
	var took atomic.Bool
	var seen []Event
	wg.Go(func() {
		// Its own goroutine: it waits for the row that a's transaction holds.
		acquire(t, s, "brain", "b", long)
		took.Store(true)
		seen = must(s.History(t.Context(), "", "", 10))(t)
	})
	eventually(t, "b waits for a's transaction", func() bool {
		return ask[int](t, s.db, "SELECT COUNT(*) FROM performance_schema.data_lock_waits") > 0
	})
	if took.Load() {
		t.Error("b leads while a writes")
	}
	close(goOn)
	wg.Wait()
	ok(t, wrote)
	if len(seen) != 1 {
		t.Errorf("b led and saw %d of a's writes, want 1", len(seen))
	}
}

// TestContenders: I8 with two contenders on leases far too short: in the order in which writes were made, epochs never go
// back, and no epoch has two holders.
func TestContenders(t *testing.T) {
	s := newStore(t)
	tell(t, s.db, "CREATE TABLE writes (id bigint AUTO_INCREMENT PRIMARY KEY, holder varchar(8), epoch bigint) ENGINE=InnoDB")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	var refused atomic.Int64
	for _, holder := range []string{"a", "b"} {
		wg.Go(func() {
			for n := 0; n < 15; {
				const ttl = 50 * time.Millisecond
				epoch, taken, err := s.Acquire(ctx, "brain", holder, ttl)
				if err != nil {
					t.Error(err)
					return
				}
				if !taken {
					continue
				}
				n++
				// It writes until it is told that it no longer leads, as a process would that missed its expiry.
				for err == nil {
					err = s.AsLeader(ctx, Lease{"brain", holder, epoch}, func(ctx context.Context, tx *sql.Tx) error {
						_, err := tx.ExecContext(ctx, "INSERT INTO writes (holder, epoch) VALUES (?, ?)", holder, epoch)
						return err
					})
				}
				if !errors.Is(err, ErrLeaseLost) {
					t.Error(err)
					return
				}
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	type write struct {
		Holder string
		Epoch  uint64
	}
	writes := must(list(t.Context(), s.db, func(w *write) []any { return []any{&w.Holder, &w.Epoch} },
		"SELECT holder, epoch FROM writes ORDER BY id"))(t)
	holders := map[uint64]string{}
	for _, w := range writes {
		if h := holders[w.Epoch]; h != "" && h != w.Holder {
			t.Errorf("epoch %d has two holders", w.Epoch)
		}
		holders[w.Epoch] = w.Holder
	}
	if !slices.IsSortedFunc(writes, func(a, b write) int { return int(a.Epoch) - int(b.Epoch) }) {
		t.Errorf("an older epoch wrote after a newer one: %v", writes)
	}
	if refused.Load() != 30 || len(writes) == 0 {
		t.Errorf("%d writes, %d refusals: the test tried nothing", len(writes), refused.Load())
	}
}

// TestDeadlocksAreRetried: two leaders that lock the same rows in opposite order both get through.
func TestDeadlocksAreRetried(t *testing.T) {
	s := newStore(t)
	tell(t, s.db, "CREATE TABLE victims (id int PRIMARY KEY, n int) ENGINE=InnoDB")
	tell(t, s.db, "INSERT INTO victims VALUES (1, 0), (2, 0)")
	var calls atomic.Int64
	met := make(chan struct{})
	var wg sync.WaitGroup
	for i, order := range [][]int{{1, 2}, {2, 1}} {
		l := acquire(t, s, fmt.Sprint("lease", i), "x", long)
		wg.Go(func() {
			first := true
			err := s.AsLeader(t.Context(), l, func(ctx context.Context, tx *sql.Tx) error {
				if _, err := execTx(ctx, tx, "UPDATE victims SET n = n + 1 WHERE id = ?", order[0]); err != nil {
					return err
				}
				// Both hold their first row before either asks for its second.
				if calls.Add(1) == 2 {
					close(met)
				}
				if first {
					first = false
					<-met
				}
				_, err := execTx(ctx, tx, "UPDATE victims SET n = n + 1 WHERE id = ?", order[1])
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := ask[int](t, s.db, "SELECT SUM(n) FROM victims"); n != 4 {
		t.Errorf("the rows were raised %d times, want 4: a transaction was lost or done twice", n)
	}
	if calls.Load() < 3 {
		t.Error("there was no deadlock")
	}
}

// TestErrorsAreNotRetried: fn's own error rolls back and comes out as it is.
func TestErrorsAreNotRetried(t *testing.T) {
	s := newStore(t)
	l := acquire(t, s, "brain", "a", long)
	mine := errors.New("mine")
	calls := 0
	err := s.AsLeader(t.Context(), l, func(ctx context.Context, tx *sql.Tx) error {
		calls++
		if err := addEvent(ctx, tx, Event{Actor: "a", What: "wrote"}); err != nil {
			return err
		}
		return mine
	})
	if !errors.Is(err, mine) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	if events := must(s.History(t.Context(), "", "", 10))(t); len(events) != 0 {
		t.Errorf("a failed transaction left %+v", events)
	}
}
