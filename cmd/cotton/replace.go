package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

func replaceCommand() *cobra.Command {
	var f asked
	var body v1.Replace
	var member string
	cmd := &cobra.Command{
		Use: "replace <name> --member <id>", Short: "Have another instance take one's place", Args: cobra.ExactArgs(1),
		Long: "Adds an instance on another agent, waits until it is in step with the others, and then removes the one that goes, whose\n" +
			"volume is destroyed. If that is the primary it is handed over first.",
	}
	cmd.Flags().StringVar(&member, "member", "", "the one that goes: its id or name")
	cmd.Flags().BoolVar(&body.InPlace, "in-place", false, "remove it first, then add another: where there is no agent for one more. Until that one is in step the cluster has one copy less")
	cmd.Flags().BoolVar(&body.Discard, "discard", false, "give up writes that only it may have; if it cannot be reached, this is your word that its machine is off for good")
	f.add(cmd)
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) (err error) {
		if member == "" {
			return errors.New("--member is needed: the id or name of the one that goes")
		}
		body.Asked = f.Asked
		if body.Member, err = memberID(args[0], member); err != nil {
			return err
		}
		return f.operate(ctx, a, args[0], "replace", body)
	})
}
