package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"text/tabwriter"

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
	for _, d := range tables {
		fmt.Fprintf(out, "%s.%s at commit %.10s\n", d.Tier, d.Table, d.Commit)
		if d.Problem != nil {
			fmt.Fprintf(out, "  refused: %v\n", d.Problem)
			continue
		}
		type clusterPlans struct {
			plans []osc.Plan
			where string
		}
		results := mysql.FanOut(ctx, views, a.fanOut, planTimeout, func(ctx context.Context, v fleet.ClusterView) (clusterPlans, error) {
			primary, err := v.Primary()
			if err != nil {
				return clusterPlans{}, err
			}
			plans, err := planCluster(ctx, parts.Pool, planner, tier, primary, d, planSettings(settings, v, primary, allowUnsafe))
			return clusterPlans{plans, fmt.Sprintf("%s %s", v.Name, primary.Addr())}, err
		})
		w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
		for _, r := range results {
			if r.Err != nil {
				failed = errors.Join(failed, fmt.Errorf("cluster %s: %w", r.Item.Name, r.Err))
				fmt.Fprintf(w, "  %s\tunknown\t%v\n", r.Item.Name, r.Err)
				continue
			}
			printPlans(w, r.Value.where, r.Value.plans)
		}
		if err := w.Flush(); err != nil {
			return err
		}
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

func planCluster(ctx context.Context, pool *mysql.Pool, planner *osc.Planner, tier fleet.Tier, primary fleet.Observed, d schema.Desired, s osc.Settings) ([]osc.Plan, error) {
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

// printPlans prints one line per different plan: a tier of a thousand databases has three or four.
func printPlans(w io.Writer, where string, plans []osc.Plan) {
	type group struct {
		osc.Plan
		databases []string
		rows      uint64
		bytes     uint64
	}
	var order []string
	groups := map[string]*group{}
	for _, p := range plans {
		key := fmt.Sprint(p.Engine, p.SQL, p.Refused, findings(p))
		g, ok := groups[key]
		if !ok {
			g = &group{Plan: p}
			groups[key] = g
			order = append(order, key)
		}
		g.databases = append(g.databases, p.Database)
		g.rows += p.Rows
		g.bytes += p.Bytes
	}
	for _, key := range order {
		g := groups[key]
		fmt.Fprintf(w, "  %s\t%s\t%s\t%d rows\t%s\n", where, g.Engine, databasesText(g.databases), g.rows, bytesText(g.bytes))
		if g.SQL != "" {
			fmt.Fprintf(w, "    %s\n", g.SQL)
		}
		if text := findings(g.Plan); text != "" {
			fmt.Fprintf(w, "    loses data: %s\n", text)
		}
		if g.Refused != "" {
			fmt.Fprintf(w, "    refused: %s\n", g.Refused)
		}
	}
}

func findings(p osc.Plan) string {
	text := ""
	for _, f := range p.Findings {
		if text != "" {
			text += "; "
		}
		text += f.Code + ": " + f.Detail
	}
	return text
}

func databasesText(names []string) string {
	if len(names) <= 3 {
		return fmt.Sprint(names)
	}
	return fmt.Sprintf("%d databases [%s ... %s]", len(names), names[0], names[len(names)-1])
}
