package dir_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/cotton/backup"
	"github.com/aosc/aosc/internal/cotton/backup/dir"
	"github.com/aosc/aosc/internal/cotton/backup/storetest"
)

func open(t *testing.T, root string) backup.Store {
	t.Helper()
	s, err := dir.Open("dir:" + root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) backup.Store { return open(t, t.TempDir()) })
}

func TestOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for address, says := range map[string]string{
		"": "dir:/absolute/path", "dir:relative": "dir:/absolute/path", "s3://x": "dir:/absolute/path", "dir:/nonexistent/x": "mounted", "dir:" + file: "no directory",
	} {
		if _, err := dir.Open(address); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := os.Stat("/nonexistent"); err == nil {
		t.Error("a directory was made")
	}
}

// TestUnmounted: a store that goes away, or is full of somebody else's files, is an error that says which; nothing of it is
// made anew beneath the mount point.
func TestUnmounted(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	s := open(t, root)
	if err := os.Remove(root); err != nil {
		t.Fatal(err)
	}
	_, err := s.List(t.Context(), "c0")
	if err == nil || !strings.Contains(err.Error(), root) {
		t.Errorf("list: %v", err)
	}
	if _, err := s.Begin(t.Context(), "c0", "c0-20260102T000000Z"); err == nil {
		t.Error("a backup was begun")
	}
	if err := s.PutLog(t.Context(), storetest.Log("c0", "l", "x"), strings.NewReader("x")); err == nil {
		t.Error("a log was stored")
	}
	if _, err := os.Stat(root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the root was made anew: %v", err)
	}
	if err := os.WriteFile(root, nil, 0o600); err != nil { // something that takes no files: as root the mode bits say nothing
		t.Fatal(err)
	}
	if _, err := s.Begin(t.Context(), "c0", "c0-20260102T000000Z"); err == nil || !strings.Contains(err.Error(), root) {
		t.Errorf("a store that is not writable: %v", err)
	}
}

// TestFull: a store without room takes nothing, says so, and keeps what it has. /dev/full answers every write with ENOSPC.
func TestFull(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	u, err := s.Begin(t.Context(), "c0", "c0-20260102T000000Z")
	if err != nil {
		t.Fatal(err)
	}
	before, err := u.Put(t.Context(), "before", strings.NewReader("kept"))
	if err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(root, "c0", "backups", "c0-20260102T000000Z", "data", "big.part")
	if err := os.Symlink("/dev/full", part); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Put(t.Context(), "big", strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), "no space left") || !strings.Contains(err.Error(), root) {
		t.Errorf("a full store: %v", err)
	}
	if r, err := s.Open(t.Context(), "c0", "c0-20260102T000000Z", before.Name); err != nil {
		t.Error(err)
	} else {
		r.Close()
	}
	if l, err := s.List(t.Context(), "c0"); err != nil || len(l.Backups) != 0 {
		t.Errorf("visible: %+v, %v", l, err)
	}
}

// TestDamaged: manifests and entries that are torn or of somebody else are named and are no backups; the others stay.
func TestDamaged(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	for _, id := range []string{"c0-20260102T000000Z", "c0-20260103T000000Z", "c0-20260104T000000Z"} {
		u, err := s.Begin(t.Context(), "c0", id)
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Commit(t.Context(), storetest.Manifest(id)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"l1", "l2"} {
		if err := s.PutLog(t.Context(), storetest.Log("c0", name, "x"), strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	manifest := func(id string) string { return filepath.Join(root, "c0", "backups", id, "manifest.json") }
	text, err := os.ReadFile(manifest("c0-20260102T000000Z"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(manifest("c0-20260103T000000Z"), text, 0o600); err != nil { // another's
		t.Fatal(err)
	}
	for _, path := range []string{manifest("c0-20260102T000000Z"), filepath.Join(root, "c0", "logs", "l1.json")} {
		if err := os.Truncate(path, 20); err != nil {
			t.Fatal(err)
		}
	}
	l, err := s.List(t.Context(), "c0")
	if err != nil || len(l.Backups) != 1 || len(l.Logs) != 1 || len(l.Damaged) != 3 || !strings.Contains(strings.Join(l.Damaged, " "), "c0-20260102T000000Z") {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := s.Manifest(t.Context(), "c0", "c0-20260102T000000Z"); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("a torn manifest: %v", err)
	}
}
