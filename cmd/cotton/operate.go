package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

// asked is the flags of all commands that begin an operation.
type asked struct {
	v1.Asked
	wait  bool
	limit time.Duration
}

func (f *asked) add(cmd *cobra.Command) {
	f.addCancel(cmd)
	cmd.Flags().BoolVar(&f.wait, "wait", true, "show the progress, and return once it is over; with --wait=false it goes on by itself: see `cotton log`")
	cmd.Flags().DurationVar(&f.limit, "wait-limit", time.Hour, "for how long to wait; what was begun goes on")
}

func (f *asked) addCancel(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.Why, "why", "", "for the history")
	cmd.Flags().BoolVar(&f.DryRun, "dry-run", false, "only check, and say what would be done")
}

// operate asks for an operation, prints what it does and shows its progress.
func (f *asked) operate(ctx context.Context, a *asking, name, kind string, body any) error {
	planned, err := a.Operate(ctx, name, kind, body)
	if err != nil {
		return err
	}
	if a.json && (f.DryRun || !f.wait) || !a.json {
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
	op, err := a.WaitOperation(ctx, name, planned.ID, func(op v1.Operation) { shown.show(op.Log, op.Began, op.Waits) })
	if a.json && op.ID != 0 {
		if err := a.print(op, nil); err != nil {
			return err
		}
	}
	return err
}

func (f *asked) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, f.limit, fmt.Errorf("not within %v", f.limit))
}

func plannedText(w io.Writer, p v1.Planned) {
	verb := "begins"
	if p.DryRun {
		verb = "would be done"
	}
	fmt.Fprintf(w, "cluster %s: %s %s\n", p.Cluster, p.What, verb)
	for i, step := range p.Steps {
		fmt.Fprintf(w, "%3d. %s\n", i+1, step)
	}
	for _, warning := range p.Warnings {
		fmt.Fprintln(w, "note:", warning)
	}
}

// progress prints each line of a log once, and what is waited for when that changes.
type progress struct {
	out   io.Writer
	quiet bool
	lines int
	waits string
}

func (p *progress) show(log []v1.Step, began time.Time, waits string) {
	if p.quiet {
		return
	}
	for ; p.lines < len(log); p.lines++ {
		step := log[p.lines]
		fmt.Fprintf(p.out, "%9.3f s  %s\n", float64(step.AfterMS)/1000, strings.TrimRight(step.Step+": "+step.Note, ": "))
		p.waits = ""
	}
	if waits != "" && waits != p.waits {
		fmt.Fprintf(p.out, "%9.3f s  waits: %s\n", time.Since(began).Seconds(), waits)
		p.waits = waits
	}
}

// memberID reads --member and --to: an id, or an instance's name.
func memberID(cluster, text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	id, err := strconv.Atoi(strings.TrimPrefix(text, cluster+"-"))
	if err != nil || id < 1 {
		return 0, fmt.Errorf("%q is not an instance of %s: want its id or its name, such as 2 or %s-2", text, cluster, cluster)
	}
	return id, nil
}
