package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

func scaleCommand() *cobra.Command {
	var f asked
	var body v1.Scale
	cmd := &cobra.Command{
		Use: "scale <name> <nodes>", Short: "Change how many instances a cluster has", Args: cobra.ExactArgs(2),
		Long: "Adds instances one after the other, or removes the ones that are missed least: never the primary, those that are down\n" +
			"first, then those that share an agent's rack or zone with others, the youngest before the older ones.",
	}
	cmd.Flags().StringVar(&body.Policy, "policy", "", "what is promised from then on: lossless, available or single; empty = as it is")
	f.add(cmd)
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) (err error) {
		body.Asked = f.Asked
		if body.Nodes, err = strconv.Atoi(args[1]); err != nil {
			return fmt.Errorf("%q is not a number of instances", args[1])
		}
		return f.operate(ctx, a, args[0], "scale", body)
	})
}
