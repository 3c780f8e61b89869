package daemon

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// ErrStarting is why a daemon is not ready before its first pass has finished.
var ErrStarting = errors.New("starting: no pass has finished yet")

// readiness is what /readyz answers from. Its zero value is "starting".
type readiness struct {
	mu    sync.Mutex
	known bool
	err   error
	note  string
	began time.Time // of the pass under way, zero = none is
}

// longPass is the age from which a pass under way is worth a note: it may hang.
const longPass = 2 * time.Minute

// pass notes that a pass begins, or with the zero time that none is under way.
func (r *readiness) pass(began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began = began
}

func (r *readiness) set(err error, note string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known, r.err, r.note = true, err, note
}

// get returns why the daemon is not ready, or nil and a note for people.
func (r *readiness) get() (note string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known {
		return "", ErrStarting
	}
	note = r.note
	if !r.began.IsZero() && time.Since(r.began) > longPass {
		if note = fmt.Sprintf("a pass has been under way since %s UTC", r.began.UTC().Format(time.DateTime)); r.note != "" {
			note = r.note + "; " + note
		}
	}
	return note, r.err
}

// newHolder names this process: the host and pid for people, random bytes because pids come again.
func newHolder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	var b [4]byte
	// crypto/rand.Read never fails (it ends the program if the system has no randomness).
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%s:%d:%s", host, os.Getpid(), hex.EncodeToString(b[:]))
}

// Health is what /readyz says of a daemon whose last pass succeeded.
type Health struct {
	Err  error  // it does nothing of use all the same: 503
	Note string // it works, but people should know this: 200
}

// Tally counts the attempts of one kind, over instances, for Health. The zero value has none.
type Tally struct {
	all    int
	failed int
	first  string // of the failures, by name, so that the text does not change with every pass
	err    error
}

// Add counts an attempt; err is why it failed, nil when it did not.
func (t *Tally) Add(name string, err error) {
	t.all++
	if err == nil {
		return
	}
	if t.failed++; t.first == "" || name < t.first {
		t.first, t.err = name, err
	}
}

// Health is an error when all have failed, and a note when some have. what says what failed, in the plural.
func (t *Tally) Health(what string) Health {
	if t.failed == 0 {
		return Health{}
	}
	text := fmt.Sprintf("%d of %d %s: %s: %v", t.failed, t.all, what, t.first, t.err)
	if t.failed == t.all {
		return Health{Err: errors.New(text)}
	}
	return Health{Note: "ok, but " + text}
}
