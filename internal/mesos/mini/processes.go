package mini

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// processes watches the executors of all agents: those it started, which it
// must reap, and those found again after a restart, which are not its
// children. They are looked at in turn, since a process that is no child
// cannot be waited for.
type processes struct {
	stopping chan struct{}
	done     chan struct{}

	mu      sync.Mutex
	watched map[int]watch
}

// watch is one process. ticks is when it was started, in the kernel's count
// since boot: a pid with other ticks is another process.
type watch struct {
	ticks  uint64
	exited func(status int) // raw wait status, 0 when it is not known
}

const watchInterval = 50 * time.Millisecond

func newProcesses() *processes {
	p := &processes{stopping: make(chan struct{}), done: make(chan struct{}), watched: map[int]watch{}}
	go p.run()
	return p
}

func (p *processes) run() {
	defer close(p.done)
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.stopping:
			return
		case <-tick.C:
			p.look()
		}
	}
}

func (p *processes) stop() {
	close(p.stopping)
	<-p.done
}

func (p *processes) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pid, w := range p.watched {
		if status, over := reap(pid, w.ticks); over {
			delete(p.watched, pid)
			if w.exited != nil {
				w.exited(status)
			}
		}
	}
}

// reap reports whether a process is over, and how it ended if it was ours.
func reap(pid int, ticks uint64) (status int, over bool) {
	var ws syscall.WaitStatus
	got, err := syscall.Wait4(pid, &ws, syscall.WNOHANG, nil)
	switch {
	case got == pid:
		return int(ws), true
	case err == nil:
		return 0, false
	}
	now, ok := startTicks(pid)
	return 0, !ok || now != ticks
}

// start runs a command in a session of its own, with its output in files of
// its directory.
func (p *processes) start(dir string, argv, env []string) (pid int, ticks uint64, err error) {
	files := make([]*os.File, 3)
	defer func() {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}()
	if files[0], err = os.Open(os.DevNull); err != nil {
		return 0, 0, err
	}
	for i, name := range []string{"stdout", "stderr"} {
		files[i+1], err = os.OpenFile(dir+"/"+name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return 0, 0, err
		}
	}
	proc, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Dir: dir, Env: env, Files: files, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return 0, 0, err
	}
	pid = proc.Pid
	ticks, _ = startTicks(pid) // a child is there until it is reaped
	return pid, ticks, proc.Release()
}

// watch has exited called, once, when the process is over.
func (p *processes) watch(pid int, ticks uint64, exited func(status int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watched[pid] = watch{ticks: ticks, exited: exited}
}

// unwatch forgets who is to be told; the process is still reaped.
func (p *processes) unwatch(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w, ok := p.watched[pid]; ok {
		w.exited = nil
		p.watched[pid] = w
	}
}

// alive reports whether the process that was started at ticks still runs.
func alive(pid int, ticks uint64) bool {
	now, ok := startTicks(pid)
	return ok && now == ticks
}

// stat is what is needed of /proc/<pid>/stat.
type stat struct {
	state   string
	session int
	ticks   uint64
}

func readStat(pid int) (stat, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, false
	}
	// The name, in parentheses, may hold anything: fields count from the last
	// of them.
	at := strings.LastIndexByte(string(data), ')')
	fields := strings.Fields(string(data[at+1:]))
	if at < 0 || len(fields) < 20 {
		return stat{}, false
	}
	session, err1 := strconv.Atoi(fields[3])
	ticks, err2 := strconv.ParseUint(fields[19], 10, 64)
	return stat{state: fields[0], session: session, ticks: ticks}, err1 == nil && err2 == nil
}

// startTicks is when a process was started; ok is false when there is none, or
// only its zombie.
func startTicks(pid int) (ticks uint64, ok bool) {
	s, ok := readStat(pid)
	return s.ticks, ok && s.state != "Z" && s.state != "X"
}

// killSession ends every process of an executor's session: as the end of its
// container does. The executor itself may be gone already.
func killSession(pid int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		slog.Error("mini: the processes of an executor cannot be listed", "pid", pid, "error", err)
		return
	}
	for _, e := range entries {
		member, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, ok := readStat(member); ok && s.session == pid {
			// It may have ended meanwhile, which is what is wanted.
			_ = syscall.Kill(member, syscall.SIGKILL)
		}
	}
}
