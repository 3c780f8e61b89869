package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

// localConn marks connections through the Unix socket.
type localConn struct{}

func markLocal(ctx context.Context, c net.Conn) context.Context {
	if c.LocalAddr().Network() == "unix" {
		return context.WithValue(ctx, localConn{}, true)
	}
	return ctx
}

// isLocal tells whether a request came through the Unix socket, which only the scheduler's own account, and root, can open.
func isLocal(r *http.Request) bool { return r.Context().Value(localConn{}) != nil }

// listenUnix makes the socket, in a directory that only its owner may enter. One that is there and that nobody serves is of
// a scheduler that was killed.
func listenUnix(workDir, addr string) (net.Listener, error) {
	path, err := v1.Socket(workDir, addr)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the API's socket: %w; give another --work-dir", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep others out of the directory of the API's socket: %w; give another --work-dir", err)
	}
	if c, err := net.Dial("unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("another scheduler serves the socket %s: give another --work-dir or port", path), c.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the socket of a former scheduler: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for the API on the socket %s: %w; a path has at most 107 bytes: give another --work-dir", path, err)
	}
	return listener, nil
}
