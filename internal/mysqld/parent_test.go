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

	"github.com/aosc/aosc/internal/mysqld"
)

// parent is what the child process of TestParentDies does: it starts a server from a goroutine whose thread ends at
// once, which must not end the server, prints the server's pid, and waits to be killed.
func parent() {
	started := make(chan *mysqld.Server)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		s, err := mysqld.Start(context.Background(), mysqld.Options{Dir: os.Getenv("AOSC_TEST_PARENT")})
		if err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		started <- s
	}()
	s := <-started
	if err := s.DB().Ping(); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("pid", s.Pid())
	select {}
}

// orphan starts this test binary as parent, and kills it when its server runs.
func orphan(t *testing.T) (pid int, dir string) {
	t.Helper()
	dir = t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestParentDies$")
	cmd.Env = append(os.Environ(), "AOSC_TEST_PARENT="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
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
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // it was killed
	if pid == 0 {
		t.Fatalf("no server was started: %s", strings.Join(seen, "\n"))
	}
	return pid, dir
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
