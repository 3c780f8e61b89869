// Package process runs child processes that never outlive this one, are always reaped, and can be frozen.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is one child. A goroutine of its own waits for it, so it is reaped whether anybody asks or not.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once the process is reaped
	err  error         // how it ended; read only after done
}

// Start starts a command that dies with us: when this process ends in whatever way, the kernel kills the child. The
// command's SysProcAttr is ours; all else is the caller's.
//
// Linux ties that to the thread that forked, not to the process, and Go ends threads (of goroutines that exit while
// locked to theirs). So the goroutine that forks keeps its thread for itself until the child has ended. The child gets
// a process group of its own: a Ctrl-C is for us, who then stop it in good order.
func Start(cmd *exec.Cmd) (*Process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// Pid is the process id; it may be another's once the process has ended.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns when the process has ended, with how: nil for exit status 0.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// WaitFor is Wait until ctx ends; then its cause is the error.
func (p *Process) WaitFor(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Ended tells whether the process is gone, without waiting.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends to the process itself: os.Process makes sure that a pid given to another process meanwhile is not hit.
// That it has ended already is no error.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to process %d: %w", sig, p.Pid(), err)
	}
	return nil
}

// Kill ends the process at once and waits until it is gone.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// ErrKilled is returned by Stop, wrapped, when the process did not end in time by itself.
var ErrKilled = errors.New("did not stop in time and was killed")

// Stop asks the process to end (SIGTERM; a frozen one is thawed for it) and waits. When ctx ends first it is killed. The
// error is ErrKilled, or how the process ended.
func (p *Process) Stop(ctx context.Context) error {
	if p.Ended() {
		return nil
	}
	if err := errors.Join(p.Signal(syscall.SIGTERM), p.Thaw()); err != nil {
		return err
	}
	if err := p.WaitFor(ctx); !p.Ended() {
		return errors.Join(fmt.Errorf("%w: %w", ErrKilled, err), p.Kill())
	}
	return p.err
}

// Thaw lets a frozen process go on.
func (p *Process) Thaw() error { return p.Signal(syscall.SIGCONT) }

// Freeze stops all threads of the process (SIGSTOP) and returns when it really stands still: the signal alone only asks
// for it.
func (p *Process) Freeze() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		// WNOWAIT leaves the news to whoever reaps the process.
		var news unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.Pid(), &news, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil && news.Code == cldStopped:
			return nil
		case err == nil || errors.Is(err, unix.ECHILD):
			return fmt.Errorf("process %d cannot be frozen: it has ended", p.Pid())
		}
		return fmt.Errorf("freeze process %d: %w", p.Pid(), err)
	}
}

// cldStopped is CLD_STOPPED of <signal.h>: the child was stopped by a signal.
const cldStopped = 5

// Run starts a command and waits until it has ended. The end of ctx kills it.
func Run(ctx context.Context, cmd *exec.Cmd) error {
	p, err := Start(cmd)
	if err != nil {
		return err
	}
	if err := p.WaitFor(ctx); !p.Ended() {
		return errors.Join(err, p.Kill())
	}
	return p.err
}
