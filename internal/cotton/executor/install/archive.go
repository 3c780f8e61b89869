package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/process"
)

// Archive unpacks a server's tar archive, as MySQL publishes them, from a URI: a path, file://, http:// or https://. The
// package is "<uri>#sha256=<hex>"; over a network the sum is required, since whoever can change the archive runs programs
// on every agent. What is unpacked stays for the next instance of the host. Without a package it is Host.
type Archive struct {
	Dir  string // of what is unpacked, shared by all executors of the host
	Host        // for clusters without a package
}

var _ Installer = Archive{}

// Install fetches and unpacks a package unless it is there already.
func (a Archive) Install(ctx context.Context, pkg string) (mysqld.Install, error) {
	if pkg == "" {
		return a.Host.Install(ctx, "")
	}
	uri, sum, err := parsePackage(pkg)
	if err != nil {
		return mysqld.Install{}, fmt.Errorf("install package %s: %w", pkg, err)
	}
	name := sha256.Sum256([]byte(pkg))
	dir := filepath.Join(a.Dir, hex.EncodeToString(name[:8]))
	if err := a.unpackOnce(ctx, dir, uri, sum); err != nil {
		return mysqld.Install{}, fmt.Errorf("install package %s: %w", pkg, err)
	}
	program, err := findProgram(dir)
	if err != nil {
		return mysqld.Install{}, fmt.Errorf("install package %s: %w", pkg, err)
	}
	return mysqld.Inspect(ctx, program, a.Dir)
}

func parsePackage(pkg string) (uri, sum string, err error) {
	uri, fragment, _ := strings.Cut(pkg, "#")
	sum, _ = strings.CutPrefix(fragment, "sha256=")
	u, err := url.Parse(uri)
	if err != nil {
		return "", "", err
	}
	switch u.Scheme {
	case "", "file":
		return u.Path, sum, nil
	case "http", "https":
		if len(sum) != 2*sha256.Size {
			return "", "", errors.New("want <uri>#sha256=<64 hexadecimal digits>: what is fetched over a network must be what was meant")
		}
		return uri, sum, nil
	}
	return "", "", fmt.Errorf("scheme %q is not known: want a path, file://, http:// or https://", u.Scheme)
}

// unpackOnce makes dir; of several processes one does it and the others wait.
func (a Archive) unpackOnce(ctx context.Context, dir, uri, sum string) error {
	if err := os.MkdirAll(a.Dir, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close() // gives the lock up, too
	if err := waitForLock(ctx, lock); err != nil {
		return err
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	build := dir + ".build"
	if err := errors.Join(os.RemoveAll(build), os.MkdirAll(build, 0o755)); err != nil {
		return err
	}
	defer os.RemoveAll(build)
	archive := filepath.Join(build, ".archive")
	if err := fetch(ctx, uri, archive, sum); err != nil {
		return err
	}
	var says strings.Builder
	tar := exec.Command("tar", "-xf", archive, "-C", build, "--no-same-owner")
	tar.Stderr = &says
	if err := process.Run(ctx, tar); err != nil {
		return fmt.Errorf("unpack: %w: %s", err, strings.TrimSpace(says.String()))
	}
	if err := os.Remove(archive); err != nil {
		return err
	}
	return os.Rename(build, dir)
}

func waitForLock(ctx context.Context, f *os.File) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for another executor that unpacks the same: %w", context.Cause(ctx))
		}
	}
}

// fetch copies what a URI names to a file and checks its sum, where there is one.
func fetch(ctx context.Context, uri, to, sum string) error {
	in, err := open(ctx, uri)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, hash), in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); sum != "" && !strings.EqualFold(got, sum) {
		return fmt.Errorf("its sha256 is %s, not the one that was asked for", got)
	}
	return nil
}

func open(ctx context.Context, uri string) (io.ReadCloser, error) {
	if !strings.HasPrefix(uri, "http://") && !strings.HasPrefix(uri, "https://") {
		return os.Open(uri)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s answers %s", req.URL.Host, resp.Status), resp.Body.Close())
	}
	return resp.Body, nil
}

// findProgram looks where archives of MySQL have it: below at most one directory of their own.
func findProgram(dir string) (string, error) {
	for _, pattern := range []string{"bin/mysqld", "sbin/mysqld", "usr/sbin/mysqld", "*/bin/mysqld", "*/sbin/mysqld"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err == nil && len(found) > 0 {
			return found[0], nil
		}
	}
	return "", errors.New("the archive holds no bin/mysqld")
}
