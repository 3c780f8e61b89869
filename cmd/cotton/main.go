// Command cotton launches MySQL clusters on Mesos: its scheduler, the executor that Mesos starts for each instance, and
// the commands that ask the scheduler for something.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/internal/daemon"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "cotton: "+strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := &cobra.Command{
		Use: "cotton", Short: "MySQL clusters on Mesos", Version: daemon.Version(), SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(schedulerCommand(stderr), executorCommand(stderr), createCommand(), deleteCommand(), listCommand(), showCommand(),
		endpointsCommand(), whyCommand(), logCommand(), switchoverCommand(), failoverCommand(), replaceCommand(), scaleCommand(), restartCommand(), configureCommand(),
		upgradeCommand(), cancelCommand(), drainCommand(), agentsCommand(), backupCommand(), backupsCommand(), tokenCommand(), keysCommand(), keyfileCommand(), versionCommand())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root.ExecuteContext(ctx)
}

// daemonCommand runs a daemon as a sub-command. The chassis reads its flags.
func daemonCommand(s daemon.Spec, use string, stderr io.Writer) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: s.Short, DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return daemon.Execute(cmd.Context(), s, args, cmd.OutOrStdout(), stderr)
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "cotton %s %s %s/%s\n", daemon.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// errOnce refuses --once of a daemon that has no passes.
var errOnce = errors.New("--once: there is no single pass; leave it out")
