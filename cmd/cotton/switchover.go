package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

func switchoverCommand() *cobra.Command {
	var f asked
	var to string
	var maxLag, within time.Duration
	cmd := &cobra.Command{
		Use: "switchover <name>", Short: "Hand the primary over to another instance", Args: cobra.ExactArgs(1),
		Long: "Closes the primary, waits until its successor has executed all of it, and opens that one: no write is lost, none is\n" +
			"taken for a moment. What is not done in time is taken back.",
	}
	cmd.Flags().StringVar(&to, "to", "", "the next primary, its id or name; empty = the one that is placed best")
	cmd.Flags().DurationVar(&maxLag, "max-lag", 10*time.Second, "that it may be behind, in whole seconds")
	cmd.Flags().DurationVar(&within, "within", 10*time.Second, "or all is taken back, in whole seconds")
	f.add(cmd)
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		name := args[0]
		id, err := memberID(name, to)
		if err != nil {
			return err
		}
		before, err := a.LastChange(ctx, name)
		if err != nil {
			return err
		}
		planned, err := a.Operate(ctx, name, "switchover", v1.Switchover{Asked: f.Asked, To: id,
			MaxLagSeconds: int(maxLag.Seconds()), WithinSeconds: int(within.Seconds())})
		if err != nil {
			return err
		}
		return a.followChange(ctx, name, &f, planned, before)
	})
}

// followChange shows what was planned, then the change of primary until it is over.
func (a *asking) followChange(ctx context.Context, name string, f *asked, planned v1.Planned, before time.Time) error {
	if !a.json || f.DryRun || !f.wait {
		if err := a.print(planned, func(w io.Writer) { plannedText(w, planned) }); err != nil {
			return err
		}
	}
	if f.DryRun || !f.wait {
		return nil
	}
	ctx, cancel := f.within(ctx)
	defer cancel()
	shown := progress{out: a.out, quiet: a.json}
	change, err := a.WaitChange(ctx, name, before, func(c v1.Change) { shown.show(c.Log, c.Began, "") })
	if a.json && change.Kind != "" {
		if err := a.print(change, nil); err != nil {
			return err
		}
	}
	if planned.ID == 0 { // also of a scheduler of an earlier release
		return err
	}
	// The others follow, and the next operation is accepted.
	op, after := a.WaitOperation(ctx, name, planned.ID, func(op v1.Operation) { shown.show(nil, op.Began, op.Waits) })
	if op.Missing != "" && !a.json {
		fmt.Fprintln(a.out, "note:", op.Missing)
	}
	return cmp.Or(err, after)
}
