package v1

import (
	"fmt"
	"net"
	"path/filepath"
)

// Socket is the path of the Unix socket by which a scheduler with that work directory that listens on host:port serves its
// own account.
func Socket(workDir, listen string) (string, error) {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("%q is not host:port: %w", listen, err)
	}
	dir, err := filepath.Abs(workDir)
	return filepath.Join(dir, "api", port+".sock"), err
}
