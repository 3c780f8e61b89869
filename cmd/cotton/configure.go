package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

func configureCommand() *cobra.Command {
	var f asked
	var set, unset []string
	cmd := &cobra.Command{Use: "configure <name> --set name=value", Short: "Change settings of my.cnf, by a rolling restart", Args: cobra.ExactArgs(1), Long: rolling}
	cmd.Flags().StringArrayVar(&set, "set", nil, "name=value of my.cnf (repeatable)")
	cmd.Flags().StringArrayVar(&unset, "unset", nil, "name of a setting that is to be as it is without (repeatable)")
	f.add(cmd)
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		settings, err := keyValues("set", set)
		if err != nil {
			return err
		}
		if len(settings)+len(unset) == 0 {
			return errors.New("--set or --unset is needed")
		}
		return f.operate(ctx, a, args[0], "configure", v1.Configure{Asked: f.Asked, Set: settings, Unset: unset})
	})
}
