package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/wiring"
)

func planCommand(a *app) *cobra.Command {
	var allowUnsafe bool
	cmd := &cobra.Command{
		Use: "plan <tier> [table]", Short: "Show what an alter would do where, and change nothing", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.plan(cmd.Context(), cmd.OutOrStdout(), args, allowUnsafe)
		},
	}
	cmd.Flags().BoolVar(&allowUnsafe, "allow-unsafe", false, "plan as if allow_unsafe were set")
	return cmd
}

func (a *app) plan(ctx context.Context, out io.Writer, args []string, allowUnsafe bool) error {
	parts, err := a.open(ctx)
	if err != nil {
		return err
	}
	if err := a.checkNames(ctx, args...); err != nil {
		return err
	}
	settings, err := parts.Store.Tier(ctx, args[0])
	if errors.Is(err, aoscdb.ErrNotFound) {
		settings = aoscdb.NewTier(args[0])
	} else if err != nil {
		return err
	}
	tier, err := fleet.FindTier(ctx, parts.Inventory, args[0])
	if err != nil {
		return err
	}
	tables, err := a.desired(ctx, args)
	if err != nil {
		return err
	}
	views := fleet.ObserveTier(ctx, parts.Pool, tier, a.fanOut, a.timeout)
	planner := osc.NewPlanner(parts.Pool, parts.Materialiser())
	var failed error
	sayTier(out, settings, views)
	for _, d := range tables {
		fmt.Fprintf(out, "%s.%s at commit %.10s\n", d.Tier, d.Table, d.Commit)
		if d.Problem != nil {
			fmt.Fprintf(out, "  refused: %v\n", d.Problem)
			continue
		}
		results := mysql.FanOut(ctx, views, a.fanOut, planTimeout, func(ctx context.Context, v fleet.ClusterView) ([]osc.Plan, error) {
			primary, err := v.Primary()
			if err != nil {
				return nil, err
			}
			return planCluster(ctx, parts.Pool, planner, tier, primary, d, planSettings(settings, v, primary, allowUnsafe))
		})
		var plans []osc.Plan
		for _, r := range results {
			if r.Err != nil {
				failed = errors.Join(failed, fmt.Errorf("cluster %s: %w", r.Item.Name, r.Err))
				fmt.Fprintf(out, "  %s: unknown: %v\n", r.Item.Name, r.Err)
			}
			plans = append(plans, r.Value...)
		}
		printPlans(out, plans)
	}
	return failed
}

// desired returns the table that was named, or all of the tier, at the head of the branch.
func (a *app) desired(ctx context.Context, args []string) ([]schema.Desired, error) {
	head, err := a.parts.Repo.Head(ctx)
	if err != nil {
		return nil, err
	}
	snapshot, err := a.parts.Repo.Snapshot(ctx, head)
	if err != nil {
		return nil, err
	}
	if len(args) == 2 {
		d, ok := snapshot.Table(args[0], args[1])
		if !ok {
			return nil, fmt.Errorf("schemas/%s/%s.sql is not in the repository at commit %.10s: commit it first", args[0], args[1], head)
		}
		return []schema.Desired{d}, nil
	}
	var all []schema.Desired
	for _, d := range snapshot.Tiers[args[0]] {
		all = append(all, d)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("schemas/%s/ holds no table at commit %.10s", args[0], head)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Table < all[j].Table })
	return all, nil
}

func planCluster(ctx context.Context, pool *mysql.Pool, planner *osc.Planner, tier fleet.Tier, primary fleet.Observed, d schema.Desired,
	s osc.Settings) ([]osc.Plan, error) {
	db, err := pool.DB(primary.Addr())
	if err != nil {
		return nil, err
	}
	databases, err := fleet.Databases(ctx, db, tier.Databases)
	if err != nil {
		return nil, err
	}
	target := osc.Target{Tier: tier.Name, Cluster: primary.Cluster, Addr: primary.Addr(), Table: d.Table}
	return planner.PlanMany(ctx, db, db, target, d, s, databases)
}

func planSettings(t aoscdb.Tier, v fleet.ClusterView, primary fleet.Observed, allowUnsafe bool) osc.Settings {
	s := wiring.Settings(t, allowUnsafe)
	for _, m := range v.Members {
		if m.Addr() != primary.Addr() {
			s.Replicas = append(s.Replicas, m.Addr())
		}
	}
	return s
}
