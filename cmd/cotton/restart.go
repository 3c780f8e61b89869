package main

import (
	"context"

	"github.com/spf13/cobra"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

const rolling = "One at a time, replicas first, each only while all others are well and in step; the primary last, once it is handed over.\n" +
	"It waits, and says for what, while something is amiss, and goes on by itself."

func restartCommand() *cobra.Command {
	var f asked
	var member string
	cmd := &cobra.Command{Use: "restart <name>", Short: "Restart instances, one after the other", Args: cobra.ExactArgs(1), Long: rolling}
	cmd.Flags().StringVar(&member, "member", "", "only this one: its id or name")
	f.add(cmd)
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		id, err := memberID(args[0], member)
		if err != nil {
			return err
		}
		return f.operate(ctx, a, args[0], "restart", v1.Restart{Asked: f.Asked, Member: id})
	})
}
