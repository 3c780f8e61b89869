package daemon

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
)

var errStarting = errors.New("starting: no pass has finished yet")

// readiness is what /readyz answers from. Its zero value is "starting".
type readiness struct {
	mu    sync.Mutex
	known bool
	err   error
	note  string
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
		return "", errStarting
	}
	return r.note, r.err
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
