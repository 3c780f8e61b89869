// Package install brings a MySQL server to an agent. Host takes the one that is there; Archive unpacks one from a URI.
package install

import (
	"context"

	"github.com/aosc/aosc/internal/mysqld"
)

// Installer is the port: it returns a server's programs, for the package that a cluster asked for. It may be asked by
// several executors of one host at once.
type Installer interface {
	Install(ctx context.Context, pkg string) (mysqld.Install, error)
}
