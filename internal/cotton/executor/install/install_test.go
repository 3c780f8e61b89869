package install_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aosc/aosc/internal/cotton/executor/install"
	"github.com/aosc/aosc/internal/mysqld"
)

// archive makes a tar archive with something that answers as a mysqld does, and returns its path and sum.
func archive(t *testing.T, answer string) (path, sum string) {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "mysql-9.9.9", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "mysqld"), []byte("#!/bin/sh\necho '"+answer+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "mysql.tar.gz")
	if out, err := exec.Command("tar", "-czf", path, "-C", dir, "mysql-9.9.9").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(text)
	return path, hex.EncodeToString(digest[:])
}

const mysql9 = "mysqld  Ver 9.9.9 for Linux on x86_64 (MySQL Community Server - GPL)"

// TestArchive: a package is fetched and unpacked once, however many executors want it at the same time, and never when
// its sum differs or it comes over a network without one.
func TestArchive(t *testing.T) {
	path, sum := archive(t, mysql9)
	fetched := 0
	var mu sync.Mutex
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		fetched++
		mu.Unlock()
		if r.URL.Path != "/mysql.tar.gz" {
			http.NotFound(w, r)
			return
		}
		http.ServeFile(w, r, path)
	}))
	defer web.Close()
	a := install.Archive{Dir: t.TempDir()}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			in, err := a.Install(t.Context(), web.URL+"/mysql.tar.gz#sha256="+sum)
			if err != nil || in.Build != "9.9.9" || in.Tools != a.Dir {
				t.Errorf("%+v, %v", in, err)
			}
		})
	}
	wg.Wait()
	if fetched != 1 {
		t.Errorf("fetched %d times", fetched)
	}
	if in, err := a.Install(t.Context(), path); err != nil || in.Build != "9.9.9" {
		t.Errorf("from a path: %+v, %v", in, err)
	}
	zeros := strings.Repeat("0", 64)
	old, _ := archive(t, strings.Replace(mysql9, "9.9.9", "5.7.44", 1))
	for pkg, want := range map[string]string{
		web.URL + "/mysql.tar.gz":                     "#sha256=",
		web.URL + "/mysql.tar.gz#sha256=" + zeros:     "not the one that was asked for",
		web.URL + "/none.tar.gz#sha256=" + zeros:      "404",
		path + "#sha256=" + zeros:                     "not the one that was asked for",
		"ftp://host/x":                                "scheme",
		path + ".none":                                "no such file",
		filepath.Join(filepath.Dir(path), "no\x00pe"): "install package",
		old: "5.7.44",
	} {
		if _, err := a.Install(t.Context(), pkg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", pkg, err, want)
		}
	}
	left, err := filepath.Glob(filepath.Join(a.Dir, "*.build"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestHost(t *testing.T) {
	if _, err := (install.Host{}).Install(t.Context(), "mysql-9"); err == nil || !strings.Contains(err.Error(), "archive installer") {
		t.Errorf("a package on a host without: %v", err)
	}
	program := filepath.Join(t.TempDir(), "mysqld")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho '"+mysql9+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if in, err := (install.Archive{Dir: t.TempDir(), Host: install.Host{Mysqld: program}}).Install(t.Context(), ""); err != nil ||
		in.Mysqld != program || in.Build != "9.9.9" {
		t.Errorf("the one that is named: %+v, %v", in, err)
	}
	if _, err := (install.Host{Mysqld: program + "x"}).Install(t.Context(), ""); !errors.Is(err, mysqld.ErrNoInstall) ||
		!strings.Contains(err.Error(), "COTTON_MYSQLD") {
		t.Errorf("one that is named and is not there: %v", err)
	}
	in, err := install.Archive{Dir: t.TempDir()}.Install(t.Context(), "")
	if err != nil && !errors.Is(err, mysqld.ErrNoInstall) || err == nil && in.Mysqld == "" {
		t.Errorf("%+v, %v", in, err)
	}
}
