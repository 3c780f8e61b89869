// Package file keeps the store in a directory of the local machine: one file for the framework and one per cluster, each
// replaced as a whole and synced to disk, under an advisory lock that only one process holds. The directory must be on a
// local file system.
package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/fault"
)

const (
	lockName      = "leader.lock"
	frameworkName = "framework.json"
	clustersName  = "clusters"
	suffix        = ".json"
	lockPoll      = 50 * time.Millisecond
)

var faultWritten = fault.Register("cotton.store.file.written", "the new content is on disk beside the old one, not in its place yet")

// Store is a directory.
type Store struct {
	dir string

	mu     sync.Mutex
	lock   *os.File // held while leading
	lost   chan struct{}
	closed bool
}

var _ store.Store = (*Store)(nil)

// Open makes the directory when it is missing. Only its owner can read it: it holds the users' password hashes.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(filepath.Join(dir, clustersName), 0o700); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	return &Store{dir: dir}, nil
}

// Lead waits for the lock. lost is closed by the first write that finds the lock file replaced or gone.
func (s *Store) Lead(ctx context.Context, holder string) (<-chan struct{}, func(), error) {
	s.mu.Lock()
	leading := s.lock != nil
	s.mu.Unlock()
	if leading {
		return nil, nil, errors.New("lead: this process leads already")
	}
	path := filepath.Join(s.dir, lockName)
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		lock, err := tryLock(path)
		if err != nil {
			return nil, nil, fmt.Errorf("lock the store: %w", err)
		}
		if lock != nil {
			return s.leading(lock, holder)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("wait for the lock on the store %s, held by %s: %w", s.dir, readHolder(path), ctx.Err())
		}
	}
}

// tryLock is nil when another one has the lock.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case err == nil && inPlace(f, path):
		return f, nil
	case err == nil, errors.Is(err, syscall.EWOULDBLOCK), errors.Is(err, syscall.EINTR):
		return nil, f.Close()
	default:
		return nil, errors.Join(err, f.Close())
	}
}

// inPlace tells whether path still leads to f: a lock on a file that was replaced excludes nobody.
func inPlace(f *os.File, path string) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(ours, there)
}

func (s *Store) leading(lock *os.File, holder string) (<-chan struct{}, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, errors.Join(errClosed, lock.Close())
	}
	// For people who wonder who leads; that it could not be written does not matter.
	if lock.Truncate(0) == nil {
		lock.WriteAt([]byte(holder+"\n"), 0)
	}
	s.lock, s.lost = lock, make(chan struct{})
	release := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.lock == lock {
			s.unlock()
		}
	}
	return s.lost, release, nil
}

func readHolder(path string) string {
	data, err := os.ReadFile(path)
	if holder := strings.TrimSpace(string(data)); err == nil && holder != "" {
		return holder
	}
	return "another process"
}

// unlock gives the lock up; s.mu is held.
func (s *Store) unlock() {
	s.lock.Close() // of a file that nothing is waiting to be written to
	s.lock = nil
}

var errClosed = errors.New("the store is closed")

// checkLeader is asked before every write; s.mu is held.
func (s *Store) checkLeader() error {
	if s.closed {
		return errClosed
	}
	if s.lock != nil && inPlace(s.lock, filepath.Join(s.dir, lockName)) {
		return nil
	}
	if s.lock != nil {
		s.unlock()
		close(s.lost)
	}
	return store.ErrNotLeader
}

// envelope is the content of a file.
type envelope struct {
	Version int64           `json:"version"` // raised with every write
	Value   json.RawMessage `json:"value"`
}

func (s *Store) Framework(context.Context) (store.Framework, error) {
	e, err := read(filepath.Join(s.dir, frameworkName))
	if errors.Is(err, fs.ErrNotExist) {
		return store.Framework{}, nil
	}
	if err != nil {
		return store.Framework{}, err
	}
	f, err := store.DecodeFramework(e.Value)
	if err != nil {
		return store.Framework{}, fmt.Errorf("%s: %w", s.dir, err)
	}
	f.Version = e.Version
	return f, nil
}

func (s *Store) PutFramework(_ context.Context, f store.Framework) (store.Framework, error) {
	data, err := store.EncodeFramework(f)
	if err != nil {
		return store.Framework{}, err
	}
	if f.Version, err = s.put(filepath.Join(s.dir, frameworkName), data, f.Version); err != nil {
		return store.Framework{}, fmt.Errorf("store the framework: %w", err)
	}
	return f, nil
}

func (s *Store) Clusters(ctx context.Context) ([]cotton.Record, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, clustersName)) // sorted
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	var records []cotton.Record
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), suffix)
		if !ok { // what a crash left half written
			continue
		}
		e, err := read(s.clusterFile(name))
		if errors.Is(err, fs.ErrNotExist) { // deleted since it was listed
			continue
		}
		if err != nil {
			return nil, err
		}
		r, err := store.DecodeCluster(name, e.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.dir, err)
		}
		r.Version = e.Version
		records = append(records, r)
	}
	return records, ctx.Err()
}

func (s *Store) Put(_ context.Context, r cotton.Record) (cotton.Record, error) {
	data, err := store.EncodeCluster(r)
	if err != nil {
		return cotton.Record{}, err
	}
	r.Schema, r.Dropped = cotton.SchemaVersion, nil
	if r.Version, err = s.put(s.clusterFile(r.Spec.Name), data, r.Version); err != nil {
		return cotton.Record{}, fmt.Errorf("store cluster %s: %w", r.Spec.Name, err)
	}
	return r, nil
}

func (s *Store) Delete(_ context.Context, name string, version int64) error {
	if err := store.CheckName(name); err != nil {
		return err
	}
	if err := s.delete(s.clusterFile(name), version); err != nil {
		return fmt.Errorf("delete cluster %s from the store: %w", name, err)
	}
	return nil
}

// Close gives the lock up.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.lock != nil {
		s.unlock()
	}
	return nil
}

func (s *Store) clusterFile(name string) string {
	return filepath.Join(s.dir, clustersName, name+suffix)
}
