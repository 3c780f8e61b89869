package ghost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/osc/copy"
)

// logTail is how much of a child's log is kept for errors.
const logTail = 16 << 10

// child is a running gh-ost as its parent sees it.
type child struct {
	cmd    *exec.Cmd
	stdin  io.Closer // closing it ends the child
	socket string
	log    *tail
	exited chan struct{} // closed when the process has ended and its output has been read

	mu      sync.Mutex
	status  Status
	changed chan struct{} // closed at the next status
}

// startChild starts the process and gives it its orders. It runs until it ends by itself or by stop.
func startChild(argv []string, spec Spec) (*child, error) {
	if len(argv) == 0 {
		return nil, errors.New("no command line to start the gh-ost child with")
	}
	c := &child{cmd: exec.Command(argv[0], argv[1:]...), socket: spec.SocketFile, log: &tail{limit: logTail},
		exited: make(chan struct{}), changed: make(chan struct{})}
	c.cmd.Stderr = c.log
	c.cmd.WaitDelay = 5 * time.Second
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the gh-ost child (%s): %w", strings.Join(argv, " "), err)
	}
	c.stdin = stdin
	go c.read(stdout)
	if err := spec.Write(stdin); err != nil {
		c.kill()
		return nil, fmt.Errorf("give the gh-ost child its orders: %w\n%s", err, c.log)
	}
	return c, nil
}

// read follows the child's output to its end. How the process ended is of no interest: the server is asked instead.
func (c *child) read(stdout io.Reader) {
	defer close(c.exited)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if s, ok := ParseStatus(lines.Bytes()); ok {
			c.set(s)
			continue
		}
		fmt.Fprintln(c.log, lines.Text())
	}
	_, _ = io.Copy(io.Discard, stdout) // an overlong line must not block the child
	_ = c.cmd.Wait()
}

func (c *child) set(s Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = s
	close(c.changed)
	c.changed = make(chan struct{})
}

// latest is the newest status, and a channel that is closed when there is a newer one.
func (c *child) latest() (Status, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status, c.changed
}

// await waits until a status satisfies done. It ends with ctx, whose cause tells when the child has died.
func (c *child) await(ctx context.Context, done func(Status) (bool, error)) error {
	for {
		status, changed := c.latest()
		if ok, err := done(status); ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// command sends one command to gh-ost.
func (c *child) command(ctx context.Context, command string) error {
	_, err := Command(ctx, c.socket, command)
	return err
}

// panicGrace is how long gh-ost has to obey "panic" before it is killed. Either leaves the same behind.
const panicGrace = 500 * time.Millisecond

// stop ends the child and returns when it is gone.
func (c *child) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), panicGrace)
	defer cancel()
	if c.command(ctx, CommandPanic) == nil {
		select {
		case <-c.exited:
		case <-ctx.Done():
		}
	}
	c.kill()
}

// abandon is SIGKILL without waiting for the end.
func (c *child) abandon() { _ = c.cmd.Process.Kill() }

// kill is SIGKILL: gh-ost is made to survive it at any point, it has no clean-up of its own.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended already
	_ = c.stdin.Close()
	<-c.exited
}

// failure is what the child said last, for an error.
func (c *child) failure() string {
	status, _ := c.latest()
	if status.Error != "" {
		return status.Error
	}
	if text := c.log.lastError(); text != "" {
		return text
	}
	return "it ended without saying why"
}

// ended is the error of a child that ended on its own.
func (c *child) ended() error { return &endedError{c.failure()} }

// tail keeps the end of what is written to it.
type tail struct {
	limit int
	mu    sync.Mutex
	text  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if extra := len(t.text) - t.limit; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// lastError is the last line that gh-ost logged as fatal or as an error.
func (t *tail) lastError() string {
	var last string
	for line := range strings.Lines(t.String()) {
		for _, level := range []string{" FATAL ", " ERROR ", "panic: "} {
			if _, text, ok := strings.Cut(line, level); ok {
				last = copy.Abridged(text) // it may hold whole statements, rows and all
			}
		}
	}
	return last
}
