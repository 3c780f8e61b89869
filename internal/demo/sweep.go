package demo

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// dyingLimit is how long the processes that cotton has killed may take to be gone.
const dyingLimit = 20 * time.Second

// sweep kills executors that are still there after cotton has ended: instances outlive a scheduler that dies, which is
// what they are made for, and not what a demo should leave behind. A mysqld dies with its executor. There are none unless
// something went wrong, so that some were found is an error.
func (r *room) sweep() error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	left, err := r.executors()
	for deadline := time.Now().Add(dyingLimit); err == nil && len(left) > 0 && time.Now().Before(deadline); <-tick.C {
		left, err = r.executors()
	}
	errs := []error{err}
	for _, pid := range left {
		errs = append(errs, fmt.Errorf("process %d had outlived cotton and was killed", pid))
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("kill process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// executors are the processes that the agents of this room started, and theirs.
func (r *room) executors() ([]int, error) {
	found, err := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, path := range found {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && ours(path, r.mesosPath()) {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// ours tells whether a process was started by the agents whose directory that is.
func ours(environ, dir string) bool {
	text, err := os.ReadFile(environ) // of another account, or gone: not ours
	return err == nil && bytes.Contains(append([]byte{0}, text...), []byte("\x00MESOS_SANDBOX="+dir+"/"))
}
