package mysqld_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/process"
)

// parent is what the child process of TestParentDies does: it starts a server from a goroutine whose thread ends, which
// must not end the server, prints the server's pid, and waits to be killed.
func parent() {
	if err := startAndWait(os.Getenv("AOSC_TEST_PARENT")); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func startAndWait(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var s *mysqld.Server
	var err error
	thread := onDyingThread(func() { s, err = mysqld.Start(ctx, mysqld.Options{Dir: dir}) })
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for exists := true; exists; {
		select {
		case <-tick.C:
			_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", thread))
			exists = err == nil
		case <-ctx.Done():
			return fmt.Errorf("thread %d does not end", thread)
		}
	}
	if _, err := s.DB().ExecContext(ctx, "DO SLEEP(0.1)"); err != nil {
		return fmt.Errorf("the server did not outlive the thread that asked for it: %w", err)
	}
	fmt.Println("pid", s.Pid())
	return s.Wait() // until we are killed
}

// onDyingThread runs fn on a thread that ends afterwards, and tells which. Go ends the thread of a goroutine that exits
// while locked to it, except for the process's first thread.
func onDyingThread(fn func()) (thread int) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked
		thread = unix.Gettid()
		if thread == os.Getpid() {
			thread = onDyingThread(fn) // another, as this one is taken
			return
		}
		fn()
	}()
	<-done
	return thread
}

// orphan starts this test binary as parent, and kills it when its server runs.
func orphan(t *testing.T) (pid int) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestParentDies$")
	cmd.Env = append(os.Environ(), "AOSC_TEST_PARENT="+t.TempDir())
	cmd.Stdout = in
	p, err := process.Start(cmd)
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var seen []string
	for lines.Scan() {
		seen = append(seen, lines.Text())
		if _, err := fmt.Sscanf(lines.Text(), "pid %d", &pid); err == nil {
			break
		}
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if pid == 0 {
		t.Fatalf("no server was started: %s", strings.Join(seen, "\n"))
	}
	return pid
}

// zombie tells whether a process is dead and only waits for its new parent to notice.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}
