package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

func upgradeCommand() *cobra.Command {
	var f asked
	var body v1.Upgrade
	cmd := &cobra.Command{
		Use: "upgrade <name> --package <name>", Short: "Install another version of MySQL, by a rolling restart", Args: cobra.ExactArgs(1),
		Long: rolling + "\nA cluster never goes back to an older version: a server does not start on data that a newer one has written.",
	}
	cmd.Flags().StringVar(&body.Package, "package", "", "what is installed, a name of the scheduler's --packages")
	f.add(cmd)
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		if body.Package == "" {
			return errors.New("--package is needed: a name of the scheduler's --packages")
		}
		body.Asked = f.Asked
		return f.operate(ctx, a, args[0], "upgrade", body)
	})
}
