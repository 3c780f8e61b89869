package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/schema"
)

// checkNames is an error for a tier, or a table of it, that nothing knows: neither aoscdb, nor, where they are open, the
// inventory and the repository.
func (a *app) checkNames(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	store, err := a.known(ctx)
	if err != nil {
		return err
	}
	known, err := store.Names(ctx)
	if err != nil {
		return err
	}
	known = append(known, a.elsewhere(ctx)...)
	if tiers := tiersOf(known); !slices.Contains(tiers, names[0]) {
		return unknownName("tier", names[0], tiers, "neither aoscdb nor the inventory has it")
	}
	if len(names) == 1 {
		return nil
	}
	if tables := tablesOf(known, names[0]); !slices.Contains(tables, names[1]) {
		return unknownName("table", names[1], tables, fmt.Sprintf(
			"tier %s has never had an alter of it, and the repository has no schemas/%s/%s.sql", names[0], names[0], names[1]))
	}
	return nil
}

// known is the central store, whichever way it was opened.
func (a *app) known(ctx context.Context) (*aoscdb.Store, error) {
	if a.parts != nil {
		return a.parts.Store, nil
	}
	return a.store(ctx)
}

// elsewhere are the names that the inventory and the head of the branch have. One that cannot be read has none to add: then
// aoscdb alone says what is misspelt.
func (a *app) elsewhere(ctx context.Context) []aoscdb.Name {
	if a.parts == nil {
		return nil
	}
	var out []aoscdb.Name
	if tiers, err := a.parts.Inventory.Tiers(ctx); err == nil {
		for _, t := range tiers {
			out = append(out, aoscdb.Name{Group: t.Name})
		}
	}
	return append(out, committed(ctx, a.parts.Repo)...)
}

// committed are the tables at the head of the branch.
func committed(ctx context.Context, repo *schema.Repo) []aoscdb.Name {
	head, err := repo.Head(ctx)
	if err != nil {
		return nil
	}
	snapshot, err := repo.Snapshot(ctx, head)
	if err != nil {
		return nil
	}
	var out []aoscdb.Name
	for tier, tables := range snapshot.Tiers {
		for table := range tables {
			out = append(out, aoscdb.Name{Group: tier, Table: table})
		}
	}
	return out
}

// checkCommitted is an error for a table that has no file at the head of the branch. Where the repository cannot be read it
// only says so: the brain will judge.
func (a *app) checkCommitted(cmd *cobra.Command, tier, table string) error {
	conf, err := a.bound.Load(a.file, "schemas-repo", "schemas-branch", "schemas-cache")
	var repo *schema.Repo
	if err == nil {
		repo, err = schema.OpenRepo(cmd.Context(), schema.RepoConfig{
			URL: conf.GetString("schemas-repo"), Branch: conf.GetString("schemas-branch"), Cache: conf.GetString("schemas-cache")})
	}
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: whether %s is committed is not known: %v\n", table, err)
		return nil
	}
	names := committed(cmd.Context(), repo)
	if tables := tablesOf(names, tier); !slices.Contains(tables, table) {
		return unknownName("table", table, tables, fmt.Sprintf("commit schemas/%s/%s.sql first, or say --uncommitted", tier, table))
	}
	return nil
}

func tiersOf(names []aoscdb.Name) []string {
	var out []string
	for _, n := range names {
		out = append(out, n.Group)
	}
	return out
}

func tablesOf(names []aoscdb.Name, tier string) []string {
	var out []string
	for _, n := range names {
		if n.Group == tier && n.Table != "" {
			out = append(out, n.Table)
		}
	}
	return out
}

func unknownName(kind, name string, known []string, hint string) error {
	if near, ok := nearest(name, known); ok {
		return fmt.Errorf("there is no %s %q: did you mean %q? (%s)", kind, name, near, hint)
	}
	return fmt.Errorf("there is no %s %q: %s", kind, name, hint)
}

// nearest is the known name with the fewest slips of the finger: at most a third of the letters, but one of a short name.
func nearest(name string, known []string) (string, bool) {
	known = slices.Sorted(slices.Values(known))
	best, least := "", max(1, len([]rune(name))/3)+1
	for _, k := range known {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	return best, best != ""
}

// distance is how many letters must be added, dropped, replaced or swapped with their neighbour.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	var before, last []int
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(x); i++ {
		before, last, row = last, row, make([]int, len(y)+1)
		row[0] = i
		for j := 1; j <= len(y); j++ {
			replace := last[j-1]
			if x[i-1] != y[j-1] {
				replace++
			}
			row[j] = min(last[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(y)]
}
