package ghost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Commands of gh-ost's socket.
const (
	CommandThrottle   = "throttle"    // rest: no rows copied, no changes applied, no heartbeats
	CommandNoThrottle = "no-throttle" // go on
	CommandUnpostpone = "unpostpone"  // cut over
	CommandPanic      = "panic"       // end at once, leaving tables behind
	CommandStatus     = "sup"
)

// maxSocketPath is what sun_path holds, less its terminating zero.
const maxSocketPath = 107

// socketDirs begins the names of the directories of sockets.
const socketDirs = "aosc-g"

// SocketDir makes a private directory for a child's socket and returns the socket's path. remove takes both away. It also
// takes away what killed processes have left.
func SocketDir() (path string, remove func() error, err error) {
	sweepSockets(os.TempDir())
	dir, err := os.MkdirTemp("", socketDirs) // mode 0700: whoever can open the socket can command a cut-over
	if err != nil {
		return "", nil, fmt.Errorf("directory for gh-ost's socket: %w", err)
	}
	remove = func() error { return os.RemoveAll(dir) }
	path = filepath.Join(dir, "s")
	if len(path) > maxSocketPath {
		return "", nil, errors.Join(fmt.Errorf("path of gh-ost's socket is longer than %d bytes: %s (set TMPDIR to a shorter one)",
			maxSocketPath, path), remove())
	}
	return path, remove, nil
}

// abandoned is the age from which a directory without a listener is nobody's: a child listens within minutes or not at all.
const abandoned = 10 * time.Minute

// sweepSockets removes directories whose process is gone. What it cannot remove (another user's) it leaves.
func sweepSockets(tmp string) {
	dirs, err := filepath.Glob(filepath.Join(tmp, socketDirs+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < abandoned {
			continue
		}
		if conn, err := net.Dial("unix", filepath.Join(dir, "s")); err == nil {
			conn.Close()
			continue
		}
		_ = os.Remove(filepath.Join(dir, "s"))
		_ = os.Remove(dir)
	}
}

// answerLimit is how long a child may take to answer: a stopped one never does.
const answerLimit = 5 * time.Second

// Command sends one command to a child's socket and returns the answer. It ends with ctx at once.
func Command(ctx context.Context, socket, command string) (string, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return "", fmt.Errorf("gh-ost command %q: %w", command, err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return "", fmt.Errorf("gh-ost command %q: %w", command, err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })() // a closed one needs none
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", fmt.Errorf("gh-ost command %q: %w", command, err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return "", fmt.Errorf("gh-ost command %q: %w", command, err)
	}
	return string(answer), nil
}

// Unpostpone commands the cut-over. gh-ost obeys only while it is postponing: false means that it is not, now.
func Unpostpone(ctx context.Context, socket string) (bool, error) {
	answer, err := Command(ctx, socket, CommandUnpostpone)
	return strings.HasPrefix(answer, "Unpostponed"), err
}

var backlogText = regexp.MustCompile(`Applied: ([0-9]+); Backlog: ([0-9]+)/[0-9]+;`)

// Backlog is how many changes a child has applied so far, and how many it has read and not yet begun to apply. gh-ost
// tells the second only in its status line.
func Backlog(ctx context.Context, socket string) (applied, waiting int, err error) {
	answer, err := Command(ctx, socket, CommandStatus)
	if err != nil {
		return 0, 0, err
	}
	m := backlogText.FindStringSubmatch(answer)
	if m == nil {
		return 0, 0, fmt.Errorf("gh-ost status without a backlog: %q", answer)
	}
	if applied, err = strconv.Atoi(m[1]); err == nil {
		waiting, err = strconv.Atoi(m[2])
	}
	return applied, waiting, err
}
