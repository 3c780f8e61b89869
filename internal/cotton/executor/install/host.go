package install

import (
	"context"
	"errors"
	"fmt"

	"github.com/aosc/aosc/internal/mysqld"
)

// Host takes the mysqld that is installed on the agent. Its zero value is ready for use.
type Host struct {
	Mysqld string // its path; empty = it is searched
}

var _ Installer = Host{}

// Install fails on an agent without a usable mysqld, and for a cluster that asks for a package.
func (h Host) Install(ctx context.Context, pkg string) (mysqld.Install, error) {
	if pkg != "" {
		return mysqld.Install{}, fmt.Errorf("the cluster asks for package %q, and this executor takes the host's mysqld only: start it with an archive installer, or create the cluster without a package", pkg)
	}
	if h.Mysqld != "" {
		tools, err := mysqld.Tools()
		if err != nil {
			return mysqld.Install{}, err
		}
		in, err := mysqld.Inspect(ctx, h.Mysqld, tools)
		if err != nil {
			err = fmt.Errorf("COTTON_MYSQLD names the mysqld of this agent: %w", err)
		}
		return in, err
	}
	in, err := mysqld.Search(ctx)
	if errors.Is(err, mysqld.ErrNoInstall) {
		// Whoever reads this knows the scheduler's options, and may have a mysqld on the agent's PATH.
		err = fmt.Errorf("%w; a Mesos agent passes its own PATH on to no executor: have the scheduler say where mysqld is on the agents "+
			"(cotton scheduler --executor-env COTTON_MYSQLD=/path/to/bin/mysqld, or AOSC_TOOLS=DIR for DIR/mysql/bin/mysqld), "+
			"or create the cluster with a --package", err)
	}
	return in, err
}
