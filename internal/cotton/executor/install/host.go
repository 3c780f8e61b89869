package install

import (
	"context"
	"fmt"

	"github.com/aosc/aosc/internal/mysqld"
)

// Host takes the mysqld that is installed on the agent. Its zero value is ready for use.
type Host struct{}

var _ Installer = Host{}

// Install fails on an agent without a usable mysqld, and for a cluster that asks for a package.
func (Host) Install(ctx context.Context, pkg string) (mysqld.Install, error) {
	if pkg != "" {
		return mysqld.Install{}, fmt.Errorf("the cluster asks for package %q, and this executor takes the host's mysqld only: start it with an archive installer, or create the cluster without a package", pkg)
	}
	return mysqld.Find(ctx)
}
