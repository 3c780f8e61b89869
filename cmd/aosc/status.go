package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/operate"
)

func statusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "status [tier [table]]", Short: "Show what is being altered, what waits and why", Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			desk, err := a.desk(cmd.Context())
			if err != nil {
				return err
			}
			v, err := desk.Look(cmd.Context(), 10)
			if err != nil {
				return err
			}
			return printStatus(cmd.OutOrStdout(), v.Only(args...))
		},
	}
}

func printStatus(out io.Writer, v operate.View) error {
	if len(v.Alters) == 0 {
		fmt.Fprintln(out, "No alter is in progress.")
	}
	for _, alter := range v.Alters {
		fmt.Fprintf(out, "%s.%s  %s  priority %d  %s\n", alter.Group, alter.Table, alter.Status, alter.Priority, looked(alter.CurrentAlter))
		if alter.Reason != "" {
			fmt.Fprintf(out, "  held by %s: %s\n", alter.HoldBy, alter.Reason)
		}
		if alter.Status == aoscdb.AlterHold && alter.HoldBy != aoscdb.HoldBrain { // its own reasons say what to do
			fmt.Fprintf(out, "  to lift it: aosc resume %s %s\n", alter.Group, alter.Table)
		}
		w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
		for _, r := range alter.Runs {
			fmt.Fprintf(w, "  %s:%d\t%s\t%s\t%5.1f %%\t%s\n", r.Host, r.Port, r.Cluster, r.State(), r.Percentage(), runNote(r))
		}
		for _, t := range alter.Waiting {
			fmt.Fprintf(w, "  %s:%d\t%s\tto do\t\t%s, %d databases, %s\n", t.Host, t.Port, t.Cluster, t.Role, t.Databases, bytesText(t.Bytes))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if len(v.Finished) == 0 {
		return nil
	}
	fmt.Fprintln(out, "\nFinished:")
	w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	for _, f := range v.Finished {
		fmt.Fprintf(w, "  %s.%s\t%s\t%s\ttries %d\tby %s\tcommit %.10s\n", f.Group, f.Table, f.FinishedAt.Format(time.DateTime), f.Outcome, f.Tries, f.AllowedBy, f.CommitSHA)
	}
	return w.Flush()
}

// looked says what the collector last found for the alter.
func looked(a aoscdb.CurrentAlter) string {
	switch {
	case a.Targets < 0 && a.Status == aoscdb.AlterHold:
		return ""
	case a.Targets < 0:
		return "not looked at yet"
	}
	text := fmt.Sprintf("%d targets", a.Targets)
	if a.Unknowns > 0 {
		text += fmt.Sprintf(", %d instances unknown", a.Unknowns)
	}
	if a.Status == aoscdb.AlterDone {
		text += fmt.Sprintf(", %d clean checks", a.Tries)
		if a.NextCheckAt != nil {
			text += ", next " + a.NextCheckAt.Format(time.DateTime)
		}
	}
	return text
}

func runNote(r operate.Run) string {
	if r.Err != nil {
		return r.Err.Error()
	}
	if r.Row != nil && r.Row.Error != "" {
		return fmt.Sprintf("try %d: %s", r.Row.Try, r.Row.Error)
	}
	for _, d := range r.Databases() {
		if d.State != "done" && d.State != "waiting" {
			return fmt.Sprintf("%s: %s (%s)", d.Database, d.State, d.Engine)
		}
	}
	return ""
}

// bytesText prints a size as people say it, in binary units.
func bytesText(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	div, exp := uint64(unit), 0
	for m := n / unit; m >= unit; m /= unit {
		div *= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", float64(n)/float64(div), "KMGTPE"[exp])
}
