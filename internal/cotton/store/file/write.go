package file

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/fault"
)

func read(path string) (envelope, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return envelope{}, fmt.Errorf("read the store: %w", err)
	}
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return envelope{}, fmt.Errorf("read the store: %s: %w", path, err)
	}
	return e, nil
}

// version is that of the file at path, 0 when there is none.
func version(path string) (int64, error) {
	e, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return e.Version, err
}

// put replaces a file that has version was, and returns its new version once that is on disk.
func (s *Store) put(path string, value []byte, was int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkLeader(); err != nil {
		return 0, err
	}
	is, err := version(path)
	if err != nil {
		return 0, err
	}
	if is != was {
		return 0, fmt.Errorf("%w: %d, not %d", store.ErrConflict, is, was)
	}
	content, err := json.Marshal(envelope{Version: was + 1, Value: value})
	if err != nil {
		return 0, err
	}
	return was + 1, replace(path, content)
}

// replace writes beside path and renames: after a crash there is the old content or the new one.
func replace(path string, content []byte) error {
	next := path + ".new"
	if err := writeSynced(next, content); err != nil {
		return err
	}
	fault.Point(faultWritten)
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// syncDir makes a rename or removal in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *Store) delete(path string, was int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkLeader(); err != nil {
		return err
	}
	switch is, err := version(path); {
	case err != nil:
		return err
	case is == 0:
		return store.ErrNotFound
	case is != was:
		return fmt.Errorf("%w: %d, not %d", store.ErrConflict, is, was)
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
