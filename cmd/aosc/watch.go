package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/aosc/aosc/internal/operate"
)

// lookTimeout bounds one look: an aoscdb that hangs is shown as away.
const lookTimeout = 15 * time.Second

func watchCommand(a *app) *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use: "watch [tier [table]]", Short: "Follow alters live from their permission on, until none is left or Ctrl-C",
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if every < 100*time.Millisecond {
				return errors.New("--every: at least 100ms")
			}
			desk, err := a.desk(cmd.Context(), args...)
			if err != nil {
				return err
			}
			out, live := cmd.OutOrStdout(), term.IsTerminal(int(os.Stdout.Fd()))
			if live {
				out = os.Stdout // bars steer the terminal themselves
			}
			p := operate.NewProgress(out, live)
			defer p.Close()
			ticker := time.NewTicker(every)
			defer ticker.Stop()
			for first := true; ; first = false {
				ctx, cancel := context.WithTimeout(cmd.Context(), lookTimeout)
				v, err := desk.Look(ctx, 100, args...)
				cancel()
				switch {
				case cmd.Context().Err() != nil:
					return nil
				case err != nil:
					p.Away(err)
				default:
					p.Show(v)
					if len(v.Alters) == 0 {
						if first {
							v.Finished = v.Finished[:min(len(v.Finished), 10)]
							return printStatus(cmd.OutOrStdout(), v)
						}
						return nil
					}
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-ticker.C:
				}
			}
		},
	}
	cmd.Flags().DurationVar(&every, "every", time.Second, "how often to look")
	return cmd
}
