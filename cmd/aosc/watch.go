package main

import (
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/aosc/aosc/internal/operate"
)

func watchCommand(a *app) *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use: "watch [tier [table]]", Short: "Follow the running alters live, until none is left or Ctrl-C", Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if every < 100*time.Millisecond {
				return errors.New("--every: at least 100ms")
			}
			desk, err := a.desk(cmd.Context())
			if err != nil {
				return err
			}
			p := operate.NewProgress(cmd.OutOrStdout(), term.IsTerminal(int(os.Stdout.Fd())))
			defer p.Close()
			ticker := time.NewTicker(every)
			defer ticker.Stop()
			for {
				v, err := desk.Look(cmd.Context(), 0)
				if err != nil {
					return err
				}
				if v = v.Only(args...); len(v.Alters) == 0 {
					return nil
				}
				p.Show(v)
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
