package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/internal/operate"
)

func pauseCommand(a *app) *cobra.Command {
	return controlCommand(a, "pause", "Throttle the running copies in place and start nothing new",
		func(d *operate.Desk) controlFunc { return d.Pause })
}

func resumeCommand(a *app) *cobra.Command {
	return controlCommand(a, "resume", "Carry on after pause, stop or a worker's HOLD",
		func(d *operate.Desk) controlFunc { return d.Resume })
}

func stopCommand(a *app) *cobra.Command {
	return controlCommand(a, "stop", "Abort the running copies, leave nothing behind, start nothing new",
		func(d *operate.Desk) controlFunc { return d.Stop })
}

type controlFunc = func(context.Context, operate.Selection) (operate.Done, error)

func controlCommand(a *app, name, short string, method func(*operate.Desk) controlFunc) *cobra.Command {
	var instances []string
	cmd := &cobra.Command{
		Use: name + " <tier> <table>", Short: short, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			addrs, err := parseAddrs(instances)
			if err != nil {
				return err
			}
			desk, err := a.desk(cmd.Context(), args...)
			if err != nil {
				return err
			}
			done, err := method(desk)(cmd.Context(), operate.Selection{Group: args[0], Table: args[1], Instances: addrs, By: login()})
			what := args[0] + "." + args[1]
			if done.Alter != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s was %s\n", name, what, done.Alter)
			}
			if done.Asked > 0 || err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, osc_priv changed on %d of the %d instances it is queued for or running on\n",
					name, what, len(done.Instances), done.Asked)
			}
			if done.Lasts != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s: %s; `aosc revoke %s %s` ends it for good\n", name, what, done.Lasts, args[0], args[1])
			}
			for _, addr := range done.Instances {
				fmt.Fprintf(cmd.OutOrStdout(), "  %s\n", addr)
			}
			for _, addr := range done.Anew {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s is tried again at once on %s, its tries count from the first\n", name, what, addr)
			}
			if err == nil && done.Alter == "" && len(done.Instances)+len(done.Anew) == 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: nothing was to be done; `aosc explain %s %s` says how it stands\n", name, args[0], args[1])
			}
			return err
		},
	}
	cmd.Flags().StringSliceVar(&instances, "instance", nil, "host:port; only there, and leave the alter itself as it is (repeatable)")
	return cmd
}
