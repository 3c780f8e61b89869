// Command collector is the daemon that asks every instance which tables are not as desired, and keeps the targets of the
// alters under way.
package main

import (
	"context"
	"errors"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/collector"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/wiring"
)

func main() {
	daemon.Main(daemon.Spec{
		Name:   "collector",
		Short:  "Asks every instance which tables are not as desired, and keeps the targets of the alters under way",
		Keys:   append(wiring.Keys(), collector.Keys()...),
		Checks: []func(*viper.Viper) error{collector.CheckKeys},
		Run:    run,
	})
}

func run(ctx context.Context, env *daemon.Env) (err error) {
	parts, err := wiring.Open(ctx, env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Close()) }()
	return collector.New(collector.Parts{
		Store:     parts.Store,
		Inventory: parts.Inventory,
		Pool:      parts.Pool,
		Wake:      wiring.Waker(parts.Store, aoscdb.DaemonCollector),
		Log:       env.Log,
		Metrics:   env.Metrics,
	}, collector.NewConfig(env.Config)).Run(ctx, env)
}
