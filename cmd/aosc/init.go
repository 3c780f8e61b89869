package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func initCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "init", Short: "Create or upgrade the tables of aoscdb", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.rawStore()
			if err != nil {
				return err
			}
			applied, err := store.Init(cmd.Context())
			if err != nil {
				return err
			}
			if len(applied) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "aoscdb is up to date")
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "aoscdb: applied migrations %v\n", applied)
			return nil
		},
	}
}
