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
			desk, err := a.desk(cmd.Context(), args...)
			if err != nil {
				return err
			}
			v, err := desk.Look(cmd.Context(), 10, args...)
			if err != nil {
				return err
			}
			return printStatus(cmd.OutOrStdout(), v)
		},
	}
}

func printStatus(out io.Writer, v operate.View) error {
	printTiers(out, v)
	for _, d := range v.Daemons {
		if d.Bad() {
			fmt.Fprintf(out, "%s\n", d)
		}
	}
	if len(v.Alters) == 0 {
		fmt.Fprintln(out, "No alter is allowed or in progress.")
	}
	for _, alter := range v.Alters {
		if err := printAlter(out, alter); err != nil {
			return err
		}
		for _, t := range v.Tiers {
			if t.Group == alter.Group {
				printVerified(out, alter.CurrentAlter, t, v.At)
			}
		}
	}
	if len(v.Finished) == 0 {
		return nil
	}
	fmt.Fprintln(out, "\nEnded:")
	w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	for _, f := range v.Finished {
		terms := "by " + f.AllowedBy
		if f.AllowUnsafe != nil && *f.AllowUnsafe {
			terms += ", allow_unsafe"
		}
		if f.Comment != "" {
			terms += fmt.Sprintf(", %q", f.Comment)
		}
		fmt.Fprintf(w, "  %s.%s\t%s\t%s\t%s\tcommit %.10s\n", f.Group, f.Table, at(f.FinishedAt), operate.Outcome(f), terms, f.CommitSHA)
	}
	return w.Flush()
}

// printTiers names the tiers that are off: nothing of theirs begins.
func printTiers(out io.Writer, v operate.View) {
	for _, t := range v.Tiers {
		if !t.Enabled {
			fmt.Fprintf(out, "tier %s is off (tiers.enabled = 0): nothing is started, what runs pauses; `aosc tier set %s --enabled` puts it on\n",
				t.Group, t.Group)
		}
	}
}

func printAlter(out io.Writer, alter operate.Alter) error {
	fmt.Fprintf(out, "%s.%s  %s  priority %d  by %s  %s\n",
		alter.Group, alter.Table, alter.Status, alter.Priority, alter.AllowedBy, looked(alter.CurrentAlter))
	word := ""
	if alter.Why.Waits() {
		word = "waits: "
	}
	fmt.Fprintf(out, "  %s%s\n", word, alter.Why.Reason)
	if alter.Status == aoscdb.AlterHold && alter.HoldBy != aoscdb.HoldBrain { // its own reasons say what to do
		fmt.Fprintf(out, "  to lift it: aosc resume %s %s\n", alter.Group, alter.Table)
	}
	w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	for _, r := range alter.Runs {
		reason := ""
		if r.Why.Waits() {
			reason = r.Why.String()
		} else if r.Database != "" {
			reason = fmt.Sprintf("%s by %s", r.Database, r.Engine)
			if r.Slow != "" {
				reason += ", " + r.Slow
			}
		}
		fmt.Fprintf(w, "  %s:%d\t%s\t%s\t%s\t%s\n", r.Host, r.Port, r.Cluster, r.Stand.State, progressText(r), reason)
	}
	for _, t := range alter.Waiting {
		cluster, what := "", "not judged"
		if t.Target != nil {
			cluster, what = t.Target.Cluster, fmt.Sprintf("%s, %d databases, %s", t.Target.Role, t.Target.Databases, bytesText(t.Target.Bytes))
		}
		fmt.Fprintf(w, "  %s\t%s\tto do\t%s\t%s\n", t.Addr, cluster, what, t.Why)
	}
	return w.Flush()
}

// printVerified says when an alter will be finished that has nothing left to do.
func printVerified(out io.Writer, c aoscdb.CurrentAlter, t aoscdb.Tier, now time.Time) {
	if c.Status != aoscdb.AlterDone {
		return
	}
	left, end := verifiedAt(c, t, now)
	fmt.Fprintf(out, "  finished at about %s, if %s (verify_tries %d, verify_interval_s %d of the tier)\n", at(end),
		map[bool]string{true: "the last check finds", false: fmt.Sprintf("the %d checks that are left find", left)}[left == 1]+" nothing",
		t.VerifyTries, t.VerifyIntervalS)
}

// verifiedAt is how many checks of a DONE alter are left, and when the last one will be due. A check that is under way is due now.
func verifiedAt(c aoscdb.CurrentAlter, t aoscdb.Tier, now time.Time) (left int, end time.Time) {
	left, end = max(t.VerifyTries-c.Tries, 1), now
	if c.NextCheckAt != nil && c.NextCheckAt.After(now) {
		end = *c.NextCheckAt
		if soonest := now.Add(t.VerifyInterval()); end.After(soonest) {
			end = soonest // the interval was made shorter
		}
	}
	return left, end.Add(time.Duration(left-1) * t.VerifyInterval())
}

// progressText is the percentage and what is known beside it. A copy that has not begun has none.
func progressText(r operate.Run) string {
	if r.OSCStatus == aoscdb.RunReady {
		return ""
	}
	text := fmt.Sprintf("%.1f %%", r.Stand.Percentage)
	if figures := operate.Figures(r); figures != "" {
		text += " (" + figures + ")"
	}
	return text
}

// at is a time by aoscdb's clock.
func at(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }

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
