package oscworker

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/wiring"
)

// Spec is the daemon as a process. It is here and not in its command because a worker runs its own binary for each copy,
// and so do the tests.
func Spec() daemon.Spec {
	return daemon.Spec{
		Name:     "oscworker",
		Short:    "Alters the tables of MySQL instances, as queued by the scheduler",
		Keys:     append(append(wiring.Keys(), wiring.InstanceKeys()...), Keys()...),
		Checks:   []func(*viper.Viper) error{CheckKeys},
		Run:      run,
		Commands: []*cobra.Command{copyChild()},
	}
}

// copyChild is one copy in a process of its own, with its orders on stdin. It is not for people.
func copyChild() *cobra.Command {
	return &cobra.Command{
		Use: osc.ChildCommand, Short: "One copy, started by oscworker itself", Hidden: true, Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			os.Exit(osc.ChildMain(cmd.Context(), os.Stdin, os.Stdout))
		},
	}
}

func run(ctx context.Context, env *daemon.Env) (err error) {
	parts, err := wiring.Open(ctx, env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Close()) }()
	v := env.Config
	worker, err := New(Parts{
		Store: parts.Store, Repo: parts.Repo, Inventory: parts.Inventory, Pool: parts.Pool, Writer: parts.Writer,
		Materialiser: parts.Materialiser(),
		Served:       func(ctx context.Context) ([]fleet.Instance, error) { return wiring.Served(ctx, parts.Inventory, v) },
		Owner:        env.Holder, Log: env.Log, Metrics: env.Metrics,
	}, NewConfig(v))
	if err != nil {
		return err
	}
	return worker.Run(ctx, env)
}
