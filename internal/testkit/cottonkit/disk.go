package cottonkit

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// mounting is why no file system can be mounted; nil when it can.
var mounting error

// CanFillDisk tells whether Options.DiskMB works here.
func CanFillDisk() bool { return mounting == nil }

// mountDisk makes a small file system of its own in memory.
func (s *Site) mountDisk(dir string) {
	s.T.Helper()
	if mounting != nil {
		s.T.Skip("no disk can be made here: ", mounting)
	}
	s.Do(os.MkdirAll(dir, 0o755))
	s.Do(syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(s.o.DiskMB)+"m"))
	s.T.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			s.T.Error(err)
		}
	})
}

// FillDisk leaves nothing free on an agent's disk, until free is called.
func (s *Site) FillDisk(t testing.TB, agent string) (free func()) {
	t.Helper()
	path := filepath.Join(s.Mini.AgentDir(agent), "filler")
	f, err := os.Create(path)
	s.Do(err)
	block := make([]byte, 1<<20)
	for len(block) > 0 {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2] // to the last byte
		} else if err != nil {
			t.Fatal(err)
		}
	}
	s.Do(f.Close())
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}
