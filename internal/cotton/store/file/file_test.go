package file_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/cotton/store/file"
	"github.com/aosc/aosc/internal/cotton/store/storetest"
	"github.com/aosc/aosc/internal/fault"
)

type backing struct{ dir string }

func (b backing) Open(t *testing.T) store.Store {
	t.Helper()
	s, err := file.Open(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (b backing) WriteRaw(t *testing.T, cluster string, value []byte) {
	t.Helper()
	content := fmt.Appendf(nil, `{"version":1,"value":%s}`, value)
	if err := os.WriteFile(filepath.Join(b.dir, "clusters", cluster+".json"), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (b backing) ReadRaw(t *testing.T, cluster string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(b.dir, "clusters", cluster+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Backing { return backing{filepath.Join(t.TempDir(), "store")} })
}

// TestPrivate: the store holds password hashes.
func TestPrivate(t *testing.T) {
	b := backing{filepath.Join(t.TempDir(), "store")}
	s := b.Open(t)
	defer s.Close()
	if _, _, err := s.Lead(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), storetest.Record("c0")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(b.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLockFileReplaced: who removed the lock file may have let another one lead; the first notices before it writes.
func TestLockFileReplaced(t *testing.T) {
	b := backing{t.TempDir()}
	first, second := b.Open(t), b.Open(t)
	defer first.Close()
	defer second.Close()
	lost, release, err := first.Lead(t.Context(), "first")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := os.Remove(filepath.Join(b.dir, "leader.lock")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := second.Lead(t.Context(), "second"); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Put(t.Context(), storetest.Record("c0")); !errors.Is(err, store.ErrNotLeader) {
		t.Errorf("the first writes: %v", err)
	}
	select {
	case <-lost:
	default:
		t.Error("the first does not know that its lead is lost")
	}
	if _, err := second.Put(t.Context(), storetest.Record("c0")); err != nil {
		t.Error(err)
	}
}

// TestKilledWhileWriting (I8): a process killed between writing and renaming leaves the old record, and the lock free.
func TestKilledWhileWriting(t *testing.T) {
	const dirEnv = "STORE_TEST_DIR"
	if dir := os.Getenv(dirEnv); dir != "" { // the process to be killed
		s := backing{dir}.Open(t)
		if _, _, err := s.Lead(t.Context(), "victim"); err != nil {
			t.Fatal(err)
		}
		all, err := s.Clusters(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all[0].Epoch = 99
		_, err = s.Put(t.Context(), all[0])
		t.Fatalf("survived: %v", err)
	}
	b := backing{t.TempDir()}
	s := b.Open(t)
	defer s.Close()
	_, release, err := s.Lead(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), storetest.Record("c0")); err != nil {
		t.Fatal(err)
	}
	release()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWhileWriting$")
	cmd.Env = append(os.Environ(), dirEnv+"="+b.dir, fault.EnvVar+"=cotton.store.file.written=kill")
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the victim ended with %v, not by SIGKILL:\n%s", err, output)
	}
	if _, _, err := s.Lead(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	all, err := s.Clusters(t.Context())
	if err != nil || len(all) != 1 || all[0].Epoch != storetest.Record("c0").Epoch {
		t.Fatalf("after the crash: %+v, %v", all, err)
	}
	all[0].Epoch = 100
	if _, err := s.Put(t.Context(), all[0]); err != nil {
		t.Error(err)
	}
}
