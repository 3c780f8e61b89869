// Command checksum is the daemon that compares the tables of MySQL instances with the desired schemas in git.
package main

import (
	"context"
	"errors"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/internal/checksum"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/status"
	"github.com/aosc/aosc/internal/wiring"
)

func main() {
	daemon.Main(daemon.Spec{
		Name:   "checksum",
		Short:  "Compares the tables of MySQL instances with the desired schemas in git",
		Keys:   append(append(wiring.Keys(), wiring.InstanceKeys()...), checksum.Keys()...),
		Checks: []func(*viper.Viper) error{checksum.CheckKeys},
		Run:    run,
	})
}

func run(ctx context.Context, env *daemon.Env) (err error) {
	parts, err := wiring.Open(ctx, env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Close()) }()
	v := env.Config
	return checksum.New(checksum.Parts{
		Store:     parts.Store,
		Repo:      parts.Repo,
		Inventory: parts.Inventory,
		Served: func(ctx context.Context) ([]fleet.Instance, error) {
			return wiring.Served(ctx, parts.Inventory, v)
		},
		All: v.GetString("tier") == "" && v.GetString("host") == "" && len(v.GetStringSlice("instance")) == 0,
		Refresher: &status.Refresher{
			Pool:         parts.Pool,
			Store:        parts.Store,
			Materialiser: parts.Materialiser(),
			Log:          env.Log,
		},
		Log:     env.Log,
		Metrics: env.Metrics,
	}, checksum.NewConfig(v)).Run(ctx, env)
}
