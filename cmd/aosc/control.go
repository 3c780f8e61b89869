package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/operate"
)

func pauseCommand(a *app) *cobra.Command {
	return controlCommand(a, "pause", "Throttle the running copies in place and start nothing new",
		func(d *operate.Desk) func(context.Context, operate.Selection) ([]mysql.Addr, error) { return d.Pause })
}

func resumeCommand(a *app) *cobra.Command {
	return controlCommand(a, "resume", "Carry on after pause, stop or a worker's HOLD",
		func(d *operate.Desk) func(context.Context, operate.Selection) ([]mysql.Addr, error) { return d.Resume })
}

func stopCommand(a *app) *cobra.Command {
	return controlCommand(a, "stop", "Abort the running copies, leave nothing behind, start nothing new",
		func(d *operate.Desk) func(context.Context, operate.Selection) ([]mysql.Addr, error) { return d.Stop })
}

type controlFunc = func(*operate.Desk) func(context.Context, operate.Selection) ([]mysql.Addr, error)

func controlCommand(a *app, name, short string, method controlFunc) *cobra.Command {
	var instances []string
	cmd := &cobra.Command{
		Use: name + " <tier> <table>", Short: short, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			addrs, err := parseAddrs(instances)
			if err != nil {
				return err
			}
			desk, err := a.desk(cmd.Context())
			if err != nil {
				return err
			}
			done, err := method(desk)(cmd.Context(), operate.Selection{Group: args[0], Table: args[1], Instances: addrs, By: login()})
			for _, addr := range done {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s.%s on %s\n", name, args[0], args[1], addr)
			}
			if err == nil && len(done) == 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s.%s, nothing was running\n", name, args[0], args[1])
			}
			return err
		},
	}
	cmd.Flags().StringSliceVar(&instances, "instance", nil, "host:port; only there, and leave the alter itself as it is (repeatable)")
	return cmd
}
