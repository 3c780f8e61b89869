package executor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// memory is what an executor remembers on its volume of the orders it was given, so that the next one obeys no older ones.
type memory struct {
	Epoch  uint64 `json:"epoch"`  // highest that an order carried
	Fenced uint64 `json:"fenced"` // of the last fence that was carried out
	// Lease is the length of the last lease: a server that is opened has one from then on, also under the next executor.
	Lease time.Duration `json:"lease_ns,omitempty"`
}

const memoryFile = "orders.json"

func readMemory(dir string) (m memory, err error) {
	text, err := os.ReadFile(filepath.Join(dir, memoryFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return m, fmt.Errorf("read which orders were obeyed before: %w", err)
	}
	return m, nil
}

// write replaces the file as a whole, durably.
func (m memory) write(dir string) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, memoryFile)
	f, err := os.Create(path + ".new")
	if err != nil {
		return fmt.Errorf("remember which orders were obeyed: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("remember which orders were obeyed: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
