package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/internal/doctor"
)

func doctorCommand(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "doctor [tier]", Args: cobra.MaximumNArgs(1),
		Short: "Look for whatever is missing on aoscdb and on every instance, and say what mends it",
		Long: "Holds settings, versions, clocks, disks, accounts and privileges against what the daemons need. It changes nothing. " +
			"Exit code 1 when something is found, 0 when nothing is.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "table" && output != "json" {
				return fmt.Errorf("output %q: want table or json", output)
			}
			found, err := a.doctor(cmd.Context(), args)
			if err != nil {
				return err
			}
			if err := printFindings(cmd.OutOrStdout(), output, found); err != nil {
				return err
			}
			if len(found) > 0 {
				return fmt.Errorf("%d findings", len(found))
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table | json")
	return cmd
}

func (a *app) doctor(ctx context.Context, args []string) ([]doctor.Finding, error) {
	parts, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.checkNames(ctx, args...); err != nil {
		return nil, err
	}
	d := &doctor.Doctor{Store: parts.Store, Inventory: parts.Inventory, FanOut: a.fanOut, Timeout: a.timeout}
	for _, account := range parts.Accounts() {
		d.Pools = append(d.Pools, doctor.Pool{Use: account.Key, Pool: account.Pool})
	}
	tier := ""
	if len(args) > 0 {
		tier = args[0]
	}
	return d.Look(ctx, tier)
}

func printFindings(out io.Writer, output string, found []doctor.Finding) error {
	if output == "json" {
		if found == nil {
			found = []doctor.Finding{} // an empty list, not null
		}
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(found)
	}
	if len(found) == 0 {
		fmt.Fprintln(out, "Nothing is missing.")
	}
	for _, f := range alike(found) {
		fmt.Fprintf(out, "%s\n  %s\n", f.where(), f.What)
		if f.Mend != "" {
			fmt.Fprintf(out, "  mend: %s\n", f.Mend)
		}
	}
	return nil
}

// alikeFindings are findings that say the same of several places.
type alikeFindings struct {
	doctor.Finding
	places []string
}

// maxPlaces is how many places are named.
const maxPlaces = 4

func (f alikeFindings) where() string {
	if len(f.places) <= maxPlaces {
		return strings.Join(f.places, ", ")
	}
	return fmt.Sprintf("%d places: %s, ...", len(f.places), strings.Join(f.places[:maxPlaces-1], ", "))
}

// alike puts together what is found in many places, in the order in which it was found first.
func alike(found []doctor.Finding) []*alikeFindings {
	var out []*alikeFindings
	known := map[[2]string]*alikeFindings{}
	for _, f := range found {
		key := [2]string{f.What, f.Mend}
		if known[key] == nil {
			known[key] = &alikeFindings{Finding: f}
			out = append(out, known[key])
		}
		known[key].places = append(known[key].places, strings.TrimSpace(f.Tier+" "+f.Where))
	}
	return out
}
