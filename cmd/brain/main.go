// Command brain decides which alters may run, and when one is finished. One acts, others stand by.
package main

import (
	"context"
	"slices"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/internal/brain"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/wiring"
)

func main() {
	daemon.Main(daemon.Spec{
		Name:   "brain",
		Short:  "Admits allowed alters, pins them to a commit, holds what is unsafe, and finishes what is done.",
		Keys:   slices.Concat(wiring.Keys(), brain.Keys()),
		Checks: []func(*viper.Viper) error{brain.Check},
		Run:    run,
	})
}

func run(ctx context.Context, env *daemon.Env) (err error) {
	parts, err := wiring.Open(ctx, env)
	if err != nil {
		return err
	}
	defer parts.Close()
	d := brain.New(brain.Deps{
		Store:     parts.Store,
		Repo:      parts.Repo,
		Inventory: parts.Inventory,
		Pool:      parts.Pool,
		Planner:   osc.NewPlanner(parts.Pool, parts.Materialiser()),
		Log:       env.Log,
	}, brain.ConfigOf(env.Config), env.Metrics)
	return d.Run(ctx, env)
}
