// Package store is where the framework keeps what it knows: the framework id, the clusters, and who leads. Adapters are named
// after their technology: zk for ZooKeeper, file for a directory. What is not in the store does not exist for Mesos (I9).
package store

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/aosc/aosc/internal/cotton"
)

var (
	// ErrConflict: the record was changed by someone else since it was read. Read again, decide again.
	ErrConflict = errors.New("the stored record has another version")
	// ErrNotFound: no record of that name.
	ErrNotFound = errors.New("no such record in the store")
	// ErrNotLeader: the leader lock is gone; nothing was written.
	ErrNotLeader = errors.New("the leader lock is lost")
	// ErrNewer: the store was written by a newer version of cotton.
	ErrNewer = errors.New("the store was written by a newer cotton: start the scheduler of that release again (`cotton version` says which one a " +
		"program is), or point --store elsewhere")
	// ErrTooLarge: a record has outgrown what every store can hold.
	ErrTooLarge = errors.New("the record is too large for the store")
)

// Framework is what is kept of the framework itself, before any offer is accepted.
type Framework struct {
	ID   string `json:"id"`
	Role string `json:"role"`
	// Draining are agents that members are to leave, by hostname. It is replaced when it changes, never changed.
	Draining map[string]cotton.Drain `json:"draining,omitempty"`
	// LeftBehind is what clusters that are forgotten had on agents that were away: it is given back when they return.
	LeftBehind []cotton.LeftBehind `json:"left_behind,omitempty"`
	// Unknown is what a later release has stored beside these, by path: it is written back as it was.
	Unknown map[string]json.RawMessage `json:"-"`
	Version int64                      `json:"-"` // of the store, 0 = not stored yet
}

// Store is the port. Every write is compare-and-set on the version that was read, durable when it returns, and refused
// with ErrNotLeader once the lock taken by Lead is lost.
type Store interface {
	// Lead waits until this process leads; holder says to people who that is. lost is closed when it no longer does: the
	// process must end then. release gives the lock up and does not close lost. When ctx ends first, the error names who
	// leads.
	Lead(ctx context.Context, holder string) (lost <-chan struct{}, release func(), err error)
	// Framework returns the zero value when nothing was stored yet; ErrNewer when the store is not ours to read.
	Framework(ctx context.Context) (Framework, error)
	PutFramework(ctx context.Context, f Framework) (Framework, error)
	// Clusters returns all records. One that cannot be read is an error that names it: it is never left out.
	Clusters(ctx context.Context) ([]cotton.Record, error)
	// Put stores a record whose Version is the one that was read (0 = must not exist) and returns it with its new one.
	// ErrConflict when the stored one has another version or is gone; ErrTooLarge.
	Put(ctx context.Context, r cotton.Record) (cotton.Record, error)
	// Delete forgets a cluster; ErrConflict when it has another version, ErrNotFound when it is not there.
	Delete(ctx context.Context, name string, version int64) error
	Close() error
}
