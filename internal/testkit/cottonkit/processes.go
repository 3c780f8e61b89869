package cottonkit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// processesOf are the processes of a task, those with args in their command line: found by the environment that an agent
// gives to an executor, and an executor to its mysqld.
func (s *Site) processesOf(task, args string) []int {
	var pids []int
	found, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range found {
		env, err := os.ReadFile(path)
		env = append([]byte{0}, env...) // the first entry, too, has an end before it
		if err != nil || !bytes.Contains(env, []byte("\x00MESOS_SANDBOX="+s.Dir+"/")) ||
			task != "" && !bytes.Contains(env, []byte("\x00MESOS_EXECUTOR_ID="+task+"\x00")) {
			continue
		}
		line, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err != nil || !bytes.Contains(line, []byte(args)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Mysqld is the process of a task's server; 0 when there is none at this moment.
func (s *Site) Mysqld(task string) int { return one(s.processesOf(task, "--defaults-file")) }

// Executor is the process of a task's executor; 0 when there is none.
func (s *Site) Executor(task string) int { return one(s.processesOf(task, "cotton\x00executor")) }

func one(pids []int) int {
	if len(pids) == 0 {
		return 0
	}
	return pids[0]
}

// Signal sends a signal to a process of this site.
func (s *Site) Signal(pid int, sig syscall.Signal) {
	s.T.Helper()
	if pid <= 1 {
		s.T.Fatalf("there is no process to send %v to", sig)
	}
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		s.T.Fatal(fmt.Errorf("send %v to %d: %w", sig, pid, err))
	}
}

// thawAll lets what a failed test left frozen go on, so that it can end.
func (s *Site) thawAll() {
	for _, pid := range s.processesOf("", "") {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}
