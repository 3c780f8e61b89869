package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

func drainCommand() *cobra.Command {
	var f asked
	var undo bool
	cmd := &cobra.Command{
		Use: "drain <agent>", Short: "Have all instances leave an agent, and keep new ones off it", Args: cobra.ExactArgs(1),
		Long: "Primaries are handed over, then each instance is replaced by one on another agent: one at a time in each cluster, all clusters\n" +
			"at once. It holds until --undo, which takes back what has not joined yet. <agent> is the hostname that `cotton show` has.",
	}
	cmd.Flags().BoolVar(&undo, "undo", false, "instances may come again")
	f.add(cmd)
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		d, err := a.Drain(ctx, args[0], v1.Drain{Asked: f.Asked, Undo: undo})
		if err != nil {
			return err
		}
		if err := a.print(d, func(w io.Writer) { drainText(w, d, undo) }); err != nil || f.DryRun || !f.wait || undo {
			return err
		}
		ctx, cancel := f.within(ctx)
		defer cancel()
		last, began := "", time.Now()
		return a.WaitDrained(ctx, args[0], func(d v1.Draining) {
			text := "nothing is left on it"
			if n := len(d.Left); n > 0 {
				text = fmt.Sprintf("%d left, %s: %s", n, d.Left[0].Instance, d.Left[0].Waits)
			}
			if text != last && !a.json {
				fmt.Fprintf(a.out, "%9.3f s  %s\n", time.Since(began).Seconds(), text)
			}
			last = text
		})
	})
}

func drainText(w io.Writer, d v1.Draining, undo bool) {
	switch {
	case undo:
		fmt.Fprintf(w, "agent %s: instances may come again\n", d.Agent)
	case len(d.Left) == 0:
		fmt.Fprintf(w, "agent %s: no instance is on it\n", d.Agent)
	default:
		fmt.Fprintf(w, "agent %s: %d instances are on it\n", d.Agent, len(d.Left))
	}
	for _, l := range d.Left {
		fmt.Fprintln(w, l.Instance)
		for _, step := range l.Steps {
			fmt.Fprintln(w, "   -", step)
		}
		if l.Waits != "" {
			fmt.Fprintln(w, "   not yet:", l.Waits)
		}
	}
}

func agentsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "agents", Short: "Show agents that are being drained, here or at Mesos, and what forced deletions left behind",
		Args: cobra.NoArgs}
	return clientCommand(cmd, func(ctx context.Context, a *asking, _ []string) error {
		all, err := a.Agents(ctx)
		if err != nil {
			return err
		}
		return a.print(all, func(w io.Writer) {
			if len(all.Draining)+len(all.LeftBehind)+len(all.Withheld) == 0 {
				fmt.Fprintln(w, "no agent is being drained, and nothing was left behind")
			}
			for _, a := range all.Withheld {
				fmt.Fprintln(w, a.Text)
			}
			for _, d := range all.Draining {
				fmt.Fprintf(w, "draining since %s: ", d.Since.Format(time.DateTime))
				drainText(w, d, false)
			}
			for _, l := range all.LeftBehind {
				fmt.Fprintf(w, "left behind on %s, given back when it returns: volume %s of %s-%d\n", l.Agent, l.VolumeID, l.Cluster, l.Member)
			}
		})
	})
}
