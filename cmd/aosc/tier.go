package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/osc"
)

func tierCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "tier", Short: "Show and change the settings of a tier"}
	cmd.AddCommand(tierListCommand(a), tierSetCommand(a))
	return cmd
}

func tierListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the tiers and their limits", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.store(cmd.Context())
			if err != nil {
				return err
			}
			tiers, err := store.Tiers(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "TIER\tENABLED\tMAX RUNNING\tPER HOST\tPER DATACENTER\tORDERING\tCOPY ENGINE\tSTATUS STORE\t"+
				"DIRECT MAX ROWS\tDIRECT MAX BYTES\tCREATE MISSING\tVERIFY\tCOPIES REST ABOVE\tCUT-OVER WINDOW")
			for _, t := range tiers {
				fmt.Fprintf(w, "%s\t%v\t%d\t%d\t%d\t%s\t%s\t%s\t%d\t%s\t%v\t%d x %v\t%s\t%s\n", t.Group, t.Enabled, t.MaxRunning, t.MaxRunningPerHost,
					t.MaxRunningPerDatacenter, t.Ordering, t.CopyEngine, t.StatusStore, t.DirectMaxRows, directBytes(t),
					t.CreateMissing, t.VerifyTries, t.VerifyInterval(), pacingText(t), cmp.Or(t.CutOverWindow, "any time"))
			}
			return w.Flush()
		},
	}
}

// directBytes is the limit of plain ALTERs in bytes.
func directBytes(t aoscdb.Tier) string {
	if t.DirectMaxBytes == 0 {
		return "no limit"
	}
	return bytesText(t.DirectMaxBytes)
}

// tierSetCommand changes only the columns whose flags are given; a tier that is not there yet starts from the defaults.
func tierSetCommand(a *app) *cobra.Command {
	def := aoscdb.NewTier("")
	var t aoscdb.Tier
	cmd := &cobra.Command{
		Use: "set <tier>", Short: "Create a tier or change its settings", Args: cobra.ExactArgs(1),
		Example: "  aosc tier set udb --max-running 4 --max-running-per-host 1",
	}
	f := cmd.Flags()
	f.IntVar(&t.MaxRunning, "max-running", def.MaxRunning, "instances altered at once; 0 pauses the tier")
	f.IntVar(&t.MaxRunningPerHost, "max-running-per-host", def.MaxRunningPerHost, "the same per host; 0 = no limit")
	f.IntVar(&t.MaxRunningPerDatacenter, "max-running-per-datacenter", def.MaxRunningPerDatacenter, "the same per datacenter; 0 = no limit")
	f.StringVar(&t.Ordering, "ordering", def.Ordering, "primary | rolling")
	f.StringVar(&t.CopyEngine, "copy-engine", def.CopyEngine, "keyed | ghost")
	f.StringVar(&t.StatusStore, "status-store", def.StatusStore, "instance | central (where replicas run super_read_only)")
	f.Uint64Var(&t.DirectMaxRows, "direct-max-rows", def.DirectMaxRows, "rows up to which a plain ALTER may be used in place of a copy")
	f.Uint64Var(&t.DirectMaxBytes, "direct-max-bytes", def.DirectMaxBytes, "bytes of data and indexes up to which it may; 0 = no limit")
	f.BoolVar(&t.CreateMissing, "create-missing", def.CreateMissing, "create a table that a database lacks")
	f.IntVar(&t.VerifyIntervalS, "verify-interval", def.VerifyIntervalS,
		"seconds between two checks of a DONE alter: it is finished verify-tries times as much later")
	f.IntVar(&t.VerifyTries, "verify-tries", def.VerifyTries, "checks of a DONE alter before it is finished")
	f.BoolVar(&t.Enabled, "enabled", def.Enabled, "false: nothing new is started, what runs pauses")
	pacing := pacingFlags(f, def)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		store, err := a.store(cmd.Context())
		if err != nil {
			return err
		}
		merged, err := store.Tier(cmd.Context(), args[0])
		created := errors.Is(err, aoscdb.ErrNotFound)
		switch {
		case created:
			merged = aoscdb.NewTier(args[0])
		case err != nil:
			return err
		}
		set := func(flag string, apply func()) {
			if cmd.Flags().Changed(flag) {
				apply()
			}
		}
		set("max-running", func() { merged.MaxRunning = t.MaxRunning })
		set("max-running-per-host", func() { merged.MaxRunningPerHost = t.MaxRunningPerHost })
		set("max-running-per-datacenter", func() { merged.MaxRunningPerDatacenter = t.MaxRunningPerDatacenter })
		set("ordering", func() { merged.Ordering = t.Ordering })
		set("copy-engine", func() { merged.CopyEngine = t.CopyEngine })
		set("status-store", func() { merged.StatusStore = t.StatusStore })
		set("direct-max-rows", func() { merged.DirectMaxRows = t.DirectMaxRows })
		set("direct-max-bytes", func() { merged.DirectMaxBytes = t.DirectMaxBytes })
		set("create-missing", func() { merged.CreateMissing = t.CreateMissing })
		set("verify-interval", func() { merged.VerifyIntervalS = t.VerifyIntervalS })
		set("verify-tries", func() { merged.VerifyTries = t.VerifyTries })
		set("enabled", func() { merged.Enabled = t.Enabled })
		for name, apply := range pacing {
			set(name, func() { apply(&merged) })
		}
		if err := checkTier(merged); err != nil {
			return err
		}
		changes, err := store.ChangeTier(cmd.Context(), merged, login())
		if err != nil {
			return err
		}
		word := "changed: " + strings.Join(changes, ", ")
		if len(changes) == 0 {
			word = "is so already"
		}
		if created {
			word = "created"
			if err := a.warnUnknownTier(cmd.Context(), merged.Group); err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "note: %v\n", err)
			}
		}
		fmt.Fprintf(cmd.OutOrStdout(), "tier %s %s\n", merged.Group, word)
		a.warnSealed(cmd, merged)
		return nil
	}
	return cmd
}

// warnSealed says that the replicas of a tier refuse the status tables that it wants there. Where the instances cannot be asked it says
// nothing: `aosc doctor` does.
func (a *app) warnSealed(cmd *cobra.Command, t aoscdb.Tier) {
	if t.StatusStore != aoscdb.StoreInstance {
		return
	}
	parts, err := a.open(cmd.Context())
	if err != nil {
		return
	}
	known, err := fleet.FindTier(cmd.Context(), parts.Inventory, t.Group)
	if err != nil {
		return
	}
	sayTier(cmd.ErrOrStderr(), t, fleet.ObserveTier(cmd.Context(), parts.Pool, known, a.fanOut, a.timeout))
}

// checkTier refuses what the table would take but no daemon could serve.
func checkTier(t aoscdb.Tier) error {
	switch {
	case t.Group == "":
		return errors.New("a tier needs a name")
	case t.MaxRunning < 0 || t.MaxRunningPerHost < 0 || t.MaxRunningPerDatacenter < 0:
		return errors.New("limits cannot be negative")
	case t.Ordering != aoscdb.OrderingPrimary && t.Ordering != aoscdb.OrderingRolling:
		return fmt.Errorf("ordering %q: want primary or rolling", t.Ordering)
	case !slices.Contains(osc.CopyEngines(), t.CopyEngine):
		return fmt.Errorf("copy engine %q: want %s", t.CopyEngine, strings.Join(osc.CopyEngines(), " or "))
	case t.StatusStore != aoscdb.StoreInstance && t.StatusStore != aoscdb.StoreCentral:
		return fmt.Errorf("status store %q: want instance or central", t.StatusStore)
	case t.VerifyTries < 1:
		return errors.New("verify-tries: at least one check is needed before an alter counts as finished")
	case t.VerifyIntervalS < 0:
		return errors.New("verify-interval cannot be negative")
	}
	return checkPacing(t)
}
