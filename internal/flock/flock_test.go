package flock_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/flock"
)

// TestLock: a second taker waits, until its context ends or the first lets go.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := flock.Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := flock.Lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a held lock was taken, or the error does not say why not: %v", err)
	}
	unlock()
	again, err := flock.Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	again()
}
