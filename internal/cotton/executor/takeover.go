package executor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// takeOver ends a mysqld that still works on a data directory that is about to be used: one that outlived the executor
// that started it. The kernel kills a mysqld with its executor, so this is for what that misses (an executor of another
// version, a container that was moved). Two servers never work on one data directory (I2).
//
// A process is taken for that mysqld only if the pid file names it and its working directory is the data directory.
func takeOver(ctx context.Context, dir string, grace time.Duration) (ended int, err error) {
	datadir := filepath.Join(dir, "data")
	text, err := os.ReadFile(filepath.Join(dir, "mysqld.pid"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 || !worksIn(pid, datadir) {
		return 0, nil // long gone; the server replaces the file
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return 0, fmt.Errorf("end mysqld %d, which still works on %s: %w", pid, datadir, err)
		}
		if gone(ctx, pid, datadir) {
			return pid, nil
		}
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second) // for the second signal
		defer cancel()
	}
	return 0, fmt.Errorf("mysqld %d still works on %s and does not end, not even by SIGKILL", pid, datadir)
}

func worksIn(pid int, datadir string) bool {
	cwd, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return false
	}
	want, err := os.Stat(datadir)
	return err == nil && os.SameFile(cwd, want)
}

func gone(ctx context.Context, pid int, datadir string) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for worksIn(pid, datadir) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
