package main

import (
	"context"

	"github.com/spf13/cobra"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

func failoverCommand() *cobra.Command {
	var f asked
	var acceptLoss bool
	cmd := &cobra.Command{
		Use: "failover <name>", Short: "Give a cluster another primary although writes may be lost", Args: cobra.ExactArgs(1),
		Long: "A failover that loses nothing begins by itself. This one is for when it does not, since too many members are gone for\n" +
			"good to know what was acknowledged: it goes on with whoever answers. `show` says what keeps the other one from it, --dry-run\n" +
			"what may be lost.",
	}
	cmd.Flags().BoolVar(&acceptLoss, "accept-loss", false, "of writes that were acknowledged")
	f.add(cmd)
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		name := args[0]
		before, err := a.LastChange(ctx, name)
		if err != nil {
			return err
		}
		planned, err := a.Operate(ctx, name, "failover", v1.Failover{Asked: f.Asked, AcceptLoss: acceptLoss})
		if err != nil {
			return err
		}
		return a.followChange(ctx, name, &f, planned, before)
	})
}
