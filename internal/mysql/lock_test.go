package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// I3: of two who want the same thing one gets it, until it lets go.
func TestTryLock(t *testing.T) {
	db := testkit.Server(t).DB()
	long := strings.Repeat("aosc.osc.ü.", 20)
	for _, name := range []string{"aosc.test.lock", long + "one"} {
		lock, ok, err := mysql.TryLock(t.Context(), db, name)
		if err != nil || !ok {
			t.Fatalf("first: %v, %v", ok, err)
		}
		if _, ok, err := mysql.TryLock(t.Context(), db, name); ok || err != nil {
			t.Errorf("second while the first holds it: %v, %v", ok, err)
		}
		if err := lock.Check(t.Context()); err != nil {
			t.Errorf("held: %v", err)
		}
		lock.Release()
		lock.Release() // harmless
		again, ok, err := mysql.TryLock(t.Context(), db, name)
		if err != nil || !ok {
			t.Fatalf("after the release: %v, %v", ok, err)
		}
		if err := lock.Check(t.Context()); !errors.Is(err, mysql.ErrLockLost) {
			t.Errorf("a released lock is still ours: %v", err)
		}
		again.Release()
	}
}

// When Release returns the lock is free, not some time later when the server notices a closed connection.
func TestReleaseIsAtOnce(t *testing.T) {
	db := testkit.Server(t).DB()
	for range 100 {
		lock, ok, err := mysql.TryLock(t.Context(), db, "aosc.test.atonce")
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		lock.Release()
	}
}

// Names that only differ past 64 characters are different locks.
func TestLockNamesAreHashed(t *testing.T) {
	db := testkit.Server(t).DB()
	long := strings.Repeat("x", 64)
	var names []string
	for _, name := range []string{long, long + "1", long + "2"} {
		lock, ok, err := mysql.TryLock(t.Context(), db, name)
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", name, ok, err)
		}
		defer lock.Release()
		names = append(names, lock.Name())
	}
	if names[0] != long || len(names[1]) != 64 || !strings.HasPrefix(names[1], "xxx") {
		t.Errorf("names %q", names)
	}
}

// A lock dies with its connection: the holder sees it at the next Check, and somebody else can have it.
func TestLockLost(t *testing.T) {
	db := testkit.Server(t).DB()
	const name = "aosc.test.lost"
	lock, ok, err := mysql.TryLock(t.Context(), db, name)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	defer lock.Release()
	var id int64
	scan(t, db, "SELECT IS_USED_LOCK('"+name+"')", &id)
	run(t, db, fmt.Sprintf("KILL %d", id))
	if err := lock.Check(t.Context()); !errors.Is(err, mysql.ErrLockLost) || !strings.Contains(err.Error(), name) {
		t.Errorf("after KILL: %v", err)
	}
	testkit.Eventually(t, patience, "the lock is free", func() bool {
		other, ok, err := mysql.TryLock(t.Context(), db, name)
		check(t, err)
		if ok {
			other.Release()
		}
		return ok
	})
}

// After a power failure of the holder's machine nothing closes its connection: the server must be told to end the
// session soon, instead of after wait_timeout's eight hours.
func TestLockSessionEndsSoonWithoutItsHolder(t *testing.T) {
	db := testkit.Server(t).DB()
	lock, ok, err := mysql.TryLock(t.Context(), db, "aosc.test.timeout")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	defer lock.Release()
	var seconds int
	scan(t, db, `SELECT v.variable_value FROM performance_schema.variables_by_thread v JOIN performance_schema.threads USING (thread_id)
		WHERE v.variable_name = 'wait_timeout' AND processlist_id = IS_USED_LOCK('aosc.test.timeout')`, &seconds)
	if seconds != 60 {
		t.Errorf("the holder's wait_timeout is %d s", seconds)
	}
}

// Check and Release on a server that hangs take their own time and no more.
func TestLockOnHungServer(t *testing.T) {
	server := testkit.FreshServer(t, nil)
	lock, ok, err := mysql.TryLock(t.Context(), server.DB(), "aosc.test.hung")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Resume() })
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := lock.Check(ctx); !errors.Is(err, mysql.ErrLockLost) {
		t.Errorf("a lock nobody can confirm is still ours (I11): %v", err)
	}
	lock.Release()
	if took := time.Since(start); took > 20*time.Second { // the server never answers: without time-outs of their own, for ever
		t.Errorf("a hung server held Check and Release for %v", took)
	}
}
