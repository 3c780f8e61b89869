package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/operate"
)

func cutoverCommand(a *app) *cobra.Command {
	var instances []string
	var wait, forAll bool
	cmd := &cobra.Command{
		Use: "cutover <tier> <table>", Short: "Let copies be swapped in that wait at the gate", Args: cobra.ExactArgs(2),
		Long: "Sets cut_over of the rows of aosc_osc_ww to GO: what is queued or running there now is swapped in once it is verified and " +
			"caught up.\n" +
			"Instances that are altered later wait again, unless --always. By hand, on an instance or where its tier keeps the rows:\n\n" +
			"  SET sql_log_bin=0; UPDATE aosc.aosc_osc_ww SET cut_over='GO' WHERE table_name='tabla1';\n\n" +
			"and for the alter as a whole, in aoscdb:\n\n" +
			"  UPDATE allowed_alters SET cut_over='auto' WHERE `group`='udb' AND table_name='tabla1';",
		RunE: func(cmd *cobra.Command, args []string) error {
			addrs, err := parseAddrs(instances)
			if err != nil {
				return err
			}
			if forAll && (wait || len(addrs) > 0) {
				return errors.New("--always is about the alter as a whole: not with --wait or --instance")
			}
			desk, err := a.desk(cmd.Context(), args...)
			if err != nil {
				return err
			}
			what, out := args[0]+"."+args[1], cmd.OutOrStdout()
			if forAll {
				changed, err := desk.Store.SetAllowedCutOver(cmd.Context(), args[0], args[1], aoscdb.CutOverAuto, login())
				if errors.Is(err, aoscdb.ErrNotFound) {
					return fmt.Errorf("%s is not in allowed_alters", what)
				}
				if err == nil {
					fmt.Fprintf(out, "cutover: cut_over of %s %s auto\n", what, map[bool]string{true: "is now", false: "was already"}[changed])
				}
				return err
			}
			word := aoscdb.CutOverGo
			if wait {
				word = aoscdb.CutOverWait
			}
			done, err := desk.CutOver(cmd.Context(), operate.Selection{Group: args[0], Table: args[1], Instances: addrs, By: login()}, word)
			fmt.Fprintf(out, "cutover: %s, cut_over is now %s on %d of the %d instances it is queued for or running on\n",
				what, word, len(done.Instances), done.Asked)
			for _, addr := range done.Instances {
				fmt.Fprintf(out, "  %s\n", addr)
			}
			if err == nil && len(done.Instances) == 0 {
				fmt.Fprintf(out, "cutover: nothing was to be done; `aosc explain %s %s` says how it stands\n", args[0], args[1])
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&instances, "instance", nil, "host:port; only there (repeatable)")
	f.BoolVar(&wait, "wait", false, "the other way round: keep what is queued or running at the gate, whatever was permitted")
	f.BoolVar(&forAll, "always", false, "the alter as a whole, also where it runs later: allowed_alters.cut_over becomes auto")
	return cmd
}
