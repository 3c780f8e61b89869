package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/internal/cotton/executor"
	"github.com/aosc/aosc/internal/cotton/executor/install"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/mesos"
	"github.com/aosc/aosc/internal/mysqld"
)

// executorCommand is what Mesos runs. It is configured by flags in --executor-cmd or COTTON_* in --executor-env of the
// scheduler.
func executorCommand(stderr io.Writer) *cobra.Command {
	return daemonCommand(daemon.Spec{
		Name: "cotton executor", Short: "Runs one instance; started by Mesos", EnvPrefix: "COTTON",
		// Its facts go to the scheduler: no port of the host is needed for pages.
		OwnListen: "off",
		Keys: []daemon.Key{
			{Name: "config-template", Default: "", Help: "option file of this agent, whose [mysqld] section every instance gets; clusters may override it"},
			{Name: "mysqld", Default: "", Help: "path of this agent's mysqld, for clusters without a package; empty = searched: " +
				"on the PATH that Mesos gives executors, which is not the agent's, in the usual places, and in AOSC_TOOLS/mysql/bin"},
			{Name: "package-dir", Default: "", Help: "where packages are unpacked, shared by all instances of the agent; empty = packages in AOSC_TOOLS"},
			{Name: "program-dir", Default: "", Help: "where checksum and oscworker lie, for clusters with sidecars; empty = beside this program"},
			{Name: "start-limit", Default: 15 * time.Minute, Check: daemon.AtLeast("start-limit", time.Second),
				Help: "how long a start of mysqld may take, crash recovery among it"},
			{Name: "facts-interval", Default: 30 * time.Second, Check: daemon.AtLeast("facts-interval", time.Second),
				Help: "how often the state of mysqld and its disk is told to the scheduler"},
		},
		Run: runExecutor,
	}, "executor", stderr)
}

func runExecutor(ctx context.Context, env *daemon.Env) error {
	if env.Once {
		return errOnce
	}
	config, err := mesos.ExecutorFromEnvironment()
	if err != nil {
		return fmt.Errorf("this is started by a Mesos agent, not by hand: %w", err)
	}
	v := env.Config
	packages := v.GetString("package-dir")
	if packages == "" {
		tools, err := mysqld.Tools()
		if err != nil {
			return err
		}
		packages = filepath.Join(tools, "packages")
	}
	x, err := executor.New(executor.Config{
		Mesos: config, Installer: install.Archive{Dir: packages, Host: install.Host{Mysqld: v.GetString("mysqld")}},
		ConfigTemplate: v.GetString("config-template"), ProgramDir: v.GetString("program-dir"),
		StartLimit: v.GetDuration("start-limit"), FactsInterval: v.GetDuration("facts-interval"),
		Tool: "cotton " + daemon.Version(), Log: env.Log,
	})
	if err != nil {
		return err
	}
	return x.Run(ctx)
}
