package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/aosc/aosc/internal/demo"
)

func demoCommand() *cobra.Command {
	o := demo.Options{Out: os.Stdout, Live: term.IsTerminal(int(os.Stdout.Fd()))}
	cmd := &cobra.Command{
		Use: "demo", Short: "Run the whole pipeline on this machine, on real MySQL servers, and check every row", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			if o.Bin == "" {
				o.Bin = filepath.Dir(self)
			}
			return demo.Run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.Keep, "keep", false, "leave everything running until Ctrl-C")
	f.IntVar(&o.Rows, "rows", 80000, "rows per table")
	f.StringVar(&o.Dir, "dir", "", "where servers and logs go (default: a temporary directory, removed afterwards)")
	f.StringVar(&o.Bin, "bin", "", "directory of the daemons' binaries (default: beside aosc)")
	return cmd
}
