package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

func cancelCommand() *cobra.Command {
	var f asked
	cmd := &cobra.Command{
		Use: "cancel <name>", Short: "Take back the operation under way", Args: cobra.ExactArgs(1),
		Long: "What can be taken back is: an instance that was added is removed again, one that was to leave stays. Settings and package stay\n" +
			"as they were asked for; instances that were not restarted yet take them up with their next start.",
	}
	f.addCancel(cmd)
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		planned, err := a.Operate(ctx, args[0], "cancel", v1.Cancel{Asked: f.Asked})
		if err != nil {
			return err
		}
		return a.print(planned, func(w io.Writer) { plannedText(w, planned) }) // it is over when `cotton log` says so
	})
}
