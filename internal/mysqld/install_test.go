package mysqld

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// program makes something that answers --version as a mysqld would.
func program(t *testing.T, path, answer string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+answer+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFind: the first program that serves is taken, those that do not are passed over, and if none serves the error
// says what was wrong with each and what to do.
func TestFind(t *testing.T) {
	const (
		mysql9  = "/x/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))"
		mysql80 = "/usr/sbin/mysqld  Ver 8.0.23 for Linux on x86_64 (MySQL Community Server - GPL)"
		percona = "mysqld  Ver 8.0.36-28 for Linux on x86_64 (Percona Server (GPL), Release 28)"
		old     = "mysqld  Ver 8.0.22 for Linux on x86_64 (MySQL Community Server - GPL)"
		maria   = "mysqld  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)"
		broken  = "mysqld: cannot open shared object file"
	)
	for _, tc := range []struct {
		name    string
		system  []string
		private string // "" = none
		want    string // build
		refused []string
	}{
		{"system first", []string{mysql80}, mysql9, "8.0.23", nil},
		{"a flavour that serves", []string{percona}, mysql9, "8.0.36-28", nil},
		{"MariaDB passed over", []string{maria}, mysql9, "9.7.4-2", nil},
		{"old and broken passed over", []string{old, broken, mysql80}, mysql9, "8.0.23", nil},
		{"only the private copy", nil, mysql9, "9.7.4-2", nil},
		{"none serves", []string{maria, old, broken}, "", "", []string{"MariaDB", "8.0.22", "cannot open", "make tools", "looked for", "PATH"}},
		{"nothing there", nil, "", "", []string{"make tools"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			var places []string
			for i, answer := range tc.system {
				places = append(places, program(t, filepath.Join(dir, string(rune('a'+i)), "mysqld"), answer))
			}
			tools := filepath.Join(dir, "tools")
			if tc.private != "" {
				program(t, filepath.Join(tools, "mysql", "bin", "mysqld"), tc.private)
			}
			in, err := find(t.Context(), tools, places)
			err = advise(tools, err)
			if in.Build != tc.want {
				t.Errorf("took %q, want %q (%v)", in.Build, tc.want, err)
			}
			if (tc.want == "") != errors.Is(err, ErrNoInstall) {
				t.Errorf("error %v", err)
			}
			for _, part := range tc.refused {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not name %q: %v", part, err)
				}
			}
		})
	}
}

// TestCopySparse: a copy is equal to the letter whatever its size, and zeros take no room.
// TestToolsWithoutHome: an executor of Mesos has no HOME, and works elsewhere than in a checkout.
func TestToolsWithoutHome(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Skip("this account is not known: ", err)
	}
	t.Setenv("AOSC_TOOLS", "")
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Chdir(t.TempDir())
	dir, err := Tools()
	if want := filepath.Join(me.HomeDir, ".cache", "aosc"); err != nil || dir != want {
		t.Errorf("%q, %v; want %q", dir, err, want)
	}
}

// TestOwnDir: what is in a place where everybody may write is used only if nobody else wrote it.
func TestOwnDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "aosc")
	for range 2 { // made, and found
		if got, err := ownDir(dir); err != nil || got != dir {
			t.Fatalf("%q, %v", got, err)
		}
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("made with %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	if _, err := ownDir(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("one that others may write into: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if _, err := ownDir(link); err == nil {
		t.Error("a link is taken")
	}
}

func TestCopySparse(t *testing.T) {
	dir := t.TempDir()
	random := make([]byte, 3*copyGrain)
	for i := range random {
		random[i] = byte(rand.IntN(256))
	}
	for name, content := range map[string][]byte{
		"empty":            {},
		"one byte":         {7},
		"zero bytes":       make([]byte, 5),
		"hole":             make([]byte, 200*copyGrain),
		"odd hole":         make([]byte, 200*copyGrain+3),
		"hole in between":  bytes.Join([][]byte{random, random}, make([]byte, 100*copyGrain)),
		"not on the grain": bytes.Join([][]byte{random[:777], random[:99]}, make([]byte, 100*copyGrain)),
		"full":             bytes.Repeat(random, 50),
	} {
		t.Run(name, func(t *testing.T) {
			from, to := filepath.Join(dir, name), filepath.Join(dir, name+".copy")
			if err := os.WriteFile(from, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := copyFile(to, from); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(to)
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("the copy differs (%d of %d bytes, %v)", len(got), len(content), err)
			}
			info, err := os.Stat(to)
			if err != nil {
				t.Fatal(err)
			}
			if used := info.Sys().(*syscall.Stat_t).Blocks * 512; name == "hole" && used > 2*copyGrain {
				t.Errorf("a file of zeros takes %d bytes", used)
			}
		})
	}
}
