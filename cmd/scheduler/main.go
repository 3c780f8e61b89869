// Command scheduler is the daemon that decides which instance is altered next.
package main

import (
	"context"
	"errors"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/scheduler"
	"github.com/aosc/aosc/internal/wiring"
)

func main() {
	daemon.Main(daemon.Spec{
		Name:   "scheduler",
		Short:  "Decides which instance is altered next, within the limits of each tier",
		Keys:   append(wiring.Keys(), scheduler.Keys()...),
		Checks: []func(*viper.Viper) error{scheduler.CheckKeys},
		Run:    run,
	})
}

func run(ctx context.Context, env *daemon.Env) (err error) {
	parts, err := wiring.Open(ctx, env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Close()) }()
	return scheduler.Run(ctx, env, scheduler.Parts{
		Store: parts.Store, Inventory: parts.Inventory, Pool: parts.Pool, Log: env.Log, Metrics: env.Metrics,
	}, scheduler.NewConfig(env.Config))
}
