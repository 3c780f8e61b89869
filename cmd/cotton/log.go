package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

func logCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "log <name>",
		Short: "Show failovers, switchovers and operations, with every step and how long it took, and errant transactions",
		Args:  cobra.ExactArgs(1)}
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		h, err := a.History(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(h, func(w io.Writer) { historyText(w, h) })
	})
}

// historyText is the oldest first, what is under way last.
func historyText(w io.Writer, h v1.History) {
	type entry struct {
		began time.Time
		text  string
	}
	var all []entry
	changes, operations := slices.Clone(h.Changes), slices.Clone(h.Operations)
	if h.Change != nil {
		changes = append(changes, *h.Change)
	}
	if h.Operation != nil {
		operations = append(operations, *h.Operation)
	}
	for _, c := range changes {
		all = append(all, entry{c.Began, changeText(c)})
	}
	for _, op := range operations {
		all = append(all, entry{op.Began, operationText(op)})
	}
	for _, s := range h.Strays {
		all = append(all, entry{s.At, strayText(s)})
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.began.Compare(b.began) })
	if len(all) == 0 {
		fmt.Fprintf(w, "nothing has happened to %s since it was created\n", h.Cluster)
	}
	for _, e := range all {
		fmt.Fprint(w, e.text)
	}
}

func changeText(c v1.Change) string {
	end := "under way"
	switch {
	case c.TakenBack:
		end = "taken back after " + took(c.Began, c.Ended)
	case !c.Ended.IsZero():
		end = "done in " + took(c.Began, c.Ended)
	}
	return fmt.Sprintf("%s  %s %s -> %s, %s\n%s", c.Began.Format(time.DateTime), c.Kind, c.From, cmp.Or(c.To, "?"), end, stepsText(c.Why, c.Log))
}

func operationText(op v1.Operation) string {
	end := "under way"
	if op.Result != "" {
		end = op.Result + " after " + took(op.Began, op.Ended)
	}
	if op.Auto {
		end += ", by itself"
	}
	text := fmt.Sprintf("%s  %s, %s\n%s", op.Began.Format(time.DateTime), op.What, end, stepsText(op.Why, op.Log))
	if op.Waits != "" {
		text += "              waits: " + op.Waits + "\n"
	}
	return text
}

func strayText(s v1.Stray) string {
	did := "lost with the data of " + s.Instance + ", which were replaced"
	if s.Adopted {
		did = "adopted: executed on the primary, too"
	}
	text := fmt.Sprintf("%s  errant transactions of %s, %s\n              %s\n", s.At.Format(time.DateTime), s.Instance, did, s.GTIDs)
	if s.Note != "" {
		text += "              " + s.Note + "\n"
	}
	return text
}

func stepsText(why string, log []v1.Step) string {
	var b strings.Builder
	if why != "" && (len(log) == 0 || !strings.Contains(log[0].Note, why)) {
		fmt.Fprintf(&b, "              %s\n", why)
	}
	for _, step := range log {
		lasted := "-"
		if step.TookMS >= 0 {
			lasted = fmt.Sprintf("%d ms", step.TookMS)
		}
		fmt.Fprintf(&b, "%9.3f s  %9s  %s\n", float64(step.AfterMS)/1000, lasted, strings.TrimRight(step.Step+": "+step.Note, ": "))
	}
	return b.String()
}

func took(began, ended time.Time) string { return ended.Sub(began).Round(time.Millisecond).String() }
