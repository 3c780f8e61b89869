package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/internal/operate"
)

func explainCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "explain <tier> [table]", Short: "Say why an alter does not run, on the whole and on each instance", Args: cobra.RangeArgs(1, 2),
		Long: "Says of every alter of the tier, or of one table, what it waits for and where, and which daemons live.\n\n" +
			"With nothing but a mysql client: SELECT * FROM why;",
		RunE: func(cmd *cobra.Command, args []string) error {
			desk, err := a.desk(cmd.Context(), args...)
			if err != nil {
				return err
			}
			v, err := desk.Look(cmd.Context(), 1, args...)
			if err != nil {
				return err
			}
			return printExplanation(cmd.OutOrStdout(), v, args)
		},
	}
}

func printExplanation(out io.Writer, v operate.View, names []string) error {
	printTiers(out, v)
	for _, a := range v.Alters {
		fmt.Fprintf(out, "%s.%s  %s\n  %s\n", a.Group, a.Table, a.Status, a.Why.Reason)
		w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
		for _, e := range a.Why.Instances {
			fmt.Fprintf(w, "  %s\t%s\t%s\n", e.Addr, e.Code, e.Text)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if len(v.Alters) == 0 {
		text := "tier " + names[0]
		if len(names) > 1 {
			text = names[0] + "." + names[1]
		}
		fmt.Fprintf(out, "%s: nothing is allowed: allowed_alters has no row for it (not_allowed)\n", text)
	}
	for _, f := range v.Finished {
		fmt.Fprintf(out, "last: %s.%s at %s, %s\n", f.Group, f.Table, at(f.FinishedAt), operate.Outcome(f))
	}
	for _, d := range v.Daemons {
		fmt.Fprintf(out, "%s\n", d)
	}
	return nil
}
