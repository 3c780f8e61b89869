package scheduler

import (
	"context"
	"errors"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/wiring"
)

// Spec is the daemon as a process. It is here and not in its command so that tests can be that process.
func Spec() daemon.Spec {
	return daemon.Spec{
		Name:   "scheduler",
		Short:  "Decides which instance is altered next, within the limits of each tier",
		Keys:   append(wiring.Keys(), Keys()...),
		Checks: []func(*viper.Viper) error{CheckKeys},
		Run:    run,
	}
}

func run(ctx context.Context, env *daemon.Env) (err error) {
	parts, err := wiring.Open(ctx, env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Close()) }()
	return Run(ctx, env, Parts{
		Store: parts.Store, Inventory: parts.Inventory, Pool: parts.Pool, Log: env.Log, Metrics: env.Metrics,
	}, NewConfig(env.Config))
}
